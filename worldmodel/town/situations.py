"""What a scene is about: the situations by name, their roads, and who is there when the scene starts."""

import zlib
from dataclasses import dataclass, field
from math import pi

import numpy as np

from worldmodel.town.expert import EGO_BODY, STEP_OFF_M, STEP_OFF_MPS2, Agent, boxes_overlap
from worldmodel.town.paths import Path
from worldmodel.town.roads import PARKING_M, RoadMap
from worldmodel.town.scene import Body

REAR_AXLE_M = 1.4  # of the ego, behind its centre
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


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One kind of scene.

    Attributes:
        description: In words.
        road: 'street', 'curvy', 'highway' or 'intersection'.
        speed_mps: Range of the ego's wished speed.
        leader: 'maybe' (drives ahead, or nobody), 'none', 'slow' or 'stops' (brakes to a stop and goes on).
        traffic: Range of the number of other vehicles that drive.
        parked: Range of the number of parked vehicles.
        walkers: Range of the number of people on the pavements.
        half_blocked: Whether a parked car stands half in the ego's lane.
        crossing: Whether somebody crosses the road on foot before the ego.
        laps: How often the route goes round a roundabout before it leaves.
        max_seconds: The longest scene; the road is long enough for it.
    """

    description: str
    road: str
    speed_mps: tuple[float, float]
    leader: str = "maybe"
    traffic: tuple[int, int] = (3, 6)
    parked: tuple[int, int] = (0, 4)
    walkers: tuple[int, int] = (0, 3)
    half_blocked: bool = False
    crossing: bool = False
    laps: int = 0
    max_seconds: float = 30.0


SITUATIONS: dict[str, Situation] = {
    "street": Situation(description="two-way street with oncoming traffic", road="street", speed_mps=(7.0, 13.5)),
    "curvy": Situation(
        description="two-way street with bends and parked cars", road="curvy", speed_mps=(7.0, 13.0), parked=(3, 6)
    ),
    "highway": Situation(
        description="three lanes each way, lane changes",
        road="highway",
        speed_mps=(15.0, 22.0),
        traffic=(6, 11),
        parked=(0, 0),
        walkers=(0, 0),
    ),
    "intersection": Situation(
        description="crossing without signals: left, right or straight on",
        road="intersection",
        speed_mps=(7.0, 11.0),
        traffic=(3, 6),
        parked=(0, 0),
    ),
    "stop_and_go": Situation(
        description="the car ahead brakes to a stop and goes on",
        road="street",
        speed_mps=(7.0, 13.0),
        leader="stops",
        traffic=(2, 5),
    ),
    "parked_car": Situation(
        description="a parked car stands half in the lane",
        road="street",
        speed_mps=(6.0, 11.0),
        leader="none",
        traffic=(1, 4),
        parked=(1, 4),
        half_blocked=True,
    ),
    "pedestrian": Situation(
        description="somebody crosses the road on foot",
        road="street",
        speed_mps=(7.0, 12.0),
        leader="none",
        traffic=(0, 2),
        walkers=(1, 4),
        crossing=True,
    ),
    "slow_leader": Situation(
        description="a slow vehicle or a cyclist ahead", road="street", speed_mps=(8.0, 13.0), leader="slow"
    ),
    "empty_road": Situation(
        description="nobody else drives",
        road="curvy",
        speed_mps=(7.0, 14.0),
        leader="none",
        traffic=(0, 0),
        parked=(0, 2),
        walkers=(0, 1),
    ),
}


def generator(situation: str, seed: int, stream: str) -> np.random.Generator:
    """An independent source of random numbers for one purpose of one scene."""
    return np.random.default_rng([seed, zlib.crc32(situation.encode()), zlib.crc32(stream.encode())])


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


# -- casting ----------------------------------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class Cast:
    """Everybody in a scene, the ego first; `counts` numbers the tracks."""

    agents: list[Agent]
    counts: dict[str, int] = field(default_factory=dict)

    def track(self, kind: str) -> str:
        """A new track name."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"{kind}-{self.counts[kind]}"

    def add(self, agent: Agent) -> bool:
        """Let somebody in who touches nobody; says whether it did."""
        pose = np.array(agent.centre())
        for other in self.agents:
            if boxes_overlap(pose, agent.body, np.array(other.centre()), other.body, margin_m=0.4):
                return False
        self.agents.append(agent)
        return True


def cast_scene(situation: Situation, road: RoadMap, rng: np.random.Generator, wish: float) -> Cast:
    """Draw everybody before the scene starts, so that an edit later disturbs no draw."""
    ego_path = road.routes["ego"]
    speed = min(wish * float(rng.uniform(0.6, 1.0)), ego_path.limit_mps(road.start_s))
    ego = Agent(body=EGO_BODY, path=ego_path, s=road.start_s, speed=speed, wish=wish, back_m=REAR_AXLE_M, rank=1.0)
    cast = Cast(agents=[ego])
    _add_leader(cast, situation, rng)
    if situation.crossing:
        _add_crossing(cast, road, rng)
    if situation.half_blocked:
        _add_parked(cast, road, rng, ahead=(22.0, 55.0), intrusion=float(rng.uniform(0.7, 1.5)))
    for _ in range(int(rng.integers(situation.traffic[0], situation.traffic[1] + 1))):
        _add_traffic(cast, situation, road, rng)
    for _ in range(int(rng.integers(situation.parked[0], situation.parked[1] + 1))):
        if road.parking:
            _add_parked(cast, road, rng, ahead=(-15.0, 90.0), intrusion=0.0)
    for number in range(int(rng.integers(situation.walkers[0], situation.walkers[1] + 1))):
        _add_walker(cast, road, rng, abreast_m=0.9 + 0.65 * (number % 4))
    return cast


def _vehicle(cast: Cast, rng: np.random.Generator, path: Path, s: float, speed: float, wish: float) -> Agent:
    kind = str(rng.choice(["car", "van", "truck", "bus"], p=[0.76, 0.13, 0.08, 0.03]))
    body = draw_body(rng, kind, cast.track(kind))
    side = float(rng.uniform(-0.15, 0.15))
    limit = path.limit_mps(s)
    return Agent(
        body=body, path=path, s=s, d=side, side_m=side, speed=min(speed, limit), wish=wish, back_m=back_of(body)
    )


def _add_leader(cast: Cast, situation: Situation, rng: np.random.Generator) -> None:
    ego = cast.agents[0]
    if situation.leader == "none" or (situation.leader == "maybe" and rng.random() < 0.45):
        return
    gap = ego.speed * float(rng.uniform(1.3, 3.0)) + 6.0
    wish = ego.wish * float(rng.uniform(0.8, 1.05))
    leader = _vehicle(cast, rng, ego.path, ego.s + gap + 4.0, ego.speed, wish)
    if situation.leader == "slow":
        leader.wish = float(rng.uniform(2.5, 5.5))
        leader.speed = min(leader.wish, leader.speed)
        leader.s += float(rng.uniform(8, 20))
        if rng.random() < 0.5:
            leader.body = draw_body(rng, "cyclist", cast.track("cyclist"))
            leader.back_m, leader.d = 0.0, -0.9
            leader.side_m = -0.9
    if situation.leader == "stops":
        _script_stop(ego, leader, rng)
    cast.add(leader)


def _script_stop(ego: Agent, leader: Agent, rng: np.random.Generator) -> None:
    """The leader brakes to a stop during the scene, or stands from its start (with or without the ego behind it)."""
    draw = float(rng.random())
    start = float(rng.uniform(0.3, 3.0))
    leader.halts = ((start, start + leader.speed / 2.6 + float(rng.uniform(0.8, 3.0))),)
    if draw < 0.5:
        return
    leader.speed, leader.halts = 0.0, ((0.0, float(rng.uniform(0.5, 3.5))),)
    if draw < 0.75:
        ego.speed, gap = 0.0, float(rng.uniform(2.5, 4.0))
    else:
        gap = ego.speed**2 / 4.0 + ego.speed + float(rng.uniform(3.0, 10.0))
    leader.s = ego.s + ego.nose_m + gap + leader.tail_m


def _add_traffic(cast: Cast, situation: Situation, road: RoadMap, rng: np.random.Generator) -> None:
    ego = cast.agents[0]
    names = sorted(name for name in road.routes if name != "ego")
    for _ in range(4):
        name = names[int(rng.integers(len(names)))]
        path = road.routes[name]
        if situation.road == "intersection":
            name = str(rng.choice([n for n in names if not n.startswith("0-")] if rng.random() < 0.8 else names))
            path = road.routes[name]
            along = float(rng.uniform(-45, 75))
            s = path.length_m / 2 - along - (16.0 if along > 0 else -16.0)  # nobody starts in the crossing itself
            speed = float(rng.uniform(5, 9.5))
        elif situation.road == "highway":
            s = (ego.s if name.startswith("lane") else path.length_m - ego.s) + float(rng.uniform(-60, 110))
            if name.startswith("oncoming"):
                s -= 60.0
            speed = ego.wish * float(rng.uniform(0.75, 1.15))
        else:
            s = path.length_m - ego.s - float(rng.uniform(10, 150))
            speed = float(rng.uniform(6, 12))
            if rng.random() < 0.2:  # somebody behind
                path, s = ego.path, ego.s - float(rng.uniform(14, 35))
                speed = min(speed, ego.speed)
        agent = _vehicle(cast, rng, path, s, speed, max(speed, 5.0) * float(rng.uniform(1.0, 1.15)))
        agent.rank = float(rng.uniform(-0.5, 0.5))
        if 5 < s < path.length_m - 10 and _clear_on_path(cast, agent) and cast.add(agent):
            return


def _clear_on_path(cast: Cast, agent: Agent) -> bool:
    """Whether nobody on the same lane starts too close ahead or behind."""
    for other in cast.agents:
        s, d = agent.path.project(*other.centre()[:2])
        gap = abs(s - agent.s - agent.back_m) - (other.body.length_m + agent.body.length_m) / 2
        behind = agent.speed if s > agent.s else other.speed
        if abs(d) < 2.2 and gap < 4.0 + 1.0 * behind:
            return False
    return True


def _add_parked(
    cast: Cast, road: RoadMap, rng: np.random.Generator, *, ahead: tuple[float, float], intrusion: float
) -> None:
    ego = cast.agents[0]
    for _ in range(4):
        name = "ego" if intrusion or rng.random() < 0.6 else "oncoming"
        path = road.routes[name]
        along = float(rng.uniform(*ahead))
        s = ego.s + along if name == "ego" else path.length_m - ego.s - along
        kind = str(rng.choice(["car", "van"], p=[0.85, 0.15]))
        body = draw_body(rng, kind, cast.track(kind))
        d = -(road.width_m / 2 + PARKING_M / 2) + float(rng.uniform(-0.1, 0.1)) + intrusion
        if not intrusion:
            d = min(d, -(road.width_m + body.width_m) / 2 - 0.1)
        agent = Agent(body=body, path=path, s=s, d=d, standing=True)
        if name == "ego" and rng.random() < 0.15:
            agent.yaw_offset = pi  # parked against the traffic
        agent.yaw_offset += float(rng.normal(0, 0.02))
        if cast.add(agent):
            return


def _kerb_m(road: RoadMap) -> float:
    return road.width_m / 2 + (PARKING_M if road.parking else 0.0)


def _add_crossing(cast: Cast, road: RoadMap, rng: np.random.Generator) -> None:
    ego = cast.agents[0]
    wait = float(rng.uniform(0.1, 2.5))
    then = min(ego.speed + 1.2 * wait, ego.wish)
    fair_m = STEP_OFF_M + ego.nose_m + then**2 / (2 * STEP_OFF_MPS2) + 0.6 * then  # a driver can stop without hurry
    ahead = fair_m + wait * 0.5 * (ego.speed + then) + float(rng.uniform(0.0, 6.0))
    from_right = bool(rng.random() < 0.6)
    kerb = _kerb_m(road)
    heading = ego.path.at(ego.s + ahead)[2]
    far = kerb + road.width_m  # the other kerb, to the left of our lane's centre
    start = -(kerb + 0.6) if from_right else far + 0.6
    yaw = heading + (pi / 2 if from_right else -pi / 2)
    foot = ego.path.at(ego.s + ahead, start)
    path = Path.straight((foot[0], foot[1], yaw), length_m=kerb + far + 4.0)
    body = draw_body(rng, "pedestrian", cast.track("pedestrian"))
    wish = float(rng.uniform(1.1, 1.9))
    cast.add(Agent(body=body, path=path, s=0.2, wish=wish, clock_s=wait))


def _add_walker(cast: Cast, road: RoadMap, rng: np.random.Generator, *, abreast_m: float) -> None:
    if road.manoeuvre not in ("follow",):
        names = sorted(name for name in road.routes if name.startswith("0-3") or name.startswith("1-0"))
    else:
        names = ["ego", "oncoming"]
    names = [name for name in names if name in road.routes] or ["ego"]
    path = road.routes[names[int(rng.integers(len(names)))]]
    place = cast.agents[0].s if path is cast.agents[0].path else path.length_m - cast.agents[0].s
    s = place + float(rng.uniform(5, 60)) * (1 if path is cast.agents[0].path else -1)
    side = -(_kerb_m(road) + abreast_m)  # everybody on a line of their own, so that nobody walks into another
    speed = float(rng.uniform(0.9, 1.6))
    body = draw_body(rng, "pedestrian", cast.track("pedestrian"))
    points = np.array([path.at(float(along), side)[:2] for along in np.arange(s, s + 60, 1.0)])
    if rng.random() < 0.5:
        points = points[::-1]
    cast.add(Agent(body=body, path=Path(points), s=3.0, speed=speed, wish=speed))
