"""Rollouts of any length: chunk after chunk to disk, bounded in memory, and continued exactly where they stopped.

A rollout is cut into segments of SEGMENT_CHUNKS. After each but the last, its part of every output and the past are stored;
a process that begins again takes the newest of these and goes on with the same bits.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from studio.jobs.folder.storage import Storage
from studio.jobs.units import FileFact
from studio.jobs.work.segments import Segment, Segments, Telemetry, what_of, write_past
from studio.jobs.work.sinks import Piece, Sink
from worldmodel.errors import BadRequest
from worldmodel.geometry import Rig, Trajectory
from worldmodel.guidance import FixedGuide, Guide
from worldmodel.loaded import LoadedModel
from worldmodel.memory import memory_stats
from worldmodel.model import check_horizon
from worldmodel.past import Past
from worldmodel.requests import RolloutRequest
from worldmodel.rollout import ChunkMade, chunk_by_chunk, chunks_of, commands_of, provenance_of, warnings_of
from worldmodel.sampling import Sampling

PARTS = ("generate_s", "write_s", "keep_s", "join_s")
SEGMENT_CHUNKS = 16  # 8 s of the shipped model; so much is lost at most, and a segment's videos begin with a key frame


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamedRollout:
    """What is left in memory of one sample: all but pictures and latents, which its sinks took.

    Attributes:
        trajectory, rig, frequency_hz, texts, seed, actions_given, chunk_s, telemetry, warnings, provenance, memory_stats:
            As of `worldmodel.rollout.Rollout`.
        frames: How many were imagined.
    """

    trajectory: Trajectory
    rig: Rig
    frequency_hz: float
    texts: tuple[str, ...]
    seed: int
    actions_given: bool
    chunk_s: float
    telemetry: Telemetry
    warnings: tuple[str, ...]
    provenance: dict[str, Any]
    memory_stats: dict[str, float]
    frames: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Streamed:
    """A rollout that was streamed to its sinks.

    Attributes:
        rollouts: One per sample.
        chunks: How many were computed in this go.
        resumed_at: Number of the first of them; 0 where nothing was there before.
        timing: Seconds of this go by part: 'generate_s' (the model), 'write_s' (sinks), 'keep_s' (checkpoints), 'join_s'.
        past: At the end.
    """

    rollouts: tuple[StreamedRollout, ...]
    chunks: int
    resumed_at: int
    timing: Mapping[str, float]
    past: Past


def stream(
    model: LoadedModel,
    past: Past,
    *,
    frames: int,
    seeds: Sequence[int],
    sinks: Sequence[Sequence[Sink]],
    scratch: Path,
    actions: Sequence[Trajectory] | None = None,
    guides: Sequence[Guide] | None = None,
    sampling: Sampling | None = None,
    partial: Storage | None = None,
    on_chunk: Callable[[int, int], None] = lambda *_: None,
    segment_chunks: int = SEGMENT_CHUNKS,
) -> Streamed:
    """Imagine on from a past and hand every chunk to sinks; the same bits as `WorldModel.go_on`, however often interrupted.

    Args:
        past: As `WorldModel.remember` gives it, nothing imagined yet.
        frames: Horizon; at most an hour.
        seeds: One per sample of the past.
        sinks: Per sample where its chunks go; none for a sample that only fills the batch up.
        scratch: Local folder for what is not finished; something is made in it and removed again.
        actions: Paths to drive, one per sample; None: the steps are imagined too.
        guides: One per sample; None: the instruction that was observed. The same at every go.
        sampling: None for the default; the past brings its memory.
        partial: Where finished segments are kept, for this rollout alone; `segments.forget` empties it when the outputs are
            safe. None: nothing is kept. A rollout of one segment leaves nothing there.
        on_chunk: Called with how many chunks there are by now and will be.
        segment_chunks: Of a segment. A rollout goes on only with what was kept at the same number.

    Raises:
        BadRequest, BadMotion, Diverged: as of `WorldModel.go_on`.
        OutputExists, Unreachable: if the disk or the storage refuses.
    """
    asked = RolloutRequest(
        frames=frames,
        seeds=tuple(seeds),
        guides=tuple(guides or [FixedGuide(text=text) for text in past.instructions]),
        actions=None if actions is None else tuple(actions),
        sampling=sampling or Sampling(),
    )
    check_horizon(frames / model.config.frequency_hz)
    _check_counts(past, asked, sinks)
    with TemporaryDirectory(dir=scratch, prefix="stream-") as work:
        return _Stream(model, past, asked, sinks, Path(work), partial, segment_chunks).run(on_chunk)


def _check_counts(past: Past, asked: RolloutRequest, sinks: Sequence[Sequence[Sink]]) -> None:
    counts = {
        "seeds": len(asked.seeds),
        "guides": len(asked.guides),
        "actions": len(past.rays) if asked.actions is None else len(asked.actions),
        "lists of sinks": len(sinks),
    }
    for name, count in counts.items():
        if count != len(past.rays):
            raise BadRequest(f"{len(past.rays)} samples came with {count} {name}. Give one for each sample.")
    if past.chunks:
        raise BadRequest(
            f"the past holds {past.chunks} imagined chunks already; a stream begins with none. Use `remember`, or `go_on`."
        )


@dataclass(eq=False)
class _Stream:
    """One streamed rollout under way."""

    model: LoadedModel
    begin: Past
    asked: RolloutRequest
    sinks: Sequence[Sequence[Sink]]
    work: Path
    partial: Storage | None
    segment_chunks: int
    timing: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def run(self, on_chunk: Callable[[int, int], None]) -> Streamed:
        """All segments that are missing, then the outputs."""
        found = None if self.segments is None else self.segments.newest(self.model, self.work)
        done, past = ((), self.begin) if found is None else found
        first, per = past.chunks, self.model.per_chunk
        commands, said = commands_of(self.model, self.begin, self.asked)
        ahead = replace(self.asked, frames=self.asked.frames - first * per)
        chunks = chunk_by_chunk(self.model, past, ahead, None if commands is None else commands[:, first * per :])
        told = [segment.telemetry for segment in done]
        for number in range(len(done), self.count):
            past, telemetry = self._segment(number, chunks, on_chunk)
            told.append(telemetry)
            if number + 1 < self.count:
                with self._timed("keep_s"):
                    self._keep(number, past, telemetry)
        with self._timed("join_s"):
            self._join()
        rollouts = tuple(self._rollout(past, told, said, sample) for sample in range(len(self.sinks)))
        return Streamed(rollouts=rollouts, chunks=self.chunks - first, resumed_at=first, timing=self.timing, past=past)

    @cached_property
    def chunks(self) -> int:
        """Of the whole rollout."""
        return chunks_of(self.model, self.asked.frames)

    @property
    def count(self) -> int:
        """Segments of the whole rollout."""
        return -(-self.chunks // self.segment_chunks)

    @cached_property
    def segments(self) -> Segments | None:
        """Where they are kept; None where they are not."""
        if self.partial is None or self.count == 1:
            return None
        wanted = [_part_name(sample, sink) for sample, sinks in enumerate(self.sinks) for sink in sinks]
        return Segments(self.partial, what_of(self.model, self.begin, self.asked, self.segment_chunks), wanted)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.timing[part] += time.perf_counter() - started

    # -- one segment ----------------------------------------------------------------------------------------------

    def _segment(
        self, number: int, chunks: Iterator[ChunkMade], on_chunk: Callable[[int, int], None]
    ) -> tuple[Past, tuple[Telemetry, ...]]:
        """Imagine one segment into its parts; the past at its end, and its telemetry per sample."""
        told: list[tuple[dict[str, float], ...]] = []
        past = self.begin
        with ExitStack() as stack:
            adds = self._opened(number, stack)
            for _ in range(min(self.segment_chunks, self.chunks - number * self.segment_chunks)):
                with self._timed("generate_s"):
                    made = next(chunks)
                with self._timed("write_s"):
                    for sample, taking in enumerate(adds):
                        self._hand_on(made, sample, taking)
                past = made.past
                told.append(made.telemetry)
                on_chunk(past.chunks, self.chunks)
            with self._timed("write_s"):
                stack.close()
        return past, tuple(zip(*told, strict=True))

    def _opened(self, number: int, stack: ExitStack) -> list[list[Callable[[Piece], None]]]:
        folder = self.work / f"{number:05d}"
        folder.mkdir()
        return [
            [stack.enter_context(sink.writing(folder / _part_name(sample, sink))) for sink in sinks]
            for sample, sinks in enumerate(self.sinks)
        ]

    def _hand_on(self, made: ChunkMade, sample: int, adds: Sequence[Callable[[Piece], None]]) -> None:
        if not adds:
            return
        first = made.number * self.model.per_chunk
        frames = min(self.model.per_chunk, self.asked.frames - first)
        latents = -(-frames // self.model.tokenizer.temporal_stride)
        piece = Piece(
            first=first,
            video=made.video[sample, :frames],
            latents=made.latents[sample, :latents].detach().float().cpu(),
            poses=made.past.trajectory[sample][first + 1 : first + 1 + frames],
            text=made.texts[sample],
        )
        for add in adds:
            add(piece)

    # -- between segments and at the end --------------------------------------------------------------------------

    def _keep(self, number: int, past: Past, telemetry: tuple[Telemetry, ...]) -> None:
        if self.segments is None:
            return
        folder = self.work / f"{number:05d}"
        files = {file.name: file for file in sorted(folder.iterdir())}
        saved, fact = write_past(past, number, self.work, self.model)
        segment = Segment(
            number=number,
            what=self.segments.what,
            telemetry=telemetry,
            files=tuple(FileFact.of(file, name) for name, file in files.items()),
            past=fact,
        )
        self.segments.keep(segment, files, saved)
        shutil.rmtree(folder)

    def _join(self) -> None:
        for sample, sinks in enumerate(self.sinks):
            for sink in sinks:
                sink.join([self._part(number, _part_name(sample, sink)) for number in range(self.count)])
                for copy in self.work.glob(f"*/{_part_name(sample, sink)}"):
                    copy.unlink()

    def _part(self, number: int, name: str) -> Path:
        here = self.work / f"{number:05d}" / name
        return here if self.segments is None or here.is_file() else self.segments.part(number, name, self.work)

    def _rollout(
        self, past: Past, told: Sequence[tuple[Telemetry, ...]], said: Sequence[Sequence[str]], sample: int
    ) -> StreamedRollout:
        model, hertz, count = self.model, self.model.config.frequency_hz, self.asked.frames + 1
        telemetry = tuple(chunk for segment in told for chunk in segment[sample])
        return StreamedRollout(
            trajectory=Trajectory(poses=past.trajectory[sample][:count], times_s=np.arange(count) / hertz),
            rig=past.rigs[sample],
            frequency_hz=hertz,
            texts=past.texts[sample],
            seed=self.asked.seeds[sample],
            actions_given=self.asked.actions is not None,
            chunk_s=model.per_chunk / hertz,
            telemetry=telemetry,
            warnings=warnings_of(model, past, sample, said=said[sample], telemetry=telemetry, first_chunk=0),
            provenance=provenance_of(model, past, self.asked.sampling),
            memory_stats=memory_stats(past.memory),
            frames=self.asked.frames,
        )


def _part_name(sample: int, sink: Sink) -> str:
    return f"{sample}-{sink.name}"
