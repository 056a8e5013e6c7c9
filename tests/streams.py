"""Rollouts of seven chunks that tests stream, stop and look at."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from makers import make_observation

from studio.jobs.folder.storage import Storage
from studio.jobs.work.sinks import LatentsSink, Piece, Sink, camera_sink, mosaic_sink
from studio.jobs.work.streaming import Streamed, stream
from worldmodel.sampling import Sampling

FRAMES, CHUNKS, SEGMENT = 26, 7, 2
ONE = Sampling(steps=1)
SELECTIVE = Sampling(steps=1, memory="selective", recent=1, video_budget=1, action_budget=2)


class Stopped(Exception):
    """Stands for a kill."""


def run(model: Any, out: Path, partial: Storage | None = None, stop_after: int | None = None, **how: Any) -> Streamed:
    """One rollout of seven chunks in segments of two, with all outputs of every sample."""
    sampling, batch = how.get("sampling", ONE), len(how.get("seeds", [4]))
    past = model.remember([make_observation(seed=i) for i in range(batch)], sampling.empty_memory(4))

    def on_chunk(chunk: int, chunks: int) -> None:
        assert chunks == -(-how.get("frames", FRAMES) // 4)
        if chunk == stop_after:
            raise Stopped

    out.parent.mkdir(exist_ok=True)
    given: dict[str, Any] = {
        "frames": FRAMES,
        "seeds": [4],
        "sampling": ONE,
        "segment_chunks": SEGMENT,
        "sinks": [sinks_in(out / str(sample), model, past, sample) for sample in range(batch)],
        "scratch": out.parent,
        "on_chunk": on_chunk,
    }
    return stream(model, past, partial=partial, **given | how)


def sinks_in(folder: Path, model: Any, past: Any, sample: int = 0) -> list[Sink]:
    rig, hertz = past.rigs[sample], model.config.frequency_hz
    return [
        mosaic_sink(folder / "mosaic.mp4", rig, hertz),
        camera_sink(folder / "cameras" / "camera_1.mp4", 1, hertz),
        LatentsSink(out=folder / "latents.safetensors", facts={"tokenizer": "a hash"}),
    ]


def latents_in(folder: Path) -> list[list[Sink]]:
    return [[LatentsSink(out=folder / "latents.safetensors")]]


def begins_at(model: Any, out: Path, partial: Storage, **how: Any) -> int:
    """Number of the first chunk that a stream computes."""
    seen: list[int] = []

    def on_chunk(chunk: int, _: int) -> None:
        seen.append(chunk - 1)
        raise Stopped

    with pytest.raises(Stopped):
        run(model, out, partial, **{"sinks": latents_in(out), **how, "on_chunk": on_chunk})
    return seen[0]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@dataclass(frozen=True)
class Reference:
    """What nobody interrupted."""

    folder: Path
    made: Streamed

    @property
    def latents(self) -> Path:
        return self.folder / "0/latents.safetensors"


@dataclass
class Watching:
    """Counts how many chunks' pictures and latents are alive."""

    name: str = "watching.txt"
    most: int = 0

    @contextmanager
    def writing(self, part: Path) -> Iterator[Callable[[Piece], None]]:
        alive: list[weakref.ref[Any]] = []

        def add(piece: Piece) -> None:
            alive.append(weakref.ref(piece.video.base))
            self.most = max(self.most, sum(one() is not None for one in alive))

        yield add
        part.write_text("nothing")

    def join(self, parts: Sequence[Path]) -> None:
        assert [part.read_text() for part in parts] == ["nothing"] * len(parts)
