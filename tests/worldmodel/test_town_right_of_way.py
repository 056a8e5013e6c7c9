"""Whoever would be there clearly first goes first, and whoever cannot stop is let go."""

import numpy as np
import pytest

from worldmodel.town.drivers.agents import Agent
from worldmodel.town.drivers.gates import Gates
from worldmodel.town.drivers.right_of_way import RightOfWay, crossing_zones
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import Gate, Programme, RoadMap
from worldmodel.town.scene import EGO_BODY, Body, Crosswalk

EAST, NORTH = Path.straight((0.0, 0.0, 0.0), 100.0), Path.straight((50.0, -50.0, 1.5707963), 100.0)


def car(path: Path, s: float, speed: float = 8.0, rank: float = 0.0) -> Agent:
    return Agent(body=EGO_BODY, path=path, s=s, speed=speed, wish=8.0, rank=rank)


def test_straight_paths_cross_where_they_meet() -> None:
    ((first, last, other_first, other_last),) = crossing_zones(EAST, NORTH)
    assert first < 50 < last
    assert other_first < 50 < other_last
    assert last - first < 8
    assert crossing_zones(EAST, EAST) == ()
    assert crossing_zones(EAST, Path.straight((0.0, 30.0, 0.0), 100.0)) == ()


@pytest.mark.parametrize(("ahead", "waits"), [(30.0, 1), (10.0, 0)])
def test_who_is_further_away_waits_before_the_crossing(ahead: float, waits: int) -> None:
    lines = RightOfWay().stop_lines([car(EAST, ahead), car(NORTH, 20.0)])
    assert list(lines) == [waits]
    gap, track = lines[waits][0]
    assert 0 < gap < 50
    assert track == "ego"


def test_rank_decides_between_equals() -> None:
    assert list(RightOfWay().stop_lines([car(EAST, 20.0), car(NORTH, 20.0, rank=1.0)])) == [0]
    assert list(RightOfWay().stop_lines([car(EAST, 20.0, rank=1.0), car(NORTH, 20.0)])) == [1]


def test_who_cannot_stop_any_more_is_let_go() -> None:
    late = car(EAST, 41.0, speed=14.0)
    assert list(RightOfWay().stop_lines([late, car(NORTH, 32.0, rank=5.0)])) == [1]


def test_nobody_waits_for_who_has_passed() -> None:
    assert RightOfWay().stop_lines([car(EAST, 70.0), car(NORTH, 20.0)]) == {}


def test_the_higher_route_goes_first_however_late_it_comes() -> None:
    agents = [car(EAST, 28.0), car(NORTH, 18.0)]
    agents[0].route, agents[1].route = "east", "north"
    assert list(RightOfWay({"north": 1.0}).stop_lines(agents)) == [0]
    assert list(RightOfWay({"east": 1.0}).stop_lines(agents)) == [1]


def test_who_comes_to_a_give_way_line_waits() -> None:
    agents = [car(EAST, 28.0), car(NORTH, 18.0)]
    agents[0].route = "east"
    rule = RightOfWay(gates={"east": (Gate(s_m=40.0, kind="yield"),)})
    assert list(rule.stop_lines(agents)) == [0]


def test_who_is_held_by_a_signal_is_not_waited_for() -> None:
    agents = [car(EAST, 28.0), car(NORTH, 28.0)]
    agents[0].held_s = 40.0
    assert RightOfWay().stop_lines(agents) == {}


def test_paths_that_join_have_a_zone_and_paths_that_part_have_none() -> None:
    joins = Path(np.array([[-40.0, 40.0], [0.0, 8.0], [20.0, 0.0], [100.0, 0.0]]))
    straight = Path(np.array([[-60.0, 0.0], [100.0, 0.0]]))
    ((first, last, _, _),) = crossing_zones(joins, straight)
    assert 30 < first < last < 90
    assert crossing_zones(Path(joins.points[::-1]), Path(straight.points[::-1])) == ()


def gates_of(gate: Gate, programme: Programme | None = None, zebra: Crosswalk | None = None) -> Gates:
    return Gates(
        RoadMap(
            lanes=(),
            routes={"east": EAST},
            start_s=0.0,
            gates={"east": (gate,)},
            programme=programme,
            crosswalks=() if zebra is None else (zebra,),
        )
    )


def held(gates: Gates, agent: Agent, *others: Agent) -> list[str]:
    agent.route = "east"
    agents = [agent, *others]
    places = np.array([each.centre() for each in agents])
    return [cause.kind for _, cause in gates.holds(agent, agents, places)]


@pytest.mark.parametrize(
    ("now_s", "speed", "holds"), [(1.0, 8.0, False), (10.5, 20.0, False), (10.5, 8.0, True), (13.0, 8.0, True)]
)
def test_red_holds_and_amber_holds_who_can_stop(now_s: float, speed: float, holds: bool) -> None:
    gates = gates_of(Gate(s_m=60.0, kind="signal", number=0), Programme(groups=(0, 1)))
    gates.look(now_s)
    assert held(gates, car(EAST, 40.0, speed)) == (["signal"] if holds else [])


def test_one_stands_before_a_stop_line_once() -> None:
    gates = gates_of(Gate(s_m=60.0, kind="stop"))
    agent = car(EAST, 55.0, 4.0)
    assert held(gates, agent) == ["crossing"]
    agent.s, agent.speed = 56.5, 0.0
    assert held(gates, agent) == []
    agent.speed = 1.0
    assert held(gates, agent) == []


@pytest.mark.parametrize(("along", "holds"), [(0.2, True), (3.0, True), (8.0, False)])
def test_people_on_a_zebra_and_about_to_step_on_it_are_let_cross(along: float, holds: bool) -> None:
    zebra = Crosswalk(x_m=62.0, y_m=2.0, yaw_rad=0.0, length_m=3.2, width_m=8.0)
    body = Body(track="p", kind="pedestrian", length_m=0.5, width_m=0.5, height_m=1.7, color_rgb=(1.0, 0.0, 0.0))
    person = Agent(body=body, path=Path.straight((62.0, -2.6, np.pi / 2), 14.0), s=along, wish=1.4)
    gates = gates_of(Gate(s_m=59.0, kind="crosswalk", number=0), zebra=zebra)
    assert held(gates, car(EAST, 40.0), person) == (["walker"] if holds else [])
