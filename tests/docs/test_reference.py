"""The pages written from the code are what the code gives now."""

from docs import generate


def test_reference_is_what_the_code_gives() -> None:
    for name, text in generate.pages().items():
        written = (generate.FOLDER / name).read_text(encoding="utf-8")
        assert written == text, f"{name} is old: python docs/generate.py"


def test_every_key_of_a_recipe_is_in_the_reference() -> None:
    from resnetlab.recipe import RECIPE_KEYS

    page = generate.recipe_page()
    missing = [key for key in RECIPE_KEYS if f"`{key}`" not in page and f"## {key}" not in page]
    assert missing == ["data.augment.preset"]  # its table stands below
