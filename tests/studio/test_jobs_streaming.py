"""Streams: the same bits as in one go, bounded, and continued where they stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import make_observation
from safetensors.torch import load_file

from studio.jobs.segments import forget
from studio.jobs.sinks import LatentsSink, Sink, camera_sink, mosaic_sink
from studio.jobs.storage import Storage
from studio.jobs.streaming import Streamed, stream
from studio.overlays import mosaic
from worldmodel.io.video import read_frames, write_video
from worldmodel.sampling import Sampling

ONE = Sampling(steps=1)


class Stopped(Exception):
    """Stands for a kill."""


def sinks_in(folder: Path, model: Any, past: Any, sample: int = 0) -> list[Sink]:
    rig, hertz = past.rigs[sample], model.config.frequency_hz
    return [
        mosaic_sink(folder / "mosaic.mp4", rig, hertz),
        camera_sink(folder / "cameras" / "camera_1.mp4", 1, hertz),
        LatentsSink(out=folder / "latents.safetensors"),
    ]


@dataclass
class Job:
    """One rollout of 11 chunks in segments of three."""

    model: Any
    tmp: Path
    frames: int = 42

    def run(self, out: Path, partial: Storage | None = None, stop_after: int | None = None, **how: Any) -> Streamed:
        past = self.model.remember([make_observation()])

        def on_chunk(chunk: int, chunks: int) -> None:
            assert chunks == -(-self.frames // 4)
            if chunk == stop_after:
                raise Stopped

        given = {"seeds": [4], "sampling": ONE, "segment_chunks": 3} | how
        return stream(
            self.model,
            past,
            frames=self.frames,
            sinks=[sinks_in(out, self.model, past)],
            scratch=self.tmp,
            partial=partial,
            on_chunk=on_chunk,
            **given,
        )


@pytest.fixture
def job(tiny_model: Any, tmp_path: Path) -> Job:
    return Job(tiny_model, tmp_path)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_stream_gives_what_one_call_gives(job: Job, tmp_path: Path) -> None:
    made = job.run(tmp_path / "out")
    past = job.model.remember([make_observation()])
    [whole] = job.model.go_on(past, seconds=42 / 8, seeds=[4], sampling=ONE)
    [rollout] = made.rollouts
    assert (rollout.trajectory.poses == whole.trajectory.poses).all()
    assert (rollout.trajectory.times_s == whole.trajectory.times_s).all()
    for name in ("texts", "seed", "actions_given", "chunk_s", "telemetry", "warnings", "provenance", "memory_stats"):
        assert getattr(rollout, name) == getattr(whole, name)
    latents = load_file(tmp_path / "out/latents.safetensors")["latents"]
    assert (job.model.tokenizer.decode_video(latents) == whole.video).all()
    shown = read_frames(tmp_path / "out/mosaic.mp4")
    assert shown.shape == mosaic(whole.video, whole.rig).shape
    assert np.abs(shown.astype(int) - mosaic(whole.video, whole.rig, title="imagined")).mean() < 12
    assert len(read_frames(tmp_path / "out/cameras/camera_1.mp4")) == 42
    assert (made.chunks, made.resumed_at) == (11, 0)


def test_a_short_stream_writes_the_bytes_of_write_video(job: Job, tmp_path: Path) -> None:
    job.frames = 10
    made = job.run(tmp_path / "out")
    past = job.model.remember([make_observation()])
    [whole] = job.model.go_on(past, seconds=10 / 8, seeds=[4], sampling=ONE)
    from studio.jobs.sinks import IMAGINED

    write_video(tmp_path / "a.mp4", mosaic(whole.video, whole.rig, title="imagined"), 8.0, comment=IMAGINED)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "out/mosaic.mp4").read_bytes()
    assert made.rollouts[0].frames == 10


@pytest.mark.parametrize("stops", [[7], [2, 3, 4, 9, 11]], ids=["once", "often"])
@pytest.mark.parametrize("where", ["disk", "memory"])
def test_an_interrupted_stream_goes_on_with_the_same_bytes(
    job: Job, tmp_path: Path, stops: Sequence[int], where: str
) -> None:
    partial = Storage.at(tmp_path / "partial" if where == "disk" else f"memory://stream/{tmp_path.name}")
    job.run(tmp_path / "whole")
    for stop in stops:
        with pytest.raises(Stopped):
            job.run(tmp_path / "out", partial, stop_after=stop)
    made = job.run(tmp_path / "out", partial)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "whole")
    assert made.resumed_at == (stops[-1] - 1) // 3 * 3
    assert made.chunks == 11 - made.resumed_at
    forget(partial)
    assert partial.sizes() == {}
