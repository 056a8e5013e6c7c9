"""What stands along the roads: houses, trees and lamps, never on a lane; and the light of a scene."""

from collections.abc import Sequence
from math import asin, atan2, cos, pi, sin

import numpy as np

from worldmodel.town.roads.roadmap import SHOULDER_M, RoadMap
from worldmodel.town.scene import WEATHERS, Building, Lane, Light, Prop, Stage
from worldmodel.town.setting.plots import PAVEMENT_M, Plots, beside
from worldmodel.town.setting.roadside import Place, garden, rails, seats, signs

LATITUDE_RAD = np.radians(47.0)
DECLINATION_RAD = np.radians(15.0)
DAY_SHARE, DUSK_SHARE = 0.70, 0.15  # of the hours; the rest is night
WEATHER_SHARES = {"clear": 0.45, "overcast": 0.2, "fog": 0.08, "rain": 0.1, "wet": 0.08, "snow": 0.09}


def build_stage(road: RoadMap, rng: np.random.Generator, works: Sequence[Place] = ()) -> Stage:
    """Everything that never moves.

    Args:
        road: With what has to stand along it.
        rng: Everything is drawn from it.
        works: Where road works begin (x, y, driving direction); a sign warns of them.
    """
    plots = Plots(road.lanes)
    buildings = [_hiding(piece, plots, rng) for piece in road.hides]
    props: list[Prop] = []
    rural = road.rural
    outer = [lane for lane in road.lanes if (lane.width_m == SHOULDER_M if rural else lane.right_line == "edge")]
    kerbs = [lane for lane in outer if len(lane.centre) > 12]
    props += signs(road, plots, works)
    for lane in kerbs:
        if not rural or rng.random() < 0.6:
            houses, gardens = _houses(lane, plots, rng, rural)
            buildings += houses
            props += gardens
    for lane in kerbs:
        if not rural:
            props += seats(lane, plots, rng)
        props += _lamps(lane, plots, rng, rural) + _trees(lane, plots, rng, rural)
    if rural:
        for lane in road.lanes:
            props += rails(lane, plots, left=False) if lane.width_m == SHOULDER_M else []
            props += rails(lane, plots, left=True) if lane.left_line == "solid" else []
    return Stage(
        lanes=road.lanes,
        buildings=tuple(buildings),
        props=tuple(props),
        crosswalks=road.crosswalks,
        stop_lines=road.stop_lines,
        signals=road.signals,
    )


def _hiding(piece: tuple[float, float, float, float, float], plots: Plots, rng: np.random.Generator) -> Building:
    """A house that has to stand where it stands."""
    x, y, yaw, length, width = piece
    plots.boxes.append((x, y, yaw, length / 2, width / 2))
    height, style = float(rng.uniform(6.0, 10.0)), int(rng.integers(0, 2**31))
    return Building(x_m=x, y_m=y, yaw_rad=yaw, length_m=length, width_m=width, height_m=height, style=style)


def _houses(lane: Lane, plots: Plots, rng: np.random.Generator, rural: bool) -> tuple[list[Building], list[Prop]]:
    found: list[Building] = []
    gardens: list[Prop] = []
    place, setback = float(rng.uniform(0, 6)), float(rng.uniform(5.5, 9.5))
    dense = float(rng.uniform(0.3, 3.5)) if not rural else 60.0
    while place < len(lane.centre) - 4:
        length, width = float(rng.uniform(8, 19)), float(rng.uniform(8, 12))
        height = float(rng.choice([3.2, 3.0, 2.9])) * int(rng.integers(2, 6)) + float(rng.uniform(0.2, 1.2))
        back = float(np.clip(setback + rng.normal(0, 0.7), 5.0, 13.0)) if not rural else float(rng.uniform(25, 60))
        x, y, heading = beside(lane, round(place + length / 2), back + width / 2)
        style = int(rng.integers(0, 2**31))
        free = plots.road_distance(x, y, heading, length / 2, width / 2) > PAVEMENT_M + 1.2
        if free and not plots.taken(x, y, heading, length / 2, width / 2, 0.25):
            plots.boxes.append((x, y, heading, length / 2, width / 2))
            house = Building(
                x_m=x, y_m=y, yaw_rad=heading, length_m=length, width_m=width, height_m=height, style=style
            )
            found.append(house)
            gardens += garden(house, back - PAVEMENT_M, plots, rng) if not rural else []
            place += length
        else:
            place += 3.0
        place += float(rng.exponential(dense)) if rng.random() < 0.85 else float(rng.uniform(8, 22))
    return found, gardens


def _lamps(lane: Lane, plots: Plots, rng: np.random.Generator, rural: bool) -> list[Prop]:
    every = 45.0 if rural else float(rng.uniform(22, 32))
    style = int(rng.integers(0, 4))
    off = PAVEMENT_M + 0.2
    found = []
    for place in np.arange(float(rng.uniform(3, every)), len(lane.centre) - 2, every):
        x, y, _ = beside(lane, round(float(place)), off)
        free = plots.road_distance(x, y, 0.0, 0.1, 0.1) > PAVEMENT_M - 0.2
        if free and not plots.taken(x, y, 0.0, 0.2, 0.2, 0.3):
            found.append(
                Prop(kind="lamp", x_m=x, y_m=y, height_m=6.5 if not rural else 9.0, radius_m=0.09, style=style)
            )
    return found


def _trees(lane: Lane, plots: Plots, rng: np.random.Generator, rural: bool) -> list[Prop]:
    found = []
    place, sparse = float(rng.uniform(0, 10)), float(rng.uniform(2, 7) if rural else rng.uniform(4, 16))
    while place < len(lane.centre) - 2:
        radius, height = float(rng.uniform(1.1, 2.3)), float(rng.uniform(4.5, 9.0))
        off = 4.0 + float(rng.exponential(7.0)) if rural else PAVEMENT_M + radius + float(rng.uniform(0.1, 1.6))
        x, y, _ = beside(lane, round(place), off)
        free = plots.road_distance(x, y, 0.0, 0.1, 0.1) > PAVEMENT_M + 0.6 * radius
        if free and not plots.taken(x, y, 0.0, radius * 0.8, radius * 0.8, 0.2):
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
    """Light of all hours and weathers: day in 70 % of scenes, dawn, dusk or night in 15 % each; mostly clear."""
    part, share = rng.random(), rng.random()
    if part < DAY_SHARE:
        hour = 7.0 + 10.5 * share
    elif part < DAY_SHARE + DUSK_SHARE:
        hour = 4.7 + 2 * share if share < 0.5 else 17.3 + 2 * share  # the sun within ten degrees of the horizon
    else:
        hour = (20.0 + 8.0 * share) % 24.0
    weather = str(rng.choice(WEATHERS, p=[WEATHER_SHARES[name] for name in WEATHERS]))
    azimuth, elevation = sun_at(hour)
    return Light(sun_azimuth_rad=azimuth, sun_elevation_rad=elevation, weather=weather, hour=hour)


def light_at(light: Light, weather: str, hour: float) -> Light:
    """The light of another weather and hour; the sun moves as the hour says."""
    del light
    azimuth, elevation = sun_at(hour)
    return Light(sun_azimuth_rad=azimuth, sun_elevation_rad=elevation, weather=weather, hour=hour)
