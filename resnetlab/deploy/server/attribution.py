"""Where a network looked: Grad-CAM on the last map of its stages, by autograd and without hooks.

Source: Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks, ICCV.
"""

import numpy as np
import torch
from torch import Tensor

from resnetlab.errors import RecipeError
from resnetlab.models.classifier import Classifier, run


def grad_cam(classifier: Classifier, view: np.ndarray, label: int) -> np.ndarray:
    """Return how much each place of a prepared image, uint8 (S, S, 3), speaks for a class, 0..1 (h, w).

    All zeros where nothing does. Raises RecipeError for a network that is no chain of stages with a map.
    """
    backbone = getattr(classifier, "backbone", None)
    if backbone is None or not backbone.chain:
        raise RecipeError("this network is no chain of stages, so where it looked can't be told")
    stages = list(backbone.stages().values())
    with torch.no_grad():
        images = classifier.normalise(torch.tensor(view)[None].permute(0, 3, 1, 2))
        last = last_map(stages, images)
        maps = run(stages[: last + 1], images)
    maps = maps.detach().requires_grad_()
    with torch.enable_grad():
        features = classifier.hidden(run(stages[last + 1 :], maps))
        logit = classifier.head(features)[0, label]
        (slopes,) = torch.autograd.grad(logit, maps)
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    found = (weights * maps).sum(dim=1)[0].clamp(min=0).detach().numpy()
    return np.asarray(found / max(float(found.max()), 1e-12))


def last_map(stages: list[torch.nn.Module], images: Tensor) -> int:
    """Return the place of the last stage that gives maps (1, C, h, w) of more than one pixel."""
    last = None
    for place, stage in enumerate(stages):
        images = stage(images)
        if images.ndim == 4 and images.shape[2] > 1:
            last = place
    if last is None:
        raise RecipeError("this network has no maps, so where it looked can't be told")
    return last
