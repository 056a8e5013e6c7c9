"""Adaptive antialiasing: several rays for the pixels where neighbours differ."""

import torch
from torch import Tensor

from worldmodel.town.looks.casting import Views, cast
from worldmodel.town.looks.picture import Batch, background, shaded

OUTLINE, TEXTURE = 0.03, 0.12  # contrast to a neighbour from which a pixel is an edge: between things, within one
RAYS = 2**18  # rays worked on at once


def smooth(batch: Batch, color: Tensor, winner: Tensor, supersample: int, *, adaptive: bool = True) -> None:
    """Replace the colour of edge pixels (of all, if not `adaptive`) by the mean over several rays."""
    views = batch.views
    edge = _edges(color, winner, views) if adaptive else torch.ones_like(winner, dtype=torch.bool)
    pixels = torch.nonzero(edge)[:, 0]
    for pixel in pixels.split(max(1, RAYS // supersample**2)):
        slot = torch.full_like(winner, -1)
        slot[pixel] = torch.arange(len(pixel), device=pixel.device)
        many, x, y, offsets = subsamples(views, pixel, supersample)
        best = cast(views, batch.sights, background(batch, many, x, y), slot, offsets)
        fine = torch.stack(shaded(batch, many, x, y, best & 0x7FFFFFFF)).clamp(0, 1)
        fine = fine.reshape(3, len(pixel), len(offsets))
        total = fine[:, :, 0].clone()
        for k in range(1, len(offsets)):
            total += fine[:, :, k]
        color[:, pixel] = total / len(offsets)


def pixel_centres(views: Views) -> tuple[Tensor, Tensor, Tensor]:
    """Number, x and y of every pixel of a batch."""
    everything = torch.arange(len(views) * views.pixels, device=views.turn.device)
    return everything, (everything % views.width).float(), (everything % views.pixels // views.width).float()


def subsamples(
    views: Views, pixel: Tensor, supersample: int
) -> tuple[Tensor, Tensor, Tensor, list[tuple[float, float]]]:
    """Pixel, x and y of supersample^2 rays through each of some pixels, in blocks; and their offsets in the pixel."""
    steps = [(k + 0.5) / supersample - 0.5 for k in range(supersample)]
    offsets = [(dx, dy) for dy in steps for dx in steps]
    shift = torch.tensor(offsets, device=pixel.device)
    many = pixel.repeat_interleave(len(offsets))
    x = (many % views.width).float() + shift[:, 0].repeat(len(pixel))
    y = (many % views.pixels // views.width).float() + shift[:, 1].repeat(len(pixel))
    return many, x, y, offsets


def _edges(color: Tensor, winner: Tensor, views: Views) -> Tensor:
    picture = color.reshape(3, len(views), views.height, views.width)
    who = winner.reshape(len(views), views.height, views.width)
    edge = torch.zeros_like(who, dtype=torch.bool)
    for axis in (1, 2):
        size = who.shape[axis] - 1
        differs = who.narrow(axis, 1, size) != who.narrow(axis, 0, size)
        contrast = (picture.narrow(axis + 1, 1, size) - picture.narrow(axis + 1, 0, size)).abs().amax(dim=0)
        rough = contrast > torch.where(differs, OUTLINE, TEXTURE)
        edge.narrow(axis, 1, size).logical_or_(rough)
        edge.narrow(axis, 0, size).logical_or_(rough)
    return edge.flatten()
