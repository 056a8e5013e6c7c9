"""What a scene is about: the situations by name. Who plays which role is drawn in `cast.py` and `roles.py`."""

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One kind of scene.

    Attributes:
        description: In words.
        road: A kind of road, as in `roads.py`.
        speed_mps: Range of the ego's wished speed.
        roles: Who is cast for certain, by the names in `roles.ROLES`, in this order.
        leader: Chance that somebody drives ahead of the ego.
        traffic: Range of the number of other vehicles that drive.
        parked: Range of the number of parked vehicles.
        walkers: Range of the number of people on the pavements.
        laps: How often the route goes round a roundabout before it leaves.
        max_seconds: The longest scene; the road is long enough for it.
    """

    description: str
    road: str
    speed_mps: tuple[float, float]
    roles: tuple[str, ...] = ()
    leader: float = 0.0
    traffic: tuple[int, int] = (3, 6)
    parked: tuple[int, int] = (0, 4)
    walkers: tuple[int, int] = (0, 3)
    laps: int = 0
    max_seconds: float = 30.0

    @property
    def half_blocked(self) -> bool:
        """Whether something stands half in the ego's lane, out of a parking strip."""
        return "half_parked" in self.roles or "double_parked" in self.roles


STREETS = {
    "street": Situation(
        description="two-way street with oncoming traffic", road="street", speed_mps=(7.0, 13.5), leader=0.55
    ),
    "curvy": Situation(
        description="two-way street with bends and parked cars",
        road="curvy",
        speed_mps=(7.0, 13.0),
        leader=0.55,
        parked=(3, 6),
    ),
    "empty_road": Situation(
        description="nobody else drives",
        road="curvy",
        speed_mps=(7.0, 14.0),
        traffic=(0, 0),
        parked=(0, 2),
        walkers=(0, 1),
    ),
    "stop_and_go": Situation(
        description="the car ahead brakes to a stop and goes on",
        road="street",
        speed_mps=(7.0, 13.0),
        roles=("stopping_leader",),
        traffic=(2, 5),
    ),
    "cyclist": Situation(
        description="a slow cyclist ahead, to be overtaken when the road is free",
        road="street",
        speed_mps=(8.0, 13.0),
        roles=("cyclist",),
        traffic=(1, 4),
    ),
    "oncoming_overtaker": Situation(
        description="somebody who comes the other way overtakes in our lane",
        road="street",
        speed_mps=(8.0, 12.0),
        roles=("overtaker",),
        traffic=(0, 1),
        parked=(0, 0),
    ),
}

OBSTACLES = {
    "parked_car": Situation(
        description="a parked car stands half in the lane",
        road="street",
        speed_mps=(6.0, 11.0),
        roles=("half_parked",),
        traffic=(1, 4),
        parked=(1, 4),
    ),
    "double_parking": Situation(
        description="somebody has stopped in the lane with hazard lights on",
        road="street",
        speed_mps=(6.0, 11.0),
        roles=("double_parked",),
        traffic=(1, 4),
        parked=(2, 5),
    ),
    "road_works": Situation(
        description="cones and barriers close a part of the lane",
        road="street",
        speed_mps=(6.0, 11.0),
        roles=("road_works",),
        traffic=(1, 4),
        parked=(0, 0),
    ),
    "hidden_obstacle": Situation(
        description="something stands in the lane behind a blind bend",
        road="blind_bend",
        speed_mps=(7.0, 11.0),
        roles=("hidden",),
        traffic=(0, 3),
        parked=(0, 0),
    ),
}

PEOPLE = {
    "pedestrian": Situation(
        description="somebody crosses the road on foot",
        road="crossing",
        speed_mps=(7.0, 12.0),
        roles=("crossing",),
        traffic=(0, 2),
        walkers=(1, 4),
    ),
    "pedestrian_standing": Situation(
        description="somebody stands at the kerb or at the lane's edge, and does not cross",
        road="street",
        speed_mps=(7.0, 12.0),
        roles=("standing",),
        traffic=(0, 3),
        walkers=(1, 3),
    ),
}

LANES = {
    "highway": Situation(
        description="three lanes each way, lane changes",
        road="highway",
        speed_mps=(15.0, 22.0),
        leader=0.55,
        traffic=(6, 11),
        parked=(0, 0),
        walkers=(0, 0),
    ),
    "merge": Situation(
        description="a ramp joins a highway",
        road="merge",
        speed_mps=(15.0, 20.0),
        leader=0.3,
        traffic=(5, 9),
        parked=(0, 0),
        walkers=(0, 0),
    ),
    "exit": Situation(
        description="a ramp leaves a highway",
        road="exit",
        speed_mps=(15.0, 20.0),
        leader=0.3,
        traffic=(4, 8),
        parked=(0, 0),
        walkers=(0, 0),
    ),
    "cut_in": Situation(
        description="somebody changes into our lane close ahead",
        road="two_lanes",
        speed_mps=(9.0, 14.0),
        roles=("cut_in",),
        traffic=(2, 5),
        parked=(0, 0),
    ),
    "slow_truck": Situation(
        description="a slow truck ahead on a road with two lanes",
        road="two_lanes",
        speed_mps=(9.0, 14.0),
        roles=("slow_truck",),
        traffic=(2, 5),
        parked=(0, 0),
    ),
}

CROSSINGS = {
    "intersection": Situation(
        description="crossing without signals: left, right or straight on",
        road="intersection",
        speed_mps=(7.0, 11.0),
        leader=0.4,
        parked=(0, 0),
    ),
    "traffic_light": Situation(
        description="crossing with signals: left, right or straight on",
        road="signals",
        speed_mps=(7.0, 12.0),
        leader=0.4,
        traffic=(4, 8),
        parked=(0, 0),
    ),
    "roundabout": Situation(
        description="a roundabout with three or four arms",
        road="roundabout",
        speed_mps=(7.0, 11.0),
        leader=0.3,
        traffic=(3, 6),
        parked=(0, 0),
    ),
}

MEMORIES = {
    "remember_block": Situation(
        description="parked cars that come back into view after a drive around the block",
        road="block",
        speed_mps=(9.0, 12.0),
        roles=("remembered",),
        traffic=(1, 3),
        parked=(0, 0),
        walkers=(0, 1),
        max_seconds=60.0,
    ),
    "remember_roundabout": Situation(
        description="parked cars that come back into view on the second round of a roundabout",
        road="roundabout",
        speed_mps=(5.2, 6.2),
        roles=("remembered",),
        traffic=(0, 2),
        parked=(0, 0),
        walkers=(0, 1),
        laps=1,
        max_seconds=60.0,
    ),
}

SITUATIONS: dict[str, Situation] = STREETS | OBSTACLES | PEOPLE | LANES | CROSSINGS | MEMORIES


def generator(situation: str, seed: int, stream: str) -> np.random.Generator:
    """An independent source of random numbers for one purpose of one scene."""
    return np.random.default_rng([seed, zlib.crc32(situation.encode()), zlib.crc32(stream.encode())])
