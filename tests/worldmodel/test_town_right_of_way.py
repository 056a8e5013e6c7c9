"""Whoever would be there clearly first goes first, and whoever cannot stop is let go."""

import pytest

from worldmodel.town.agents import EGO_BODY, Agent
from worldmodel.town.paths import Path
from worldmodel.town.right_of_way import RightOfWay, crossing_zones

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
