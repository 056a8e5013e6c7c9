"""`detour check-policy`, and policies of one's own in plan, drive, stitch and study: a faulty one stops nobody else."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from policy.foreign.planner import ForeignPlanner
from policy.foreign.sources import source_of
from studio import cli
from studio.check_policy import CLIPS, choose_probes, lines_of
from studio.drive import DriveRequest, make_driver, run_drive
from studio.planners import make_planner, model_for
from studio.planning import PlanRequest, run_plan
from studio.sprites import PictureSprite
from studio.stitching import StitchRequest, run_stitch
from studio.study import run_study
from studio.study_config import StudyConfig
from studio.study_rows import scene_rows
from worldmodel.errors import ClipTooShort, UnknownName
from worldmodel.io.lerobot import Dataset, find_clip

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples" / "foreign_policy"
DECLARED = """
command: ["{python}", -S, -E, %s.py]
name: %s
frame: x-right-y-forward
units: m
rate_hz: 2
steps: 8
heading: derived
relative_to: ego-now
ahead_of_rear_axle_m: 0
randomness: none
cameras: %s
pictures: 2
pictures_as: raw
timeout_s: %s
"""
STRAIGHT = """
import json, sys, time, zlib
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "hello":
        print(json.dumps({"type": "hello", "protocol": 1}), flush=True)
        continue
    points = [[0.0, request["ego"]["speed_mps"] * 0.5 * step] for step in range(1, 9)]
    FAULT
    print(json.dumps({"type": "plan", "id": request["id"], "trajectory": points}), flush=True)
"""
MOODS = """
    mood = zlib.crc32(request["raw"]["base64"].encode()) % 6  # by what it sees, so it is the same whoever was asked before
    if mood == 0: points[3][1] = float("nan")
    if mood == 1: points.pop()
    if mood == 2: sys.exit(3)
    if mood == 3: print("loading weights ...", flush=True)
    if mood == 4: time.sleep(60)
"""
SMALL = StudyConfig(
    planners=("x",),
    situations=("street", "stop_and_go"),
    variants=("near", "sky_near", "far", "empty"),
    scenes=3,
    split="train",
    seed=5,
    moments_s=(2.0, 3.0),
    cameras=1,
    width_px=64,
    height_px=32,
)
run = CliRunner().invoke


@pytest.fixture
def policies(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A policy that drives straight on without looking, and one that fails in every way."""
    made = {}
    for name, fault, cameras, timeout in (("good", "pass", "[]", 20), ("faulty", MOODS, "[front]", 0.5)):
        (tmp_path / f"{name}.py").write_text(STRAIGHT.replace("    FAULT", fault if name == "faulty" else "    pass"))
        (tmp_path / f"{name}.yaml").write_text(DECLARED % (name, name, cameras, timeout))
        made[name] = str(tmp_path / f"{name}.yaml")
    yield made
    for spec in made.values():
        made_planner = make_planner(spec, None)
        assert isinstance(made_planner, ForeignPlanner)
        made_planner.close()


@pytest.fixture
def plain_sprites(monkeypatch: pytest.MonkeyPatch) -> None:
    red = np.full((30, 30, 4), (250, 10, 10, 255), np.uint8)
    monkeypatch.setattr("studio.stitch.sprite_of", lambda kind: PictureSprite(name=kind, rgba=red, height_m=1.6))


def test_the_clips_that_ship_have_straight_roads_and_bends_to_both_sides() -> None:
    probes = choose_probes(find_clip(str(CLIPS))[0])
    assert {probe.way for probe in probes} == {"straight", "left", "right"}
    for probe in probes:
        if probe.way != "straight":
            assert (probe.driven[-1, 2] > 0) == (probe.way == "left")
            assert abs(probe.driven[-1, 1]) > 1


def test_clips_without_a_future_are_refused(silent_drives: Dataset) -> None:
    with pytest.raises(ClipTooShort, match="4 s of future and ego motion"):
        choose_probes(silent_drives)


def test_the_examples_are_what_they_declare_and_look() -> None:
    """As class and as process they say the same."""
    dataset = find_clip(str(CLIPS))[0]
    probe = choose_probes(dataset)[0]
    plans = []
    for spec in ("as_class.py:Arcs", "policy.yaml"):
        planner = ForeignPlanner(source_of(str(EXAMPLES / spec)))
        plans.append(planner.plan(probe.observation, 0).trajectory.poses)
        planner.close()
    np.testing.assert_array_equal(*plans)
    assert np.abs(plans[0][:6, 1] - probe.driven[:6, 1]).max() < 1
    result = run(cli.main, ["check-policy", str(EXAMPLES / "policy.yaml"), "--json"])
    assert result.exit_code == 0, result.stdout
    report = json.loads(result.stdout)
    assert report["problems"] == []
    assert report["name"] == "arcs, a process (says 3 s, then straight on)"
    assert report["latency_ms"]["median"] > 0
    assert lines_of(report)[-1] == "no problems found"


def test_a_mixed_up_frame_ends_with_1_and_a_bad_name_with_2(policies: dict[str, str], tmp_path: Path) -> None:
    good = Path(policies["good"])
    mixed_up = tmp_path / "mixed-up.yaml"
    mixed_up.write_text(good.read_text().replace("x-right-y-forward", "x-forward-y-left"))
    result = run(cli.main, ["check-policy", str(mixed_up)])
    assert result.exit_code == 1, result.output
    assert "Declare `frame: x-right-y-forward`" in result.stdout
    assert "(straight)" in result.stdout
    undeclared = tmp_path / "undeclared.yaml"
    undeclared.write_text(good.read_text().replace("units: m\n", ""))
    for spec, message in (
        (str(undeclared), "does not declare 'units'"),
        ("process:no-such-program", "cannot be started"),
        ("joint", "names no policy"),
    ):
        result = run(cli.main, ["check-policy", spec])
        assert result.exit_code == 2
        assert message in result.stderr


def test_own_policies_are_planners_by_name(policies: dict[str, str]) -> None:
    assert model_for([policies["good"]], "nowhere") is None
    assert make_planner(policies["good"], None) is make_planner(policies["good"], None)
    with pytest.raises(UnknownName, match=r"a policy of your own"):
        make_planner("no-such-planner", None)


def test_plan_and_stitch_go_on_without_a_faulty_policy(
    policies, plain_sprites, drives: Dataset, tmp_path: Path
) -> None:
    spec = tmp_path / "nan.yaml"
    (tmp_path / "nan.py").write_text(STRAIGHT.replace("FAULT", "points[0][0] = float('nan')"))
    spec.write_text(DECLARED % ("nan", "nan", "[front]", 20))
    both = (str(spec), policies["good"])
    result = run_plan(PlanRequest(clip=str(drives.path), planners=both))
    assert list(result["scores"]) == [policies["good"]]
    assert any("not finite at index" in text for text in result["skipped"])
    record = run_stitch(StitchRequest(clip=f"{drives.path}:one", planners=both), tmp_path / "stitched")
    assert list(record["responses"]) == ["good"]
    assert any("not finite" in text for text in record["skipped"])


def test_a_silent_planner_brakes_in_the_closed_loop(policies: dict[str, str], tmp_path: Path) -> None:
    request = DriveRequest(planner=policies["faulty"], situations=("empty_road",), seconds=2.0, videos=0)
    driver = make_driver(request)
    assert (driver.rig.names, driver.history, driver.rig.width_px) == (("front",), 2, 128)
    record = run_drive(request, tmp_path / "run")
    (facts,) = record["drives"]
    assert facts["plans"] == 4
    assert all({"at_s", "why"} == set(one) for one in facts["failures"])


def test_a_study_goes_on_and_counts_failures_by_kind(policies, plain_sprites, tmp_path: Path) -> None:
    config = replace(SMALL, planners=(policies["faulty"], policies["good"]))
    record = run_study(config, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "rows.parquet").to_pylist()
    assert {row["error"] for row in rows if row["planner"] == "good"} == {None}
    assert {row["change_m"] for row in rows if row["planner"] == "good"} == {0.0}
    failed = [row for row in rows if row["planner"] == "faulty" and row["error"]]
    counted = {one["why"] for one in record["summary"]["failed"] if one["planner"] == "faulty"}
    assert failed
    assert counted == {row["error"].split(": ")[0] for row in failed}
    assert all(why.startswith("PolicyError, ") for why in counted)
    assert "PolicyError, " in (tmp_path / "out" / "report.html").read_text()


def test_rows_do_not_depend_on_whom_else_a_faulty_policy_was_asked_about(policies, plain_sprites) -> None:
    """Each of several workers has a process of its own, which sees some of the scenes, in some order."""
    config = replace(SMALL, planners=(policies["faulty"],), variants=("near", "empty"), primary=())
    alone, together = ForeignPlanner(source_of(policies["faulty"])), ForeignPlanner(source_of(policies["faulty"]))
    shared = [scene_rows(config, number, lambda _: (together,)).rows for number in (2, 0, 1)]
    assert scene_rows(config, 0, lambda _: (alone,)).rows == shared[1]
    assert any(row.get("error") for rows in shared for row in rows)
    for planner in (alone, together):
        planner.close()
