"""From job files to units: every combination once, in order, under keys; refused before anything runs where it cannot be done."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest

from studio.jobs.plan.expansion import expand
from studio.jobs.plan.job_file import Job, job_of, job_yaml, read_job
from studio.jobs.units import Batch, UnitRequest
from worldmodel.errors import BadCheckpoint, BadRequest, BadTable
from worldmodel.io.lerobot import Dataset, write_dataset
from worldmodel.town.scene import town_rig

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "jobs"


@pytest.fixture
def job(drives: Dataset, checkpoint: Path, tmp_path: Path) -> Any:
    """Makes a job over the drives."""

    def make(sweep: dict[str, Any] | None = None, clips: dict[str, Any] | None = None, **more: Any) -> Job:
        entry = {"dataset": str(drives.path), "episodes": "0-1", "at_s": [2, 3], **(clips or {})}
        return job_of(
            json.dumps({"model": str(checkpoint), "clips": [entry], "sweep": sweep or {}, **more}), "x", tmp_path
        )

    return make


def test_every_combination_is_one_unit_in_the_order_of_the_file(job: Any) -> None:
    sweep = {
        "texts": [None, "turn left"],
        "seeds": "0-2",
        "edits": [None, {"variant": "far"}],
        "memories": ["window", "full"],
    }
    batch = expand(job(sweep))
    units = batch.units
    assert len(units) == len(batch.works) == 4 * 2 * 3 * 2 * 2
    assert len({unit.key for unit in units}) == len(units)
    asked = [unit.request for unit in units]
    assert [one.seed for one in asked[:6]] == [0, 1, 2, 0, 1, 2]
    assert [one.sampling.memory for one in asked[:6]] == ["window"] * 3 + ["full"] * 3
    assert [one.text for one in asked[:12]] == [None] * 6 + ["turn left"] * 6
    assert [(one.clip.id, one.clip.at_s) for one in asked[::24]] == [("one", 2), ("one", 3), ("two", 2), ("two", 3)]
    assert asked[12].edit is not None
    assert UnitRequest.of(json.loads(json.dumps(asked[12].to_json()))) == asked[12]
    assert expand(job(sweep)).digest == batch.digest


def test_equal_requests_are_one_unit(job: Any, drives: Dataset, tmp_path: Path) -> None:
    same = {"texts": [{"schedule": "0:go;2:stop"}, {"schedule": [[0, "go"], [2, "stop"]]}], "seeds": [0, "0-1"]}
    assert len(expand(job(same, {"at_s": [2, 2.01]})).units) == 2 * 2
    copy = shutil.copytree(drives.path, tmp_path / "same drives elsewhere")
    keys = [{unit.key for unit in expand(job({}, {"dataset": str(path)})).units} for path in (drives.path, copy)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"sweep": {"seeds": 1}},
        {"sweep": {"texts": ["x"]}},
        {"sweep": {"steps": [4]}},
        {"sweep": {"seconds": [2]}},
        {"sweep": {"guidance": [{"text": 2}]}},
        {"sweep": {"edits": [{}]}},
        {"sweep": {"actions": [{"constant": {}}]}},
        {"clips": {"at_s": [2.125, 3.125]}},
        {"outputs": ["mosaic"]},
        {"metrics": ["psnr"]},
        {"planners": ["constant-velocity"]},
        {"execution": {"threads": 2}},
        {"execution": {"batch": 2}},
    ],
)
def test_whatever_matters_changes_every_key(job: Any, changes: dict[str, Any]) -> None:
    plain, changed = expand(job()), expand(job(**changes))
    assert not {unit.key for unit in plain.units} & {unit.key for unit in changed.units}


def test_what_does_not_matter_changes_no_key(job: Any) -> None:
    changed = job({"actions": ["policy"]}, name="another", retry={"attempts": 9}, limits={"hours": 1})
    assert expand(job()).digest == expand(changed).digest


def test_options_of_the_command_are_written_down(job: Any, checkpoint: Path, tmp_path: Path) -> None:
    other = shutil.copytree(checkpoint, tmp_path / "other")
    batch = expand(job(), model=str(other), batch=2, threads=3, device="cuda")
    assert (batch.setup.model, batch.setup.batch, batch.setup.threads, batch.setup.device) == (str(other), 2, 3, "cuda")
    assert batch.job["execution"] == {"batch": 2, "threads": 3, "device": "cuda"}
    assert batch.setup.model_digest == expand(job()).setup.model_digest
    with pytest.raises(BadTable, match=r"execution\.threads"):
        expand(job(), threads=0)
    with pytest.raises(BadCheckpoint, match="does not exist"):
        expand(job(), model=str(tmp_path / "none" / "such"))


def test_a_batch_groups_what_goes_through_the_network_together(job: Any) -> None:
    batch = expand(job({"seeds": "0-4"}), batch=2)
    assert [len(work.units) for work in batch.works] == [2, 2, 1] * 4
    assert all(len({unit.request.clip for unit in work.units}) == 1 for work in batch.works)


def test_too_many_units_are_refused_with_their_number_before_anything_is_read(job: Any) -> None:
    with pytest.raises(BadRequest, match=r"4,000,000,000 units \(2 moments x 2 texts x 1,000,000,000 seeds\).*100,000"):
        expand(job({"texts": [None, "x"], "seeds": "0-999999999"}, {"dataset": "/nowhere"}))
    with pytest.raises(BadRequest, match=r"comes to 52 units \(26 moments x 2 seeds\).*limits"):
        expand(job({"seeds": "0-1"}, {"at_s": "every 0.5"}, limits={"units": 51}))


def test_without_times_a_sweep_over_horizons_keeps_the_moment(job: Any) -> None:
    batch = expand(job({"seconds": [1, 2, 4.5]}, {"at_s": None, "episodes": 0}))
    assert {unit.request.clip.at_s for unit in batch.units} == {1.875}
    assert [unit.request.seconds for unit in batch.units] == [1, 2, 4.5]


def test_actions_of_four_kinds(job: Any, tmp_path: Path) -> None:
    (tmp_path / "turn left.csv").write_text("t,x,y,yaw\n1,8,0,0\n5,30,8,1\n")
    named = ["policy", "recorded", {"constant": {"yaw_rate_dps": 3}}, {"file": "turn left.csv"}]
    asked = [unit.request.actions for unit in expand(job({"actions": named}, {"at_s": 2})).units[:4]]
    assert [(one.kind, one.name) for one in asked] == [
        *(("policy", "policy"), ("recorded", "recorded"), ("constant", "constant"), ("poses", "turn left")),
    ]
    assert asked[3].poses == ((0, 0, 0, 0), (1, 8, 0, 0), (5, 30, 8, 1))
    with pytest.raises(BadRequest, match="ends after 5 s, but the sweep's longest horizon is 8 s"):
        expand(job({"actions": named[3:], "seconds": [4, 8]}))
    with pytest.raises(BadTable, match="cannot be read"):
        expand(job({"actions": [{"file": "none.csv"}]}))


def test_recorded_actions_need_a_recording_that_goes_on(job: Any, silent_drives: Dataset) -> None:
    with pytest.raises(BadRequest, match=r"clip 'one'.*after 3 s 3.875 s were driven, and 4 s"):
        expand(job({"actions": ["recorded"]}))
    with pytest.raises(BadRequest, match="has no ego motion"):
        expand(job({"actions": ["recorded"]}, {"dataset": str(silent_drives.path), "episodes": None}))


def test_clips_that_cannot_be_used_are_all_named(job: Any, drives: Dataset, tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = shutil.copytree(drives.path, tmp_path / "sets" / name)
        min(path.rglob("*.mp4")).write_bytes(b"no video")
    with pytest.raises(BadRequest) as raised:
        expand(job({}, {"dataset": "sets/*", "at_s": [2, 6.99], "episodes": None}))
    said = str(raised.value)
    assert all(part in said for part in (f"clip 'one' of '{tmp_path}/sets/a'", f"{tmp_path}/sets/b", "clip 'short'"))
    assert "4 things" in said


def test_mixed_rigs_are_fine_unless_one_is_needed(job: Any, tmp_path: Path, drives: Dataset) -> None:
    three = drives.clip(0)
    one = replace(three, rig=town_rig(1, 64, 32), video=three.video[:, :1])
    write_dataset([one], tmp_path / "mixed" / "one camera", name="one")
    shutil.copytree(drives.path, tmp_path / "mixed" / "three")
    entry = {"dataset": "mixed/*", "episodes": 0}
    assert len(expand(job({}, entry)).units) == 4
    with pytest.raises(BadRequest, match=r"three' has another rig than .*one camera' \(cameras, calibration differ\)"):
        expand(job({}, entry, one_rig=True))


def test_several_parts_share_clips_and_keep_their_own_outputs(drives: Dataset, checkpoint: Path) -> None:
    clips = [{"dataset": str(drives.path), "episodes": 0, "at_s": 2}]
    parts = [
        {
            "clips": clips,
            "sweep": {"seconds": [0], "edits": [{}]},
            "planners": ["joint", "constant-velocity"],
            "outputs": [],
        },
        {"clips": clips, "sweep": {"seconds": [1]}, "outputs": ["cameras", "mosaic"]},
    ]
    first, second = (
        unit.request for unit in expand(job_of(json.dumps({"model": str(checkpoint), "jobs": parts}), "x")).units
    )
    assert (first.planners, first.outputs, first.seconds) == (("joint", "constant-velocity"), (), 0)
    assert (second.planners, second.outputs) == ((), ("mosaic", "cameras"))
    assert first.clip == second.clip


def test_a_job_that_was_written_down_gives_the_same_batch(job: Any) -> None:
    batch: Batch = expand(job({"seeds": "0-1"}))
    assert expand(job_of(job_yaml(job({"seeds": "0-1"})), "OUT/job.yaml")).digest == batch.digest


@pytest.fixture
def fleet(drives: Dataset) -> Iterator[None]:
    """What the example about object stores names, in memory."""
    store = fsspec.filesystem("memory")
    for path in drives.path.rglob("*"):
        if path.is_file():
            store.pipe(f"/my-bucket/drives/2025-06/{path.relative_to(drives.path)}", path.read_bytes())
    yield
    store.rm("/my-bucket", recursive=True)


@pytest.mark.parametrize(("name", "units"), [("laptop", 24), ("grounding", 92), ("hour", 1), ("bucket", 128)])
def test_the_examples_expand(name: str, units: int, tmp_path: Path, checkpoint: Path, fleet: None) -> None:
    text = (EXAMPLES / f"{name}.yaml").read_text().replace("s3://", "memory://").replace("joint, rich/ik", "joint")
    job = read_job(EXAMPLES / f"{name}.yaml") if name != "bucket" else job_of(text, name, EXAMPLES)
    batch = expand(job, model=str(checkpoint), cache=tmp_path)
    assert len(batch.units) == units
