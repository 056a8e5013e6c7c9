"""The parts that make a situation what it is: who stops, cuts in, stands in the way or steps onto the road."""

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np

from worldmodel.town.drivers.agents import Agent, Swerve
from worldmodel.town.drivers.cast import Cast, add_leader, add_parked, add_traffic, add_walker, start_cast
from worldmodel.town.drivers.walking import STEP_OFF_M, STEP_OFF_MPS2
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import PARKING_M, RoadMap
from worldmodel.town.scene import Crosswalk
from worldmodel.town.situations import Situation

NEAR_RING_M = 26.0  # bays further from the ring are not seen from it


def cast_scene(situation: Situation, road: RoadMap, rng: np.random.Generator, wish: float) -> Cast:
    """Draw everybody before the scene starts, so that an edit later disturbs no draw."""
    cast = start_cast(situation, road, rng, wish)
    for role in situation.roles:
        ROLES[role](cast)
    if cast.chance(situation.leader):
        add_leader(cast)
    for _ in range(int(rng.integers(situation.traffic[0], situation.traffic[1] + 1))):
        add_traffic(cast)
    for _ in range(int(rng.integers(situation.parked[0], situation.parked[1] + 1))):
        if road.parking:
            add_parked(cast, ahead=(-15.0, 90.0))
    for number in range(int(rng.integers(situation.walkers[0], situation.walkers[1] + 1))):
        add_walker(cast, abreast_m=0.9 + 0.65 * (number % 4))
    if "crossing" not in situation.roles and road.crosswalks and road.programme is None and cast.chance(0.5):
        zebra = int(rng.integers(len(road.crosswalks)))
        _on_zebra(cast, zebra, wait=cast.between(0.0, 4.0))
    return cast


# -- who drives ---------------------------------------------------------------------------------------------------


def _stopping_leader(cast: Cast) -> None:
    """The leader brakes to a stop during the scene, or stands from its start (with or without the ego behind it)."""
    ego = cast.ego
    gap = ego.speed * cast.between(1.3, 3.0) + 10.0
    leader = cast.vehicle(ego.path, ego.s + gap, ego.speed, ego.wish * cast.between(0.8, 1.05))
    draw, start = cast.between(0, 1), cast.between(0.3, 3.0)
    leader.halts = ((start, start + leader.speed / 2.6 + cast.between(1.5, 6.0)),)
    if draw > 0.4:
        leader.speed, leader.halts = 0.0, ((0.0, cast.between(0.5, 5.0)),)
        gap = ego.speed**2 / 4.0 + ego.speed + cast.between(3.0, 10.0)
        if draw > 0.6:
            ego.speed, gap = 0.0, cast.between(2.5, 4.0)
        leader.s = ego.s + ego.nose_m + gap + leader.tail_m
    cast.add(leader)


def _slow_truck(cast: Cast) -> None:
    ego = cast.ego
    truck = cast.vehicle(ego.path, ego.s + ego.speed * cast.between(1.5, 3.0) + 14.0, 20.0, 0.0, "truck")
    truck.wish = cast.between(3.5, 6.0)
    truck.speed, truck.keeps = truck.wish, True
    cast.add(truck)


def _cyclist(cast: Cast) -> None:
    ego = cast.ego
    ahead = ego.speed * cast.between(1.0, 3.0) + 10.0
    speed = cast.between(3.0, 5.5)
    side = -(cast.road.width_m / 2 - cast.between(0.55, 0.8))
    rider = Agent(
        body=cast.body("cyclist"), path=ego.path, s=ego.s + ahead, d=side, side_m=side, speed=speed, wish=speed
    )
    rider.route = ego.route
    cast.add(rider)


def _cut_in(cast: Cast) -> None:
    """Somebody in the lane beside, a little ahead, who comes over though there is little room."""
    ego, road = cast.ego, cast.road
    left, right = road.neighbours[ego.route]
    name = left or right
    path = road.routes[name]
    start = cast.between(1.2, 4.0)
    then = min(ego.speed + 1.2 * start, ego.wish)
    speed = max(0.5 * (ego.speed + then) * cast.between(0.85, 1.0), 4.0)
    ahead = (0.5 * (ego.speed + then) - speed) * start + 10.5 + then * cast.between(0.2, 0.7)
    s = path.project(*ego.pose()[:2])[0] + ahead
    other = cast.vehicle(path, s, speed, speed * cast.between(1.0, 1.1), "" if cast.chance(0.3) else "car")
    other.cut = (start, ego.route)
    cast.add(other)


def _overtaker(cast: Cast) -> None:
    """Somebody slow who comes towards us, and somebody faster who passes it in our lane and gets back in."""
    ego, road = cast.ego, cast.road
    path = road.routes["oncoming"]
    slow, fast = cast.between(3.0, 4.5), cast.between(9.0, 11.0)
    out_m, in_m = 16.0, 18.0  # how far apart they are when it moves out, and when it is back
    seconds = (out_m + in_m) / (fast - slow) + 2.0
    wait = cast.between(0.3, 1.5)
    room = (fast + ego.wish) * (wait + seconds) + cast.between(12.0, 30.0)
    start = path.project(*ego.path.at(ego.s + room)[:2])[0]
    first, last = start + fast * wait + 12.0, start + fast * (wait + seconds) - 14.0
    fast_one = cast.vehicle(path, start, fast, fast, "car")
    fast_one.script = (Swerve(first_s=first, last_s=last, offset_m=road.width_m - 0.2, ramp_m=16.0),)
    slow_one = cast.vehicle(
        path, start + fast * wait + out_m - slow * wait, slow, slow, "truck" if cast.chance(0.5) else "car"
    )
    slow_one.side_m = slow_one.d = -0.4
    cast.add(slow_one)
    cast.add(fast_one)


# -- what stands in the way ---------------------------------------------------------------------------------------


def _half_parked(cast: Cast) -> None:
    add_parked(cast, ahead=(22.0, 55.0), intrusion=cast.between(0.7, 1.5))


def _double_parked(cast: Cast) -> None:
    """A vehicle that has stopped beside the parked ones."""
    ego = cast.ego
    s = ego.s + cast.between(28.0, 60.0)
    body = cast.body(str(cast.rng.choice(["car", "van", "truck"], p=[0.5, 0.35, 0.15])))
    d = -cast.road.width_m / 2 + body.width_m / 2 + cast.between(0.05, 0.35)
    cast.add(Agent(body=body, path=ego.path, s=s, d=d, standing=True, hazard=True))


def _road_works(cast: Cast) -> None:
    """Cones lead to a closed piece of the right side of the lane, with barriers before and behind it."""
    ego, half = cast.ego, cast.road.width_m / 2
    start, length = ego.s + cast.between(28.0, 55.0), cast.between(8.0, 20.0)
    closed = cast.between(0.9, 0.75 * cast.road.width_m)
    for number in range(4):
        d = -half + closed * (number + 0.4) / 4 - 0.1
        cast.add(Agent(body=cast.body("cone"), path=ego.path, s=start + 2.2 * number, d=d, standing=True))
    begin = start + 10.0
    for along in (begin, begin + length):
        barrier = Agent(body=cast.body("barrier"), path=ego.path, s=along, d=-half + closed - 1.0, standing=True)
        cast.add(barrier)
    for along in np.arange(begin + 2.5, begin + length - 1.5, 3.0):
        cast.add(Agent(body=cast.body("cone"), path=ego.path, s=float(along), d=-half + closed - 0.3, standing=True))
    if closed > 1.6 and length > 10:
        cast.add(Agent(body=cast.body("box"), path=ego.path, s=begin + length / 2, d=-half + 0.7, standing=True))


def _hidden(cast: Cast) -> None:
    """Something in the lane that houses hide until the bend is reached."""
    road, ego = cast.road, cast.ego
    assert road.hidden_s is not None
    s = cast.between(*road.hidden_s)
    kind = str(cast.rng.choice(["car", "van", "box", "cone"], p=[0.5, 0.2, 0.2, 0.1]))
    body = cast.body(kind)
    side = cast.between(-0.6, 0.2) if kind in ("car", "van") else cast.between(-0.5, 0.5)
    agent = Agent(body=body, path=ego.path, s=s, d=side, standing=True, hazard=kind in ("car", "van"))
    cast.add(agent)


def _remembered(cast: Cast) -> None:
    """Parked vehicles beside a way that comes by twice."""
    for _ in range(int(cast.rng.integers(2, 5))):
        if cast.road.core is None:
            add_parked(cast, ahead=(10.0, 48.0))
        else:
            _in_bay(cast)


def _in_bay(cast: Cast) -> None:
    """Parked in a bay beside an arm of the roundabout, near the ring."""
    road = cast.road
    assert road.core is not None
    names = sorted(name for name in road.strips if name != "ego" and road.strips[name])
    for _ in range(8):
        name = names[int(cast.rng.integers(len(names)))]
        path, stretches = road.routes[name], road.strips[name]
        first, last = stretches[int(cast.rng.integers(len(stretches)))]
        s = cast.between(first + 3.0, last - 3.0)
        x, y, _ = path.at(s)
        body = cast.body(str(cast.rng.choice(["car", "van"], p=[0.8, 0.2])))
        d = -(road.width_m + PARKING_M) / 2 + cast.between(-0.1, 0.1)
        yaw = float(cast.rng.normal(0, 0.02))
        near = (x - road.core[0]) ** 2 + (y - road.core[1]) ** 2 < (road.core[2] + NEAR_RING_M) ** 2
        if near and cast.add(Agent(body=body, path=path, s=s, d=d, standing=True, yaw_offset=yaw)):
            return


# -- who is on foot -----------------------------------------------------------------------------------------------


def _crossing(cast: Cast) -> None:
    """Somebody who crosses the road before the ego: at the zebra, or where there is none."""
    ego, road = cast.ego, cast.road
    if road.crosswalks and cast.chance(0.6):
        middle = road.crosswalks[0]
        ahead = ego.path.project(middle.x_m, middle.y_m)[0] - ego.s - ego.nose_m
        arrival = ahead / max(ego.wish, 1.0)
        _on_zebra(cast, 0, wait=max(arrival - cast.between(1.5, 5.0), 0.05))
        return
    wait = cast.between(0.1, 2.5)
    then = min(ego.speed + 1.2 * wait, ego.wish)
    fair_m = STEP_OFF_M + ego.nose_m + then**2 / (2 * STEP_OFF_MPS2) + 0.6 * then  # one can stop without hurry
    ahead = fair_m + wait * 0.5 * (ego.speed + then) + cast.between(0.0, 6.0)
    from_right = cast.chance(0.6)
    far = cast.kerb_m + road.width_m  # the other kerb, to the left of our lane's centre
    x, y, _ = ego.path.at(ego.s + ahead, -(cast.kerb_m + 0.6) if from_right else far + 0.6)
    yaw = ego.path.at(ego.s + ahead)[2] + (pi / 2 if from_right else -pi / 2)
    path = Path.straight((x, y, yaw), length_m=cast.kerb_m + far + 4.0)
    cast.add(Agent(body=cast.body("pedestrian"), path=path, s=0.2, wish=cast.between(1.1, 1.9), clock_s=wait))


def _on_zebra(cast: Cast, number: int, wait: float) -> None:
    zebra: Crosswalk = cast.road.crosswalks[number]
    side = 1.0 if cast.chance(0.5) else -1.0
    yaw = zebra.yaw_rad + side * pi / 2
    out = zebra.width_m / 2 + 0.7
    along = cast.between(-0.8, 0.8)
    x = zebra.x_m - out * cos(yaw) + along * cos(zebra.yaw_rad)
    y = zebra.y_m - out * sin(yaw) + along * sin(zebra.yaw_rad)
    path = Path.straight((x, y, yaw), length_m=zebra.width_m + 6.0)
    body = cast.body("pedestrian")
    cast.add(Agent(body=body, path=path, s=0.2, wish=cast.between(1.1, 1.9), clock_s=max(wait, 0.01), zebra=number))


def _standing(cast: Cast) -> None:
    """Somebody who stands at the kerb or on the edge of the lane, and looks across it."""
    ego = cast.ego
    s = ego.s + cast.between(18.0, 55.0)
    edge = -cast.road.width_m / 2
    d = edge + cast.between(-0.1, 0.45) if cast.chance(0.5) else -(cast.kerb_m + cast.between(0.3, 0.8))
    x, y, heading = ego.path.at(s, d)
    path = Path.straight((x, y, heading + pi / 2 + cast.between(-0.6, 0.6)), length_m=20.0)
    cast.add(Agent(body=cast.body("pedestrian"), path=path, s=0.0, standing=True))


ROLES: dict[str, Callable[[Cast], None]] = {
    "stopping_leader": _stopping_leader,
    "slow_truck": _slow_truck,
    "cyclist": _cyclist,
    "cut_in": _cut_in,
    "overtaker": _overtaker,
    "half_parked": _half_parked,
    "double_parked": _double_parked,
    "road_works": _road_works,
    "hidden": _hidden,
    "remembered": _remembered,
    "crossing": _crossing,
    "standing": _standing,
}
