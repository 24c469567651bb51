"""A classifier as a graph that other runtimes read: pixels in, logits and features out."""

import io
import warnings

import torch
from torch import Tensor, nn

from resnetlab.deploy.tracing import alone
from resnetlab.models.classifier import Classifier

IMAGES, LOGITS, FEATURES = "images", "logits", "features"  # names of what goes in and comes out


class FromPixels(nn.Module):
    """A classifier that takes images as they lie in memory once decoded, channels last."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.eval()  # the exporter gives back the mode it finds, to all that lies within

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Turn uint8 images (B, S, S, 3) into logits (B, K) and features (B, D)."""
        features = self.classifier.features(images.permute(0, 3, 1, 2))
        return self.classifier.head(features), features


def as_onnx(classifier: Classifier, image_size: int) -> bytes:
    """Return the classifier as an ONNX file's bytes, for any number B of images at once.

    Takes `images`, uint8 (B, S, S, 3) with S `image_size` px, and gives `logits` (B, K) and `features` (B, D).
    """
    image = torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8)
    axes = {IMAGES: {0: "B"}, LOGITS: {0: "B"}, FEATURES: {0: "B"}}
    return onnx_bytes(FromPixels(classifier), image, axes)


def onnx_bytes(module: nn.Module, images: Tensor, axes: dict[str, dict[int, str]]) -> bytes:
    """Return a module of one input as an ONNX file's bytes.

    `axes` are the names of what goes in and what comes out, in order, each with its axes of any length.
    """
    buffer = io.BytesIO()
    with alone, warnings.catch_warnings():
        # The older exporter: a second or two for ResNet-50, where the newer one takes ten.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (images,),
            buffer,  # type: ignore[arg-type]  # the older exporter writes into one too
            dynamo=False,
            input_names=list(axes)[:1],
            output_names=list(axes)[1:],
            dynamic_axes=axes,
        )
    return buffer.getvalue()
