"""Descriptions: one to three sentences about what a frame shows."""

from worldmodel.town.colors import color_name
from worldmodel.town.hints import a, noun
from worldmodel.town.scene import LEFT, RIGHT, Light, Scene
from worldmodel.town.situations import SITUATIONS
from worldmodel.town.surroundings import STILL_MPS, Neighbour, Surroundings

ROADS: dict[str, str] = {
    "street": "a street with one lane each way",
    "curvy": "a winding road with one lane each way",
    "crossing": "a street with a zebra crossing",
    "blind_bend": "a road towards a tight bend",
    "two_lanes": "a road with two lanes each way",
    "highway": "a motorway with three lanes each way",
    "merge": "a slip road that joins a motorway",
    "exit": "a motorway with an exit ahead",
    "intersection": "a street near a crossing without traffic lights",
    "signals": "a street near a crossing with traffic lights",
    "roundabout": "a road at a roundabout",
    "block": "a street around a block of houses",
}
WEATHER: dict[str, str] = {
    "clear": "in clear weather",
    "overcast": "under a grey sky",
    "fog": "in fog",
    "rain": "in the rain",
    "wet": "on wet asphalt",
    "snow": "in the snow",
}
TELLS = 3  # at most this many of those around are told of
COLOR_SIGHT_M = 30.0


def describe(scene: Scene, frame: int = 0) -> str:
    """One to three sentences: road, weather and time of day; what the ego does; who is around and can be seen."""
    around = Surroundings(scene)
    return " ".join(part for part in (_place(scene), _ego(scene, frame), _others(around, frame)) if part)


def _place(scene: Scene) -> str:
    config = SITUATIONS.get(scene.situation)
    road = ROADS.get(config.road if config is not None else "", "a road")
    weather = WEATHER.get(scene.light.weather, f"in {scene.light.weather}")
    return f"We are on {road}, {weather}, {time_of_day(scene.light)}."


def time_of_day(light: Light) -> str:
    """'in the morning', 'at noon', 'in the afternoon', 'in the evening', 'at dusk' or 'at night'."""
    if light.sun_elevation_rad < -0.10:
        return "at night"
    if light.sun_elevation_rad < 0.05:
        return "at dawn" if light.hour < 12 else "at dusk"
    if light.hour < 11:
        return "in the morning"
    return "around noon" if light.hour < 14 else "in the afternoon" if light.hour < 17.5 else "in the evening"


def _ego(scene: Scene, frame: int) -> str:
    speed = float(scene.ego_speeds_mps[frame])
    if speed < STILL_MPS:
        return "Our car stands."
    pace = f"at about {max(5, 5 * round(speed * 3.6 / 5))} km/h"
    if scene.ego_braking[frame]:
        return f"Our car drives {pace} and brakes."
    side = {LEFT: "left", RIGHT: "right"}.get(int(scene.ego_indicators[frame]), "")
    return f"Our car drives {pace}" + (f" and indicates {side}." if side else ".")


def _others(around: Surroundings, frame: int) -> str:
    clauses, told = [], 0
    for one in around.seen(frame):
        clause = _clause(around, one)
        if clause and told < TELLS:
            clauses.append(clause)
            told += 1
    if not clauses:
        return "Nobody else is near." if not around.seen(frame) else ""
    listed = clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"
    return listed[0].upper() + listed[1:] + "."


def _clause(around: Surroundings, one: Neighbour) -> str:
    thing = named(around, one)
    own = abs(one.side_m) < around.lane_width_m / 2
    if one.kind in ("cone", "barrier", "box"):
        return f"{thing} stands {'in our lane' if own else 'beside our lane'} ahead" if one.along_m > 0 else ""
    if one.kind == "pedestrian":
        if one.x_m < 0:
            return ""
        where = "on the road" if own else f"on the {'left' if one.side_m > 0 else 'right'}"
        return f"{thing} {'walks' if one.moves else 'stands'} {where} ahead"
    if one.parked:
        half = around.scene.bodies[one.index].width_m / 2
        intrudes = abs(one.side_m) - half < around.lane_width_m / 2 - 0.4
        if one.along_m < 0:
            return ""
        return f"{thing} is parked {'partly in our lane' if intrudes else 'at the side of the road'}"
    if one.oncoming:
        return f"{thing} comes towards us" if one.moves and one.along_m > 0 else ""
    if own:
        return f"{thing} {'drives' if one.moves else 'stands'} {'ahead of' if one.along_m > 0 else 'behind'} us"
    if abs(one.heading_rad) < 0.5 and one.along_m == 0:
        return f"{thing} is beside us on the {'left' if one.y_m > 0 else 'right'}"
    if abs(one.heading_rad) > 0.8 and one.x_m > 0:
        return f"{thing} {'comes' if one.moves else 'waits'} {'from' if one.moves else 'on'} the {'left' if one.y_m > 0 else 'right'}"
    return ""


def named(around: Surroundings, one: Neighbour) -> str:
    """The thing with its article, and its colour where that can be made out."""
    return a(f"{visible_color(around, one)} {noun(one.kind)}".strip())


def visible_color(around: Surroundings, one: Neighbour) -> str:
    """The colour of a vehicle's paint; '' where it is ambiguous, too far off, or too dark to tell."""
    dark = around.scene.light.sun_elevation_rad < 0.0
    far = one.gap_m > min(COLOR_SIGHT_M, around.sight_m / 2)
    if dark or far or one.kind not in ("car", "van", "truck", "bus"):
        return ""
    return color_name(around.scene.bodies[one.index].color_rgb) or ""
