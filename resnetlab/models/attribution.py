"""Where in an image a network sees a class: Grad-CAM through the stages and autograd, without hooks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from resnetlab.models.classifier import Classifier


def grad_cam(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor | None:
    """Return how much each place speaks for a class, (N, H, W) from 0 to 1 at its strongest.

    `images` are uint8 (N, 3, H, W), `classes` int64 (N,). The maps are those of the last stage that
    still has places, weighted by the mean gradient of the class's logit. None for a network whose
    stages are no chain, or never have places. A map is 0 throughout where nothing speaks for the class.
    Source: Selvaraju et al. 2017, 'Grad-CAM', ICCV.
    """
    cams = raw_cam(classifier, images, classes)
    if cams is None:
        return None
    large = F.interpolate(cams[:, None], images.shape[2:], mode="bilinear")[:, 0]
    return large / large.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)


def raw_cam(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor | None:
    """Return Grad-CAM (N, h, w), at least 0, at the size of the maps that it is computed from."""
    if not isinstance(classifier, Classifier) or not classifier.backbone.chain:
        return None  # one that divides the image has a network for each part
    stages = list(classifier.backbone.stages().values())
    was_training = classifier.training
    classifier.eval()
    try:
        with torch.no_grad():
            maps, last = classifier.prepare(images), -1
            found = maps
            for number, stage in enumerate(stages):
                maps = stage(maps)
                if maps.ndim == 4 and maps.shape[2] * maps.shape[3] > 1:
                    found, last = maps, number
        if last < 0:
            return None
        with torch.enable_grad():
            places = found.detach().requires_grad_()
            features = places
            for stage in stages[last + 1 :]:
                features = stage(features)
            logits = classifier.head(classifier.hidden(features.flatten(1)))
            chosen = logits.gather(1, classes[:, None]).sum()
            (slopes,) = torch.autograd.grad(chosen, places)
        weights = slopes.mean(dim=(2, 3), keepdim=True)
        return (weights * places).sum(dim=1).relu().detach()
    finally:
        classifier.train(was_training)
