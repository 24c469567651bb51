import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from resnetlab.errors import DataError
from resnetlab.evaluation.intervals import stratified, wilson
from resnetlab.evaluation.metrics import losses, quick_scores, score
from resnetlab.evaluation.predictions import Predictions

SHARES = (
    *("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1"),
    "weighted_f1",
)
AGREEMENT = ("kappa", "matthews")


def guesses(labels, k: int, skill: float = 1.0, seed: int = 0) -> Predictions:
    """Random logits that lean towards the label by `skill`."""
    labels = np.asarray(labels)
    logits = np.random.default_rng(seed).normal(size=(len(labels), k))
    logits[np.arange(len(labels)), labels] += skill
    ids = [f"{i:05}" for i in range(len(labels))]
    return Predictions.make(ids, labels, logits, [f"class {i}" for i in range(k)])


def never_predicting(k: int) -> Predictions:
    predictions = guesses(np.arange(60) % 4, 4)
    logits = predictions.logits.copy()
    logits[:, k] = -12
    return Predictions.make(predictions.ids, predictions.labels, logits, predictions.classes)


def perfect(support: list[int]) -> Predictions:
    return guesses(np.repeat(np.arange(len(support)), support), len(support), skill=100)


CASES = {
    "two classes": guesses(np.arange(41) % 2, 2),
    "unbalanced": guesses(np.repeat([0, 1, 2], [80, 15, 3]), 3, seed=1),
    "many classes": guesses(np.arange(100) % 12, 12, seed=2),
    "a class never predicted": never_predicting(2),
    "a class without images, but predicted": guesses(np.arange(40) % 3, 4, seed=3),
    "a class without images or predictions": guesses(np.arange(8) % 2, 30, skill=9, seed=4),
    "one image": guesses([1], 2),
    "all wrong": guesses(np.arange(20) % 2, 2, skill=-12),
}
every_case = pytest.mark.parametrize("predictions", CASES.values(), ids=CASES.keys())


def sklearn_scores(labels, predicted) -> dict[str, float]:
    macro = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": np.mean(
            sk.recall_score(labels, predicted, average=None, labels=np.unique(labels))
        ),
        "macro_precision": sk.precision_score(labels, predicted, **macro),
        "macro_recall": sk.recall_score(labels, predicted, **macro),
        "macro_f1": sk.f1_score(labels, predicted, **macro),
        "weighted_f1": sk.f1_score(labels, predicted, average="weighted", zero_division=0),
    }


@every_case
def test_every_average_equals_scikit_learns(predictions):
    found = score(predictions, resamples=10)
    expected = sklearn_scores(predictions.labels, predictions.predicted)
    assert {name: found[name]["value"] for name in SHARES} == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@every_case
def test_kappa_and_matthews_equal_scikit_learns(predictions):
    found = score(predictions, resamples=10)
    labels, predicted = predictions.labels, predictions.predicted
    matthews = sk.matthews_corrcoef(labels, predicted)
    assert found["matthews"]["value"] == pytest.approx(matthews)
    if len(set(labels) | set(predicted)) > 1:  # else scikit-learn's is no number
        assert found["kappa"]["value"] == pytest.approx(sk.cohen_kappa_score(labels, predicted))
    else:
        assert found["kappa"]["value"] == 0


@every_case
def test_every_class_equals_scikit_learns(predictions):
    k = len(predictions.classes)
    found = score(predictions, resamples=10)["per_class"]
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        predictions.labels, predictions.predicted, labels=range(k), zero_division=0
    )
    assert [row["class"] for row in found] == list(predictions.classes)
    assert [row["support"] for row in found] == support.tolist()
    assert [row["predicted"] for row in found] == np.bincount(
        predictions.predicted, minlength=k
    ).tolist()
    for name, expected in {"precision": precision, "recall": recall, "f1": f1}.items():
        assert [row[name]["value"] for row in found] == pytest.approx(expected.tolist())


@every_case
def test_the_confusion_matrix_equals_scikit_learns(predictions):
    labels = range(len(predictions.classes))
    expected = sk.confusion_matrix(predictions.labels, predictions.predicted, labels=labels)
    assert score(predictions, resamples=10)["confusion_matrix"] == expected.tolist()


@every_case
def test_the_loss_equals_scikit_learns(predictions):
    labels = range(len(predictions.classes))
    expected = sk.log_loss(predictions.labels, predictions.probs, labels=labels)
    assert quick_scores(predictions)["loss"] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@every_case
def test_quick_scores_are_the_values_of_the_full_score(predictions):
    full = score(predictions, resamples=10)
    quick = quick_scores(predictions)
    assert set(quick) == {"loss", "accuracy", "balanced_accuracy", "macro_f1"}
    assert quick == pytest.approx({name: full[name]["value"] for name in quick})


@every_case
def test_a_score_is_json_and_holds_no_nan(predictions):
    found = score(predictions, resamples=10)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_top5_equals_scikit_learns():
    predictions = CASES["many classes"]
    expected = sk.top_k_accuracy_score(predictions.labels, predictions.logits, k=5)
    assert score(predictions, resamples=10)["top5"]["value"] == pytest.approx(expected)


def test_top5_counts_the_first_of_equal_logits():
    logits = np.zeros((2, 6))
    predictions = Predictions.make(["a", "b"], [4, 5], logits, list("uvwxyz"))
    assert score(predictions, resamples=10)["top5"]["value"] == 0.5


def test_there_is_no_top5_of_five_classes():
    assert score(guesses(np.arange(10) % 5, 5), resamples=10)["top5"] is None


def test_huge_logits_give_a_finite_loss():
    logits = np.array([[3e38, -3e38], [-1e4, 1e4]])
    predictions = Predictions.make(["a", "b"], [1, 1], logits, ["x", "y"])
    np.testing.assert_allclose(losses(predictions), [6e38, 0.0], rtol=1e-6)


def test_the_loss_is_more_exact_than_float32():
    predictions = Predictions.make(["a"], [0], [[10.0, -10.0]], ["x", "y"])
    assert losses(predictions)[0] == pytest.approx(np.log1p(np.exp(-20.0)), rel=1e-6)


@pytest.mark.parametrize("name", [*SHARES, "loss"])
def test_intervals_are_the_resamples_percentiles_where_these_are_the_wider(name):
    predictions = CASES["unbalanced"]
    drawn = []
    for rows in stratified(predictions.labels, 60, seed=5):
        labels, predicted = predictions.labels[rows], predictions.predicted[rows]
        drawn.append(sklearn_scores(labels, predicted) | {"loss": losses(predictions)[rows].mean()})
    low, high = np.quantile([values[name] for values in drawn], [0.1, 0.9])
    found = score(predictions, confidence=0.8, resamples=60, seed=5)[name]
    assert found["low"] <= low + 1e-12
    assert found["high"] >= high - 1e-12
    if name == "balanced_accuracy":
        assert found["high"] == pytest.approx(high)


@pytest.mark.parametrize("support", [[20], [10, 10], [17, 2, 1]])
def test_twenty_right_of_twenty_are_not_taken_for_certainty(support):
    found = score(perfect(support))
    class_scores = [row[name] for row in found["per_class"] for name in ("recall", "f1")]
    for figure in [found[name] for name in SHARES] + class_scores:
        assert figure["value"] == figure["high"] == 1
        assert figure["low"] < 0.9


def test_balanced_accuracy_is_the_less_sure_the_rarer_a_class():
    equal, rare = score(perfect([100, 100])), score(perfect([198, 2]))
    assert equal["accuracy"] == rare["accuracy"]
    assert rare["balanced_accuracy"]["low"] < 0.7
    assert equal["balanced_accuracy"]["low"] > 0.97


def test_a_class_without_images_may_have_any_recall_and_f1():
    row = score(CASES["a class without images, but predicted"], resamples=10)["per_class"][3]
    assert row["support"] == 0 < row["predicted"]
    for name in ("recall", "f1"):
        assert row[name] == {"value": 0.0, "low": 0.0, "high": 1.0}


def test_the_promised_share_of_intervals_holds_the_truth_even_with_a_rare_class():
    # The percentiles of the resamples alone hold it in a third of these cases.
    labels, truth, held = np.repeat([0, 1], [200, 3]), (0.95 + 0.9) / 2, 0
    rng = np.random.default_rng(0)
    for _ in range(200):
        right = rng.random(203) < np.where(labels == 0, 0.95, 0.9)
        logits = np.eye(2)[np.where(right, labels, 1 - labels)]
        predictions = Predictions.make([f"{i:03}" for i in range(203)], labels, logits, ["a", "b"])
        found = score(predictions, resamples=50)["balanced_accuracy"]
        held += found["low"] <= truth <= found["high"]
    assert held >= 0.95 * 200


def test_the_seed_decides_the_intervals():
    predictions = CASES["unbalanced"]
    assert score(predictions, resamples=50, seed=3) == score(predictions, resamples=50, seed=3)
    assert score(predictions, resamples=50, seed=3) != score(predictions, resamples=50, seed=4)


def test_more_confidence_means_wider_intervals():
    sure, unsure = (score(CASES["many classes"], confidence=c) for c in (0.99, 0.5))
    for name in (*SHARES, "loss", "top5"):
        assert sure[name]["low"] < unsure[name]["low"] < unsure[name]["high"] < sure[name]["high"]


@pytest.mark.parametrize("scorer", [quick_scores, score])
def test_unknown_labels_are_refused(scorer):
    predictions = Predictions.make(["a", "b"], [-1, 0], np.zeros((2, 2)), ["x", "y"])
    with pytest.raises(DataError, match="1 of 2 predictions have no known label"):
        scorer(predictions)


def test_an_image_that_counts_twice_is_refused():
    with pytest.raises(DataError, match="1 ids appear more than once"):
        score(Predictions.make(["a", "a"], [0, 0], np.zeros((2, 2)), ["x", "y"]))


@st.composite
def tables(draw) -> Predictions:
    k = draw(st.integers(1, 7))
    labels = draw(st.lists(st.integers(0, k - 1), min_size=1, max_size=25))
    skill, seed = draw(st.floats(-3, 30)), draw(st.integers(0, 99))
    return guesses(labels, k, skill, seed)


@settings(deadline=None, max_examples=60)
@given(tables(), st.floats(0.3, 0.99))
def test_every_interval_holds_its_value_and_lies_in_0_to_1(predictions, confidence):
    found = score(predictions, confidence, resamples=15)
    per_class = [row[name] for row in found["per_class"] for name in ("precision", "recall", "f1")]
    for figure in [found[name] for name in SHARES] + per_class:
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert 0 <= found["loss"]["low"] <= found["loss"]["value"] <= found["loss"]["high"]
    for figure in [found[name] for name in AGREEMENT]:
        assert -1 <= figure["low"] <= figure["value"] <= figure["high"] <= 1


@settings(deadline=None, max_examples=40)
@given(tables(), st.randoms())
def test_the_order_of_the_images_changes_nothing(predictions, random):
    order = list(range(len(predictions)))
    random.shuffle(order)
    shuffled = predictions.take(np.array(order))
    assert score(shuffled, resamples=15) == score(predictions, resamples=15)


def in_groups(groups: int, size: int, seed: int) -> tuple[Predictions, np.ndarray]:
    """Predictions of which all of a group are correct or none, half of the groups in truth."""
    rng = np.random.default_rng(seed)
    right = np.repeat(rng.random(groups) < 0.5, size)
    labels = np.arange(groups * size) % 2
    predicted = np.where(right, labels, 1 - labels)
    ids = [f"{i:05}" for i in rng.permutation(groups * size)]
    predictions = Predictions.make(ids, labels, np.eye(2)[predicted] * 3, ["a", "b"])
    return predictions, np.repeat(np.arange(groups), size)


def test_groups_are_resampled_whole_and_their_intervals_hold():
    """Forty clips of ten frames are forty images, not four hundred."""
    held = {True: 0, False: 0}
    for seed in range(100):
        predictions, groups = in_groups(40, 10, seed)
        for known in held:
            found = score(predictions, resamples=200, groups=groups if known else None)["accuracy"]
            held[known] += found["low"] <= 0.5 <= found["high"]
    assert held[True] >= 93
    assert held[False] < 60, "as if they were independent, most intervals would be wrong"


def test_a_label_among_the_likeliest_is_as_unsure_as_the_groups_make_it():
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(5, size=20), 50)
    logits = np.repeat(rng.normal(size=(20, 5)), 50, axis=0)
    predictions = Predictions.make([f"{i:04}" for i in range(1000)], labels, logits, list("abcde"))
    groups = np.repeat(np.arange(20), 50)

    alone, together = score(predictions, resamples=20), score(predictions, 0.95, 20, groups=groups)

    width = {id(each): each["top3"]["high"] - each["top3"]["low"] for each in (alone, together)}
    assert together["top3"]["value"] == alone["top3"]["value"]
    assert width[id(together)] > 4 * width[id(alone)]


def test_groups_of_single_images_change_nothing():
    predictions = CASES["unbalanced"]
    alone = np.arange(len(predictions))
    assert score(predictions, resamples=20, groups=alone) == score(predictions, resamples=20)


def test_groups_that_are_all_correct_count_as_one_image_each():
    labels = np.arange(60) % 2
    predictions = guesses(labels, 2, skill=50)
    accuracy = score(predictions, resamples=20, groups=np.arange(60) // 6)["accuracy"]
    assert accuracy == pytest.approx(wilson(10, 10))
