"""Streams: the same bits as in one go, bounded in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import make_observation
from safetensors.torch import load_file
from streams import CHUNKS, FRAMES, ONE, Reference, Watching, run

from studio.jobs.folder.storage import Storage
from studio.jobs.work.sinks import IMAGINED
from studio.jobs.work.streaming import stream
from studio.overlays import mosaic
from worldmodel.errors import BadRequest
from worldmodel.guidance import ScheduleGuide
from worldmodel.io.video import read_frames, write_video


@pytest.fixture(scope="module")
def whole(tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("whole") / "out"
    return Reference(folder, run(tiny_model, folder))


# -- what comes out ---------------------------------------------------------------------------------------------------


def test_a_stream_gives_what_one_call_gives(tiny_model: Any, whole: Reference) -> None:
    [other] = tiny_model.go_on(
        tiny_model.remember([make_observation()], ONE.empty_memory(4)), seconds=FRAMES / 8, seeds=[4], sampling=ONE
    )
    [rollout] = whole.made.rollouts
    assert (rollout.trajectory.poses == other.trajectory.poses).all()
    assert (rollout.trajectory.times_s == other.trajectory.times_s).all()
    for name in ("texts", "seed", "actions_given", "chunk_s", "telemetry", "warnings", "provenance", "memory_stats"):
        assert getattr(rollout, name) == getattr(other, name)
    latents = load_file(whole.latents)["latents"]
    assert (tiny_model.tokenizer.decode_video(latents) == other.video).all()
    shown = read_frames(whole.folder / "0/mosaic.mp4")
    expected = mosaic(other.video, other.rig, title="imagined")
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 12
    assert len(read_frames(whole.folder / "0/cameras/camera_1.mp4")) == FRAMES
    assert (whole.made.chunks, whole.made.resumed_at, rollout.frames) == (CHUNKS, 0, FRAMES)
    assert set(whole.made.timing) == {"generate_s", "write_s", "keep_s", "join_s"}


def test_a_stream_of_one_segment_has_the_bytes_of_write_video_and_keeps_nothing(
    tiny_model: Any, tmp_path: Path
) -> None:
    partial, frames = Storage.at(tmp_path / "partial"), 6
    run(tiny_model, tmp_path / "made/out", partial, frames=frames)
    past = tiny_model.remember([make_observation()], ONE.empty_memory(4))
    [other] = tiny_model.go_on(past, seconds=frames / 8, seeds=[4], sampling=ONE)
    write_video(tmp_path / "a.mp4", mosaic(other.video, other.rig, title="imagined"), 8.0, comment=IMAGINED)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "made/out/0/mosaic.mp4").read_bytes()
    assert partial.names() == []
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["out"]


# -- bounded, and asked for rightly -----------------------------------------------------------------------------------


def test_pictures_of_past_chunks_are_not_held(tiny_model: Any, tmp_path: Path) -> None:
    watching = Watching()
    run(tiny_model, tmp_path / "out", sinks=[[watching]], segment_chunks=CHUNKS)
    assert watching.most <= 3  # the one that is handed on, the newest of the past, and the one that the generator holds


def test_counts_that_do_not_fit_and_pasts_under_way_are_refused(tiny_model: Any, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="1 samples came with 2 guides"):
        run(tiny_model, tmp_path, guides=[ScheduleGuide(), ScheduleGuide()])
    with pytest.raises(BadRequest, match="1 samples came with 0 lists of sinks"):
        run(tiny_model, tmp_path, sinks=[])
    with pytest.raises(BadRequest, match="at most 3600 s"):
        run(tiny_model, tmp_path, frames=8 * 3600 + 1)
    begun = tiny_model.imagine(make_observation(), seconds=0.5, sampling=ONE).past
    with pytest.raises(BadRequest, match="a stream begins with none"):
        stream(tiny_model, begun, frames=4, seeds=[0], sinks=[[]], scratch=tmp_path)
