"""Means, differences and tables of planners, in closed form; drives that are kept are not driven again."""

from pathlib import Path

import numpy as np
import pytest

from studio import closed_loop
from studio.closed_loop import drives_of, held_out_courses
from studio.open_loop import Errors
from studio.planner_summary import (
    compared,
    difference_of,
    drives_summary,
    mean_of,
    open_loop_summary,
    pairs_of,
    strata_summary,
)
from studio.planner_table import differences_table, drives_table, spread, strata_table
from worldmodel.errors import BadDataset

ALL = np.ones(4, bool)
GAPS = np.array([0.1, 0.4, 2.5, 4.0])


def errors(ade: list[float]) -> Errors:
    values = np.array(ade)
    return Errors(
        ade_m=np.tile(values[:, None], 4),
        fde_m=np.tile(2 * values[:, None], 4),
        hits=np.tile(np.where(np.isnan(values), np.nan, values > 2)[:, None], 3),
        right=np.ones((len(values), 3, 3)),
    )


def a_drive(score: float, end: str = "time", kind: str | None = None) -> dict:
    return {
        "driving_score": score,
        "route_completion": score / 100,
        "penalty": 1.0,
        "infractions": [] if kind is None else [{"kind": kind}],
        "end": end,
        "outside_share": 0.0,
        "navsim": {"epdms": 0.5},
        "failures": [],
    }


def test_means_leave_failures_out_and_say_how_many_are_left() -> None:
    found = mean_of(np.array([1.0, 3.0, np.nan]))
    assert found is not None
    assert (found["value"], found["scenes"]) == (2.0, 2)
    assert mean_of(np.array([np.nan])) is None
    assert mean_of(np.array([4.0])) == {"value": 4.0, "interval": None, "scenes": 1}
    summary = open_loop_summary(errors([1, 2, 3, np.nan]), ALL)
    assert summary["ade_m"]["4 s"]["value"] == 2
    assert summary["fde_m"]["1 s"]["value"] == 4
    assert summary["hits"]["3 s"]["value"] == pytest.approx(1 / 3)


def test_differences_are_paired_over_the_scenes_that_both_have() -> None:
    found = difference_of(np.array([1.0, 5.0, np.nan, 2.0]), np.array([0.5, 4.5, 1.0, 1.5]))
    assert found is not None
    assert (found["value"], found["scenes"]) == (0.5, 3)
    assert found["interval"] == (0.5, 0.5)  # always the same difference


def test_strata_part_at_each_threshold() -> None:
    found = strata_summary({"a": errors([1, 2, 3, 5])}, GAPS, ALL)
    at = {row["threshold_m"]: row for row in found["ade_m"]}
    assert at[1.0]["critical"]["value"] == 4.0
    assert at[1.0]["dominated"]["value"] == 1.5
    assert at[3.0]["critical"] is None  # a single moment


def test_planners_are_compared_within_a_mix_and_a_kind_with_itself() -> None:
    names = ["ik (rich)", "direct (rich)", "direct (natural)", "joint"]
    assert pairs_of(names) == [("ik (rich)", "direct (rich)"), ("direct (rich)", "direct (natural)")]
    rows = compared(
        {"ik (rich)": errors([1, 1, 1, 1]), "direct (rich)": errors([1, 1, 2, 3])},
        GAPS,
        {"drive": ALL},
        {name: [a_drive(score), a_drive(score)] for name, score in (("ik (rich)", 60.0), ("direct (rich)", 50.0))},
    )
    assert rows[0]["ade_m"]["value"] == -0.75
    assert rows[0]["ade_critical_m"]["value"] == -1.5
    assert rows[0]["ade_dominated_m"]["value"] == 0.0
    assert rows[0]["driving_score"]["value"] == 10.0
    assert "| ik (rich) − direct (rich) | -0.75 (" in differences_table(rows)


def test_drives_are_shares_of_what_went_wrong() -> None:
    drives = [a_drive(40.0, "collision", "collision_vehicle"), a_drive(100.0), a_drive(10.0, "off_road"), a_drive(50.0)]
    found = drives_summary(drives)
    assert found["driving_score"]["value"] == 50.0
    assert (found["collided"]["value"], found["off_road"]["value"], found["red_light"]["value"]) == (0.25, 0.25, 0.0)
    table = drives_table({"about": {"courses": 4, "course_s": 10.0}, "closed_loop": {"ik (rich)": found}})
    assert "| ik (rich) | 50.0 (" in table
    assert "4 courses" in table


def test_tables_show_a_dash_where_there_is_nothing() -> None:
    assert spread(None) == "–"
    assert spread({"value": 0.5, "interval": (0.25, 0.75)}, percent=True) == "50 (25 to 75)"
    strata = strata_summary({"a": errors([1, 2, 3, 5])}, GAPS, ALL)
    table = strata_table({"about": {"critical_m": 1.0}, "strata": strata})
    assert "| – / 2.00 |" in table  # beyond 3 m there is a single moment
    assert "| 2 / 2 |" in table


# -- drives -----------------------------------------------------------------------------------------------------


def test_courses_are_of_test_seeds_and_the_first_ones_stay() -> None:
    few, more = held_out_courses(3), held_out_courses(30)
    assert more[:3] == few
    assert len({course.situation for course in more[:22]}) == 22
    assert all(2_000_000 <= course.seed < 3_000_000 for course in more)


def test_drives_are_kept_and_more_can_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    courses = held_out_courses(2, seconds=1.0)
    driven: list[int] = []
    first = drives_of("constant-velocity", courses[:1], tmp_path, progress=lambda number, _: driven.append(number))
    both = drives_of("constant-velocity", courses, tmp_path, progress=lambda number, _: driven.append(number))
    assert driven == [1, 2]
    assert both[:1] == first
    assert [one["situation"] for one in both] == [course.situation for course in courses]
    assert both[0]["driver"] == "constant velocity"
    assert drives_summary(both)["driving_score"]["scenes"] == 2
    monkeypatch.setattr(closed_loop, "drive_one", None)
    assert drives_of("constant-velocity", courses, tmp_path) == both
    next(tmp_path.glob("*/*.json")).write_text("[]")
    with pytest.raises(BadDataset, match="Delete it"):
        drives_of("constant-velocity", courses, tmp_path)
