"""The one way from a classifier and images to logits; validation, test and folds share it."""

from contextlib import nullcontext

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from resnetlab.data.batches import Source, View, batches, plan_evaluation
from resnetlab.errors import DivergedError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.system import interruption, ranks
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

    So a figure doesn't depend on the machine's fast format, and a bundle repeats it elsewhere. Where
    there are more processes each takes some of the batches, and all return the same.
    Raises DivergedError where the network's logits are not finite.
    """
    plan = plan_evaluation(len(samples), batch_size)
    shared = model, samples, view, plan, workers
    with ranks.together(follow, *shared) if is_told(model) else nullcontext():
        logits = logits_of(*shared)
    if not np.isfinite(logits).all():
        raise DivergedError(NOT_FINITE)
    return Predictions.make(samples.ids, samples.labels, logits, classes, seed=seed)


def is_told(model: nn.Module) -> bool:
    """Return whether a network can be passed to another process: PyTorch doesn't pickle adapted layers."""
    return not any(map(parametrize.is_parametrized, model.modules()))


def follow(
    model: nn.Module, samples: Source, view: View, plan: list[np.ndarray], workers: int
) -> None:
    """Predict this process's part of a plan for the main one."""
    own = next(model.parameters()).device.type  # of GPUs that of this process
    logits_of(model.to(own), samples, view, plan, workers)


def logits_of(
    model: nn.Module, samples: Source, view: View, plan: list[np.ndarray], workers: int
) -> np.ndarray:
    """Return the logits (N, K) of a plan's batches, of which each process takes its part.

    The batches are those of one process, so no bit depends on how many there are.
    """
    device = next(model.parameters()).device
    own = plan[ranks.part(len(plan))]
    stream = batches(samples, own, view, workers)
    chunks = []
    was_training = model.training
    model.eval()
    with (
        torch.inference_mode(),
        Progress("evaluating", sum(map(len, own)), stoppable=False) as progress,
    ):
        for _ in range(
            -(-len(plan) // ranks.world())
        ):  # as often in all of them, for they agree on an end
            if batch := next(stream, None):
                chunks.append(model(as_images(batch.images).to(device)).cpu())
                progress.advance(len(batch.rows))
            if stop := interruption.asked_of_any():
                raise stop
    model.train(was_training)
    return torch.cat([chunk for part in ranks.gather(chunks) for chunk in part]).numpy()


def as_images(pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return pixels or maps (B, H, W, C) as a tensor (B, C, H, W), channels last in memory, no copy.

    Features (B, D) stay as they are.
    """
    maps = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels
    return maps.permute(0, 3, 1, 2) if maps.ndim == 4 else maps
