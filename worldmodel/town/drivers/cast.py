"""Who is there when a scene starts: the ego, traffic, parked vehicles and people on the pavements.

Everything random about them is drawn here, before the first tick, so that an edit later disturbs no draw.
"""

from dataclasses import dataclass, field
from math import pi

import numpy as np

from worldmodel.town.drivers.agents import Agent, boxes_overlap, route_of
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import PARKING_M, RoadMap
from worldmodel.town.scene import EGO_BODY, REAR_AXLE_M, Body
from worldmodel.town.situations import Situation

CAR_COLORS = (
    (0.85, 0.85, 0.86), (0.08, 0.08, 0.09), (0.45, 0.47, 0.50), (0.62, 0.64, 0.66), (0.60, 0.08, 0.08),
    (0.10, 0.20, 0.50), (0.90, 0.90, 0.88), (0.15, 0.35, 0.25), (0.80, 0.60, 0.10), (0.35, 0.22, 0.15),
    (0.75, 0.30, 0.10), (0.20, 0.50, 0.65),
)  # fmt: skip
SIZES = {  # length, width, height, each with its spread
    "car": ((4.3, 0.4), (1.8, 0.08), (1.5, 0.1)),
    "van": ((5.2, 0.4), (1.95, 0.05), (2.2, 0.2)),
    "truck": ((7.5, 0.8), (2.3, 0.1), (3.0, 0.3)),
    "bus": ((10.5, 0.5), (2.45, 0.05), (3.1, 0.1)),
    "pedestrian": ((0.5, 0.05), (0.55, 0.08), (1.72, 0.12)),
    "cyclist": ((1.8, 0.05), (0.6, 0.05), (1.75, 0.1)),
    "cone": ((0.4, 0.0), (0.4, 0.0), (0.75, 0.0)),
    "barrier": ((0.35, 0.0), (1.8, 0.2), (1.05, 0.0)),
    "box": ((0.9, 0.2), (0.9, 0.2), (0.9, 0.2)),
}
TIGHT_PER_M = 1 / 40  # paths with a tighter bend are for short vehicles
START_MPS2 = 2.0  # nobody starts so close to a line that it would have to brake harder
CLEAR_M = 4.0  # between bumpers at the start, besides a second's way


def draw_body(rng: np.random.Generator, kind: str, track: str) -> Body:
    """What a new road user looks like."""
    length, width, height = (mean + spread * rng.uniform(-1, 1) for mean, spread in SIZES[kind])
    color = CAR_COLORS[int(rng.integers(len(CAR_COLORS)))]
    if kind in ("pedestrian", "cyclist", "box"):
        red, green, blue = rng.uniform(0.1, 0.85, 3)
        color = (float(red), float(green), float(blue))
    if kind == "cone":
        color = (0.95, 0.40, 0.05)
    return Body(track=track, kind=kind, length_m=length, width_m=width, height_m=height, color_rgb=color)


def back_of(body: Body) -> float:
    """From the rear axle (or the point that follows the path) to the body's centre."""
    return 0.3 * body.length_m if body.kind in ("car", "van", "truck", "bus") else 0.0


@dataclass(eq=False, kw_only=True)
class Cast:
    """Everybody in a scene, the ego first; `counts` numbers the tracks."""

    situation: Situation
    road: RoadMap
    rng: np.random.Generator
    agents: list[Agent]
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def ego(self) -> Agent:
        """The first of all."""
        return self.agents[0]

    def between(self, low: float, high: float) -> float:
        """A number drawn evenly."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < share)

    def body(self, kind: str) -> Body:
        """A new road user with a track name of its own."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return draw_body(self.rng, kind, f"{kind}-{self.counts[kind]}")

    def vehicle(self, path: Path, s: float, speed: float, wish: float, kind: str = "") -> Agent:
        """Somebody who drives along a path; a kind is drawn if none is given."""
        drawn = str(self.rng.choice(["car", "van", "truck", "bus"], p=[0.76, 0.13, 0.08, 0.03]))
        if drawn in ("truck", "bus") and np.abs(path.curvatures).max() > TIGHT_PER_M:
            drawn = "van"  # anything longer would cut the corners, and swing out into who comes the other way
        body = self.body(kind or drawn)
        side = self.between(-0.15, 0.15)
        route = route_of(path, self.road.routes)
        nose = s + back_of(body) + body.length_m / 2
        return Agent(
            body=body,
            path=path,
            route=route,
            s=s,
            d=side,
            side_m=side,
            speed=min(speed, path.limit_mps(s), self._stoppable_mps(route, nose)),
            wish=wish,
            back_m=back_of(body),
        )

    def _stoppable_mps(self, route: str, nose_s: float) -> float:
        """Highest speed to start with from which one can still stop at the next signal or stop line."""
        gates = [gate.s_m for gate in self.road.gates.get(route, ()) if gate.kind in ("signal", "stop")]
        gap = min((s - nose_s for s in gates if s > nose_s), default=np.inf)
        return float(np.sqrt(2 * START_MPS2 * gap))

    def add(self, agent: Agent) -> bool:
        """Let somebody in who touches nobody; says whether it did."""
        pose = np.array(agent.centre())
        for other in self.agents:
            if boxes_overlap(pose, agent.body, np.array(other.centre()), other.body, margin_m=0.4):
                return False
        self.agents.append(agent)
        return True

    def clear(self, agent: Agent) -> bool:
        """Whether nobody on the same lane starts too close ahead or behind, and nobody starts in a crossing."""
        x, y, _ = agent.centre()
        core = self.road.core
        if core is not None and np.hypot(x - core[0], y - core[1]) < core[2] + agent.body.length_m / 2:
            return False
        for other in self.agents:
            s, d = agent.path.project_near(*other.centre()[:2], agent.s, 60.0)
            gap = abs(s - agent.s - agent.back_m) - (other.body.length_m + agent.body.length_m) / 2
            behind = agent.speed if s > agent.s else other.speed
            if abs(d) < 2.2 and gap < CLEAR_M + behind:
                return False
        return True

    def outermost(self, route: str) -> str:
        """The lane beside the pavement, from some lane on."""
        while self.road.neighbours.get(route, ("", ""))[1]:
            route = self.road.neighbours[route][1]
        return route

    @property
    def kerb_m(self) -> float:
        """From the middle of a driving lane to the kerb on its right."""
        return self.road.width_m / 2 + (PARKING_M if self.road.parking or self.road.strips else 0.0)


def start_cast(situation: Situation, road: RoadMap, rng: np.random.Generator, wish: float) -> Cast:
    """The ego alone."""
    path = road.routes["ego"]
    speed = min(wish * float(rng.uniform(0.6, 1.0)), path.limit_mps(road.start_s))
    ego = Agent(
        body=EGO_BODY,
        path=path,
        route=route_of(path, road.routes),
        s=road.start_s,
        speed=speed,
        wish=wish,
        back_m=REAR_AXLE_M,
        rank=1.0,
        keeps=road.manoeuvre in ("merge", "exit"),
    )
    return Cast(situation=situation, road=road, rng=rng, agents=[ego])


def add_leader(cast: Cast) -> None:
    """Somebody who drives ahead of the ego."""
    ego = cast.ego
    gap = ego.speed * cast.between(1.3, 3.0) + 10.0
    leader = cast.vehicle(ego.path, ego.s + gap, ego.speed, ego.wish * cast.between(0.8, 1.05))
    if cast.clear(leader):
        cast.add(leader)


def add_traffic(cast: Cast) -> None:
    """One more vehicle that drives somewhere near."""
    names = sorted(name for name in cast.road.routes if name != "ego")
    for _ in range(5):
        name = names[int(cast.rng.integers(len(names)))]
        if cast.road.core is not None and len(names) > 4:
            agent = _at_crossing(cast, names)
        elif name in cast.road.neighbours or name.startswith(("lane", "oncoming0", "oncoming1", "oncoming2")):
            agent = _beside(cast, name)
        elif name.startswith("through"):
            path = cast.road.routes[name]
            agent = cast.vehicle(path, cast.between(5, max(path.length_m - 30, 6)), 7.0, cast.between(7, 10))
        else:
            agent = _oncoming(cast, name)
        agent.rank = cast.between(-0.5, 0.5)
        if 5 < agent.s < agent.path.length_m - 10 and cast.clear(agent) and cast.add(agent):
            return


def _at_crossing(cast: Cast, names: list[str]) -> Agent:
    """On some way through the crossing, before or behind it."""
    if cast.chance(0.8):
        names = [name for name in names if not name.startswith("0-")]
    path = cast.road.routes[names[int(cast.rng.integers(len(names)))]]
    assert cast.road.core is not None
    x, y, radius = cast.road.core
    inside = np.flatnonzero(np.hypot(path.points[:, 0] - x, path.points[:, 1] - y) < radius + 4.0)
    first, last = inside[0] * path.step_m, inside[-1] * path.step_m
    s = first - cast.between(4, 75) if cast.chance(0.72) else last + cast.between(4, 40)
    return cast.vehicle(path, s, cast.between(5, 9.5), cast.between(6.5, 11.0))


def _beside(cast: Cast, name: str) -> Agent:
    """On a road with several lanes: around the ego, or coming the other way."""
    path, ego = cast.road.routes[name], cast.ego
    x, y, _ = ego.pose()
    s = path.project(x, y)[0]
    s += cast.between(-120, 50) if name.startswith("oncoming") else cast.between(-60, 110)
    speed = ego.wish * cast.between(0.75, 1.15)
    return cast.vehicle(path, s, speed, max(speed, 5.0) * cast.between(1.0, 1.15))


def _oncoming(cast: Cast, name: str) -> Agent:
    """On a street: coming the other way, now and then behind the ego."""
    path, ego = cast.road.routes[name], cast.ego
    x, y, _ = ego.pose()
    s = path.project(x, y)[0] - cast.between(10, 150)
    speed = cast.between(6, 12)
    if cast.chance(0.2):
        path, s, speed = ego.path, ego.s - cast.between(14, 35), min(speed, ego.speed)
    return cast.vehicle(path, s, speed, max(speed, 5.0) * cast.between(1.0, 1.15))


def add_parked(cast: Cast, *, ahead: tuple[float, float], intrusion: float = 0.0) -> Agent | None:
    """A parked car or van, so far ahead of the ego; with `intrusion` metres it stands in the lane."""
    road, ego = cast.road, cast.ego
    for _ in range(8):
        theirs = not intrusion and "oncoming" in road.routes and cast.chance(0.4)
        path, s = ego.path, ego.s + cast.between(*ahead)
        if theirs:
            path = road.routes["oncoming"]
            s = path.project(*ego.path.at(s)[:2])[0]
        if not _beside_strip(road, "oncoming" if theirs else "ego", s):
            continue
        body = cast.body(str(cast.rng.choice(["car", "van"], p=[0.85, 0.15])))
        d = -(road.width_m / 2 + PARKING_M / 2) + cast.between(-0.1, 0.1) + intrusion
        if not intrusion:
            d = min(d, -(road.width_m + body.width_m) / 2 - 0.1)
        agent = Agent(body=body, path=path, s=s, d=d, standing=True, yaw_offset=float(cast.rng.normal(0, 0.02)))
        if not theirs and cast.chance(0.15):
            agent.yaw_offset += pi  # parked against the traffic
        if cast.add(agent):
            return agent
    return None


def _beside_strip(road: RoadMap, route: str, s: float) -> bool:
    """Whether there is a parking strip, as long as a van, to the right of a place on a route."""
    if not road.strips:
        return road.parking
    return any(first + 3.0 < s < last - 3.0 for first, last in road.strips.get(route, ()))


def add_walker(cast: Cast, abreast_m: float) -> None:
    """Somebody on a pavement, on a line of their own, so that nobody walks into another."""
    road, ego = cast.road, cast.ego
    names: list[str] = [cast.outermost(ego.route or "ego")]
    names += [name for name in ("oncoming", "oncoming1") if name in road.routes]
    if road.core is not None:
        names = _round_corners(road)
    elif road.turns:  # along the block's houses
        names = ["ego" if road.manoeuvre == "right" else "oncoming"]
    path = road.routes[names[int(cast.rng.integers(len(names)))]]
    away = cast.between(5, 60)
    start = path.project(*ego.path.at(ego.s + away)[:2])[0] - 25.0
    side = -(cast.kerb_m + abreast_m + (0.5 if road.core is not None else 0.0))  # a ring's lane is wider
    speed = cast.between(0.9, 1.6)
    points = np.array([path.at(float(along), side)[:2] for along in np.arange(start, start + 60, 1.0)])
    if cast.chance(0.5):
        points = points[::-1]
    cast.add(Agent(body=cast.body("pedestrian"), path=Path(points), s=3.0, speed=speed, wish=speed))


def _round_corners(road: RoadMap) -> list[str]:
    """Routes that have the same kerb on their right from one arm to the next."""
    arms = sorted({int(name[0]) for name in road.routes if name[0].isdigit()})
    step = 1 if road.manoeuvre.startswith("exit") else -1
    names = [f"{arm}-{arms[(i + step) % len(arms)]}" for i, arm in enumerate(arms)]
    return [name for name in names if name in road.routes] or ["ego"]
