"""The town in motion: one pure function from (situation, seed, edits) to a scene.

Roads come from highway-env; everybody drives them as `expert.py` says. Time runs in ticks of 1/24 s; decisions are
taken every second tick, whatever the frame rate, and everything random is drawn before the first tick.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np

from worldmodel.edits import ChangeWeather, Edit, InsertActor, MoveActor, RemoveActor
from worldmodel.errors import BadEdit, BadRequest, UnknownName
from worldmodel.geometry import Array, compose, wrap_angle
from worldmodel.town.expert import Agent, Crowd, boxes_overlap, idm
from worldmodel.town.language import instructions_for
from worldmodel.town.layout import build_stage, draw_light, light_at
from worldmodel.town.paths import Path
from worldmodel.town.roads import RoadMap, draw_road
from worldmodel.town.scene import KINDS, WEATHERS, Body, Cause, Scene, Stage
from worldmodel.town.situations import (
    SITUATIONS,
    Situation,
    cast_scene,
    draw_body,
    generator,
)

__all__ = ["MAX_SECONDS", "SITUATIONS", "Situation", "simulate"]

TICKS_HZ = 24
TICKS_PER_DECISION = 2
MAX_SECONDS = 30.0
MAX_SEED = 2**63 - 1
VIEW_M = 130.0  # the stage reaches this far around the ego's way
OFF_MAP_M = 80.0


def simulate(
    situation: str, seed: int, *, seconds: float, frequency_hz: float = 8.0, edits: Sequence[Edit] = ()
) -> Scene:
    """Let a scene happen. The same arguments give the same bytes; more seconds go on where fewer end.

    Args:
        situation: A name of `SITUATIONS`.
        seed: Any non-negative integer below 2**63.
        seconds: Duration, up to MAX_SECONDS; there are round(seconds * frequency_hz) frames.
        frequency_hz: Frames per second; must divide 24.
        edits: `InsertActor`, `MoveActor`, `RemoveActor`, `ChangeWeather`. Before `at_s` the scene is the factual one.
    Raises:
        UnknownName: for a situation that does not exist.
        BadRequest: for a seed, duration or rate out of range.
        BadEdit: for an edit that the town cannot apply.
    """
    frames, ticks = _check_request(situation, seed, seconds, frequency_hz)
    for edit in edits:
        _check_edit(edit, seconds)
    config = SITUATIONS[situation]
    wish = float(generator(situation, seed, "speed").uniform(*config.speed_mps))
    reach = 150.0 + MAX_SECONDS * wish
    road = draw_road(config, generator(situation, seed, "road"), seed=seed, wish=wish, length_m=reach)
    cast = cast_scene(config, road, generator(situation, seed, "cast"), wish)
    stage = build_stage(road, config, generator(situation, seed, "layout"))
    crowd = Crowd(cast.agents, crossings=road.manoeuvre != "follow")
    lanes = LaneChanges(road, generator(situation, seed, "lanes")) if config.road == "highway" else None
    log = Log()
    pending = sorted(enumerate(edits), key=lambda pair: getattr(pair[1], "at_s", 0.0))
    for tick in range((frames - 1) * ticks + 1):
        while pending and round(getattr(pending[0][1], "at_s", 0.0) * TICKS_HZ) <= tick:
            number, edit = pending.pop(0)
            apply_edit(edit, number, crowd, road, stage, generator(situation, seed, f"edit-{number}"))
        if tick % TICKS_PER_DECISION == 0:
            crowd.decide(tick / TICKS_HZ)
            if lanes is not None:
                lanes.decide(crowd, tick / TICKS_HZ)
        if tick % ticks == 0:
            log.write(crowd)
        crowd.move(1 / TICKS_HZ)
    light = draw_light(generator(situation, seed, "light"))
    for edit in edits:
        if isinstance(edit, ChangeWeather):
            light = light_at(light, edit.weather, edit.hour)
    return Scene(
        id=f"{situation}-{seed}" + "".join(f"+{type(edit).__name__}" for edit in edits),
        situation=situation,
        seed=seed,
        frequency_hz=float(frequency_hz),
        stage=_visible(stage, road, wish * seconds),
        light=light,
        route=road.routes["ego"].points[::2],
        wish_mps=wish,
        instructions=instructions_for(
            road, [row[4] for row in log.ego], frequency_hz, generator(situation, seed, "language")
        ),
        **log.arrays(crowd),
    )


def _check_request(situation: str, seed: int, seconds: float, frequency_hz: float) -> tuple[int, int]:
    if situation not in SITUATIONS:
        raise UnknownName("situation", situation, SITUATIONS)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= MAX_SEED:
        raise BadRequest(f"the seed is {seed!r}; it must be an integer from 0 to 2**63 - 1. Choose another.")
    if not (isfinite(frequency_hz) and frequency_hz > 0 and (TICKS_HZ / frequency_hz).is_integer()):
        raise BadRequest(
            f"{frequency_hz:g} frames per second are wanted; the town's clock ticks at {TICKS_HZ} Hz. "
            "Choose a rate that divides it, such as 4, 8, 12 or 24."
        )
    if not (isfinite(seconds) and 0 < seconds <= MAX_SECONDS and round(seconds * frequency_hz) >= 1):
        raise BadRequest(
            f"a scene of {seconds:g} s is wanted; it must have at least one frame and last up to {MAX_SECONDS:g} s. "
            "Choose a duration in between."
        )
    return round(seconds * frequency_hz), round(TICKS_HZ / frequency_hz)


# -- edits ------------------------------------------------------------------------------------------------------


def _check_edit(edit: Edit, seconds: float) -> None:
    name = type(edit).__name__
    if isinstance(edit, ChangeWeather):
        if edit.weather not in WEATHERS:
            raise BadEdit(f"the weather '{edit.weather}' does not exist here. Choose one of {', '.join(WEATHERS)}.")
        if not (isfinite(edit.hour) and 0 <= edit.hour <= 24):
            raise BadEdit(f"the hour is {edit.hour}; it must lie between 0 and 24. Choose another.")
        return
    if not isinstance(edit, InsertActor | MoveActor | RemoveActor):
        raise BadEdit(
            f"the town cannot apply {name}. It knows InsertActor, MoveActor, RemoveActor and ChangeWeather; "
            "use one of these, or apply the edit to the clip's frames or request instead."
        )
    if not (isfinite(edit.at_s) and 0 <= edit.at_s < seconds):
        raise BadEdit(f"{name} happens at {edit.at_s:g} s, but the scene lasts {seconds:g} s. Choose a time inside it.")
    if isinstance(edit, InsertActor):
        if edit.kind not in KINDS:
            raise UnknownName("kind of actor", edit.kind, KINDS)
        if not all(isfinite(value) for value in (edit.x_m, edit.y_m, edit.yaw_rad, edit.speed_mps)):
            raise BadEdit("InsertActor has a value that is not finite. Give finite metres, radians and speed.")
        if not 0 <= edit.speed_mps <= 40:
            raise BadEdit(f"InsertActor has a speed of {edit.speed_mps:g} m/s; it must lie between 0 and 40.")
    if isinstance(edit, MoveActor) and not (isfinite(edit.x_m) and isfinite(edit.y_m)):
        raise BadEdit("MoveActor has a value that is not finite. Give finite metres.")


def apply_edit(edit: Edit, number: int, crowd: Crowd, road: RoadMap, stage: Stage, rng: np.random.Generator) -> None:
    """Change the crowd as an edit says.

    Raises:
        BadEdit: if there is no room, or it is off the map.
        UnknownName: if nobody has the track.
    """
    if isinstance(edit, InsertActor):
        world = compose(np.array(crowd.agents[0].pose()), np.array([edit.x_m, edit.y_m, edit.yaw_rad]))
        body = draw_body(rng, edit.kind, f"inserted-{number}")
        agent = _agent_at(world, road, body, edit.speed_mps)
        crowd.agents.append(agent)
        _check_place(len(crowd.agents) - 1, crowd, road, stage, "InsertActor")
    elif isinstance(edit, RemoveActor | MoveActor):
        tracks = {agent.body.track: i for i, agent in enumerate(crowd.agents) if i and agent.present}
        if edit.track not in tracks:
            raise UnknownName("track", edit.track, tracks)
        index = tracks[edit.track]
        if isinstance(edit, RemoveActor):
            crowd.agents[index].present = False
        else:
            _move(crowd.agents[index], crowd.agents[0].pose(), edit, road)
            _check_place(index, crowd, road, stage, "MoveActor")
    crowd.version += 1
    crowd.refresh()


def _agent_at(world: Array, road: RoadMap, body: Body, speed: float) -> Agent:
    """Somebody at a world pose: on the lane that it is aligned with, else on a straight line along its yaw."""
    x, y, yaw = (float(value) for value in world)
    if speed <= 0:
        return Agent(body=body, path=Path.straight((x, y, yaw), 20.0), s=0.0, standing=True)
    if body.kind != "pedestrian":
        for name in sorted(road.routes):
            path = road.routes[name]
            s, d = path.project(x, y)
            off = abs(float(wrap_angle(yaw - path.at(s)[2])))
            if abs(d) < 1.6 and off < 0.35 and 0 < s < path.length_m - 20:
                return Agent(body=body, path=path, s=s, d=d, side_m=d, speed=speed, wish=max(speed, 0.5))
    path = Path.straight((x, y, yaw), 600.0)
    return Agent(body=body, path=path, s=0.0, speed=speed, wish=max(speed, 0.3))


def _move(agent: Agent, ego: tuple[float, float, float], edit: MoveActor, road: RoadMap) -> None:
    shift = compose(np.array([0.0, 0.0, ego[2]]), np.array([edit.x_m, edit.y_m, 0.0]))
    x, y, yaw = agent.pose()
    world = np.array([x + shift[0], y + shift[1], yaw])
    if agent.standing or agent.walks:
        agent.path, agent.s, agent.d = Path.straight(world.tolist(), 60.0), 0.0, 0.0
        agent.yaw_offset, agent.drift = 0.0, 0.0
        return
    twin = _agent_at(world, road, agent.body, max(agent.speed, 0.5))
    agent.path, agent.s, agent.d, agent.drift = twin.path, twin.s, twin.d, 0.0
    agent.side_m, agent.changed, agent.bumps, agent.known = 0.0, None, [], -1


def _check_place(index: int, crowd: Crowd, road: RoadMap, stage: Stage, what: str) -> None:
    crowd.refresh()
    agent = crowd.agents[index]
    place = crowd.places[index]
    for other in crowd.agents:
        there = other is not agent and other.present
        if there and boxes_overlap(place, agent.body, np.array(other.centre()), other.body):
            raise BadEdit(
                f"{what} puts '{agent.body.track}' ({agent.body.kind}, {agent.body.length_m:.1f} m long) into "
                f"'{other.body.track}'. Choose a free place, at least a car's length away."
            )
    for house in stage.buildings:
        box = replace(agent.body, length_m=house.length_m, width_m=house.width_m)
        if boxes_overlap(place, agent.body, np.array([house.x_m, house.y_m, house.yaw_rad]), box):
            raise BadEdit(f"{what} puts '{agent.body.track}' into a house. Choose a place closer to the road.")
    nearest = min(float(np.hypot(*(lane.centre - place[:2]).T).min()) for lane in road.lanes)
    if nearest > OFF_MAP_M:
        raise BadEdit(
            f"{what} puts '{agent.body.track}' {nearest:.0f} m away from every lane, off the map. "
            f"Choose a place within {OFF_MAP_M:g} m of a lane."
        )


# -- lane changes -----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class LaneChanges:
    """Who changes lanes on a highway: MOBIL with a yes/no incentive, once a second at most, everybody in turn."""

    road: RoadMap
    rng: np.random.Generator
    offsets: Array = field(init=False)

    def __post_init__(self) -> None:
        self.offsets = self.rng.random(200)  # drawn before the scene starts

    def decide(self, crowd: Crowd, now_s: float) -> None:
        """Let those whose turn it is change lanes when that is faster and safe."""
        tick = round(now_s * TICKS_HZ)
        names = {id(self.road.routes[f"lane{i}"]): i for i in range(3)}
        for index, agent in enumerate(crowd.agents):
            due = (tick + int(self.offsets[index % 200] * 24)) // 2 % 12 == 0
            lane = names.get(id(agent.path))
            settled = agent.changed is None or agent.s > agent.changed[0] + agent.changed[1] + 20.0
            if not due or lane is None or not settled or agent.standing or not agent.present or agent.speed < 5:
                continue
            here = self._gain(crowd, index, agent.path)[0]
            for side in (lane - 1, lane + 1):
                if 0 <= side <= 2 and self._better(crowd, index, here, self.road.routes[f"lane{side}"]):
                    self._change(agent, self.road.routes[f"lane{side}"])
                    break

    def _gain(self, crowd: Crowd, index: int, path: Path) -> tuple[float, float, float]:
        """(own acceleration, gap ahead, harm to the follower) if the agent drove on `path`."""
        agent = crowd.agents[index]
        s, _ = path.project(*agent.centre()[:2])
        ahead, behind, speed_ahead, follower = float("inf"), float("inf"), 0.0, None
        for other in crowd.agents:
            if other is agent or not other.present:
                continue
            so, do = path.project(*other.centre()[:2])
            gap = abs(so - s) - (other.body.length_m + agent.body.length_m) / 2
            if abs(do) > 2.3:
                continue
            if so >= s and gap < ahead:
                ahead, speed_ahead = gap, other.speed
            elif so < s and gap < behind:
                behind, follower = gap, other
        harm = 0.0 if follower is None else idm(follower.speed, max(follower.wish, 1.0), behind, agent.speed)
        return idm(agent.speed, max(agent.wish, 1.0), ahead, speed_ahead), ahead, harm

    def _better(self, crowd: Crowd, index: int, here: float, path: Path) -> bool:
        there, ahead, harm = self._gain(crowd, index, path)
        return there > here + 0.35 and harm > -1.5 and ahead > 8.0

    def _change(self, agent: Agent, path: Path) -> None:
        x, y, _ = agent.pose()
        s, d = path.project(x, y)
        agent.path, agent.s, agent.d = path, s, d
        agent.changed = (s, max(4.0 * agent.speed, 30.0), d - agent.side_m)
        agent.known = -1


# -- what is kept -----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Log:
    """States at the frames."""

    rows: list[list[tuple[float, float, float, float, bool, bool, int]]] = field(default_factory=list)
    ego: list[tuple[float, float, float, float, float, bool, int]] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    signals: list[list[int]] = field(default_factory=list)

    def write(self, crowd: Crowd, signals: Sequence[int] = ()) -> None:
        """Note where everybody is, and what the signals show."""
        ego = crowd.agents[0]
        self.ego.append((*ego.pose(), ego.speed, ego.s, ego.braking, ego.indicator))
        self.causes.append(ego.cause)
        self.signals.append(list(signals))
        self.rows.append(
            [
                (*agent.centre(), agent.speed, agent.present, agent.braking, agent.indicator)
                for agent in crowd.agents[1:]
            ]
        )

    def arrays(self, crowd: Crowd) -> dict[str, Any]:
        """Fields of `Scene`; somebody who came later is not present before."""
        time, count = len(self.rows), len(crowd.agents) - 1
        states = np.zeros((time, count, 7))
        for t, row in enumerate(self.rows):
            if row:
                states[t, : len(row)] = row
        for b in range(count):
            first = next(t for t, row in enumerate(self.rows) if len(row) > b)
            states[:first, b, :3] = states[first, b, :3]
        states[..., 2] = wrap_angle(states[..., 2])
        ego = np.array(self.ego)
        ego[:, 2] = wrap_angle(ego[:, 2])
        return {
            "ego_poses": ego[:, :3],
            "ego_speeds_mps": ego[:, 3],
            "bodies": tuple(agent.body for agent in crowd.agents[1:]),
            "body_poses": states[..., :3],
            "body_present": states[..., 4] > 0.5,
            "body_speeds_mps": states[..., 3],
            "body_braking": states[..., 5] > 0.5,
            "body_indicators": states[..., 6].astype(np.int8),
            "signal_states": np.array(self.signals, np.int8).reshape(time, -1),
            "route_s": ego[:, 4],
            "ego_braking": ego[:, 5] > 0.5,
            "ego_indicators": ego[:, 6].astype(np.int8),
            "ego_causes": tuple(self.causes),
        }


def _visible(stage: Stage, road: RoadMap, travel_m: float) -> Stage:
    """The part of the stage around the way that the ego could drive (whatever it does in an edited scene)."""
    path = road.routes["ego"]
    along = np.arange(road.start_s, road.start_s + travel_m + 10.0, 10.0)
    way = np.array([path.at(float(s))[:2] for s in along])

    def near(x: float, y: float) -> bool:
        return bool((np.hypot(way[:, 0] - x, way[:, 1] - y) < VIEW_M).any())

    lanes = []
    for lane in stage.lanes:
        apart = np.hypot(lane.centre[:, None, 0] - way[:, 0], lane.centre[:, None, 1] - way[:, 1]).min(axis=1)
        kept = np.flatnonzero(apart < VIEW_M)
        if len(kept) > 1:
            lanes.append(replace(lane, centre=lane.centre[kept[0] : kept[-1] + 1]))
    return Stage(
        lanes=tuple(lanes),
        buildings=tuple(house for house in stage.buildings if near(house.x_m, house.y_m)),
        props=tuple(prop for prop in stage.props if near(prop.x_m, prop.y_m)),
        crosswalks=stage.crosswalks,
        stop_lines=stage.stop_lines,
        signals=stage.signals,
    )
