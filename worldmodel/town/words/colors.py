"""Names of colours: of a vehicle's paint, where people would agree on the name."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array

NAMED: dict[str, tuple[tuple[float, float, float], ...]] = {  # several shades of each, sRGB in [0, 1]
    "white": ((0.95, 0.95, 0.95), (0.86, 0.86, 0.86)),
    "grey": ((0.5, 0.5, 0.5), (0.38, 0.38, 0.40), (0.62, 0.64, 0.66)),
    "black": ((0.05, 0.05, 0.05), (0.12, 0.12, 0.13)),
    "red": ((0.75, 0.08, 0.08), (0.55, 0.06, 0.08), (0.85, 0.2, 0.18)),
    "orange": ((0.9, 0.42, 0.08), (0.76, 0.32, 0.1)),
    "yellow": ((0.9, 0.78, 0.1), (0.8, 0.6, 0.1)),
    "green": ((0.15, 0.5, 0.2), (0.15, 0.35, 0.25), (0.35, 0.6, 0.3)),
    "blue": ((0.1, 0.2, 0.5), (0.1, 0.3, 0.75), (0.2, 0.5, 0.7)),
    "brown": ((0.36, 0.22, 0.14), (0.45, 0.3, 0.18)),
    "purple": ((0.4, 0.15, 0.5), (0.5, 0.3, 0.6)),
    "pink": ((0.9, 0.5, 0.65), (0.85, 0.4, 0.55)),
}
COLOR_NAMES = tuple(NAMED)
MARGIN = 1.25  # the next name must be this much further away
FARTHEST = 22.0  # in CIELAB; nothing is called by a colour that is further off


def _lab(color: Sequence[float]) -> Float[Array, " 3"]:
    """CIELAB (D65) of an sRGB colour in [0, 1]."""
    rgb = np.asarray(color, np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = matrix @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def color_name(color: Sequence[float]) -> str | None:
    """The name of a colour; None where two names would do about equally well, or none does.

    Args:
        color: sRGB in [0, 1].
    """
    here = _lab(color)
    apart = {name: min(float(np.linalg.norm(here - _lab(s))) for s in shades) for name, shades in NAMED.items()}
    first, second = sorted(apart, key=lambda name: apart[name])[:2]
    clear = apart[second] > MARGIN * apart[first] + 2.0
    return first if clear and apart[first] <= FARTHEST else None
