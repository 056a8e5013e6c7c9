"""The town in motion: one pure function from (situation, seed, edits) to a scene, and the clock that it runs by.

Roads come from highway-env; everybody drives them as `expert.py` says. Time runs in ticks of 1/24 s; decisions are
taken every second tick, whatever the frame rate, and everything random is drawn before the first tick.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from worldmodel.edits import ChangeWeather, Edit
from worldmodel.errors import BadMotion, BadRequest, UnknownName
from worldmodel.town.changes import apply_edit, check_edit
from worldmodel.town.drivers.expert import Crowd
from worldmodel.town.drivers.lane_changes import LaneChanges
from worldmodel.town.drivers.roles import cast_scene
from worldmodel.town.language import instructions_for, mislead, split_of
from worldmodel.town.log import Log
from worldmodel.town.roads.draws import draw_road
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.scene import Scene, Stage
from worldmodel.town.setting.layout import build_stage, draw_light, light_at
from worldmodel.town.situations import SITUATIONS, Situation, generator

__all__ = ["SITUATIONS", "EgoState", "Simulation", "Situation", "simulate"]

TICKS_HZ = 24
TICKS_PER_DECISION = 2
MAX_SEED = 2**63 - 1
VIEW_M = 130.0  # the stage reaches this far around the ego's way


def simulate(
    situation: str, seed: int, *, seconds: float, frequency_hz: float = 8.0, edits: Sequence[Edit] = ()
) -> Scene:
    """Let a scene happen. The same arguments give the same bytes; more seconds go on where fewer end.

    Args:
        situation: A name of `SITUATIONS`.
        seed: Any non-negative integer below 2**63.
        seconds: Duration, up to the situation's `max_seconds`; there are round(seconds * frequency_hz) frames.
        frequency_hz: Frames per second; must divide 24.
        edits: `InsertActor`, `MoveActor`, `RemoveActor`, `ChangeWeather`. Before `at_s` the scene is the factual one.
    Raises:
        UnknownName: for a situation that does not exist.
        BadRequest: for a seed, duration or rate out of range.
        BadEdit: for an edit that the town cannot apply.
    """
    _check_request(situation, seed, frequency_hz)
    frames = _frames(SITUATIONS[situation], seconds, frequency_hz)
    for edit in edits:
        check_edit(edit, seconds)
    simulation = Simulation(situation, seed, edits, frequency_hz)
    for _ in range((frames - 1) * round(TICKS_HZ / frequency_hz)):
        simulation.step()
    return simulation.scene(seconds)


@dataclass(frozen=True, kw_only=True)
class EgoState:
    """Where somebody from outside drives the ego: world pose of its rear axle, and its speed."""

    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float

    def __post_init__(self) -> None:
        if not all(isfinite(value) for value in (self.x_m, self.y_m, self.yaw_rad, self.speed_mps)):
            raise BadMotion(f"the ego's state is {self}; every value must be finite. Check the planner's output.")


class Simulation:
    """A scene that happens step by step, driven by the expert or from outside.

    Attributes:
        road: The road network, with the routes.
        crowd: Everybody, the ego first.
    """

    road: RoadMap
    crowd: Crowd

    def __init__(self, situation: str, seed: int, edits: Sequence[Edit] = (), frequency_hz: float = 8.0) -> None:
        """Draw everything; the first frame is there at once.

        Raises:
            As `simulate`.
        """
        _check_request(situation, seed, frequency_hz)
        self.situation, self.seed, self.frequency_hz = situation, seed, float(frequency_hz)
        self.config = config = SITUATIONS[situation]
        self.edits = tuple(edits)
        for edit in self.edits:
            check_edit(edit, config.max_seconds)
        self.wish_mps = float(generator(situation, seed, "speed").uniform(*config.speed_mps))
        reach = 150.0 + config.max_seconds * self.wish_mps
        self.road = draw_road(config, generator(situation, seed, "road"), seed=seed, wish=self.wish_mps, length_m=reach)
        cast = cast_scene(config, self.road, generator(situation, seed, "cast"), self.wish_mps)
        works = [agent.path.at(agent.s) for agent in cast.agents if agent.body.kind == "barrier"][:1]
        self.stage = build_stage(self.road, generator(situation, seed, "layout"), works)
        self.crowd = Crowd(cast.agents, self.road)
        self._lanes = LaneChanges(self.road, generator(situation, seed, "lanes"))
        self._log = Log()
        self._pending = sorted(enumerate(self.edits), key=lambda pair: getattr(pair[1], "at_s", 0.0))
        self._tick = 0
        self._driven = False
        self._seen: tuple[float, Stage] | None = None  # what `_visible` gave last, and for how far
        self._arrive()

    @property
    def time_s(self) -> float:
        """Seconds since the scene began."""
        return self._tick / TICKS_HZ

    def step(self, ego: EgoState | None = None) -> None:
        """Let one tick of 1/24 s pass.

        Args:
            ego: Where the ego is at the end of the tick; None: the expert drives it there.
        """
        if ego is not None:
            self._driven = True
            self.crowd.place_ego((ego.x_m, ego.y_m, ego.yaw_rad), ego.speed_mps, 1 / TICKS_HZ)
        else:
            self.crowd.agents[0].driven = None
        self.crowd.move(1 / TICKS_HZ, besides_ego=ego is not None)
        self._tick += 1
        self._arrive()

    def _arrive(self) -> None:
        """What happens at a moment: edits, decisions, a frame."""
        while self._pending and getattr(self._pending[0][1], "at_s", 0.0) * TICKS_HZ <= self._tick + 1e-6:
            number, edit = self._pending.pop(0)
            rng = generator(self.situation, self.seed, f"edit-{number}")
            apply_edit(edit, number, self.crowd, self.road, self.stage, rng)
        if self._tick % TICKS_PER_DECISION == 0:
            self.crowd.decide(self.time_s)
            self._lanes.decide(self.crowd, self._tick)
        if self._tick % round(TICKS_HZ / self.frequency_hz) == 0:
            self._log.write(self.crowd, self.crowd.gates.states)

    def scene(self, seconds: float | None = None) -> Scene:
        """What happened up to now.

        Args:
            seconds: The stage reaches as far as the ego could drive in this time; None: as far as it can see now.
        """
        light = draw_light(generator(self.situation, self.seed, "light"))
        for edit in self.edits:
            if isinstance(edit, ChangeWeather):
                light = light_at(light, edit.weather, edit.hour)
        misleading = mislead(self.road, generator(self.situation, self.seed, "misleading"))
        travel = self.wish_mps * (self.time_s if seconds is None else seconds)
        suffix = "".join(f"+{type(edit).__name__}" for edit in self.edits) + ("+driven" if self._driven else "")
        return Scene(
            id=f"{self.situation}-{self.seed}{suffix}",
            situation=self.situation,
            seed=self.seed,
            frequency_hz=self.frequency_hz,
            stage=self._seen_stage(travel),
            light=light,
            route=self.road.routes["ego"].points[::2],
            wish_mps=self.wish_mps,
            instructions=instructions_for(
                self.road,
                [row[4] for row in self._log.ego],
                self.frequency_hz,
                generator(self.situation, self.seed, "language"),
                split=split_of(self.seed),
                misleading=misleading,
            ),
            to_be_followed=not misleading,
            **self._log.arrays(self.crowd),
        )

    def _seen_stage(self, travel_m: float) -> Stage:
        if self._seen is None or self._seen[0] != travel_m:
            self._seen = (travel_m, _visible(self.stage, self.road, travel_m))
        return self._seen[1]


def _check_request(situation: str, seed: int, frequency_hz: float) -> None:
    if situation not in SITUATIONS:
        raise UnknownName("situation", situation, SITUATIONS)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= MAX_SEED:
        raise BadRequest(f"the seed is {seed!r}; it must be an integer from 0 to 2**63 - 1. Choose another.")
    check_rate(frequency_hz)


def check_rate(frequency_hz: float) -> None:
    """Say which rates the town's clock has.

    Raises:
        BadRequest: for a rate that does not divide it.
    """
    if not (isfinite(frequency_hz) and frequency_hz > 0 and (TICKS_HZ / frequency_hz).is_integer()):
        raise BadRequest(
            f"{frequency_hz:g} frames per second are wanted; the town's clock ticks at {TICKS_HZ} Hz. "
            "Choose a rate that divides it, such as 4, 8, 12 or 24."
        )


def _frames(config: Situation, seconds: float, frequency_hz: float) -> int:
    longest = config.max_seconds
    if not (isfinite(seconds) and 0 < seconds <= longest and round(seconds * frequency_hz) >= 1):
        raise BadRequest(
            f"a scene of {seconds:g} s is wanted; it must have at least one frame and last up to {longest:g} s. "
            "Choose a duration in between."
        )
    return round(seconds * frequency_hz)


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
