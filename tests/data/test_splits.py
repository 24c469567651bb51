"""Who learns and who examines: nobody twice, nobody left out, decided by seed and content alone."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.data.audit.quarantine import audit
from resnetlab.data.catalog import SPLITS, Catalog, objects
from resnetlab.data.export import export_split
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.splits import folds, split, split_by_time, validate_on
from resnetlab.data.store.pixels import read_images
from resnetlab.errors import DataError, MachineError, RecipeError
from resnetlab.recipe import Data

quick = settings(max_examples=40)

FRACTIONS = st.sampled_from(
    [(0.8, 0.1, 0.1), (0.8, 0.0, 0.2), (0.9, 0.1, 0.0), (0.5, 0.25, 0.25), (0.34, 0.33, 0.33)]
)
CLASS_SIZES = st.lists(st.integers(3, 40), min_size=2, max_size=4)


def rows_for(sizes, tag="") -> list[tuple[int, object, str]]:
    return [
        (label, f"{tag}{label}-{i}", "") for label, size in enumerate(sizes) for i in range(size)
    ]


def grouped(catalog: Catalog, groups) -> Catalog:
    return catalog.with_columns(group=np.asarray(groups, dtype=np.int64))


def by_content(catalog: Catalog) -> dict[str, str]:
    return dict(zip(catalog.sha256, catalog.split, strict=True))


# What holds for every split


@quick
@given(CLASS_SIZES, FRACTIONS, st.integers(0, 2**32 - 1))
def test_every_sample_is_in_exactly_one_split_and_every_split_has_every_class(
    make_catalog, sizes, fractions, seed
):
    catalog = split(make_catalog(rows_for(sizes)), fractions, seed)
    wanted = {
        split_name for split_name, fraction in zip(SPLITS, fractions, strict=True) if fraction
    }

    assert set(catalog.split) == wanted
    assert sum(len(catalog.rows(split_name)) for split_name in SPLITS) == len(catalog)
    for split_name in wanted:
        assert (catalog.counts(split_name) >= 1).all()


@quick
@given(CLASS_SIZES, FRACTIONS, st.integers(0, 2**32 - 1))
def test_every_class_is_divided_to_the_nearest_image(make_catalog, sizes, fractions, seed):
    catalog = split(make_catalog(rows_for(sizes)), fractions, seed)

    for split_name, fraction in zip(SPLITS, fractions, strict=True):
        for count, size in zip(catalog.counts(split_name), sizes, strict=True):
            # Rounding, and one image at least, cost the training split at most one each.
            assert abs(count - fraction * size) <= (1 if split_name != "train" else 2)


@quick
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=20, max_size=80),
    FRACTIONS,
    st.integers(0, 9),
)
def test_groups_are_never_parted(make_catalog, members, fractions, seed):
    # At least three groups a class, so that there is something for every split.
    members += [(label, group) for label in (0, 1) for group in (0, 1, 2)]
    rows = [(label, i, "") for i, (label, _) in enumerate(members)]
    groups = [10 * label + group for label, group in members]
    catalog = split(grouped(make_catalog(rows), groups), fractions, seed)

    split_names = defaultdict(set)
    for group, split_name in zip(catalog.group, catalog.split, strict=True):
        split_names[group].add(split_name)
    assert {len(found) for found in split_names.values()} == {1}
    for split_name, fraction in zip(SPLITS, fractions, strict=True):
        assert (catalog.counts(split_name) >= 1).all() == (fraction > 0)


@quick
@given(st.integers(0, 2**32 - 1), st.integers(10, 30))
def test_groups_that_hold_images_of_every_class_are_divided_as_wholes(make_catalog, seed, people):
    rows = [(label, f"{person}-{label}", "") for person in range(people) for label in (0, 1, 2)]
    groups = [person for person in range(people) for _ in range(3)]
    catalog = split(grouped(make_catalog(rows), groups), (0.8, 0.1, 0.1), seed)

    assert (
        len({(group, name) for group, name in zip(catalog.group, catalog.split, strict=True)})
        == people
    )
    for split_name in SPLITS:
        assert len(set(catalog.counts(split_name))) == 1, "each person has one image of each class"
        assert catalog.counts(split_name)[0] >= 1


def test_a_class_that_no_group_brings_into_a_split_is_named(make_catalog):
    rows = [(label, f"{n}-{label}", "") for n in range(9) for label in ((0, 1) if n == 0 else (0,))]
    groups = [0, *range(9)]

    with pytest.raises(DataError, match="the groups: class 'b' has no image in the val split"):
        split(grouped(make_catalog(rows), groups), (0.8, 0.1, 0.1), 0)


@pytest.mark.parametrize("seed", range(5))
def test_groups_miss_the_share_of_a_class_by_half_a_group_at_most(make_catalog, seed):
    by_four = [row // 4 for row in range(200)]
    catalog = split(grouped(make_catalog(rows_for([100, 100])), by_four), (0.8, 0.1, 0.1), seed)

    assert set(catalog.counts("val")) | set(catalog.counts("test")) <= {8, 12}


def test_quarantined_samples_stay_outside(make_catalog):
    catalog = make_catalog(rows_for([20, 20]))
    catalog = catalog.with_columns(problem=objects(["truncated", *[""] * 39]))
    catalog = split(catalog, (0.8, 0.1, 0.1), 0)

    assert catalog.split[0] == ""
    assert set(catalog.split[1:]) == set(SPLITS)


# What decides


def test_the_seed_decides(make_catalog):
    catalog = make_catalog(rows_for([30, 30]))
    first, again, other = (split(catalog, (0.8, 0.1, 0.1), seed) for seed in (1, 1, 2))

    assert first.split.tolist() == again.split.tolist()
    assert first.split.tolist() != other.split.tolist()
    assert first.counts("test").tolist() == other.counts("test").tolist()


@quick
@given(CLASS_SIZES, st.randoms(use_true_random=False))
def test_names_and_their_order_decide_nothing(make_catalog, sizes, random):
    rows = rows_for(sizes)
    names = [f"{number:04}.png" for number in range(len(rows))]
    random.shuffle(names)
    renamed = split(make_catalog(rows, names), (0.8, 0.1, 0.1), 3)

    assert by_content(renamed) == by_content(split(make_catalog(rows), (0.8, 0.1, 0.1), 3))


def test_renamed_files_get_the_same_split(digit_folder, tmp_path):
    def of_folder(folder: Path) -> dict[str, str]:
        catalog, _ = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)
        return by_content(split(audit(catalog, Data(max_problem_frac=0.5)), (0.7, 0.1, 0.2), 0))

    for path in digit_folder.rglob("*.png"):
        new = tmp_path / path.parent.name / hashlib.md5(path.read_bytes()).hexdigest()
        new.parent.mkdir(exist_ok=True)
        new.with_suffix(".png").write_bytes(path.read_bytes())

    assert of_folder(tmp_path) == of_folder(digit_folder)


def test_when_images_come_nearly_all_test_images_stay(make_catalog):
    before = split(make_catalog(rows_for([200, 200])), (0.8, 0.1, 0.1), 0)
    more = rows_for([200, 200]) + rows_for([20, 20], tag="new ")
    after = by_content(split(make_catalog(more), (0.8, 0.1, 0.1), 0))

    tested = [digest for digest, split_name in by_content(before).items() if split_name == "test"]
    stayed = sum(after[digest] == "test" for digest in tested)
    assert len(tested) == 40
    assert stayed >= 36


def test_copies_change_nothing_for_the_others(make_catalog):
    rows = rows_for([30, 30])
    alone = split(make_catalog(rows), (0.8, 0.1, 0.1), 0)
    with_copies = make_catalog([*rows, rows[0], rows[40]])
    together = split(audit(with_copies, Data(max_problem_frac=0.0)), (0.8, 0.1, 0.1), 0)

    changed = [
        digest
        for digest, split_name in by_content(alone).items()
        if by_content(together)[digest] != split_name
    ]
    assert len(changed) <= 2  # a class is larger by one, its splits may be too


# Splits that the user's folders give


def given_splits(train: int, val: int = 0, test: int = 0) -> list[tuple[int, object, str]]:
    split_names = ["train"] * train + ["val"] * val + ["test"] * test
    return [
        (label, f"{label}-{i}", split_name)
        for label in (0, 1)
        for i, split_name in enumerate(split_names)
    ]


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (1.0, 0.0, 0.0)])
def test_given_splits_are_kept_as_they_are(make_catalog, fractions):
    catalog = make_catalog(given_splits(10, 4, 6))

    assert split(catalog, fractions, 0).split.tolist() == catalog.split.tolist()


def test_a_missing_validation_split_is_taken_from_the_training_split(make_catalog):
    before = make_catalog(given_splits(18, test=5))
    after = split(before, (0.8, 0.1, 0.1), 0)

    assert ((after.split == "test") == (before.split == "test")).all()
    # Validation is to training as 1 to 8, whatever the size of the test split.
    assert after.counts("val").tolist() == [2, 2]
    assert after.counts("train").tolist() == [16, 16]


def test_a_missing_test_split_is_taken_from_the_training_split(make_catalog):
    after = split(make_catalog(given_splits(18, val=5)), (0.8, 0.1, 0.1), 0)

    assert [after.counts(split_name).tolist() for split_name in SPLITS] == [
        [16, 16],
        [5, 5],
        [2, 2],
    ]


def test_a_split_that_nobody_wants_is_not_made(make_catalog):
    after = split(make_catalog(given_splits(20)), (0.8, 0.0, 0.2), 0)

    assert Counter(after.split) == {"train": 32, "test": 8}


def test_80_to_20_without_validation(make_catalog):
    after = split(make_catalog(rows_for([50, 35])), (0.8, 0.0, 0.2), 0)

    assert after.counts("train").tolist() == [40, 28]
    assert after.counts("val").tolist() == [0, 0]
    assert after.counts("test").tolist() == [10, 7]


# An earlier split


@quick
@given(st.integers(0, 60), st.integers(0, 9), FRACTIONS)
def test_images_of_an_earlier_split_stay_where_they_were(make_catalog, more, seed, fractions):
    before = split(make_catalog(rows_for([40, 30])), fractions, seed)
    known = by_content(before)
    rows = rows_for([40, 30]) + rows_for([more, more], tag="new ")
    after = split(make_catalog(rows), fractions, seed + 1, known)

    assert {digest: by_content(after)[digest] for digest in known} == known
    for split_name, fraction in zip(SPLITS, fractions, strict=True):
        assert abs(after.counts(split_name) - fraction * (np.array([40, 30]) + more)).max() <= 2


def test_a_new_copy_of_a_tested_image_joins_the_test_split(make_catalog):
    before = split(make_catalog(rows_for([20, 20])), (0.8, 0.1, 0.1), 0)
    known = by_content(before)
    tested, trained = before.rows("test")[0], before.rows("train")[0]
    rows = [*rows_for([20, 20]), (0, "new", "")]
    # The new image is a near-duplicate of one that was tested on and one that was trained on.
    groups = list(range(41))
    groups[tested] = groups[trained] = 40
    after = split(grouped(make_catalog(rows), groups), (0.8, 0.1, 0.1), 0, known)

    assert {after.split[row] for row in (tested, trained, 40)} == {"test"}


# Folds


@quick
@given(CLASS_SIZES, st.integers(2, 3), st.integers(0, 99), st.integers(0, 3))
def test_every_sample_is_in_one_fold_and_every_fold_has_its_share(
    make_catalog, sizes, count, seed, repeat
):
    catalog = make_catalog(rows_for(sizes))
    dealt = folds(catalog, count, seed, repeat)

    assert set(dealt) == set(range(count))
    for fold in range(count):
        in_fold = np.bincount(catalog.labels[dealt == fold], minlength=len(sizes))
        assert abs(in_fold - np.array(sizes) / count).max() < 1


@quick
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=20, max_size=80))
def test_groups_are_never_parted_by_folds(make_catalog, members):
    members += [(label, group) for label in (0, 1) for group in (0, 1, 2)]
    rows = [(label, i, "") for i, (label, _) in enumerate(members)]
    groups = np.array([10 * label + group for label, group in members])
    dealt = folds(grouped(make_catalog(rows), groups), 3, 0)

    assert all(len(set(dealt[groups == group])) == 1 for group in set(groups))
    assert set(dealt) == {0, 1, 2}


def test_repeats_and_seeds_deal_anew(make_catalog):
    catalog = make_catalog(rows_for([30, 30]))
    first, again, repeated, seeded = (
        folds(catalog, 5, *numbers).tolist() for numbers in ((0, 0), (0, 0), (0, 1), (1, 0))
    )

    assert first == again
    assert first != repeated != seeded != first


def test_the_test_split_is_in_no_fold_and_one_fold_validates(make_catalog):
    catalog = split(make_catalog(rows_for([50, 50])), (0.8, 0.0, 0.2), 0)
    catalog = catalog.with_columns(fold=folds(catalog, 4, 0))
    chosen = validate_on(catalog, 2)

    assert (catalog.fold[catalog.rows("test")] == -1).all()
    assert chosen.rows("test").tolist() == catalog.rows("test").tolist()
    assert (chosen.fold[chosen.rows("val")] == 2).all()
    assert chosen.counts("val").tolist() == [10, 10]
    assert chosen.counts("train").tolist() == [30, 30]


def test_folds_that_the_data_names_are_kept(make_catalog):
    named = np.arange(20) % 4
    catalog = make_catalog(rows_for([10, 10])).with_columns(fold=named)

    assert folds(catalog, 4, 0).tolist() == named.tolist()
    with pytest.raises(DataError, match="names the folds 0, 1, 2, 3, the recipe 5 from 0 on"):
        folds(catalog, 5, 0)
    with pytest.raises(DataError, match=r"00000\.png, 00001\.png show the same image"):
        folds(grouped(catalog, [0, 0, *range(2, 20)]), 4, 0)


def test_a_class_too_small_for_the_folds_is_named_with_the_number_that_would_do(make_catalog):
    with pytest.raises(DataError) as caught:
        folds(make_catalog(rows_for([10, 3])), 5, 0)

    assert str(caught.value) == (
        "class 'b' has 3 different images outside the test split, too few for 5 folds; at most "
        "--set data.folds=3 would do, or add some"
    )


# Time


def dated(make_catalog, days, labels=None) -> Catalog:
    labels = labels or [row % 2 for row in range(len(days))]
    rows = [
        (label, f"{day}-{row}", "")
        for row, (label, day) in enumerate(zip(labels, days, strict=True))
    ]
    return make_catalog(rows, [f"cam-{day}_{row:03}.png" for row, day in enumerate(days)])


def test_the_newest_images_are_tested_on_and_the_oldest_train(make_catalog):
    catalog = dated(make_catalog, [day for day in range(5, 25) for _ in range(4)])
    catalog = split_by_time(catalog, (0.8, 0.1, 0.1), r"cam-(\d+)")
    days = {
        split_name: {int(name[4:].split("_")[0]) for name in catalog.ids[catalog.rows(split_name)]}
        for split_name in SPLITS
    }

    # As numbers: day 9 comes before day 10.
    assert days == {"train": set(range(5, 21)), "val": {21, 22}, "test": {23, 24}}


def test_a_group_is_as_new_as_its_newest_image(make_catalog):
    catalog = dated(make_catalog, [day for day in range(10, 30) for _ in range(4)])
    groups = np.arange(80)
    groups[0] = 79
    catalog = split_by_time(grouped(catalog, groups), (0.8, 0.1, 0.1), r"cam-(\d+)")

    assert catalog.split[0] == catalog.split[79] == "test"


def test_a_class_that_a_period_lacks_is_named(make_catalog):
    catalog = dated(make_catalog, list(range(20)), labels=[0] * 10 + [1] * 10)
    with pytest.raises(DataError, match="class 'a' has no image in the val split"):
        split_by_time(catalog, (0.8, 0.1, 0.1), r"cam-(\d+)")


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("(", RecipeError, "is no pattern"),
        (r"day(\d+)", DataError, "is not found in cam-0_000.png"),
    ],
)
def test_a_pattern_that_finds_no_time_is_told(make_catalog, pattern, error, message):
    with pytest.raises(error, match=message):
        split_by_time(dated(make_catalog, list(range(20))), (0.8, 0.1, 0.1), pattern)


# Too small


def test_a_class_with_too_few_images_is_named_with_the_way_out(make_catalog):
    with pytest.raises(DataError) as caught:
        split(make_catalog(rows_for([10, 2])), (0.8, 0.1, 0.1), 0)

    assert str(caught.value) == (
        "class 'b' has 2 different images, too few for 3 splits (train, val, test); "
        "add some, or use fewer splits, such as --split 0.8 0 0.2"
    )
    assert split(make_catalog(rows_for([10, 2])), (0.8, 0.0, 0.2), 0).counts("test").tolist() == [
        2,
        1,
    ]


def test_copies_do_not_make_a_class_large_enough(make_catalog):
    rows = [*rows_for([10]), (1, "x", ""), (1, "x", ""), (1, "y", "")]
    with pytest.raises(DataError, match=r"class 'b' has 3 images in 2 groups \(copies"):
        split(audit(make_catalog(rows), Data(max_problem_frac=0.0)), (0.8, 0.1, 0.1), 0)


def test_a_class_whose_training_images_are_all_quarantined_is_named(make_catalog):
    rows = given_splits(2, 1, 1)
    catalog = make_catalog(rows)
    lost = (catalog.labels == 1) & (catalog.split == "train")
    catalog = catalog.with_columns(problem=objects(["empty" if bad else "" for bad in lost]))

    with pytest.raises(DataError, match="class 'b' has 0 different images"):
        split(catalog, (0.8, 0.1, 0.1), 0)


# Copies for other tools


def test_the_splits_are_copied_out_and_the_originals_stay(write_images, tmp_path):
    images = {f"{label}/{i}.png": 10 * label + i for label in (0, 1) for i in range(6)}
    folder = write_images(images | {"0/more/1.png": 77})
    (folder / "1" / "bad.png").write_bytes(b"")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    catalog, _ = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)
    catalog = split(audit(catalog, Data(max_problem_frac=0.5)), (0.6, 0.2, 0.2), 0)
    out = tmp_path / "new" / "copies"
    export_split(catalog, out)

    exported = class_folders(list_folder(out))
    copies, _ = read_images(exported, 8, 10**6, 2)
    assert copies.classes == catalog.classes
    for split_name in SPLITS:
        assert Counter(copies.sha256[copies.rows(split_name)]) == Counter(
            catalog.sha256[catalog.rows(split_name)]
        )
    assert len(copies) == 13, "two images called 1.png in one class, none quarantined"
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


def test_a_folder_that_holds_something_is_refused(make_catalog, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(MachineError, match=r"is not empty; choose a new folder"):
        export_split(split(make_catalog(rows_for([5, 5])), (0.6, 0.2, 0.2), 0), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_refused(make_catalog, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(MachineError, match="can't be written"):
        export_split(make_catalog(rows_for([5, 5])), tmp_path / "file" / "out")
