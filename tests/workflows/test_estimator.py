"""ImageClassifier keeps scikit-learn's contract, over paths and over arrays."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score

import resnetlab
from resnetlab import ImageClassifier
from resnetlab.errors import DataError
from resnetlab.workflows.deployment.estimator import as_png

SMALL = {"model": "mlp", "image_size": 8, "epochs": 10, "settings": {"training.device": "cpu"}}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """120 digits of three classes as uint8 (N, 8, 8), with labels that are words."""
    found = load_digits(n_class=3)
    names = np.array(["zero", "one", "two"])
    return np.rint(found.images[:120] * 255 / 16).astype(np.uint8), names[found.target[:120]]


@pytest.fixture(scope="module")
def fitted(digits) -> ImageClassifier:
    images, labels = digits
    return ImageClassifier(**SMALL, random_state=3).fit(images, labels)


def test_it_learns_and_names_labels_as_it_was_given_them(fitted, digits):
    images, labels = digits
    assert fitted.classes_.tolist() == ["one", "two", "zero"]
    assert set(fitted.predict(images)) <= set(labels)
    assert fitted.score(images, labels) > 0.8


def test_probabilities_stand_in_the_order_of_the_classes(fitted, digits):
    images, _ = digits
    probs = fitted.predict_proba(images[:7])
    assert probs.shape == (7, 3)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (fitted.classes_[probs.argmax(axis=1)] == fitted.predict(images[:7])).all()
    assert fitted.predict_proba(images[:0]).shape == (0, 3)


def test_the_same_seed_gives_the_same_model(fitted, digits):
    images, labels = digits
    again = clone(fitted).fit(images, labels)
    assert np.array_equal(again.predict_proba(images), fitted.predict_proba(images))


def test_paths_are_taken_too_and_stay_where_they_are(digit_folder):
    paths = sorted(digit_folder.rglob("*.png"))
    labels = [int(path.parent.name) for path in paths]
    model = ImageClassifier(**SMALL).fit(paths, labels)
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert model.score(list(map(str, paths)), labels) > 0.7
    assert sorted(digit_folder.rglob("*.png")) == paths


def test_it_works_in_cross_validation_and_in_a_search(digits):
    images, labels = digits
    model = ImageClassifier(**SMALL | {"epochs": 2})
    folds = StratifiedKFold(2)
    assert cross_val_score(model, images, labels, cv=folds).shape == (2,)
    search = GridSearchCV(model, {"lr": [1e-6, 0.1]}, cv=folds).fit(list(images), labels)
    assert search.best_params_["lr"] in (1e-6, 0.1)
    assert search.best_estimator_.predict(images[:1])[0] in labels


def test_a_copy_through_pickle_answers_the_same(fitted, digits):
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict_proba(digits[0][:5]), fitted.predict_proba(digits[0][:5]))


def test_a_bundle_is_loaded_in_a_line(fitted, digits, tmp_path):
    fitted.save(tmp_path / "bundle")
    loaded = resnetlab.load(tmp_path / "bundle")
    assert np.array_equal(loaded.predict_proba(digits[0][:5]), fitted.predict_proba(digits[0][:5]))


def test_before_fit_it_says_so(digits):
    with pytest.raises(NotFittedError):
        ImageClassifier().predict(digits[0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8)), "must be a path, or uint8 of shape"),
        (
            np.zeros((2, 8, 8, 2), np.uint8),
            r"uint8 of shape \(H, W\), \(H, W, 1\), .* Got uint8 \(8, 8, 2\)",
        ),
        (["gone.png", "away.png"], "gone.png: no such file"),
        (np.zeros((3, 8, 8), np.uint8), "X and y must be of one length. Got 3 and 2"),
    ],
)
def test_what_is_no_image_is_told(images, message):
    with pytest.raises(DataError, match=message):
        ImageClassifier(**SMALL).fit(images, ["a", "b"])


def test_a_single_channel_is_a_grey_image():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert as_png(image[:, :, None], 0) == as_png(image, 0)


def test_an_unsound_image_is_told_when_it_is_asked_about(fitted, tmp_path):
    (tmp_path / "x.png").write_text("no image")
    with pytest.raises(DataError, match="no sound image"):
        fitted.predict([tmp_path / "x.png"])
