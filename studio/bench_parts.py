"""The parts of `detour bench model`.

All of them go through the functions that people call, on random pictures: how long a model takes does not depend on what it
sees. Memories of a given age are filled with copies of one chunk; the resident memory is that of a real, long rollout.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from studio.bench_model import CLOCKS, Measured, ModelBench, Progress
from studio.bench_pasts import MIB, aged, peak_mib, random_observation, read_anew, resident_mib
from studio.bench_peer import Peer, make_peer
from worldmodel.sampling import Sampling

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.past import Past

MEMORIES = ("window", "selective", "full")
EARLY_CHUNK, SETTLED_CHUNK = 1, 20
STEPS = (16, 8, 4, 2, 1)


class ModelParts:
    """One model on one device."""

    def __init__(self, model: "WorldModel", request: ModelBench, progress: Progress | None) -> None:
        self.model, self.request, self.progress = model, request, progress
        self.observation = random_observation(model)
        self.frames = model.per_chunk
        self.peer: Peer = make_peer(model)

    def rows(self) -> Iterator[Measured]:
        """All parts, one after the other."""
        parts: dict[str, Callable[[], list[Measured]]] = {
            "settings": self._settings,
            "memories": self._memories,
            "cache": self._cache,
            "steps": self._steps,
            "fast path": self._fast_path,
            "pictures": self._pictures,
            "memory": self._resident,
        }
        for name, part in parts.items():
            started = time.perf_counter()
            if self.progress is not None:
                self.progress(name, None)
            yield from part()
            if self.progress is not None:
                self.progress(name, time.perf_counter() - started)

    # -- the clock ------------------------------------------------------------------------------------------------

    def _ms(self, work: Callable[[], object], repeats: int | None = None, *, warm: bool = True) -> float:
        """Milliseconds, the median of the repeats."""
        clock = CLOCKS[self.request.clock]
        if warm:
            work()
        taken = []
        for _ in range(repeats or self.request.repeats):
            self._wait()
            started = clock()
            work()
            self._wait()
            taken.append(clock() - started)
        return 1000 * statistics.median(taken)

    def _wait(self) -> None:
        if self.model.device.type != "cpu":
            import torch

            torch.accelerator.synchronize()

    # -- parts ----------------------------------------------------------------------------------------------------

    def _settings(self) -> list[Measured]:
        """Frames per second as people get them: the history encoded, chunks denoised, remembered and decoded."""
        seconds, steps, batch = 4.0, Sampling().steps, self.request.batch
        frames = round(seconds * self.model.config.frequency_hz)
        ours = frames / self._ms(lambda: self.model.imagine(self.observation, seconds=seconds)) * 1000
        peer = self.frames / self._ms(lambda: self.peer.chunk(steps)) * 1000
        size = sum(parameter.numel() for parameter in self.model.network.parameters())
        name = f"peer, {self.peer.parameters / 1e6:.1f} M, window of {self.peer.window_frames} frames, no cache"
        rows = [
            Measured(part="settings", what="peer: frames per second", value=peer, unit="fps"),
            Measured(
                part="settings",
                what=f"frames per second, {steps} steps ({size / 1e6:.1f} M)",
                value=ours,
                unit="fps",
                baseline=name,
                ratio=ours / peer,
                need="3 fps on two cores; 60 on an H200",
            ),
        ]
        if batch > 1:
            many, seeds = [self.observation] * batch, list(range(batch))
            both = frames / self._ms(
                lambda: self.model.imagine_batch(many, seconds=seconds, seeds=seeds), 1, warm=False
            )
            what = f"frames per second, {batch} rollouts at once"
            both *= 1000 * batch
            rows.append(
                Measured(part="settings", what=what, value=both, unit="fps", baseline="one rollout", ratio=both / ours)
            )
        return rows

    def _memories(self) -> list[Measured]:
        rows = []
        for name in MEMORIES:
            sampling, settled = Sampling(memory=name), 0.0
            for chunk in sorted({EARLY_CHUNK, SETTLED_CHUNK, *self.request.chunks}):
                taken = self._chunk_ms(self.aged(name, chunk - 1), sampling)
                settled = taken if chunk == SETTLED_CHUNK else settled
                late = chunk > SETTLED_CHUNK
                rows.append(
                    Measured(
                        part="memories",
                        what=f"{name}: chunk {chunk}",
                        value=taken,
                        unit="ms",
                        baseline=f"chunk {SETTLED_CHUNK}" if late else "",
                        ratio=taken / settled if late else None,
                        need="1.15 x" if late and name != "full" else "",
                    )
                )
        return rows

    def _cache(self) -> list[Measured]:
        """A chunk after a long past: from the cache, with the past read anew for the chunk, and anew for every step."""
        count, steps = self.request.cached_chunks, Sampling().steps
        past = self.aged("full", count)
        cached = self._chunk_ms(past, Sampling(memory="full"))
        once = self._ms(lambda: read_anew(self.model, past, count), 1, warm=False)
        rows = [Measured(part="cache", what=f"cached: chunk {count + 1}", value=cached, unit="ms")]
        for what, taken, need in (
            ("recomputed once per chunk", cached + once, ""),
            ("recomputed in every step", cached + once * steps, "5 x"),
        ):
            rows.append(
                Measured(
                    part="cache", what=what, value=taken, unit="ms", baseline="cached", ratio=taken / cached, need=need
                )
            )
        return rows

    def _steps(self) -> list[Measured]:
        past, most, rows = self.aged("window", SETTLED_CHUNK), 0.0, []
        for steps in STEPS:
            taken = self._chunk_ms(past, Sampling(steps=steps))
            most = most or taken
            other = "" if steps == STEPS[0] else f"{STEPS[0]} steps"
            ratio = taken / most if other else None
            rows.append(
                Measured(
                    part="steps", what=f"chunk, {steps} steps", value=taken, unit="ms", baseline=other, ratio=ratio
                )
            )
        return rows

    def _fast_path(self) -> list[Measured]:
        """A plan from ready memory; from the newest frames on; and the slow way, which imagines the same 4 s first."""
        past = self.model.remember([self.observation])
        ready = self._ms(lambda: self.model.plan(self.observation, past=past))
        whole = self._ms(lambda: self.model.plan(self.observation))
        slow = self._ms(lambda: self.model.imagine(self.observation, seconds=4.0), 1, warm=False)
        name = "imagine 4 s first"
        return [
            Measured(part="fast path", what="imagine 4 s first", value=slow, unit="ms"),
            Measured(
                part="fast path",
                what="plan from ready memory",
                value=ready,
                unit="ms",
                baseline=name,
                ratio=ready / slow,
                need="150 ms",
            ),
            Measured(
                part="fast path",
                what="newest frame to plan",
                value=whole,
                unit="ms",
                baseline=name,
                ratio=whole / slow,
                need="600 ms",
            ),
        ]

    def _pictures(self) -> list[Measured]:
        video = self.observation.video[: self.frames]
        latents = self.model.tokenizer.encode_video(video)
        encode = self._ms(lambda: self.model.tokenizer.encode_video(video)) / self.frames
        decode = self._ms(lambda: self.model.tokenizer.decode_video(latents)) / self.frames
        return [
            Measured(part="pictures", what="encode a multi-view frame", value=encode, unit="ms"),
            Measured(part="pictures", what="decode a multi-view frame", value=decode, unit="ms"),
        ]

    def _resident(self) -> list[Measured]:
        """Memory of this process over a long rollout that is streamed: one step per chunk, each chunk given away."""
        count, sampling = self.request.resident_chunks, Sampling(steps=1)
        past = self.model.remember([self.observation], sampling.empty_memory(self.model.config.history_chunks))
        early, at = 0.0, min(SETTLED_CHUNK, count // 2)
        for chunk in range(count):
            past = self.chunk(past, sampling)
            early = resident_mib() if chunk + 1 == at else early
        late = resident_mib()
        rows = [
            Measured(part="memory", what="largest resident memory of this process", value=peak_mib(), unit="MiB"),
            Measured(
                part="memory",
                what=f"resident memory at chunk {count}",
                value=late,
                unit="MiB",
                baseline=f"chunk {at}",
                ratio=late / early,
                need="1.05 x",
            ),
        ]
        if self.model.device.type != "cpu":
            import torch

            held = torch.accelerator.max_memory_allocated() / MIB
            rows.append(Measured(part="memory", what="largest memory of the accelerator", value=held, unit="MiB"))
        return rows

    # -- chunks ---------------------------------------------------------------------------------------------------

    def chunk(self, past: "Past", sampling: Sampling) -> "Past":
        """The past after one more chunk, imagined and decoded."""
        seconds = self.frames / self.model.config.frequency_hz
        [rollout] = self.model.go_on(past, seconds=seconds, seeds=[0], sampling=sampling)
        assert rollout.past is not None
        return rollout.past

    def _chunk_ms(self, past: "Past", sampling: Sampling) -> float:
        return self._ms(lambda: self.chunk(past, sampling))

    def aged(self, memory: str, chunks: int) -> "Past":
        """A past of so many imagined chunks; copies of the first one stand for the later ones."""
        sampling = Sampling(memory=memory, steps=1)
        past = self.model.remember([self.observation], sampling.empty_memory(self.model.config.history_chunks))
        return aged(self.chunk(past, sampling), chunks, self.frames) if chunks else past
