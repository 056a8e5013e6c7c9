"""A path that wheels follow: evenly spaced points with heading, curvature and a speed limit from the curves."""

from collections.abc import Sequence
from math import atan2, cos, sin

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array

STEP_M = 0.5
SMOOTHING_M = 2.0  # turns arcs joined to straights into curves that a steering wheel can follow
LATERAL_MPS2 = 2.2  # sideways acceleration that the expert accepts in curves
SLOWING_MPS2 = 1.6  # deceleration planned ahead of curves


def evenly_spaced(points: Float[Array, "n 2"], step_m: float) -> Float[Array, "m 2"]:
    """Points along the same polyline, `step_m` apart (the last one may be closer)."""
    kept = points[np.concatenate([[True], np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-6])]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(kept, axis=0), axis=1))])
    wanted = np.linspace(0.0, along[-1], max(2, round(along[-1] / step_m) + 1))
    return np.stack([np.interp(wanted, along, kept[:, axis]) for axis in (0, 1)], axis=-1)


def _smoothed(points: Array) -> Array:
    reach = round(3 * SMOOTHING_M / STEP_M)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * STEP_M / SMOOTHING_M) ** 2)
    kernel /= kernel.sum()
    before = points[0] + (points[0] - points[1]) * np.arange(reach, 0, -1)[:, None]
    after = points[-1] + (points[-1] - points[-2]) * np.arange(1, reach + 1)[:, None]
    padded = np.concatenate([before, points, after])
    return np.stack([np.convolve(padded[:, axis], kernel, mode="valid") for axis in (0, 1)], axis=-1)


class Path:
    """Points `STEP_M` apart in the world frame, in driving direction.

    Positions on it are (s, d): metres along it and metres to its left. Beyond its ends it goes on straight.
    """

    def __init__(self, points: Float[Array, "n 2"], *, smooth: bool = True) -> None:
        spaced = evenly_spaced(np.asarray(points, np.float64), STEP_M)
        self.points = evenly_spaced(_smoothed(spaced), STEP_M) if smooth else spaced
        slopes = np.gradient(self.points, axis=0)
        self.headings = np.unwrap(np.arctan2(slopes[:, 1], slopes[:, 0]))
        self.step_m = float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).mean())
        self.curvatures = np.gradient(self.headings) / self.step_m
        self.length_m = self.step_m * (len(self.points) - 1)
        self._limits: list[float] | None = None
        self._rows: list[tuple[float, float, float]] = [
            (float(x), float(y), float(h)) for (x, y), h in zip(self.points, self.headings, strict=True)
        ]

    @classmethod
    def straight(cls, pose: Sequence[float], length_m: float = 400.0) -> "Path":
        """A straight path that starts at `pose` (x, y, yaw)."""
        x, y, yaw = (float(value) for value in pose)
        end = (x + length_m * cos(yaw), y + length_m * sin(yaw))
        return cls(np.array([[x, y], end]), smooth=False)

    def at(self, s: float, d: float = 0.0) -> tuple[float, float, float]:
        """World x, y and heading at `s` metres along and `d` metres to the left."""
        place = s / self.step_m
        i = min(max(int(place), 0), len(self._rows) - 2)
        part = place - i
        (x0, y0, h0), (x1, y1, h1) = self._rows[i], self._rows[i + 1]
        heading = h0 + min(max(part, 0.0), 1.0) * (h1 - h0)
        x, y = x0 + part * (x1 - x0), y0 + part * (y1 - y0)
        return x - d * sin(heading), y + d * cos(heading), heading

    def curvature(self, s: float) -> float:
        """Curvature in 1/m, positive to the left."""
        return float(self.curvatures[min(max(round(s / self.step_m), 0), len(self.curvatures) - 1)])

    def limit_mps(self, s: float) -> float:
        """Highest speed at `s` from which every curve ahead can be taken comfortably."""
        if self._limits is None:
            self._limits = self._speed_limits()
        return self._limits[min(max(int(s / self.step_m), 0), len(self._limits) - 1)]

    def _speed_limits(self) -> list[float]:
        limits = np.sqrt(LATERAL_MPS2 / np.maximum(np.abs(self.curvatures), 1e-4)).tolist()
        for i in range(len(limits) - 2, -1, -1):
            limits[i] = min(limits[i], (limits[i + 1] ** 2 + 2 * SLOWING_MPS2 * self.step_m) ** 0.5)
        return [float(limit) for limit in limits]

    def project(self, x: float, y: float) -> tuple[float, float]:
        """(s, d) of the closest place to a world point."""
        i = int(((self.points - (x, y)) ** 2).sum(axis=1).argmin())
        px, py, h = self._rows[i]
        dx, dy = x - px, y - py
        return i * self.step_m + cos(h) * dx + sin(h) * dy, -sin(h) * dx + cos(h) * dy

    def project_near(self, x: float, y: float, s: float, reach_m: float = 12.0) -> tuple[float, float]:
        """(s, d) of the closest place not further than `reach_m` from `s`: paths may pass the same place twice."""
        first = min(max(int((s - reach_m) / self.step_m), 0), len(self.points) - 2)
        window = self.points[first : first + 2 + int(2 * reach_m / self.step_m)]
        i = first + int(((window - (x, y)) ** 2).sum(axis=1).argmin())
        px, py, h = self._rows[i]
        dx, dy = x - px, y - py
        return i * self.step_m + cos(h) * dx + sin(h) * dy, -sin(h) * dx + cos(h) * dy

    def see(
        self, s: float, reach_m: float, places: Float[Array, "n 2"]
    ) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
        """(s, d, heading of the path there) of several world points, looking from `s` to `s + reach_m` only."""
        first = min(max(int(s / self.step_m), 0), len(self.points) - 2)
        last = max(first + 2, min(int((s + reach_m) / self.step_m), len(self.points)))
        window = slice(first, last, 2)
        points, headings = self.points[window], self.headings[window]
        nearest = ((places[:, None] - points[None]) ** 2).sum(axis=-1).argmin(axis=1)
        h = headings[nearest]
        offset = places - points[nearest]
        along = np.cos(h) * offset[:, 0] + np.sin(h) * offset[:, 1]
        left = -np.sin(h) * offset[:, 0] + np.cos(h) * offset[:, 1]
        return (first + 2 * nearest) * self.step_m + along, left, h


def heading_of(vector: Sequence[float]) -> float:
    """Direction of a planar vector, radians."""
    return atan2(vector[1], vector[0])
