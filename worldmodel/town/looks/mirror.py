"""What wet ground reflects: the scene seen from below the ground by a mirrored eye, at low resolution, then smeared.

The mirrored picture is upside down and its rows are turned back when it is looked up, so that a ground pixel finds its
reflection at its own place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.town.looks.casting import Views
from worldmodel.town.looks.shading import Rgb

WIDEST_PX = 128  # of a mirrored picture
SHORT, LONG = 0.025, 0.14  # reach of the smear up and down, of the picture's height


@dataclass(frozen=True, eq=False, kw_only=True)
class Mirror:
    """Reflections for some views.

    Attributes:
        image: Smooth (red, green, blue) and smeared reflection, [view * height * width, 6].
        width, height: Of the image.
        scale: Pixels of the picture per pixel of the image.
        last: The picture's row at the image's first row.
    """

    image: Tensor
    width: int
    height: int
    scale: int
    last: float

    def at(self, view: Tensor, x: Tensor, y: Tensor, puddle: Tensor) -> Rgb:
        """Reflection at pixels (x, y) of views: smeared on a film of water, smooth in puddles (share `puddle`)."""
        u = ((x + 0.5) / self.scale - 0.5).clamp(0, self.width - 1.001)
        v = ((self.last - y + 0.5) / self.scale - 0.5).clamp(0, self.height - 1.001)
        left, top = u.floor(), v.floor()
        fu, fv = (u - left)[:, None], (v - top)[:, None]
        place = (view * self.height + top.long()) * self.width + left.long()
        steps = (0, 1, self.width, self.width + 1)
        a, b, c, d = (self.image.index_select(0, place + step) for step in steps)
        above, under = a + (b - a) * fu, c + (d - c) * fu
        found = above + (under - above) * fv
        red, green, blue = (found[:, 3 + k] + (found[:, k] - found[:, 3 + k]) * puddle for k in range(3))
        return red, green, blue


def mirrored(views: Views) -> tuple[Views, int, float] | None:
    """The mirrored views, their scale, and the picture's row that their first row shows; None if no ground is seen."""
    scale = max(2, math.ceil(views.width / WIDEST_PX))
    margin = math.ceil((SHORT + LONG) * views.height) + 2 * scale
    first, last = _horizon(views) - margin, views.height - 1.0 + margin
    rows = math.ceil((last - first + 1) / scale)
    if first >= views.height:
        return None
    flip = torch.tensor([1.0, -1.0, 1.0], dtype=views.turn.dtype, device=views.turn.device)
    drop = torch.tensor([1.0, 1.0, -1.0], dtype=views.turn.dtype, device=views.turn.device)
    lens = views.lens.clone()
    lens[:, 1, 2] = last - lens[:, 1, 2]
    lens[:, 0, 1] = -lens[:, 0, 1]
    lens[:, :2] /= scale
    lens[:, :2, 2] += 0.5 / scale - 0.5
    seen = Views(
        turn=drop[:, None] * views.turn * flip,
        eye=views.eye * drop,
        lens=lens,
        frame=views.frame,
        width=max(2, math.ceil(views.width / scale)),
        height=max(2, rows),
    )
    return seen, scale, last


def _horizon(views: Views) -> int:
    """The highest row of any view at which there may be ground."""
    rows = []
    for x in (0.0, views.width - 1.0):
        side = (x - views.lens[:, 0, 2]) / views.lens[:, 0, 0]
        rise = views.turn[:, 2, 0] * side + views.turn[:, 2, 2]
        fall = views.turn[:, 2, 1]
        row = views.lens[:, 1, 2] - views.lens[:, 1, 1] * rise / torch.where(fall.abs() < 1e-3, -1e-3, fall)
        rows.append(row)
    lowest = float(torch.stack(rows).amin())
    return int(min(max(math.floor(lowest), 0), views.height))


def reflections(views: Views, exposed: Callable[[Views], Tensor]) -> Mirror | None:
    """What the ground of some views reflects.

    Args:
        views: The pictures.
        exposed: Takes the picture of given views, without any ground: colours [3, pixels].
    """
    found = mirrored(views)
    if found is None:
        return None
    seen, scale, last = found
    picture = exposed(seen).reshape(3, len(seen), seen.height, seen.width)
    smooth = _smeared(picture, max(1, round(SHORT * views.height / scale)))
    long = _smeared(_sideways(smooth), max(2, round(LONG * views.height / scale)))
    image = torch.cat([0.5 * picture + 0.5 * smooth, 0.4 * smooth + 0.6 * long])
    image = image.permute(1, 2, 3, 0).reshape(-1, 6).contiguous()
    return Mirror(image=image, width=seen.width, height=seen.height, scale=scale, last=last)


def _smeared(picture: Tensor, reach: int) -> Tensor:
    """Blurred up and down, the bright more than the dark; edges are repeated."""
    square = picture * picture
    padded = torch.cat(
        [square[:, :, :1].expand(-1, -1, reach, -1), square, square[:, :, -1:].expand(-1, -1, reach, -1)], dim=2
    )
    rows = picture.shape[2]
    total = torch.zeros_like(square)
    weight = 0.0
    for k in range(2 * reach + 1):
        share = 1 - abs(k - reach) / (reach + 1)
        total += share * padded[:, :, k : k + rows]
        weight += share
    return torch.sqrt((total / weight).clamp(min=0))


def _sideways(picture: Tensor) -> Tensor:
    left = torch.cat([picture[..., :1], picture[..., :-1]], dim=3)
    right = torch.cat([picture[..., 1:], picture[..., -1:]], dim=3)
    return 0.5 * picture + 0.25 * (left + right)
