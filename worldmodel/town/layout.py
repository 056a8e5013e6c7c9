"""What stands along the roads: houses, trees and lamps, never on a lane; and the light of a scene."""

from math import asin, atan2, cos, pi, sin

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array
from worldmodel.town.roads import SHOULDER_M, RoadMap
from worldmodel.town.scene import Building, Lane, Light, Prop, Stage

PAVEMENT_M = 3.0
LATITUDE_RAD = np.radians(47.0)
DECLINATION_RAD = np.radians(15.0)


class Ground:
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


def build_stage(road: RoadMap, rng: np.random.Generator) -> Stage:
    """Everything that never moves."""
    ground = Ground(road.lanes)
    buildings = [_hiding(piece, ground, rng) for piece in road.hides]
    props: list[Prop] = []
    rural = road.rural
    outer = [lane for lane in road.lanes if (lane.width_m == SHOULDER_M if rural else lane.right_line == "edge")]
    kerbs = [lane for lane in outer if len(lane.centre) > 12]
    for lane in kerbs:
        if not rural or rng.random() < 0.6:
            buildings += _houses(lane, ground, rng, rural)
    for lane in kerbs:
        props += _lamps(lane, ground, rng, rural) + _trees(lane, ground, rng, rural)
    return Stage(
        lanes=road.lanes,
        buildings=tuple(buildings),
        props=tuple(props),
        crosswalks=road.crosswalks,
        stop_lines=road.stop_lines,
        signals=road.signals,
    )


def _hiding(piece: tuple[float, float, float, float, float], ground: Ground, rng: np.random.Generator) -> Building:
    """A house that has to stand where it stands."""
    x, y, yaw, length, width = piece
    ground.boxes.append((x, y, yaw, length / 2, width / 2))
    height, style = float(rng.uniform(6.0, 10.0)), int(rng.integers(0, 2**31))
    return Building(x_m=x, y_m=y, yaw_rad=yaw, length_m=length, width_m=width, height_m=height, style=style)


def _beside(lane: Lane, index: int, right_m: float) -> tuple[float, float, float]:
    """World place `right_m` metres to the right of the lane's right edge, and the lane's heading there."""
    i = min(max(index, 1), len(lane.centre) - 2)
    slope = lane.centre[i + 1] - lane.centre[i - 1]
    heading = atan2(slope[1], slope[0])
    off = lane.width_m / 2 + right_m
    x, y = lane.centre[i] + off * np.array([sin(heading), -cos(heading)])
    return float(x), float(y), heading


def _houses(lane: Lane, ground: Ground, rng: np.random.Generator, rural: bool) -> list[Building]:
    found = []
    place, setback = float(rng.uniform(0, 6)), float(rng.uniform(5.5, 9.5))
    dense = float(rng.uniform(0.3, 3.5)) if not rural else 60.0
    while place < len(lane.centre) - 4:
        length, width = float(rng.uniform(8, 19)), float(rng.uniform(8, 12))
        height = float(rng.choice([3.2, 3.0, 2.9])) * int(rng.integers(2, 6)) + float(rng.uniform(0.2, 1.2))
        back = float(np.clip(setback + rng.normal(0, 0.7), 5.0, 13.0)) if not rural else float(rng.uniform(25, 60))
        x, y, heading = _beside(lane, round(place + length / 2), back + width / 2)
        style = int(rng.integers(0, 2**31))
        free = ground.road_distance(x, y, heading, length / 2, width / 2) > PAVEMENT_M + 1.2
        if free and not ground.taken(x, y, heading, length / 2, width / 2, 0.25):
            ground.boxes.append((x, y, heading, length / 2, width / 2))
            found.append(
                Building(x_m=x, y_m=y, yaw_rad=heading, length_m=length, width_m=width, height_m=height, style=style)
            )
            place += length
        else:
            place += 3.0
        place += float(rng.exponential(dense)) if rng.random() < 0.85 else float(rng.uniform(8, 22))
    return found


def _lamps(lane: Lane, ground: Ground, rng: np.random.Generator, rural: bool) -> list[Prop]:
    every = 45.0 if rural else float(rng.uniform(22, 32))
    style = int(rng.integers(0, 4))
    off = PAVEMENT_M + 0.2
    found = []
    for place in np.arange(float(rng.uniform(3, every)), len(lane.centre) - 2, every):
        x, y, _ = _beside(lane, round(float(place)), off)
        free = ground.road_distance(x, y, 0.0, 0.1, 0.1) > PAVEMENT_M - 0.2
        if free and not ground.taken(x, y, 0.0, 0.2, 0.2, 0.3):
            found.append(
                Prop(kind="lamp", x_m=x, y_m=y, height_m=6.5 if not rural else 9.0, radius_m=0.09, style=style)
            )
    return found


def _trees(lane: Lane, ground: Ground, rng: np.random.Generator, rural: bool) -> list[Prop]:
    found = []
    place, sparse = float(rng.uniform(0, 10)), float(rng.uniform(2, 7) if rural else rng.uniform(4, 16))
    while place < len(lane.centre) - 2:
        radius, height = float(rng.uniform(1.1, 2.3)), float(rng.uniform(4.5, 9.0))
        off = 4.0 + float(rng.exponential(7.0)) if rural else PAVEMENT_M + radius + float(rng.uniform(0.1, 1.6))
        x, y, _ = _beside(lane, round(place), off)
        free = ground.road_distance(x, y, 0.0, 0.1, 0.1) > PAVEMENT_M + 0.6 * radius
        if free and not ground.taken(x, y, 0.0, radius * 0.8, radius * 0.8, 0.2):
            style = int(rng.integers(0, 2**31))
            found.append(Prop(kind="tree", x_m=x, y_m=y, height_m=height, radius_m=radius, style=style))
        place += 2.0 + float(rng.exponential(sparse))
    return found


def sun_at(hour: float) -> tuple[float, float]:
    """Azimuth (counter-clockwise from east) and elevation of the sun on a spring day, radians."""
    turn = (hour - 12.0) / 12.0 * pi
    elevation = asin(sin(LATITUDE_RAD) * sin(DECLINATION_RAD) + cos(LATITUDE_RAD) * cos(DECLINATION_RAD) * cos(turn))
    east = -cos(DECLINATION_RAD) * sin(turn)
    north = cos(LATITUDE_RAD) * sin(DECLINATION_RAD) - sin(LATITUDE_RAD) * cos(DECLINATION_RAD) * cos(turn)
    return atan2(north, east), elevation


def draw_light(rng: np.random.Generator) -> Light:
    """Daytime light: mostly clear, at times overcast or foggy."""
    hour = float(rng.uniform(7.0, 18.5))
    weather = str(rng.choice(["clear", "overcast", "fog"], p=[0.62, 0.28, 0.10]))
    azimuth, elevation = sun_at(hour)
    return Light(sun_azimuth_rad=azimuth, sun_elevation_rad=elevation, weather=weather, hour=hour)


def light_at(light: Light, weather: str, hour: float) -> Light:
    """The light of another weather and hour; the sun moves as the hour says."""
    del light
    azimuth, elevation = sun_at(hour)
    return Light(sun_azimuth_rad=azimuth, sun_elevation_rad=elevation, weather=weather, hour=hour)
