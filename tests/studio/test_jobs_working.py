"""Workers: what a unit becomes depends on the unit alone, and what fails is told, never raised."""

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from tiny_wan import write_tiny_wan
from unit_work import QUICK, Small, asked, same_threads, small_batch

from studio.imagine import ImagineRequest, run_imagine
from studio.jobs.units import OUTPUTS, ActionChoice, EditChoice, Outcome, UnitRequest
from studio.stitching import StitchRequest, sprite_for, stitched_for
from worldmodel.errors import BadCheckpoint, BadRequest, PolicyError, Unreachable
from worldmodel.io.lerobot import Dataset
from worldmodel.io.video import read_frames


@pytest.fixture(autouse=True, scope="module")
def threads_stay_as_they_are() -> Iterator[None]:
    with same_threads():
        yield


@pytest.fixture
def begin(tmp_path: Path, checkpoint: Path) -> Callable[..., Small]:
    """Begin a batch in its own folder."""

    def made(*requests: UnitRequest, name: str = "batch", **how: Any) -> Small:
        return small_batch(tmp_path / name, checkpoint, requests, **how)

    return made


def done(small: Small, *numbers: int) -> list[Outcome]:
    """All works, or those with these numbers, by a new worker; none may fail."""
    worker = small.worker()
    works = [small.batch.works[number] for number in numbers or range(len(small.batch.works))]
    outcomes = [outcome for work in works for outcome in worker.do(work)]
    assert [outcome.message for outcome in outcomes if outcome.state != "done"] == []
    return outcomes


def paths_of(small: Small, number: int = 0) -> dict[str, np.ndarray]:
    """Columns t, x, y, yaw of each path of a unit."""
    rows = pq.read_table(small.path("trajectory.parquet", number)).to_pylist()
    names = dict.fromkeys(row["name"] for row in rows)
    columns = ("t_s", "x_m", "y_m", "yaw_rad")
    return {name: np.array([[row[c] for c in columns] for row in rows if row["name"] == name]) for name in names}


def test_a_unit_has_the_pixels_and_the_path_of_detour_imagine(
    begin: Callable[..., Small], drives: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    small = begin(asked(drives, seconds=1.0, seed=3, text="turn right", outputs=OUTPUTS))
    [outcome] = done(small)
    request = ImagineRequest(
        clip=f"{drives.path}:0@2.0", text="turn right", seconds=1.0, seed=3, sampling=QUICK, model=str(checkpoint)
    )
    run = run_imagine(request, tmp_path / "run")
    for camera in drives.rig.names:
        same = tmp_path / "run" / "videos" / "imagined" / f"{camera}.mp4"
        assert small.path(f"cameras/{camera}.mp4").read_bytes() == same.read_bytes()
    both = (pq.read_table(path) for path in (small.path("trajectory.parquet"), tmp_path / "run" / "trajectory.parquet"))
    assert (
        len({str(table.filter([n == "imagined" for n in table["name"].to_pylist()]).to_pylist()) for table in both})
        == 1
    )
    record = small.record()
    assert (record["texts"], record["frames"], outcome.chunks) == ([[0.0, 1.0, "turn right"]], 8, 2)
    assert record["provenance"]["model"] == run["provenance"]["model"]
    assert load_file(small.path("latents.safetensors"))["latents"].shape[0] == 8


def test_neither_order_nor_worker_nor_what_was_done_before_changes_a_byte(
    begin: Callable[..., Small], drives: Dataset
) -> None:
    requests = [
        asked(drives, outputs=OUTPUTS, metrics=("psnr", "ade")),
        asked(drives, episode=1, at_s=3.0, seed=5, planners=("joint",)),
        asked(drives, edit=EditChoice(), planners=("constant-velocity",)),
    ]
    forwards, backwards = begin(*requests, name="forwards"), begin(*requests, name="backwards")
    done(forwards)
    worker = backwards.worker()
    for work in (backwards.batch.works[2], backwards.batch.works[2], *backwards.batch.works[::-1]):
        worker.do(work)
    done(backwards, 0)
    for number in range(3):
        assert forwards.files(number) == backwards.files(number)
        assert {"unit.json", "poster.jpg", "mosaic.mp4", "trajectory.parquet"} <= set(forwards.files(number))


@pytest.mark.slow
def test_a_sweep_reads_its_moment_once_and_nobody_sees_it(
    begin: Callable[..., Small], drives: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    selective = replace(QUICK, memory="selective", recent=1, video_budget=1)
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"text": "turn right"},
        {"sampling": selective},
        {"sampling": selective, "seed": 1},
    ]
    requests = [asked(drives, seconds=1.0, outputs=("latents", "trajectory"), **change) for change in changes]
    swept, single = begin(*requests, name="swept"), begin(*requests, name="single")
    for work in single.batch.works:
        assert single.worker().do(work)[0].state == "done"
    worker, read = swept.worker(), []
    remember = type(worker.model).remember

    def counted(*given: Any, **how: Any) -> Any:
        read.append(given)
        return remember(*given, **how)

    monkeypatch.setattr(type(worker.model), "remember", counted)
    for work in swept.batch.works:
        assert worker.do(work)[0].state == "done"
    assert len(read) == 2  # one for each kind of memory
    assert [swept.files(number) for number in range(5)] == [single.files(number) for number in range(5)]


@pytest.mark.slow
def test_a_group_keeps_its_shape_whichever_of_its_units_are_wanted(
    begin: Callable[..., Small], drives: Dataset
) -> None:
    requests = [asked(drives, seed=seed, outputs=("latents", "trajectory")) for seed in range(3)]
    whole, part, alone = (begin(*requests, name=name, batch=n) for name, n in (("a", 2), ("b", 2), ("c", 1)))
    assert [len(work.units) for work in whole.batch.works] == [2, 1]
    done(whole)
    done(alone)
    keys = [unit.key for unit in whole.batch.units]
    [outcome] = part.worker().do(part.batch.works[0], skip=frozenset({keys[0]}))
    assert (outcome.key, outcome.state) == (keys[1], "done")
    assert not part.path("unit.json", 0).exists()
    assert part.files(1) == whole.files(1)
    for number in range(3):
        single, grouped = (load_file(s.path("latents.safetensors", number))["latents"] for s in (alone, whole))
        np.testing.assert_allclose(grouped, single, atol=1e-4)


def test_the_ego_moves_as_it_is_told(begin: Callable[..., Small], drives: Dataset) -> None:
    poses = ((0.5, 4.0, 0.0, 0.0), (1.0, 8.0, 0.5, 0.1))
    choices = [
        ActionChoice(kind="recorded"),
        ActionChoice(kind="constant", speed_mps=7.5, yaw_rate_dps=10.0),
        ActionChoice(kind="constant"),
        ActionChoice(kind="poses", poses=poses),
    ]
    small = begin(*[asked(drives, actions=choice, outputs=("trajectory",)) for choice in choices])
    done(small)
    recorded, turned, held, drawn = (paths_of(small, number)["imagined"] for number in range(4))
    driven = paths_of(small, 0)["driven"]
    np.testing.assert_allclose(recorded, driven[: len(recorded)], atol=1e-5)
    np.testing.assert_allclose(turned[:, 3], np.radians(10) * turned[:, 0], atol=1e-5)
    np.testing.assert_allclose(held[-1, 1], 8.0 * held[-1, 0], rtol=1e-3)  # the speed of now
    np.testing.assert_allclose(drawn[-1, 1:3], (4.0, 0.0), atol=0.05)


@pytest.mark.slow
def test_an_edit_is_the_one_of_detour_stitch_and_planners_answer_with_and_without(
    begin: Callable[..., Small], drives: Dataset
) -> None:
    edit = EditChoice(variant="near", kind="car")
    small = begin(asked(drives, edit=edit, planners=("joint", "constant-velocity"), metrics=("psnr", "ade")))
    worker = small.worker()
    [outcome] = worker.do(small.batch.works[0])
    assert {"plan:joint", "plan:joint:edited", "plan:constant-velocity:edited"} <= set(paths_of(small))
    assert {"ade:joint", "fde:constant-velocity"} <= set(outcome.scores)
    assert "psnr" not in outcome.scores
    assert "ade" not in outcome.scores
    assert any("does not show what was put into the clip" in warning for warning in outcome.warnings)
    assert small.record()["edit"]["sprite"] == "car"
    assert (outcome.scores["endpoint_shift_m:constant-velocity"], "braking_onset_s:joint" in outcome.scores) == (
        0,
        False,
    )
    clip, wish = small.batch.units[0].request.clip, worker.wish(0.5)
    seen = worker.reader.edited(clip, wish, edit).moment
    from studio.moments import moment_of

    whole = moment_of(drives, 0, 2.0, wish)
    request = StitchRequest(clip="")
    _, edited = stitched_for(request, whole, sprite_for(request))
    assert np.array_equal(seen.clip.video, edited.clip.video[: whole.now + 1])
    assert not np.array_equal(seen.clip.video, whole.clip.video[: whole.now + 1])


def test_planners_alone_need_no_future(begin: Callable[..., Small], drives: Dataset) -> None:
    outputs = ("trajectory", "scores")
    request = asked(drives, seconds=0.0, planners=("constant-velocity",), metrics=("ade",), outputs=outputs)
    small = begin(
        request, replace(request, edit=EditChoice(variant="empty")), replace(request, edit=EditChoice(x_m=-40.0))
    )
    outcome, _ = done(small, 0, 1)
    unseen = small.worker().do(small.batch.works[2])[0]
    assert (unseen.kind, unseen.again) == ("BadEdit", False)
    assert set(small.files()) == {"unit.json", "poster.jpg", "scores.json", "trajectory.parquet"}
    assert (small.record()["imagined"], outcome.chunks) == (False, 0)
    assert set(json.loads(small.path("scores.json").read_text())["scores"]) == {
        "ade:constant-velocity",
        "fde:constant-velocity",
    }


def test_a_schedule_speaks_over_time(begin: Callable[..., Small], drives: Dataset) -> None:
    small = begin(asked(drives, seconds=1.0, schedule="0:follow the road;0.5:turn left"))
    done(small)
    assert small.record()["texts"] == [[0.0, 0.5, "follow the road"], [0.5, 1.0, "turn left"]]


def test_what_fails_is_an_outcome_and_says_whether_to_try_again(
    begin: Callable[..., Small], drives: Dataset, silent_drives: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = asked(drives)
    small = begin(
        good,
        replace(good, clip=replace(good.clip, at_s=0.1)),
        replace(good, actions=ActionChoice(kind="recorded"), seconds=9.0),
        asked(silent_drives, actions=ActionChoice(kind="constant")),
        asked(silent_drives, edit=EditChoice()),
        replace(good, clip=replace(good.clip, digest="another")),
        replace(good, clip=replace(good.clip, id="gone")),
        replace(good, seed=1, clip=replace(good.clip, dataset=str(drives.path / "nowhere"))),
        replace(good, planners=("nobody",)),
    )
    worker = small.worker()
    failed = [worker.do(work)[0] for work in small.batch.works[1:]]
    assert [(outcome.state, outcome.kind, outcome.again) for outcome in failed] == [
        ("failed", kind, False)
        for kind in (
            "ClipTooShort",
            "BadMotion",
            "MissingMotion",
            "MissingMotion",
            "BadDataset",
            "BadDataset",
            "BadDataset",
            "UnknownName",
        )
    ]
    assert "seconds: 0" in failed[3].message
    assert "run the job file again" in failed[4].message
    [work] = small.batch.works[:1]
    for error, kind in (
        (Unreachable("the store is away."), "Unreachable"),
        (OSError(errno.EIO, "input/output error"), "OSError"),
        (OSError(errno.ENOSPC, "No space left on device"), "DiskFull"),
    ):
        monkeypatch.setattr(type(worker._folder), "store", _raising(error))
        [outcome] = worker.do(work)
        assert (outcome.state, outcome.kind, outcome.again) == ("failed", kind, True)
    monkeypatch.undo()
    assert worker.do(work)[0].state == "done"
    assert worker.do(work, skip=frozenset({work.units[0].key})) == ()


def _raising(error: Exception) -> Callable[..., Any]:
    def store(*_: Any) -> Any:
        raise error

    return store


def test_a_planner_that_cannot_answer_is_a_warning_unless_it_was_all_that_was_asked(
    begin: Callable[..., Small], silent_drives: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    planners = ("constant-velocity",)
    small = begin(
        asked(silent_drives, planners=planners, metrics=("ade",)), asked(silent_drives, planners=planners, seconds=0.0)
    )
    worker = small.worker()
    [imagined], [planned] = (worker.do(work) for work in small.batch.works)
    assert imagined.state == "done"
    assert "planner 'constant-velocity' did not answer" in imagined.warnings[0]
    assert "not measured: ade" in imagined.warnings[-1]
    assert (planned.state, planned.kind) == ("failed", "MissingMotion")

    def fail(*_: Any) -> Any:
        raise PolicyError("it went wrong. It must answer. Look at its log.", "crashed")

    monkeypatch.setattr("policy.baselines.ConstantVelocityPlanner.plan", fail)
    [outcome] = worker.do(small.batch.works[0])
    assert (outcome.kind, outcome.again) == ("PolicyError", True)


@pytest.mark.slow
def test_a_worker_refuses_what_was_not_planned(begin: Callable[..., Small], drives: Dataset) -> None:
    small = begin(asked(drives))
    for change, error, words in (
        ({"model_digest": "another"}, BadCheckpoint, "other files here than when"),
        ({"sources_digest": "another"}, BadRequest, "sources differ here"),
        ({"libraries": {"numpy": "0.1"}}, BadRequest, "numpy is .* planned with 0.1"),
    ):
        setup = replace(small.plan.setup, **change)
        with pytest.raises(error, match=words):
            replace(small, plan=replace(small.plan, setup=setup)).worker()


@pytest.mark.slow
def test_a_long_unit_goes_on_where_it_was_killed_with_the_same_bytes(
    begin: Callable[..., Small], drives: Dataset
) -> None:
    request = asked(drives, seconds=9.0, outputs=OUTPUTS, metrics=("psnr", "ssim", "ade"))
    once, twice = begin(request, name="once"), begin(request, name="twice")
    done(once)

    class Killed(BaseException):
        """Nothing of ours catches it."""

    def kill(chunk: int, _chunks: int) -> None:
        if chunk == 17:
            raise Killed

    [work] = twice.batch.works
    with pytest.raises(Killed):
        twice.worker().do(work, on_chunk=kill)
    [outcome] = twice.worker("two").do(work)
    assert outcome.chunks == 2
    assert once.files() == twice.files()
    assert any("goes on for" in warning for warning in outcome.warnings)
    assert list((twice.out / "partial").iterdir()) == []


def test_time_is_told_by_part(begin: Callable[..., Small], drives: Dataset) -> None:
    small = begin(asked(drives, metrics=("psnr",)), asked(drives, seed=1))
    first, second = done(small)
    assert first.timings_s["load"] > 0
    assert "load" not in second.timings_s
    assert {"read", "model", "plan", "score", "write", "store"} <= set(second.timings_s)
    assert small.record()["timings_s"]["model"] > 0
    assert first.peak_bytes > 2**20


def test_the_mosaic_plays_and_has_a_picture_per_frame(begin: Callable[..., Small], drives: Dataset) -> None:
    small = begin(asked(drives, seconds=1.0))
    done(small)
    frames = read_frames(small.path("mosaic.mp4"))
    assert (len(frames), frames.std() > 0) == (8, True)


@pytest.mark.slow
def test_a_pretrained_backbone_does_units_too_and_a_sweep_shares_its_reading(drives: Dataset, tmp_path: Path) -> None:
    model = f"wan:{write_tiny_wan(tmp_path / 'wan')}@32x64"
    requests = [asked(drives, seed=seed, seconds=1.0, outputs=OUTPUTS) for seed in (0, 1)]
    swept, alone = (small_batch(tmp_path / name, model, requests) for name in ("swept", "alone"))
    done(swept)
    done(alone, 1)
    assert swept.files(1) == alone.files(1)
    assert load_file(swept.path("latents.safetensors"))["latents"].ndim == 5
