"""Points on parts that rays have hit, and what every painter needs."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worldmodel.town.looks.shading import Rgb, band

Paint = tuple[Rgb, Tensor]  # colour, and how much of it shines by itself


@dataclass(frozen=True, eq=False, kw_only=True)
class Hits:
    """Points on parts, one entry per sample.

    Attributes:
        u, v: Position on the patch, -1 to 1 (v upward); on ellipsoids, the normal's part along their first and third axis.
        side: On ellipsoids, the normal's part along the second axis.
        du, dv: Size of a pixel in u and in v.
        size_u, size_v: Size of the whole patch, metres.
        seed: Variation.
        color, second: The part's two colours.
        lamps: Which lamps shine, a sum of the codes in `lamps.py`, int64.
        turned: 1 on the left side of a hull, -1 on its right side, else 0.
    """

    u: Tensor
    v: Tensor
    side: Tensor
    du: Tensor
    dv: Tensor
    size_u: Tensor
    size_v: Tensor
    seed: Tensor
    red: Tensor
    green: Tensor
    blue: Tensor
    red2: Tensor
    green2: Tensor
    blue2: Tensor
    lamps: Tensor
    turned: Tensor

    def shining(self, lamp: int) -> Tensor:
        """1 where the lamp with this code is on, else 0."""
        return ((self.lamps & lamp) > 0).float()

    @property
    def color(self) -> Rgb:
        """The part's own colour."""
        return self.red, self.green, self.blue

    @property
    def second(self) -> Rgb:
        """The part's second colour."""
        return self.red2, self.green2, self.blue2

    def at(self, index: Tensor) -> "Hits":
        """Some of the hits."""
        return Hits(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def none(hits: Hits) -> Tensor:
    """No shine."""
    return torch.zeros_like(hits.u)


def rect(hits: Hits, u: tuple[float, float], v: tuple[float, float]) -> Tensor:
    """Cover of a rectangle that is drawn on the left and mirrored on the right."""
    return band(hits.u.abs(), u[0], u[1], hits.du) * band(hits.v, v[0], v[1], hits.dv)


def scaled(color: Rgb, value: Tensor) -> Rgb:
    """A colour times a column."""
    return color[0] * value, color[1] * value, color[2] * value
