"""The one way from a classifier and images to logits; validation, test and folds share it."""

import numpy as np
import torch
from torch import nn

from resnetlab.data.batches import Source, View, batches, plan_evaluation
from resnetlab.errors import DivergedError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.system.progress import Progress

NOT_FINITE = "the network's logits are not finite"


def predict(
    model: nn.Module,
    samples: Source,
    view: View,
    classes: tuple[str, ...],
    seed: int,
    workers: int,
    batch_size: int = 64,
) -> Predictions:
    """Return the predictions for every sample, in fp32 whatever the training used.

    So a figure doesn't depend on the machine's fast format, and a bundle repeats it elsewhere.
    Raises DivergedError where the network's logits are not finite.
    """
    device = next(model.parameters()).device
    chunks = []
    was_training = model.training
    model.eval()
    with torch.inference_mode(), Progress("evaluating", len(samples)) as progress:
        for batch in batches(samples, plan_evaluation(len(samples), batch_size), view, workers):
            chunks.append(model(as_images(batch.images).to(device)).cpu())
            progress.advance(len(batch.rows))
    model.train(was_training)
    logits = torch.cat(chunks).numpy()
    if not np.isfinite(logits).all():
        raise DivergedError(NOT_FINITE)
    return Predictions.make(samples.ids, samples.labels, logits, classes, seed=seed)


def as_images(pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return pixels or maps (B, H, W, C) as a tensor (B, C, H, W), channels last in memory, no copy.

    Features (B, D) stay as they are.
    """
    maps = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels
    return maps.permute(0, 3, 1, 2) if maps.ndim == 4 else maps
