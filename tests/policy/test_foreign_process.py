"""A policy in a process of its own may hang, crash or babble: that frame fails with its kind, and the next one goes well."""

import base64
import io
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from policy.foreign.planner import FAILURES, ForeignPlanner, foreign_planner
from policy.foreign.sources import is_foreign, source_of
from worldmodel.errors import BadPolicy, ClipTooShort, PolicyError, UnknownName
from worldmodel.geometry import Motion
from worldmodel.plans import PLAN_TIMES_S, Observation
from worldmodel.town.scene import town_rig

DECLARED = {
    "frame": "x-right-y-forward",
    "units": "m",
    "rate_hz": 2,
    "steps": 8,
    "heading": "derived",
    "relative_to": "ego-now",
    "ahead_of_rear_axle_m": 0,
    "randomness": "none",
    "timeout_s": 5,
}
GREETS = """
import json, os, signal, subprocess, sys, time
def say(message): print(json.dumps(message), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "hello":
        say({"type": "hello", "protocol": 1, "declares": DECLARED})
        continue
    points = [[0.0, 2.5 * step] for step in range(1, 9)]
    answer = {"type": "plan", "id": request["id"], "trajectory": points}
"""
Make = Callable[..., ForeignPlanner]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Start a policy: its script goes on after GREETS, or stands for the whole."""
    started: list[ForeignPlanner] = []

    def policy(body: str = "", *, whole: str = "", **declared: Any) -> ForeignPlanner:
        script = tmp_path / f"policy{len(started)}.py"
        loop = textwrap.indent(textwrap.dedent(body) + "\nsay(answer)\n", "    ")
        script.write_text(whole or GREETS.replace("DECLARED", repr({**DECLARED, **declared})) + loop)
        planner = ForeignPlanner(source_of(f"process:{sys.executable} -S -E {script}"))
        started.append(planner)
        return planner

    yield policy
    for planner in started:
        planner.close()


def observation(frames: int = 3, *, motion: bool = True) -> Observation:
    video = np.random.default_rng(0).integers(0, 256, (frames, 3, 3, 8, 16), np.uint8)
    steps = np.tile([0.625, 0.0, 0.02], (frames - 1, 1))
    return Observation(
        video=video,
        rig=town_rig(3, 16, 8),
        motion=Motion(deltas=steps, period_s=0.125) if motion else None,
        frequency_hz=8.0,
        instruction="turn left",
    )


def failure(planner: ForeignPlanner, seed: int = 13) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        planner.plan(observation(), seed)
    return caught.value


def test_an_answer_comes_back_in_our_frame(make: Make) -> None:
    planner = make(name="mine")
    plan = planner.plan(observation(), 0)
    np.testing.assert_allclose(plan.trajectory.poses[:, 0], 5.0 * PLAN_TIMES_S)
    assert planner.name == "mine"
    assert plan.timing["total_s"] > 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("points[3][0] = float('nan')", "not finite"),
        ("points.pop()", "wrong length"),
        ("answer['times_s'] = [0.1 * step for step in range(1, 9)]", "wrong rate"),
        ("time.sleep(60)", "timeout"),
        ("print('no such weights', file=sys.stderr); sys.exit(3)", "crash"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crash"),
        ("print('loading weights ...', flush=True)", "garbage"),
        ("print('[1, 2]', flush=True)", "garbage"),
        ("print('x' * 100_000, flush=True)", "garbage"),
        ("answer['id'] = 99", "garbage"),
        ("answer = {'id': request['id'], 'error': 'no lane found'}", "refused"),
        ("os.close(1); time.sleep(60)", "crash"),
    ],
)
def test_a_fault_is_told_by_its_kind_and_the_next_answer_is_fine(make: Make, fault: str, kind: str) -> None:
    separator = "\n  " if ";" in fault else " "
    planner = make(f"if request['seed'] == 13:{separator}{fault}", timeout_s=1.0 if kind == "timeout" else 5.0)
    error = failure(planner)
    assert error.kind == kind, str(error)
    assert planner.plan(observation(), 0).trajectory.poses[-1, 0] == pytest.approx(20.0)


def test_standard_error_is_kept_and_never_blocks(make: Make) -> None:
    planner = make(
        "print('y' * 300_000, file=sys.stderr)\nif request['seed'] == 13: print('no lane', file=sys.stderr); sys.exit(3)"
    )
    planner.plan(observation(), 0)
    error = failure(planner)
    assert "ended with exit code 3" in str(error)
    assert error.stderr.endswith("no lane\n")
    assert len(error.stderr) <= 16_000


def test_a_hanging_policy_is_killed_with_its_children(make: Make, tmp_path: Path) -> None:
    body = f"""
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
    time.sleep(60)
    """
    planner = make(body, timeout_s=1.5)
    assert failure(planner).kind == "timeout"
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not alive(child):
            return
        time.sleep(0.05)
    pytest.fail("the policy's child lives on")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_policy_that_does_not_read_does_not_block_us(make: Make) -> None:
    whole = f"""
import json, sys, time
sys.stdin.readline()
print(json.dumps({{"type": "hello", "protocol": 1, "declares": {DECLARED | {"timeout_s": 0.5, "pictures_as": "raw"}!r}}}), flush=True)
time.sleep(60)
"""
    planner = make(whole=whole)
    with pytest.raises(PolicyError, match=r"within 0.5 s") as caught:
        planner.plan(observation(frames=2000), 0)
    assert caught.value.kind == "timeout"


def test_after_three_failures_with_a_seed_it_is_not_asked_again_with_it(make: Make) -> None:
    planner = make("if request['seed'] == 13: sys.exit(1)")
    kinds = [failure(planner).kind for _ in range(FAILURES + 2)]
    assert kinds == ["crash"] * FAILURES + ["given up"] * 2
    assert planner.plan(observation(), 0).samples is None
    assert failure(planner).kind == "crash"


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ("print('hello')", "wrote 'hello' to its standard output"),
        ("import sys; sys.exit('no weights here')", r"ended with exit code 1.*It wrote: no weights here"),
        ('print(\'{"type": "hello", "protocol": 2}\')', "protocol 2; it must be 'hello' and 1"),
        ('print(\'{"type": "hello", "protocol": 1}\')', "does not declare 'randomness', and it is not guessed"),
        ('print(\'{"type": "hello", "protocol": 1, "declares": [1]}\')', "`field: value` pairs"),
        ('print(\'{"type": "hello", "error": "no licence"}\')', "could not be made: no licence"),
    ],
)
def test_a_policy_that_does_not_introduce_itself_is_refused(make: Make, whole: str, message: str) -> None:
    with pytest.raises(BadPolicy, match=message):
        make(whole=whole)


def test_what_cannot_be_started_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match=r"cannot be started.*no shell is used"):
        foreign_planner("process:no-such-program-at-all | tee x")
    for spec, message in (
        ("process:", "names no command"),
        ("process:say 'hi", "Close its quotes"),
        (str(tmp_path / "none.yaml"), "cannot be read as YAML"),
        (str(tmp_path / "none.py:Class"), "there is no file"),
        ("python:module", "names no class"),
    ):
        with pytest.raises(BadPolicy, match=message):
            source_of(spec)
    for content, message in (
        ("frame: m", "neither of `command` and `python`"),
        ("{command: [a], python: b.py:C}", "both of `command` and `python`"),
        ("command: python x.py", "must be a list of words"),
        ("[1]", "it holds list"),
        ("a: [", "cannot be read as YAML"),
    ):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(BadPolicy, match=message):
            source_of(str(tmp_path / "bad.yaml"))


def test_names_of_foreign_policies_are_told_from_others() -> None:
    assert all(map(is_foreign, ["python:a.b:C", "process:x", "a/policy.yaml", "p.json", "a/b.py:C"]))
    assert not any(map(is_foreign, ["joint", "rich/ik", "runs/ik", "a/b.py", "assets/clips:street@3"]))


def shown_to(make: Make, tmp_path: Path, seen: Observation, **declared: Any) -> dict[str, Any]:
    """The request that a policy gets; of pictures sent as paths their sizes, while they are there."""
    body = f"""
    request['there'] = [os.path.getsize(p) for ps in request.get('pictures', {{}}).values() for p in ps if len(p) < 200]
    open({str(tmp_path / "request.json")!r}, "w").write(json.dumps(request))
    """
    make(body, **declared).plan(seen, 7)
    found: dict[str, Any] = json.loads((tmp_path / "request.json").read_text())
    return found


def test_it_is_shown_what_it_asked_for_in_its_own_frame(make: Make, tmp_path: Path) -> None:
    seen = observation(frames=5)
    request = shown_to(make, tmp_path, seen, cameras=["front"], pictures=2, pictures_hz=4, units="cm")
    (picture,) = [request["pictures"]["front"][-1]]
    newest = np.array(Image.open(io.BytesIO(base64.b64decode(picture)))).transpose(2, 0, 1)
    np.testing.assert_array_equal(newest, seen.video[-1, 1])
    assert request["times_s"] == [-0.25, 0.0]
    assert [camera["name"] for camera in request["cameras"]] == ["front"]
    assert (request["seed"], request["instruction"]) == (7, "turn left")
    assert request["ego"]["speed_mps"] == pytest.approx(5.0, rel=1e-2)
    right, forward = request["ego"]["poses"][0]
    assert forward == pytest.approx(-125, rel=1e-2)  # a quarter of a second ago, in centimetres
    assert right < 0  # it has turned to the left since
    np.testing.assert_allclose(np.array(request["cameras"][0]["ego_from_camera"])[:3, 3], [0, 180, 150], atol=1e-9)


def test_its_own_way_may_go_back_further_than_its_pictures(make: Make, tmp_path: Path) -> None:
    request = shown_to(make, tmp_path, observation(frames=9), pictures=1, ego_history_s=0.5)
    assert request["times_s"] == [0.0]
    assert request["ego"]["times_s"] == [-0.5, -0.375, -0.25, -0.125, 0.0]
    assert shown_to(make, tmp_path, observation(frames=9), pictures=1)["ego"]["times_s"] == [-0.125, 0.0]
    assert make(pictures=1, ego_history_s=0.5).frames_needed(8.0, otherwise=16) == 5
    assert make(pictures=3, pictures_hz=2).frames_needed(8.0, otherwise=16) == 9
    with pytest.raises(ClipTooShort, match="8 ego steps at 8 Hz, and the policy wants 16"):
        make(ego_history_s=2).plan(observation(frames=9), 0)


def test_pictures_come_as_paths_or_raw_in_the_size_wanted_or_not_at_all(make: Make, tmp_path: Path) -> None:
    request = shown_to(
        make, tmp_path, observation(), pictures_as="path", encoding="jpeg", cameras=["front", "front_left"]
    )
    assert list(request["pictures"]) == ["front", "front_left"]
    assert len(request["there"]) == 6
    assert min(request["there"]) > 100
    request = shown_to(make, tmp_path, observation(), pictures_as="raw", width_px=32, height_px=16)
    assert request["raw"]["shape"] == [3, 3, 16, 32, 3]
    assert len(base64.b64decode(request["raw"]["base64"])) == 3 * 3 * 16 * 32 * 3
    assert request["cameras"][0]["intrinsics"][0][0] == pytest.approx(
        2 * town_rig(3, 16, 8).cameras[0].intrinsics[0, 0]
    )
    request = shown_to(make, tmp_path, observation(motion=False), cameras=[])
    assert "pictures" not in request
    assert request["cameras"] == []
    assert request["ego"] is None


def test_what_the_recording_lacks_is_said(make: Make) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'front'"):
        make(cameras=["fron"]).plan(observation(), 0)
    with pytest.raises(ClipTooShort, match="3 pictures at 8 Hz, and the policy wants 9"):
        make(pictures=9).plan(observation(), 0)


def test_no_process_is_left_behind(make: Make) -> None:
    planner = make("open('/dev/null')\nanswer['pid'] = os.getpid()")
    pid = planner.answer(observation(), 0)["pid"]
    folder = planner._child.folder
    assert alive(pid)
    assert folder.is_dir()
    planner.close()
    assert not alive(pid)
    assert not folder.exists()
    assert os.getpid() != pid
