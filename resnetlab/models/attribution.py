"""Where in an image a network sees a class: Grad-CAM, and the same over a transformer's tokens."""

from contextlib import ExitStack
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from resnetlab.models.classifier import Backbone, Classifier

AT_ONCE = 4  # images whose whole graph is kept


def grad_cam(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor | None:
    """Return how much each place speaks for a class, (N, H, W) from 0 to 1 at its strongest.

    As `raw_cam`, enlarged to the images. A map is 0 throughout where nothing speaks for the class.
    """
    cams = raw_cam(classifier, images, classes)
    if cams is None:
        return None
    large = F.interpolate(cams[:, None], images.shape[2:], mode="bilinear")[:, 0]
    return large / large.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)


def raw_cam(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor | None:
    """Return how much each place speaks for a class (N, h, w), at least 0, at the size of a stage's maps.

    `images` are uint8 (N, 3, H, W), `classes` int64 (N,). Of maps those of the last stage that has places count,
    weighted by the mean gradient of the class's logit. Of a transformer's tokens those halfway, each times its own
    gradient: later ones have told each other what they saw (docs/experiments.md). None for a network that never
    has places.
    Source: Selvaraju et al. 2017, 'Grad-CAM', ICCV.
    """
    if not isinstance(classifier, Classifier):
        return None  # one that divides the image has a network for each part
    parts = zip(torch.split(images, AT_ONCE), torch.split(classes, AT_ONCE), strict=True)
    found = [_cam_of(classifier, *part) for part in parts]
    cams = [cam for cam in found if cam is not None]
    return torch.cat(cams) if cams else None


def _cam_of(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor | None:
    logits, outputs = _with_stages(classifier, images)
    with_places = [output for output in outputs if _has_places(output, classifier.backbone)]
    if not with_places:
        return None
    output = with_places[-1]
    if output.ndim == 3:
        tokens = [output for output in with_places if output.ndim == 3]
        output = tokens[len(tokens) // 2]
    chosen = logits.gather(1, classes[:, None]).sum()
    (slopes,) = torch.autograd.grad(chosen, output)
    maps, gradients = (_as_maps(each, classifier.backbone) for each in (output, slopes))
    weights = gradients if output.ndim == 3 else gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(dim=1).relu().detach()


def _with_stages(classifier: Classifier, images: Tensor) -> tuple[Tensor, list[Any]]:
    """Return the logits of a network in evaluation, and what each of its stages gave on the way."""
    outputs: list[Any] = []
    was_training = classifier.training
    classifier.eval()
    try:
        with ExitStack() as hooks, torch.enable_grad():
            for stage in classifier.backbone.stages().values():
                keep = stage.register_forward_hook(
                    lambda stage, inputs, output: outputs.append(output)
                )
                hooks.enter_context(keep)
            prepared = classifier.prepare(
                images
            ).requires_grad_()  # frozen weights ask for no gradient
            features = classifier.backbone.features(prepared)
            return classifier.head(classifier.hidden(features)), outputs
    finally:
        classifier.train(was_training)


def _has_places(output: Any, backbone: Backbone) -> bool:
    """Return whether the output of a stage is maps, or tokens of a square grid, of more than one place."""
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        return False
    if output.ndim == 3:
        return _side(output.shape[1], backbone.prefix_tokens) > 1
    return _as_maps(output, backbone)[0, 0].numel() > 1


def _as_maps(values: Tensor, backbone: Backbone) -> Tensor:
    """Return maps (N, C, h, w) of what a stage gave: maps, with the channels last in some, or tokens (N, L, C)."""
    if values.ndim == 4:
        return values.permute(0, 3, 1, 2) if backbone.channels_last else values
    side = _side(values.shape[1], backbone.prefix_tokens)
    return values[:, -side * side :].transpose(1, 2).reshape(len(values), -1, side, side)


def _side(tokens: int, prefix: int) -> int:
    """Return the side of the grid of tokens, some of which may stand before it; 0 for no square."""
    for count in (tokens - prefix, tokens):
        if count > 0 and isqrt(count) ** 2 == count:
            return isqrt(count)
    return 0
