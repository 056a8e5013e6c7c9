"""What stands beside the roads besides houses, lamps and trees: signs that tell the truth, guard rails, gardens, benches."""

from collections.abc import Sequence
from math import cos, hypot, pi, sin

import numpy as np

from worldmodel.town.looks.signs import SIGN_NUMBERS
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.scene import Building, Lane, Prop
from worldmodel.town.setting.plots import PAVEMENT_M, Plots, beside

Place = tuple[float, float, float]  # x, y, yaw
RAIL_M = 16.0  # length of one piece
SIGN_GAP_M = 0.55  # from the kerb to a sign's post
SIGNALLED_M = 14.0  # a crosswalk this close to a traffic light is not signposted
WARN_M = 25.0  # how far before road works or a bend their sign stands
URBAN_LIMIT, RURAL_LIMIT = "limit_50", "limit_100"  # nobody's wish is above them


def signs(road: RoadMap, plots: Plots, works: Sequence[Place] = ()) -> list[Prop]:
    """All traffic signs of a road; each stands to the right of those whom it is for.

    Args:
        works: Where road works begin, with the driving direction there.
    """
    ego = road.routes["ego"]
    wanted: list[tuple[str, Place]] = [(RURAL_LIMIT if road.rural else URBAN_LIMIT, ego.at(road.start_s + 14.0))]
    if road.parking:
        wanted.append(("parking", ego.at(road.start_s + 30.0)))
    if road.hidden_s is not None:
        wanted.append(("bend", ego.at(road.hidden_s[0] - WARN_M)))
    for name, path in road.routes.items():
        wanted += _gate_signs(road, name, path)
    wanted += [("works", (x - WARN_M * cos(yaw), y - WARN_M * sin(yaw), yaw)) for x, y, yaw in works]
    found: list[Prop] = []
    for name, place in wanted:
        _add_sign(found, SIGN_NUMBERS[name], place, road, plots)
    return found


def _gate_signs(road: RoadMap, name: str, path: Path) -> list[tuple[str, Place]]:
    """What those on one route are told where they may have to wait, or that they go first."""
    gates = road.gates.get(name, ())
    found = []
    ring = road.core is not None and road.manoeuvre.startswith("exit ")
    for gate in gates:
        if gate.kind == "yield":
            found.append(("give_way", path.at(gate.s_m)))
            if ring:
                found.append(("roundabout", path.at(gate.s_m - 14.0)))
        elif gate.kind == "stop" or (gate.kind == "crosswalk" and not _signalled(road, path.at(gate.s_m))):
            found.append((gate.kind, path.at(gate.s_m)))
    ruled = any(gate.kind in ("yield", "stop") for other in road.gates.values() for gate in other)
    free = not any(gate.kind in ("yield", "stop", "signal") for gate in gates)
    if road.core is not None and ruled and free and not ring and name[:1].isdigit():
        x, y, radius = road.core
        s, d = path.project(x, y)
        if abs(d) < radius:
            found.append(("priority", path.at(s - radius - 12.0)))
    return found


def _signalled(road: RoadMap, place: Place) -> bool:
    """Whether a traffic light stands there, which needs no sign and must not be hidden by one."""
    return any(hypot(signal.x_m - place[0], signal.y_m - place[1]) < SIGNALLED_M for signal in road.signals)


def _add_sign(found: list[Prop], number: int, place: Place, road: RoadMap, plots: Plots) -> None:
    x, y, yaw = place
    width_m = road.width_m
    for sign in found:
        same = sign.style == number and cos(sign.yaw_rad - pi - yaw) > 0.7
        if same and hypot(sign.x_m - x, sign.y_m - y) < width_m + 5.0:
            return  # several routes pass here
    for extra in np.arange(0.0, 18.0 if road.rural else 9.0, 0.5):
        off = width_m / 2 + SIGN_GAP_M + float(extra)
        px, py = x + off * sin(yaw), y - off * cos(yaw)
        crowded = any(hypot(sign.x_m - px, sign.y_m - py) < 0.8 for sign in found)
        if plots.road_distance(px, py, 0.0, 0.05, 0.05) > 0.35 and not crowded:
            if not plots.taken(px, py, 0.0, 0.1, 0.1, 0.3):
                found.append(
                    Prop(kind="sign", x_m=px, y_m=py, height_m=2.7, radius_m=0.45, style=number, yaw_rad=yaw + pi)
                )
            return


def rails(lane: Lane, plots: Plots, *, left: bool) -> list[Prop]:
    """Guard rails along one side of a lane, wherever they stand clear of every lane."""
    found = []
    for place in np.arange(RAIL_M / 2, len(lane.centre) - RAIL_M / 2, RAIL_M):
        x, y, heading = beside(lane, round(float(place)), -lane.width_m - 0.6 if left else 0.6)
        if plots.road_distance(x, y, heading, RAIL_M / 2, 0.05) > 0.25:
            found.append(Prop(kind="rail", x_m=x, y_m=y, height_m=0.8, radius_m=RAIL_M / 2, style=0, yaw_rad=heading))
    return found


def garden(house: Building, front_m: float, plots: Plots, rng: np.random.Generator) -> list[Prop]:
    """A hedge, fence or wall with a gap in front of a house, and bushes behind it.

    Args:
        front_m: From the house's front, which lies to its left, to the pavement.
    """
    kind = str(rng.choice(["hedge", "fence", "wall", ""]))
    height, style = float(rng.uniform(0.7, 1.2)), int(rng.integers(0, 1000))
    spots = rng.uniform(-0.45, 0.45, 2)
    if front_m < 1.0 or not kind:
        return []
    half, found = (house.length_m - 1.6) / 4, []
    for side in (1, -1):
        x, y = _before(house, side * (0.8 + half), front_m - 0.4)
        if _free(plots, x, y, house.yaw_rad, half, 0.4):
            found.append(
                Prop(kind=kind, x_m=x, y_m=y, height_m=height, radius_m=half, style=style, yaw_rad=house.yaw_rad)
            )
    for number, spot in enumerate(spots):
        x, y = _before(house, float(spot) * house.length_m, 0.5 * (front_m - 0.4))
        radius = min(0.7, 0.3 * front_m)
        if _free(plots, x, y, 0.0, radius, radius):
            found.append(Prop(kind="bush", x_m=x, y_m=y, height_m=1.5 * radius, radius_m=radius, style=style + number))
    return found


def _before(house: Building, along: float, out: float) -> tuple[float, float]:
    left = house.width_m / 2 + out
    cos_, sin_ = cos(house.yaw_rad), sin(house.yaw_rad)
    return house.x_m + cos_ * along - sin_ * left, house.y_m + sin_ * along + cos_ * left


def _free(plots: Plots, x: float, y: float, yaw: float, half_l: float, half_w: float) -> bool:
    clear = plots.road_distance(x, y, yaw, half_l, half_w) > PAVEMENT_M - 0.35
    return clear and not plots.taken(x, y, yaw, half_l, half_w, 0.05)


def seats(lane: Lane, plots: Plots, rng: np.random.Generator) -> list[Prop]:
    """Benches and bins along the back of a pavement, and at times a bus shelter."""
    found = []
    place = float(rng.uniform(5, 40))
    while place < len(lane.centre) - 4:
        kind = str(rng.choice(["bench", "bin", "shelter"], p=[0.5, 0.35, 0.15]))
        half, back, height = {"bench": (0.8, 2.75, 0.9), "bin": (0.25, 2.7, 0.9), "shelter": (1.7, 3.7, 2.4)}[kind]
        x, y, heading = beside(lane, round(place), back)
        style = int(rng.integers(0, 10))
        if plots.road_distance(x, y, heading, half, 0.3) > 2.2 and not plots.taken(x, y, heading, half, 0.9, 0.1):
            found.append(
                Prop(kind=kind, x_m=x, y_m=y, height_m=height, radius_m=half, style=style, yaw_rad=heading + pi / 2)
            )
            plots.boxes.append((x, y, heading, half, 0.4))
        place += 18.0 + float(rng.exponential(22.0))
    return found
