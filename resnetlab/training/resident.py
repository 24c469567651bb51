"""Small images of one size live on the GPU, and are varied there: no batch waits for the processor."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnetlab.data.augment.draw import Variations
from resnetlab.data.augment.render import affine, colour_matrices, keep_pixels
from resnetlab.data.batches import Batch, Reshown, Samples, View, showings

MEMORY_SHARE = 0.2  # of the GPU's free memory, at most, that images may take


@dataclass(frozen=True)
class ResidentSamples(Reshown[Samples]):
    """Samples whose images, all of one size, are a tensor: `pixels` uint8 (M, H, W, 3). A Source."""

    pixels: Tensor

    @classmethod
    def of(cls, samples: Samples, device: torch.device) -> Self:
        """Copy the images of samples, all of one size, to a device."""
        store, records = samples.store, samples.records
        images = np.stack(store.images(records.tolist()))
        return cls(samples, torch.from_numpy(images).to(device))

    def batch(self, rows: np.ndarray, view: View) -> Batch:
        """Return one view of each of these samples; `images` is a tensor on the device."""
        means, variations = self.samples.vary(rows, view)
        rows, _ = showings(rows)
        images = self.pixels[torch.from_numpy(rows).to(self.pixels.device)]
        views = render_tensor(images, variations, means, view.fit, view.image_size)
        return Batch(views, self.samples.labels[rows], rows)


def may_reside(samples: Samples, device: torch.device) -> bool:
    """Return whether the images have one size and fit on the device, a GPU, with room for the rest."""
    if device.type != "cuda" or not len(samples):
        return False
    sizes = samples.store.index[samples.records][["height", "width"]]
    height, width = map(int, sizes[0])
    free, _ = torch.cuda.mem_get_info(device)
    return bool((sizes == sizes[0]).all()) and len(sizes) * 3 * height * width < free * MEMORY_SHARE


def render_tensor(
    images: Tensor, variations: Variations, means: np.ndarray, fit: str, size: int
) -> Tensor:
    """Return one view of each image, uint8 (B, S, S, 3), as `augment.render_all` makes it.

    `images` is uint8 (B, H, W, 3), `means` their mean colours (B, 3) in 0..255. Differs from
    OpenCV's by rounding, at most 1 of 255.
    """
    count, height, width, _ = images.shape
    widths, heights = np.full(count, width), np.full(count, height)
    matrices = tensor(affine(widths, heights, size, variations, fit), images)
    whole = bool(keep_pixels(widths, heights, size, variations).all())
    views = warp(images, matrices, size, whole)
    colours = colour_matrices(variations, means)
    if colours is not None:
        matrix = tensor(colours, images)
        views = (views @ matrix[:, None, :, :3].mT + matrix[:, None, None, :, 3]).round()
        views = views.clamp(0, 255)
    if variations.erase is not None:
        boxes = np.broadcast_to(variations.erase, (count, 4))
        erased = inside(tensor(np.rint(size * boxes), images), size)
        mean = tensor(np.rint(means), images)[:, None, None]
        views = torch.where(erased[..., None], mean, views)
    return views.to(torch.uint8)


def warp(images: Tensor, matrices: Tensor, size: int, whole: bool) -> Tensor:
    """Resample images (B, H, W, 3) by `augment.affine`'s matrices: rounded floats (B, S, S, 3).

    Edges are reflected, not doubled where pixels are moved as a `whole`.
    """
    _, height, width, _ = images.shape
    at = torch.arange(size, dtype=torch.float32, device=images.device)
    v, u = torch.meshgrid(at, at, indexing="ij")
    places = torch.stack([u, v, torch.ones_like(u)], dim=-1) @ matrices[:, None].mT  # (B, S, S, 2)
    sides = torch.tensor([width, height], device=images.device)
    # grid_sample's -1 and 1 are the centres of the outermost pixels, or their outer edges.
    grid = 2 * places / (sides - 1) - 1 if whole else (2 * places + 1) / sides - 1
    resampled = F.grid_sample(
        images.permute(0, 3, 1, 2).float(),
        grid,
        mode="bilinear",
        padding_mode="reflection",
        align_corners=whole,
    )
    return resampled.round().permute(0, 2, 3, 1)


def inside(boxes: Tensor, size: int) -> Tensor:
    """Return which pixels lie in the boxes (B, 4) of (left, top, width, height) px: bool (B, S, S)."""
    at = torch.arange(size, device=boxes.device)
    left, top, width, height = boxes.T[..., None]
    columns = (at >= left) & (at < left + width)
    rows = (at >= top) & (at < top + height)
    both: Tensor = rows[:, :, None] & columns[:, None, :]
    return both


def tensor(values: np.ndarray, like: Tensor) -> Tensor:
    """Return values as fp32 where `like` lives."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(like.device, torch.float32)
