"""The features of training and validation images by which others are told to be unlike them."""

import numpy as np
import torch

from resnetlab.data.batches import Samples, batches
from resnetlab.data.store.jpeg import small_jpeg
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.shift.reference import (
    MOST,
    Pictures,
    Reference,
    images_needed,
    nearest,
    representatives,
    unit,
)
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Recipe
from resnetlab.system.progress import Progress
from resnetlab.training.head import features_of
from resnetlab.training.inputs import plain_view
from resnetlab.training.predict import as_images

NEAR = 3  # training images shown beside a mistake
CHUNK = 64  # images computed at once
THUMBNAIL = 64  # px, of a training image's picture in a bundle


def reference_for(
    classifier: Classifier,
    train: Samples,
    val: Samples,
    predictions: Predictions | None,
    temperature: float,
    recipe: Recipe,
) -> Reference | None:
    """Return what tells images unlike the training images; None where validation is too small for it.

    `predictions` are those for `val`, whose images set the threshold: they taught the network nothing.
    """
    if predictions is None or len(val) < images_needed():
        return None
    chosen = representatives(train.labels, classifier.head.in_features)
    features = unit(features_at(classifier, train, chosen, recipe)).astype(np.float16)
    rows = np.arange(len(val))[:MOST]  # in the order of a content hash: as good as drawn by lot
    _, distances = nearest(features_at(classifier, val, rows, recipe), features)
    confidences = predictions.probs_at(temperature).max(axis=1)[rows].astype(np.float32)
    pictures = pictures_of(train, chosen, recipe) if recipe.evaluation.thumbnails else None
    return Reference(features, distances, confidences, pictures)


def pictures_of(train: Samples, rows: np.ndarray, recipe: Recipe) -> Pictures:
    """Return small pictures of training images, as evaluation would see them."""
    view = plain_view(recipe)
    image = np.empty((view.image_size, view.image_size, 3), dtype=np.uint8)
    jpegs = []
    for row in rows.tolist():
        train.render(row, view, image)
        jpegs.append(small_jpeg(image, THUMBNAIL))
    return Pictures(train.labels[rows], jpegs)


def nearest_training(
    classifier: Classifier,
    reference: Reference,
    train: Samples,
    samples: Samples,
    rows: np.ndarray,
    recipe: Recipe,
) -> np.ndarray:
    """Return for some rows (B,) of samples the rows of `train` that are nearest in feature space, (B, NEAR).

    The nearest first; (B, 0) where `train` is not what the reference was made from.
    """
    chosen = representatives(train.labels, classifier.head.in_features)
    if len(chosen) != len(reference.features):
        return np.empty((len(rows), 0), dtype=np.int64)
    features = compute_features(classifier, samples, rows, recipe)
    return np.asarray(chosen[reference.nearest(features, NEAR)])


def features_at(
    classifier: Classifier, samples: Samples, rows: np.ndarray, recipe: Recipe
) -> np.ndarray:
    """Return the features (B, D) of these rows of samples, as evaluation sees the images, float32."""
    as_they_came = not recipe.training.epochs and not classifier.horizontal_flip
    if as_they_came and not len(classifier.hidden):  # then the head was fitted on them
        stored, _ = features_of(classifier, samples, recipe)
        return np.asarray(stored[torch.from_numpy(rows)])
    return compute_features(classifier, samples, rows, recipe)


def compute_features(
    classifier: Classifier, samples: Samples, rows: np.ndarray, recipe: Recipe
) -> np.ndarray:
    """Return the features (B, D) of some rows of samples, computed anew, float32."""
    device = next(classifier.parameters()).device
    plan = np.array_split(rows, -(-len(rows) // CHUNK))
    chunks = []
    was_training = classifier.training
    classifier.eval()
    with torch.inference_mode(), Progress("features", len(rows)) as progress:
        for batch in batches(samples, plan, plain_view(recipe), int(recipe.data.workers)):
            chunks.append(classifier.features(as_images(batch.images).to(device)).float().cpu())
            progress.advance(len(batch.rows))
    classifier.train(was_training)
    return torch.cat(chunks).numpy()
