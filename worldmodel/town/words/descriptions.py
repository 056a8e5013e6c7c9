"""Descriptions: one to three sentences about what a frame shows."""

from math import sin

import numpy as np

from worldmodel.town.scene import LEFT, RIGHT, SIGNAL_NAMES, Light, Scene
from worldmodel.town.situations import generator
from worldmodel.town.words.colors import color_name
from worldmodel.town.words.neighbours import STILL_MPS, THINGS, Neighbour
from worldmodel.town.words.nouns import a, listed, noun, number, plural
from worldmodel.town.words.surroundings import Surroundings

ROADS: dict[str, str] = {
    "street": "a street with one lane each way",
    "curvy": "a winding road with one lane each way",
    "crossing": "a street with one lane each way",
    "blind_bend": "a narrow road between houses",
    "two_lanes": "a road with two lanes each way",
    "block": "a street around a block of houses",
}
MOTORWAYS: dict[str, str] = {"highway": "", "merge": " near a slip road", "exit": " near an exit"}
CROSSINGS: dict[str, str] = {
    "intersection": "a crossing without traffic lights",
    "signals": "a crossing with traffic lights",
    "roundabout": "a roundabout",
}
WEATHER: dict[str, str] = {
    "clear": "clear",
    "overcast": "overcast",
    "fog": "foggy",
    "rain": "rainy",
    "wet": "wet",
    "snow": "snowy",
}
TELLS = 4  # at most this many of those around are told of
COLOR_SIGHT_M = 30.0
INSIDE_M = 26.0  # a crossing is about this long
BEND_RAD = 0.45


def describe(scene: Scene, frame: int = 0) -> str:
    """One to three sentences: road, weather and time of day; what the ego does; who is around and can be seen.

    Args:
        frame: Of the scene, from 0.
    """
    around = Surroundings(scene)
    return " ".join(part for part in (_place(around, frame), _ego(scene, frame), _others(around, frame)) if part)


# -- where and when -----------------------------------------------------------------------------------------------


def _place(around: Surroundings, frame: int) -> str:
    scene = around.scene
    when = a(f"{WEATHER.get(scene.light.weather, scene.light.weather)} {time_of_day(scene.light)}")
    road = _road(around, frame)
    if generator(scene.situation, scene.seed, "description").random() < 0.5:
        return f"It is {when}, and we are on {road}."
    return f"On {when}, we are on {road}."


def time_of_day(light: Light) -> str:
    """'early morning', 'morning', 'day', 'afternoon', 'evening' or 'night', by the sun and the clock."""
    if light.sun_elevation_rad < -0.10:
        return "night"
    if light.sun_elevation_rad < 0.05:
        return "early morning" if light.hour < 12 else "evening"
    if light.hour < 11.0:
        return "morning"
    return "day" if light.hour < 14.0 else "afternoon" if light.hour < 17.5 else "evening"


def _road(around: Surroundings, frame: int) -> str:
    road = around.road
    if road in CROSSINGS and around.branches:
        s, places = around.ego_place(frame)[0], [branch.s_m for branch in around.branches]
        if s < places[0]:
            return f"a street towards {CROSSINGS[road]}"
        return CROSSINGS[road] if s < places[-1] + INSIDE_M else f"a street behind {CROSSINGS[road]}"
    if road in MOTORWAYS:
        lanes = around.lanes_our_way(frame)
        ours = f"a motorway with {number(lanes)} lanes on our side"
        return f"{ours}{MOTORWAYS[road]}" if lanes > 1 else "a slip road"
    return ROADS.get(road, "a road")


def _ahead(around: Surroundings, frame: int) -> list[str]:
    """Clauses about a traffic light, a zebra crossing or a bend ahead, where there is one."""
    scene, light = around.scene, _light(around, frame)
    found = [light] if light else []
    mine = around.ego_place(frame)[0]
    for zebra in scene.stage.crosswalks:
        s, d, _ = around.on_route(np.array([zebra.x_m, zebra.y_m]), mine)
        if 4.0 < s - mine < 0.7 * around.sight_m and abs(d) < zebra.width_m / 2:
            found.append("a zebra crossing lies ahead")
            break
    bend = _bend(around, frame)
    if bend and around.road not in CROSSINGS and around.road != "block":
        found.append(bend)
    return found


def _bend(around: Surroundings, frame: int) -> str:
    for reach in (15.0, 25.0, 35.0):
        turned = around.turned_rad(frame, 4.0, reach)
        if abs(turned) > BEND_RAD:
            return f"a bend to the {'left' if turned > 0 else 'right'} lies ahead"
    return ""


# -- what the ego does --------------------------------------------------------------------------------------------


def _ego(scene: Scene, frame: int) -> str:
    speed = float(scene.ego_speeds_mps[frame])
    side = {LEFT: "left", RIGHT: "right"}.get(int(scene.ego_indicators[frame]), "")
    if speed < STILL_MPS:
        return "Our car stands still" + (f" and indicates {side}." if side else ".")
    pace = f"Our car drives at about {max(5, 5 * round(speed * 3.6 / 5))} km/h"
    doing = [f"indicates {side}"] * bool(side) + ["brakes"] * bool(scene.ego_braking[frame])
    return f"{listed([pace, *doing])}."


# -- who is around ------------------------------------------------------------------------------------------------

Telling = tuple[str, str, str, str]  # noun with colour, noun, verb of one, the rest of the clause


def _others(around: Surroundings, frame: int) -> str:
    seen = around.seen(frame)
    front_first = sorted(seen, key=lambda one: (one.x_m < 0, one.gap_m))
    told = [telling for one in front_first if (telling := _telling(around, one, frame)) is not None][:TELLS]
    works = any(one.track in around.works and one.x_m > 0 for one in seen)
    clauses = _ahead(around, frame) + ["road works take a part of our lane"] * works + _grouped(told)
    if clauses:
        text = listed(clauses)
        return f"{text[0].upper()}{text[1:]}."
    return "" if seen else "Nobody else is near."


def _grouped(told: list[Telling]) -> list[str]:
    """Clauses, with those who do the same in one: 'two cars come towards us'."""
    groups: dict[tuple[str, str], list[Telling]] = {}
    for telling in told:
        groups.setdefault((telling[2], telling[3]), []).append(telling)
    clauses = []
    for (verb, rest), members in groups.items():
        if len(members) == 1:
            clauses.append(f"{a(members[0][0])} {verb} {rest}")
            continue
        names = [name for _, name, _, _ in members]
        counted = [
            a(name) if names.count(name) == 1 else f"{number(names.count(name))} {plural(name)}"
            for name in dict.fromkeys(names)
        ]
        clauses.append(f"{listed(counted)} {_of_many(verb)} {rest}")
    return clauses


def _of_many(verb: str) -> str:
    return {"is": "are", "is parked": "are parked"}.get(verb, verb.removesuffix("s"))


def _telling(around: Surroundings, one: Neighbour, frame: int) -> Telling | None:
    """What there is to tell about somebody; None where it is nothing."""
    if one.track in around.works:
        return None
    clause = _clause(one, around.lane_place(frame).width_m / 2)
    if clause is None:
        return None
    name = noun(one.kind)
    return f"{visible_color(around, one)} {name}".strip(), name, *clause


def _clause(one: Neighbour, edge_m: float) -> tuple[str, str] | None:
    own, side = abs(one.side_m) < edge_m, "left" if one.side_m > 0 else "right"
    reaches_in = abs(one.side_m) - one.half_m < edge_m - 0.3
    if one.kind in THINGS or one.kind == "pedestrian" or one.parked:
        if one.x_m < 0:
            return None
        if one.parked:
            return "is parked", "in our lane" if own else "partly in our lane" if reaches_in else f"on the {side}"
        verb = "walks" if one.moves else "stands"
        if one.kind == "pedestrian":
            return verb, "on the road ahead" if own else f"on the {side}"
        return verb, "in our lane" if reaches_in else f"on the {side} of our lane"
    if abs(sin(one.heading_rad)) > 0.7:
        if one.x_m < 0:
            return None
        return ("comes", f"from the {side}") if one.moves and one.sideways_mps * one.side_m < 0 else None
    if one.oncoming:
        return ("comes", "towards us") if one.moves and one.along_m > 0 else None
    if own:
        return "drives" if one.moves else "stands", "ahead of us" if one.along_m > 0 else "behind us"
    if one.along_m == 0:
        return "is", f"beside us on the {side}"
    return ("drives", f"ahead on the {side}") if one.along_m > 0 and one.moves and abs(one.side_m) < 6.0 else None


def _light(around: Surroundings, frame: int) -> str:
    mine = around.signals_ahead(frame)
    return f"the traffic light ahead is {SIGNAL_NAMES[around.scene.signal_states[frame, mine[0]]]}" if mine else ""


def visible_color(around: Surroundings, one: Neighbour) -> str:
    """The colour of a vehicle's paint; '' where it is ambiguous, too far off, or too dark to tell."""
    dark = around.scene.light.sun_elevation_rad < 0.0
    far = one.gap_m > min(COLOR_SIGHT_M, around.sight_m / 2)
    if dark or far or one.kind not in ("car", "van", "truck", "bus"):
        return ""
    return color_name(around.scene.bodies[one.index].color_rgb) or ""
