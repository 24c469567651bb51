"""Results as a terminal shows them."""

from resnetlab.cli.tables import print_classes


def test_numbers_of_a_large_set_are_not_cut_off(capsys):
    half = {"mean": [0.5] * 3, "std": [0.2] * 3}
    counts = {"train": [600_000, 200_000], "val": [75_000, 25_000], "test": [75_000, 25_000]}
    print_classes(
        {
            "classes": ["cat", "dog"],
            "counts": {"all": [750_000, 250_000]},
            "planned": counts,
            "moments": {"per_class": {"cat": half, "dog": half}, "all": half},
        }
    )

    out = capsys.readouterr().out
    assert "1,000,000  800,000  100,000  100,000" in out
    assert "…" not in out
