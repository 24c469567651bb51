"""The preparation of an image as part of a network's graph: pixels of any size in.

What OpenCV does step by step is linear along each side: reducing (means over areas, or bilinear), then
cutting and resampling to the square. So each side has one matrix, made from the image's size by the
graph itself; only rounding between the steps differs, by about half a grey level.
"""

import torch
from torch import Tensor, nn

from resnetlab.deploy.preparation import Preparation
from resnetlab.models.classifier import Classifier


class FromImages(nn.Module):
    """A classifier with its preparation within: uint8 images of one size in, probabilities, logits and features out.

    With `inside` False the images come prepared, (B, S, S, 3).
    """

    def __init__(
        self, classifier: Classifier, preparation: Preparation, inside: bool = True
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.preparation = preparation if inside else None
        self.image_size = preparation.image_size
        self.eval()  # the exporter gives back the mode it finds, to all that lies within

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turn uint8 images (B, H, W, 3) into probabilities and logits, (B, K) each, and features (B, D)."""
        prepared = self.preparation is None
        views = images.permute(0, 3, 1, 2) if prepared else prepare(images, self.preparation)
        features = self.classifier.features(views)
        logits: Tensor = self.classifier.head(features)
        return logits.softmax(dim=1), logits, features


def prepare(images: Tensor, preparation: Preparation | None) -> Tensor:
    """Turn uint8 images (B, H, W, 3) into the network's views, uint8 (B, 3, S, S)."""
    assert preparation is not None
    size = preparation.image_size
    height, width = sides(images)
    shorter = torch.minimum(height, width)
    few = torch.minimum(shorter, torch.full_like(shorter, preparation.short_side))
    # Rounded up, in integers, as data.store.resize.reduced_size does it.
    reduced_height = torch.div(height * few + shorter - 1, shorter, rounding_mode="floor")
    reduced_width = torch.div(width * few + shorter - 1, shorter, rounding_mode="floor")
    box = torch.minimum(reduced_height, reduced_width)
    ratio = width.float() / reduced_width.float()
    rows, columns = (
        matrix(source, reduced, box if preparation.fit == "crop" else reduced, ratio, size, count)
        for source, reduced, count in (
            (height, reduced_height, images.shape[1]),
            (width, reduced_width, images.shape[2]),
        )
    )
    pixels = images.float().permute(0, 3, 1, 2)
    views = torch.matmul(torch.matmul(rows, pixels), columns.transpose(0, 1))
    return views.round().clamp(0, 255).to(torch.uint8)


def sides(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return height and width (px) of images (B, H, W, 3), int64, as parts of the graph."""
    if torch._C._get_tracing_state():  # for ONNX; torch.export has symbols for sides
        shape = torch._shape_as_tensor(images)
        return shape[1], shape[2]
    return tuple(torch.full((), images.shape[axis], dtype=torch.int64) for axis in (1, 2))  # type: ignore[return-value]


def matrix(
    source: Tensor, reduced: Tensor, box: Tensor, ratio: Tensor, size: int, count: int
) -> Tensor:
    """Return what one side of an image is multiplied by, float32 (S, `count`).

    Of `source` px reduced to `reduced` px, the middle `box` px are resampled to `size` px; `ratio`
    decides how OpenCV reduces, see data.store.resize.shrink.
    """
    step = box.float() / size
    places = (torch.arange(size) - (size - 1) / 2) * step + reduced.float() / 2 - 0.5
    first = places.floor()
    share = (places - first)[:, None]
    last = reduced.float() - 1
    scale = source.float() / reduced.float()
    pixels = torch.arange(count)[None].float()

    def reduction(rows: Tensor) -> Tensor:
        rows = torch.minimum(rows.clamp(min=0), last)[:, None]
        halves = (linear(2 * rows + each, scale / 2, source, pixels) for each in (0, 1))
        means = torch.where(ratio > 1.5, sum(halves) / 2, linear(rows, scale, source, pixels))
        return torch.where(ratio > 2, area(rows, scale, pixels), means)

    return (1 - share) * reduction(first) + share * reduction(first + 1)


def linear(rows: Tensor, scale: Tensor, source: Tensor, pixels: Tensor) -> Tensor:
    """Return the weights of bilinear reduction, (S, count), for rows (S, 1)."""
    places = ((rows + 0.5) * scale - 0.5).clamp(min=0)
    places = torch.minimum(places, source.float() - 1)
    return (1 - (pixels - places).abs()).clamp(min=0)


def area(rows: Tensor, scale: Tensor, pixels: Tensor) -> Tensor:
    """Return the weights of means over areas, (S, count), for rows (S, 1)."""
    end = torch.minimum((rows + 1) * scale, pixels + 1)
    return (end - torch.maximum(rows * scale, pixels)).clamp(min=0) / scale
