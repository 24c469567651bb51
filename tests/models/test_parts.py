"""Images of several things: divided, each classified, the answers combined exactly."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.errors import RecipeError
from resnetlab.models import build
from resnetlab.models.parts import (
    Concatenation,
    PartsClassifier,
    PartsPlan,
    Sum,
    Vote,
    centres_of,
    classes_by,
    columns,
    components,
)

DIGITS = tuple("0123456789")


def log_probs(count: int, classes: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, classes, generator=generator).log_softmax(dim=2)


def by_hand(parts: torch.Tensor, names, combined) -> dict[str, float]:
    """Add up the probability of every way in which the parts can turn out."""
    totals: dict[str, float] = {}
    probs = parts[0].exp().numpy()
    for outcome in product(range(len(names)), repeat=len(probs)):
        label = combined([names[number] for number in outcome])
        chance = np.prod([probs[place, number] for place, number in enumerate(outcome)])
        totals[label] = totals.get(label, 0.0) + float(chance)
    return totals


@settings(max_examples=25)
@given(
    names=st.lists(st.integers(-3, 12), min_size=2, max_size=4, unique=True),
    count=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_the_probability_of_a_sum_is_that_of_all_ways_to_get_it(names, count, seed):
    words = tuple(map(str, names))
    parts = log_probs(count, len(words), seed)
    classes = classes_by("sum", words, count)

    found = Sum(words, count, classes)(parts).exp()

    expected = by_hand(parts, words, lambda outcome: str(sum(map(int, outcome))))
    assert found[0].tolist() == pytest.approx([expected.get(name, 0) for name in classes], abs=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))


def test_the_probability_of_a_joined_name_is_a_product():
    parts, names = log_probs(2, 3), ("a", "b", "ba")
    classes = ("aa", "ab", "bb", "baba")

    found = Concatenation(names, 2, classes)(parts).exp()

    expected = by_hand(parts, names, "".join)
    total = sum(expected[name] for name in classes)  # among the classes there are
    assert found[0].tolist() == pytest.approx([expected[name] / total for name in classes])


def test_a_vote_is_the_mean():
    parts = log_probs(3, 4)

    found = Vote(DIGITS[:4], 3, ("3", "0", "1", "2"))(parts).exp()

    torch.testing.assert_close(found, parts.exp().mean(dim=1)[:, [3, 0, 1, 2]])


@pytest.mark.parametrize(
    ("rule", "names", "classes", "message"),
    [
        (Sum, ("cat", "dog"), ("3",), "needs classes that are whole numbers. Got cat, dog"),
        (Sum, DIGITS, ("37",), "class '37' is no sum of 4 of .*; those are 0 to 36"),
        (Concatenation, DIGITS, ("123",), "class '123' is no 4 of"),
        (Concatenation, ("a", "aa", "b"), ("aaaaa",), "class 'aaaaa' can be read in two ways"),
        (Vote, DIGITS, ("x",), "class 'x' is none of the parts' classes"),
    ],
)
def test_classes_that_do_not_follow_are_refused(rule, names, classes, message):
    with pytest.raises(RecipeError, match=message):
        rule(names, 4, classes)


def test_too_many_joined_names_ask_for_those_that_occur():
    assert len(classes_by("concatenation", DIGITS, 2)) == 100
    with pytest.raises(RecipeError, match="--classes"):
        classes_by("concatenation", DIGITS, 5)


def test_columns_are_equal_and_in_order():
    image = torch.arange(12).view(1, 1, 1, 12).expand(1, 3, 12, 12)

    parts = columns(image, 4)

    assert parts.shape == (1, 4, 3, 12, 3)
    assert parts[0, 2, 0, 0].tolist() == [6, 7, 8]


def blocks(*lefts: int, side: int = 80, width: int = 8) -> np.ndarray:
    image = np.full((side, side, 3), 10, np.uint8)
    for left in lefts:
        image[20:60, left : left + width] = 230
    return image


def test_things_are_found_where_they_are():
    image = blocks(5, 16, 50, 70)

    assert centres_of(image, 4) == [9, 20, 54, 74]
    assert centres_of(255 - image, 4) == [9, 20, 54, 74]  # dark on light
    assert centres_of(image, 3) is None


def test_a_window_is_laid_around_each_thing_and_columns_are_taken_else():
    uneven, three = blocks(5, 16, 50, 70), blocks(5, 30, 60)
    images = torch.from_numpy(np.stack([uneven, three])).permute(0, 3, 1, 2)

    parts = components(images, 4)

    assert parts.shape == (2, 4, 3, 80, 20)
    for window in parts[0]:  # each thing in the middle of its window, all of it
        assert (window[0, 40, 6:14] == 230).all()
    assert torch.equal(parts[1], columns(images[1:], 4)[0])


@pytest.mark.parametrize("by", ["columns", "components"])
def test_a_whole_is_answered_by_its_parts(by):
    torch.manual_seed(0)
    part = build("cnn", 10, 16).eval()
    plan = PartsPlan(by, 4, "sum", DIGITS, 16, temperature=2.0)
    whole = PartsClassifier(part, plan, classes_by("sum", DIGITS, 4)).eval()
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)

    logits = whole(images)

    assert logits.shape == (3, 37)
    torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(3))
    single = images[:, :, :, :16].float().unflatten(2, (16, 4)).mean(dim=3)
    if by == "columns":
        alone = (part(single.round().to(torch.uint8)) / 2).log_softmax(dim=1)
        torch.testing.assert_close(whole.features(images)[:, 0], alone, atol=1e-4, rtol=1e-4)
