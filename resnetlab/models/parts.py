"""An image of several things side by side: divided into parts, each classified, the answers combined."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetlab.errors import RecipeError
from resnetlab.models.classifier import Classifier

Division = Literal["columns", "components"]
Rule = Literal["sum", "concatenation", "vote"]
LEAST = 1e-30  # of a probability whose logarithm is taken
SPECK = 0.001  # share of the image below which a component is dust
JOINED = 0.1  # gap between components, by the width of a part, that is within one thing


@dataclass(frozen=True)
class PartsPlan:
    """How an image is divided into `count` parts, and how their classes make that of the whole.

    `classes` are the parts' own, `image_size` (px) is the side of a part as its network sees it, by
    a `temperature` its logits are divided.
    """

    by: Division
    count: int
    rule: Rule
    classes: tuple[str, ...]
    image_size: int
    temperature: float = 1.0


class PartsClassifier(nn.Module):
    """Bytes in, logits out, as Classifier: the logarithms of the combined label's probabilities.

    `part` classifies one part; `classes` are those of the whole. Raises RecipeError where they don't
    follow from the parts' by the rule.
    """

    def __init__(self, part: Classifier, plan: PartsPlan, classes: Sequence[str]) -> None:
        super().__init__()
        self.part, self.plan = part, plan
        self.head = COMBINATIONS[plan.rule](plan.classes, plan.count, classes)

    @property
    def mean(self) -> Tensor:
        """Return the mean by which parts are normalised; it lies where the network lies."""
        return self.part.mean

    def features(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, S, S) into the parts' log probabilities (N, P, K)."""
        parts = DIVISIONS[self.plan.by](images, self.plan.count)
        count, number = parts.shape[:2]
        size = self.plan.image_size
        pixels = F.interpolate(parts.flatten(0, 1).float(), (size, size), mode="area")
        logits: Tensor = self.part(pixels.round().to(torch.uint8)).float() / self.plan.temperature
        return logits.log_softmax(dim=1).view(count, number, -1)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, S, S) into logits (N, K), the log probabilities of the whole."""
        logits: Tensor = self.head(self.features(images))
        return logits


def columns(images: Tensor, count: int) -> Tensor:
    """Divide images (N, C, S, S), S a multiple of `count`, into columns (N, P, C, S, S / P)."""
    return torch.stack(images.chunk(count, dim=3), dim=1)


def components(images: Tensor, count: int) -> Tensor:
    """Divide images into windows of a column's width (N, P, C, S, S / P), each around a thing.

    Things are what stands out from the background and hangs together. Where they are not `count`,
    an image is divided into equal columns.
    """
    if torch.onnx.is_in_onnx_export():
        raise RecipeError("parts by components can't be exported; divide by columns")
    width = images.shape[3] // count
    divided = []
    for image in images:
        centres = centres_of(image.permute(1, 2, 0).contiguous().cpu().numpy(), count)
        if centres is None:
            divided.append(columns(image[None], count)[0])
            continue
        padded = F.pad(image[None].float(), (width, width, 0, 0), mode="replicate")[0]
        lefts = [round(centre + width / 2) for centre in centres]
        windows = [padded[:, :, left : left + width] for left in lefts]
        divided.append(torch.stack(windows).to(image.dtype))
    return torch.stack(divided)


def centres_of(image: np.ndarray, count: int) -> list[float] | None:
    """Return the middle column (px) of each of `count` things in an image (S, S, 3), from the left.

    None where there are fewer or more.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, mask = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if mask.mean() > 0.5:  # the background is the larger share
        mask = 1 - mask
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes = sorted(
        (int(left), int(left + width))
        for left, _, width, _, area in stats[1:]
        if area > SPECK * grey.size
    )
    gap = JOINED * grey.shape[1] / count
    things: list[tuple[int, int]] = []
    for left, right in boxes:
        if things and left < things[-1][1] + gap:
            things[-1] = things[-1][0], max(right, things[-1][1])
        else:
            things.append((left, right))
    if len(things) != count:
        return None
    return [(left + right) / 2 for left, right in things]


DIVISIONS: dict[Division, Any] = {"columns": columns, "components": components}


class Sum(nn.Module):
    """The label is the sum of the parts' numbers: its distribution is their convolution."""

    def __init__(self, parts: Sequence[str], count: int, classes: Sequence[str]) -> None:
        super().__init__()
        numbers = numbers_of(parts)
        self.low = min(numbers)
        self.offsets = [number - self.low for number in numbers]
        sums = list(sums_of(parts, count))
        unknown = [name for name in classes if name not in sums]
        if unknown:
            raise RecipeError(
                f"class '{unknown[0]}' is no sum of {count} of {', '.join(parts)}; those are {sums[0]} to {sums[-1]}"
            )
        self.places = [sums.index(name) for name in classes]

    def forward(self, log_probs: Tensor) -> Tensor:
        """Turn log probabilities (N, P, K) into those of the sums (N, K')."""
        probs = log_probs.exp()
        width = max(self.offsets)
        total = probs.new_ones(len(probs), 1)
        for part in range(probs.shape[1]):
            shifted = [
                F.pad(total * probs[:, part, number, None], (offset, width - offset))
                for number, offset in enumerate(self.offsets)
            ]
            total = torch.stack(shifted).sum(dim=0)
        return total[:, self.places].clamp_min(LEAST).log()


class Concatenation(nn.Module):
    """The label is the parts' names one after the other: a product, among the classes there are."""

    def __init__(self, parts: Sequence[str], count: int, classes: Sequence[str]) -> None:
        super().__init__()
        self.readings = [reading_of(name, parts, count) for name in classes]

    def forward(self, log_probs: Tensor) -> Tensor:
        """Turn log probabilities (N, P, K) into those of the joined names (N, K')."""
        joint = [
            sum(log_probs[:, part, number] for part, number in enumerate(reading))
            for reading in self.readings
        ]
        return torch.stack([torch.as_tensor(each) for each in joint], dim=1).log_softmax(dim=1)


class Vote(nn.Module):
    """The parts show the same thing: their probabilities are averaged."""

    def __init__(self, parts: Sequence[str], count: int, classes: Sequence[str]) -> None:
        super().__init__()
        unknown = [name for name in classes if name not in parts]
        if unknown:
            raise RecipeError(
                f"class '{unknown[0]}' is none of the parts' classes {', '.join(parts)}"
            )
        self.places = [list(parts).index(name) for name in classes]

    def forward(self, log_probs: Tensor) -> Tensor:
        """Turn log probabilities (N, P, K) into those of the whole (N, K')."""
        return log_probs.exp().mean(dim=1)[:, self.places].clamp_min(LEAST).log()


COMBINATIONS: dict[Rule, Any] = {"sum": Sum, "concatenation": Concatenation, "vote": Vote}


def classes_by(rule: Rule, parts: Sequence[str], count: int) -> tuple[str, ...]:
    """Return all classes that follow from the parts' by a rule. Raises RecipeError for too many."""
    if rule == "sum":
        return sums_of(parts, count)
    if rule == "vote":
        return tuple(parts)
    if len(parts) ** count > 10_000:
        raise RecipeError(
            f"{len(parts)} classes in {count} places give {len(parts) ** count:,} names; name those that "
            "occur with --classes"
        )
    names = [""]
    for _ in range(count):
        names = [name + part for name in names for part in parts]
    return tuple(names)


def sums_of(parts: Sequence[str], count: int) -> tuple[str, ...]:
    """Return every whole number from the least to the greatest sum of `count` of the parts' numbers."""
    numbers = numbers_of(parts)
    return tuple(map(str, range(count * min(numbers), count * max(numbers) + 1)))


def numbers_of(parts: Sequence[str]) -> list[int]:
    """Return the parts' names as whole numbers. Raises RecipeError where one is none."""
    try:
        return [int(name) for name in parts]
    except ValueError as error:
        raise RecipeError(
            f"the rule 'sum' needs classes that are whole numbers. Got {', '.join(parts)}"
        ) from error


def reading_of(name: str, parts: Sequence[str], count: int) -> list[int]:
    """Return which parts, by number, a joined name consists of.

    Raises RecipeError where it is none of `count` parts, or can be read in two ways.
    """
    readings: list[tuple[str, list[int]]] = [(name, [])]
    for _ in range(count):
        readings = [
            (rest.removeprefix(part), [*read, number])
            for rest, read in readings
            for number, part in enumerate(parts)
            if rest.startswith(part)
        ]
    found = [read for rest, read in readings if not rest]
    if len(found) != 1:
        what = "can be read in two ways as" if found else "is no"
        raise RecipeError(f"class '{name}' {what} {count} of {', '.join(parts)} joined")
    return found[0]
