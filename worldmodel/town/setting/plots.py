"""Where along the roads something may stand: never on a lane or its pavement, never in a house."""

from math import atan2, cos, sin

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array
from worldmodel.town.scene import Lane

PAVEMENT_M = 3.0


class Plots:
    """Which places are free: nothing may come closer to a lane's edge than the pavement is wide."""

    def __init__(self, lanes: tuple[Lane, ...]) -> None:
        self.points = np.concatenate([lane.centre for lane in lanes])
        self.halves = np.concatenate([np.full(len(lane.centre), lane.width_m / 2) for lane in lanes])
        self.boxes: list[tuple[float, float, float, float, float]] = []  # x, y, yaw, half length, half width

    def road_distance(self, x: float, y: float, yaw: float, half_l: float, half_w: float) -> float:
        """Metres from a rectangle to the nearest edge of a lane; negative when it stands on one."""
        near = np.abs(self.points - (x, y)).max(axis=1) < half_l + half_w + 25.0
        if not near.any():
            return 25.0
        dx, dy = (self.points[near] - (x, y)).T
        along = np.maximum(np.abs(cos(yaw) * dx + sin(yaw) * dy) - half_l, 0.0)
        across = np.maximum(np.abs(-sin(yaw) * dx + cos(yaw) * dy) - half_w, 0.0)
        return float((np.hypot(along, across) - self.halves[near]).min())

    def taken(self, x: float, y: float, yaw: float, half_l: float, half_w: float, gap: float) -> bool:
        """Whether a rectangle comes closer than `gap` to a house."""
        corners = rectangle(x, y, yaw, half_l, half_w)
        for bx, by, byaw, bl, bw in self.boxes:
            if (bx - x) ** 2 + (by - y) ** 2 > (bl + bw + half_l + half_w + gap) ** 2:
                continue
            if _inside(corners, bx, by, byaw, bl + gap, bw + gap):
                return True
            if _inside(rectangle(bx, by, byaw, bl, bw), x, y, yaw, half_l + gap, half_w + gap):
                return True
        return False


def rectangle(x: float, y: float, yaw: float, half_l: float, half_w: float) -> Float[Array, "n 2"]:
    """Corners, middles of the sides and centre of a rectangle."""
    u = np.array([1, 1, -1, -1, 1, -1, 0, 0, 0]) * half_l
    v = np.array([1, -1, -1, 1, 0, 0, 1, -1, 0]) * half_w
    return np.stack([x + cos(yaw) * u - sin(yaw) * v, y + sin(yaw) * u + cos(yaw) * v], axis=-1)


def _inside(points: Array, x: float, y: float, yaw: float, half_l: float, half_w: float) -> bool:
    dx, dy = (points - (x, y)).T
    inside = (np.abs(cos(yaw) * dx + sin(yaw) * dy) < half_l) & (np.abs(-sin(yaw) * dx + cos(yaw) * dy) < half_w)
    return bool(inside.any())


def beside(lane: Lane, index: int, right_m: float) -> tuple[float, float, float]:
    """World place `right_m` metres to the right of the lane's right edge, and the lane's heading there."""
    i = min(max(index, 1), len(lane.centre) - 2)
    slope = lane.centre[i + 1] - lane.centre[i - 1]
    heading = atan2(slope[1], slope[0])
    off = lane.width_m / 2 + right_m
    x, y = lane.centre[i] + off * np.array([sin(heading), -cos(heading)])
    return float(x), float(y), heading
