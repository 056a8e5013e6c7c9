"""A Python class runs in a process of its own: what it prints harms nobody, and what it raises is one frame's failure."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from policy.baselines import ConstantTurnRatePlanner
from policy.foreign import host
from policy.foreign.planner import ForeignPlanner, foreign_planner
from policy.foreign.questions import question_of, shown
from policy.foreign.sources import source_of
from worldmodel.errors import BadPolicy, PolicyError
from worldmodel.geometry import Motion
from worldmodel.plans import PLAN_TIMES_S, Observation
from worldmodel.town.scene import town_rig

MOODY = """
import os, sys, time
import numpy as np
from policy.baselines import ConstantTurnRatePlanner
from worldmodel.plans import PLAN_TIMES_S

print("loading weights ...")

class Moody:
    name = "moody"
    declares = {"randomness": "none", "timeout_s": 20, "frame": "x-forward-y-right", "units": "ft", "times_s": list(PLAN_TIMES_S),
                "heading": "derived", "relative_to": "ego-now", "ahead_of_rear_axle_m": 0}

    def plan(self, observation, seed):
        print("thinking ...")
        points = np.column_stack([10 * PLAN_TIMES_S, PLAN_TIMES_S])
        if seed == 0: return points
        if seed == 1: return ConstantTurnRatePlanner().plan(observation, 0)
        if seed == 2: return {"samples": [points, 2 * points]}
        if seed == 3: raise KeyError(f"no lane {observation}"[:12] + " <object at 0x7f12>")
        if seed == 4: return points * np.nan
        if seed == 5: return lambda: 1
        if seed == 6: sys.exit(3)
        if seed == 7: return str(sys.stdin.read())
        if seed == 8: os._exit(4)

class Bare:
    def plan(self, observation, seed):
        return np.column_stack([10 * PLAN_TIMES_S, PLAN_TIMES_S])

class NoPlan: pass
class NeedsMore:
    def __init__(self, weights): pass
    def plan(self, observation, seed): pass
class HalfDeclared(Bare):
    declares = {"frame": "x-forward-y-left", "randomness": "none"}
"""


def observation() -> Observation:
    video = np.random.default_rng(0).integers(0, 256, (5, 3, 3, 8, 16), np.uint8)
    motion = Motion(deltas=np.tile([0.625, 0.001, 0.02], (4, 1)), period_s=0.125)
    return Observation(video=video, rig=town_rig(3, 16, 8), motion=motion, frequency_hz=8.0, instruction="turn left")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "moody.py"
    path.write_text(MOODY)
    return path


@pytest.fixture(scope="module")
def moody(file: Path) -> Iterator[ForeignPlanner]:
    planner = foreign_planner(f"{file}:Moody")
    yield planner
    planner.close()


def test_arrays_are_read_as_declared_whatever_it_prints(moody: ForeignPlanner) -> None:
    poses = moody.plan(observation(), 0).trajectory.poses
    np.testing.assert_allclose(poses[:, :2], 0.3048 * np.column_stack([10 * PLAN_TIMES_S, -PLAN_TIMES_S]))
    assert moody.name == "moody"


def test_a_plan_of_ours_is_taken_as_it_is(moody: ForeignPlanner) -> None:
    ours = ConstantTurnRatePlanner().plan(observation(), 0)
    np.testing.assert_array_equal(moody.plan(observation(), 1).trajectory.poses, ours.trajectory.poses)


def test_samples_come_as_a_mapping(moody: ForeignPlanner) -> None:
    plan = moody.plan(observation(), 2)
    assert plan.samples is not None
    assert plan.samples.shape == (2, 8, 3)
    assert plan.trajectory.poses[-1, 0] == pytest.approx(60 * 0.3048)


@pytest.mark.parametrize(
    ("seed", "kind", "message"),
    [
        (3, "raised", r"KeyError: .*<object at 0x\.\.\.>"),
        (4, "not finite", "not finite at index"),
        (5, "wrong shape", "the answer holds function"),
        (6, "raised", "SystemExit: 3"),
        (7, "wrong shape", "no array of numbers"),
        (8, "crash", "exit code 4"),
        (9, "wrong shape", "without `trajectory` or `samples`"),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_answer_is_fine(moody, seed: int, kind: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message) as caught:
        moody.plan(observation(), seed)
    assert caught.value.kind == kind
    assert moody.plan(observation(), 0).trajectory.poses[0, 0] == pytest.approx(5 * 0.3048)


def test_bare_numbers_of_a_class_without_a_declaration_are_refused(file: Path) -> None:
    planner = ForeignPlanner(source_of(f"{file}:Bare"))
    try:
        with pytest.raises(PolicyError, match="declares no frame"):
            planner.plan(observation(), 0)
        assert planner.name == "Bare"
    finally:
        planner.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoPlan", "NoPlan has no method plan"),
        ("NeedsMore", "weights"),
        ("Missing", "AttributeError"),
        ("HalfDeclared", "does not declare 'units'"),
    ],
)
def test_a_class_that_cannot_be_made_is_refused(file: Path, name: str, message: str) -> None:
    with pytest.raises(BadPolicy, match=message):
        ForeignPlanner(source_of(f"{file}:{name}"))


def test_the_class_sees_the_very_observation(moody: ForeignPlanner, tmp_path: Path) -> None:
    seen = shown(observation(), moody.declared.needs)
    back = host.observation_of(question_of(observation(), 0, 1, moody.declared, tmp_path, hosted=True))
    np.testing.assert_array_equal(back.video, seen.video)
    assert back.motion is not None
    assert seen.motion is not None
    np.testing.assert_array_equal(back.motion.deltas, seen.motion.deltas)
    np.testing.assert_array_equal(back.rig.rays()[1], seen.rig.rays()[1])
    assert (back.frequency_hz, back.instruction) == (8.0, "turn left")


def test_a_module_is_found_from_the_folder_one_stands_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "moody", raising=False)
    assert host.load("moody:Bare").__name__ == host.load(f"{file}:Bare").__name__ == "Bare"
    monkeypatch.delitem(sys.modules, "moody", raising=False)


def test_a_file_may_declare_for_the_class(file: Path) -> None:
    (file.parent / "policy.yaml").write_text(
        "{python: 'moody.py:Bare', name: yes it is, frame: x-right-y-forward, units: m, rate_hz: 2, steps: 8, heading: derived,"
        " relative_to: ego-now, ahead_of_rear_axle_m: 0, randomness: none}"
    )
    planner = ForeignPlanner(source_of(str(file.parent / "policy.yaml")))
    try:
        assert planner.plan(observation(), 0).trajectory.poses[-1, 1] == pytest.approx(-40)
        assert planner.name == "yes it is"
    finally:
        planner.close()
