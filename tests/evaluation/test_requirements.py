"""What is required of a figure holds, or ends with its own exit code and a line that names it."""

import pytest

from resnetlab.errors import RecipeError, RequirementError
from resnetlab.evaluation.requirements import figure, parse, require

SCORES = {
    "samples": 40,
    "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95},
    "top5": None,
    "per_class": [
        {"class": "cat", "recall": {"value": 0.7, "low": 0.5, "high": 0.9}},
        {"class": "st. bernard", "recall": {"value": 0.6, "low": 0.4, "high": 0.8}},
    ],
    "calibration": {"calibrated": {"ece": {"value": 0.02, "low": 0.0, "high": 0.05}}},
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("accuracy", 0.9),
        ("accuracy.low", 0.8),
        ("samples", 40),
        ("per_class.cat.recall.low", 0.5),
        ("per_class.st. bernard.recall", 0.6),
        ("calibration.calibrated.ece.high", 0.05),
    ],
)
def test_a_figure_is_found_by_its_dotted_key(key, value):
    assert figure(SCORES, key) == value


@pytest.mark.parametrize(
    "text", ["accuracy.low>=0.8", "accuracy.low <= 0.8", "accuracy>0.89", "samples<41"]
)
def test_what_holds_says_nothing(text):
    require(SCORES, parse([text]))


def test_what_does_not_hold_is_named_with_what_was_found():
    with pytest.raises(
        RequirementError, match=r"not as required: accuracy\.low >= 0\.85, found 0\.8; "
    ) as error:
        require(SCORES, parse(["accuracy.low>=0.85", "samples>1", "samples > 100"]))
    assert str(error.value).endswith("samples > 100, found 40")
    assert error.value.exit_code == 7


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy>=", "accuracy>=much", ">=0.5", "accuracy=0.9"]
)
def test_what_is_no_requirement_is_refused_before_any_work(text):
    with pytest.raises(
        RecipeError, match="--require must be a figure, one of >= <= > < and a number"
    ):
        parse([text])


def test_a_figure_that_is_not_there_is_answered_by_those_that_are():
    with pytest.raises(
        RecipeError,
        match=r"no figure 'accuracy\.lo'; there are high, low, value, did you mean 'low'?",
    ):
        figure(SCORES, "accuracy.lo")
    with pytest.raises(RecipeError, match="'top5' is no figure here: it was not measured"):
        figure(SCORES, "top5")
    with pytest.raises(RecipeError, match=r"it has parts: cat, st\. bernard"):
        figure(SCORES, "per_class")
