"""Answers that are no plans are told by their kind; those that are become plans of ours."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policy.foreign.answers import plan_from
from policy.foreign.convention import OURS
from policy.foreign.failures import cause_of, unusable
from worldmodel.errors import BadMotion, PolicyError
from worldmodel.plans import PLAN_TIMES_S

POINTS = replace(OURS, frame="x-right-y-forward", heading="derived")
STRAIGHT = [[0.0, 5.0 * t] for t in PLAN_TIMES_S]
DECISIONS = [{"lateral": "straight", "longitudinal": "keep"}] * 3


def test_an_answer_becomes_a_plan() -> None:
    route = [[0.0, 30.0]]
    plan = plan_from({"trajectory": STRAIGHT, "route": route, "decisions": DECISIONS}, POINTS, "it")
    np.testing.assert_allclose(plan.trajectory.poses[:, 0], 5.0 * PLAN_TIMES_S)
    assert plan.route is not None
    assert plan.decisions is not None
    np.testing.assert_allclose(plan.route, np.column_stack([np.arange(1, 21), np.zeros(20)]), atol=1e-12)
    assert plan.decisions[0].longitudinal == "keep"


def test_samples_are_kept_and_their_mean_is_the_plan() -> None:
    faster = (2 * np.array(STRAIGHT)).tolist()
    plan = plan_from({"samples": [STRAIGHT, faster]}, POINTS, "it")
    assert plan.samples is not None
    np.testing.assert_allclose(plan.trajectory.poses, plan.samples.mean(axis=0))
    assert plan.trajectory.poses[-1, 0] == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({}, "wrong shape"),
        ({"trajectory": "left"}, "wrong shape"),
        ({"trajectory": [[0.0, 1.0, 2.0]] * 8}, "wrong shape"),
        ({"trajectory": [[0.0, 1.0], [0.0]]}, "wrong shape"),
        ({"trajectory": 3.0}, "wrong shape"),
        ({"trajectory": {"x": 1}}, "wrong shape"),
        ({"trajectory": STRAIGHT[:6]}, "wrong length"),
        ({"trajectory": []}, "wrong shape"),
        ({"trajectory": [[0.0, float("nan")], *STRAIGHT[1:]]}, "not finite"),
        ({"trajectory": [[0.0, None], *STRAIGHT[1:]]}, "not finite"),
        ({"trajectory": [[0.0, 1e300], *STRAIGHT[1:]]}, "far away"),
        ({"trajectory": [[601234.5, 4012345.6]] * 8}, "far away"),
        ({"trajectory": STRAIGHT, "times_s": [t / 2 for t in PLAN_TIMES_S]}, "wrong rate"),
        ({"trajectory": STRAIGHT, "times_s": [1.0, 2.0]}, "wrong rate"),
        ({"samples": []}, "wrong shape"),
        ({"samples": [STRAIGHT, STRAIGHT[:3]]}, "wrong length"),
        ({"trajectory": STRAIGHT, "samples": [(2 * np.array(STRAIGHT)).tolist()] * 2}, "samples differ"),
        ({"trajectory": STRAIGHT, "route": [[0.0, 5.0]]}, "bad route"),
        ({"trajectory": STRAIGHT, "route": []}, "bad route"),
        ({"trajectory": STRAIGHT, "decisions": DECISIONS[:2]}, "bad decisions"),
        ({"trajectory": STRAIGHT, "decisions": [{"lateral": "up", "longitudinal": "keep"}] * 3}, "bad decisions"),
    ],
)
def test_every_unusable_answer_has_its_kind(answer: dict[str, Any], kind: str) -> None:
    with pytest.raises(PolicyError, match="policy 'it'") as caught:
        plan_from(answer, POINTS, "it")
    assert caught.value.kind == kind


def test_a_point_for_now_that_is_not_the_car_is_said() -> None:
    from_now = replace(POINTS, times_s=(0.0, *POINTS.times_s))
    good = plan_from({"trajectory": [[0.0, 0.0], *STRAIGHT]}, from_now, "it")
    assert good.trajectory.poses[0, 0] == pytest.approx(2.5)
    with pytest.raises(PolicyError, match=r"the point for now is 2.00 m from the car"):
        plan_from({"trajectory": [[0.0, 2.0], *STRAIGHT]}, from_now, "it")


def test_bare_numbers_without_a_declaration_are_not_guessed() -> None:
    with pytest.raises(PolicyError, match=r"declares no frame; their meaning is not guessed") as caught:
        plan_from({"trajectory": STRAIGHT}, None, "it")
    assert caught.value.kind == "undeclared"


def test_failures_are_counted_by_kind() -> None:
    one, other = PolicyError("no answer within 2 s", "timeout"), PolicyError("no answer within 3 s", "timeout")
    assert cause_of(unusable(one)) == cause_of(unusable(other)) == "PolicyError, timeout"
    assert cause_of(unusable(BadMotion("not a number at 0.5 s"))) == "BadMotion: not a number"
