"""What a policy declares is compared with what it does: frame, steps, units, rate, headings, repeatability, memory, looking."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy.foreign.examination import Asked, Probe
from policy.foreign.planner import ForeignPlanner
from policy.foreign.probes import examined
from policy.foreign.sources import source_of
from worldmodel.geometry import Motion, integrate_rates
from worldmodel.plans import PLAN_TIMES_S, Observation
from worldmodel.town.scene import town_rig

DECLARED = {
    "frame": "x-forward-y-left",
    "units": "m",
    "rate_hz": 2,
    "steps": 8,
    "heading": "derived",
    "relative_to": "ego-now",
    "ahead_of_rear_axle_m": 0,
    "randomness": "none",
    "pictures_as": "raw",
}
ARCS = """
import base64, json, math, random, sys
asked = 0
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "hello":
        print(json.dumps({"type": "hello", "protocol": 1, "declares": DECLARED}), flush=True)
        continue
    asked += 1
    speed, turn = request["ego"]["speed_mps"], request["ego"]["yaw_rate_radps_to_the_left"]
    bright = max(base64.b64decode(request["raw"]["base64"]))
    step_s, points, x, y, yaw = 0.5, [], 0.0, 0.0, 0.0
    SETTING
    for _ in range(8 * 100):
        x, y, yaw = x + speed * step_s / 100 * math.cos(yaw), y + speed * step_s / 100 * math.sin(yaw), yaw + turn * step_s / 100
        points.append([x, y])
    points = points[99::100]
    CHANGE
    print(json.dumps({"type": "plan", "id": request["id"], "trajectory": points}), flush=True)
    AFTER
"""
Examine = Callable[..., Asked]


@pytest.fixture
def examine(tmp_path: Path) -> Iterator[Examine]:
    """Examine arcs, changed in some way."""
    started: list[ForeignPlanner] = []

    def run(change: str = "pass", *, setting: str = "pass", after: str = "pass", **declared: Any) -> Asked:
        script = tmp_path / "arcs.py"
        text = ARCS.replace("DECLARED", repr({**DECLARED, **declared}))
        script.write_text(text.replace("CHANGE", change).replace("SETTING", setting).replace("AFTER", after))
        started.append(ForeignPlanner(source_of(f"process:{sys.executable} -S -E {script}")))
        return examined(started[-1], PROBES, time.perf_counter)

    yield run
    for planner in started:
        planner.close()


def probe(way: str, speed: float, turn: float, seed: int) -> Probe:
    """A moment at which the car goes on as it does."""
    times = np.concatenate([[0.0], PLAN_TIMES_S])
    past = integrate_rates(np.full(4, speed), np.full(4, turn), np.arange(5) / 8).motion()
    video = np.random.default_rng(seed).integers(0, 256, (5, 1, 3, 8, 16), np.uint8)
    motion = Motion(deltas=past.deltas, period_s=0.125)
    return Probe(
        observation=Observation(video=video, rig=town_rig(1, 16, 8), motion=motion, frequency_hz=8.0),
        driven=integrate_rates(np.full(8, speed), np.full(8, turn), times).poses[1:],
        way=way,
        place=f"a {way} road",
    )


PROBES = [probe("straight", 9.0, 0.0, 0), probe("left", 7.0, 0.25, 1), probe("right", 6.0, -0.2, 2)]
TURN = "points = [[-y, x] for x, y in points]"
MIRROR = "points = [[x, -y] for x, y in points]"
HEADINGS = "points = [[x, y, math.degrees(2 * math.atan2(y, x))] for x, y in points]"


def problems(asked: Asked) -> dict[str, str]:
    return {one.check: one.message for one in asked.findings if one.problem}


def notes(asked: Asked) -> dict[str, str]:
    return {one.check: one.message for one in asked.findings if not one.problem}


def test_a_policy_as_declared_has_no_problem(examine: Examine) -> None:
    asked = examine()
    assert problems(asked) == {}
    assert "black pictures change nothing" in notes(asked)["pictures"]
    assert "it reacts" in notes(asked)["ego motion"]
    assert len(asked.seconds) == 3
    assert examine(TURN, frame="x-right-y-forward").findings
    assert problems(examine(MIRROR, frame="x-forward-y-right")) == {}


def test_mixed_up_frames_are_found(examine: Examine) -> None:
    assert "read as x-right-y-forward" in problems(examine(TURN))["frame"]
    assert "read as x-forward-y-right" in problems(examine(MIRROR))["frame"]
    assert "read as x-forward-y-left" in problems(examine(frame="x-right-y-forward"))["frame"]
    assert "read as x-forward-y-left" in problems(examine(frame="x-forward-y-right"))["frame"]


def test_a_policy_that_never_turns_says_nothing_of_left_and_right(examine: Examine) -> None:
    asked = examine(setting="turn = 0", frame="x-forward-y-right")
    assert problems(asked) == {}
    assert "cannot be told" in notes(asked)["frame"]


def test_steps_declared_as_places_are_found(examine: Examine) -> None:
    steps = "points = [[b[0] - a[0], b[1] - a[1]] for a, b in zip([[0, 0], *points], points)]"
    assert "Declare `relative_to: previous-point`" in problems(examine(steps))["points"]
    assert problems(examine(steps, relative_to="previous-point")) == {}


def test_other_units_and_rates_are_found(examine: Examine) -> None:
    assert (
        "`units: ft`" in problems(examine("points = [[x / 0.3048, y / 0.3048] for x, y in points]"))["units and rate"]
    )
    assert (
        "or other units than declared"
        in problems(examine("points = [[100 * x, 100 * y] for x, y in points]"))["far away"]
    )
    assert "`rate_hz: 10`" in problems(examine(setting="step_s = 0.1"))["units and rate"]


def test_headings_that_mean_something_else_are_found(examine: Examine) -> None:
    found = problems(examine(HEADINGS, heading="x-to-y", angles="rad"))["heading"]
    assert "x-to-y in deg" in found
    assert problems(examine(HEADINGS, heading="x-to-y", angles="deg")) == {}
    assert "heading" in problems(examine(HEADINGS, heading="forward-to-right", angles="deg"))


def test_answers_that_are_not_repeated_are_found(examine: Examine) -> None:
    shake = "points[-1][0] += random.random()"
    assert "declared as none" in problems(examine(shake))["determinism"]
    assert "as declared" in notes(examine(shake, randomness="unseeded"))["determinism"]
    seeded = "points[-1][0] += random.Random(request['seed']).random()"
    assert "Declare `randomness: seeded`" in problems(examine(seeded))["determinism"]
    assert problems(examine(seeded, randomness="seeded")) == {}
    assert "draw nothing" in notes(examine(randomness="seeded"))["determinism"]


def test_memory_between_requests_is_found(examine: Examine) -> None:
    keeps = "key = request['ego']['speed_mps']; last = globals().get('seen', key); seen = key; points[-1][0] += 0.1 * (last != key)"
    assert "keeps something between requests" in problems(examine(keeps))["memory"]


def test_looking_is_seen(examine: Examine) -> None:
    assert "it reacts" in notes(examine("points = [[x, y - 0.001 * (bright == 0)] for x, y in points]"))["pictures"]


def test_faults_have_their_place(examine: Examine) -> None:
    asked = examine("if turn > 0.1: points[2][1] = float('nan')")
    (fault, *_) = [one for one in asked.findings if one.check == "not finite"]
    assert fault.place == "a left road"
    assert str(fault).startswith("problem: not finite, a left road: policy 'arcs'")
    asked = examine("sys.exit('no weights')")
    assert {one.check for one in asked.findings} == {"crash"}
    assert "its standard error ends: no weights" in asked.findings[0].message


def test_talking_after_the_answer_is_found(examine: Examine) -> None:
    asked = examine(after="print('done', flush=True)")
    assert any("goes on writing" in one.message for one in asked.findings)


def test_wild_plans_are_found(examine: Examine) -> None:
    assert "no car does that" in problems(examine("points[4][0] += 30"))["plausibility"]
    assert (
        "Check what its numbers mean"
        in problems(examine("points = [[x, y + i * i] for i, (x, y) in enumerate(points)]"))["plausibility"]
    )
