"""Learning to restore the image beside its class, for networks with a decoder."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from resnetlab.data.batches import Samples
from resnetlab.models.classifier import Classifier
from resnetlab.models.networks.autoencoder import Autoencoder, reconstruction_errors
from resnetlab.recipe import Recipe
from resnetlab.training.inputs import plain_view
from resnetlab.training.predict import as_images


class Reconstructing(nn.Module):
    """A classifier that also says how badly it restores each image."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Turn uint8 images (N, 3, H, W) into logits (N, K) and mean squared errors (N,)."""
        classifier = self.classifier
        code = classifier.backbone.features(classifier.prepare(images))
        logits = classifier.head(classifier.dropout(classifier.hidden(code)))
        restored = cast(Autoencoder, classifier.backbone).decode(code)
        return logits, reconstruction_errors(restored, images)


def restored_images(
    classifier: Classifier, samples: Samples, count: int, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first samples in the plain view and what the network makes of them, (N, S, S, 3) uint8."""
    batch = samples.batch(np.arange(min(count, len(samples))), plain_view(recipe))
    backbone: Any = classifier.backbone
    device = classifier.mean.device
    classifier.eval()
    with torch.inference_mode():
        code = backbone.features(classifier.prepare(as_images(batch.images).to(device)))
        restored = (255 * backbone.decode(code)).round().to(torch.uint8)
    return batch.images, restored.permute(0, 2, 3, 1).cpu().numpy()
