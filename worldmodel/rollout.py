"""Imagined continuations: the Rollout, the state that carries it on, and what is watched while it grows."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.clips import Clip, Instruction
from worldmodel.errors import Diverged
from worldmodel.flow import mix, stream_noise
from worldmodel.geometry import Array, Rig, Trajectory, compose, relative
from worldmodel.guidance import Guide
from worldmodel.hints import ask_guides, imagined_chunk
from worldmodel.memory import AnyMemory, memory_stats
from worldmodel.plans import Observation
from worldmodel.sampler import State, Velocity, find_sampler, sampling_times
from worldmodel.sampling import Sampling
from worldmodel.sequence import FramesPart, Recall, TokenSequence

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


@dataclass(frozen=True, eq=False, kw_only=True)
class Past:
    """All that the next chunk depends on besides its own noise, text and actions.

    Attributes:
        memory: Keys and values of the chunks so far.
        frames: How many frames the memory has seen; the next chunk starts there.
        chunks: How many chunks were imagined so far; names the noise of the next one.
        rays: Camera rays [B, cameras, rows, columns, features].
        newest: Per sample the newest chunk at the model's picture size: recorded, or imagined once there is one.
        texts: Per sample the texts of the chunks imagined so far.
        trajectory: Imagined poses so far, [frames + 1, 3] per sample, starting at the identity.
    """

    memory: AnyMemory
    frames: int
    chunks: int
    rays: Tensor
    newest: tuple[Observation, ...]
    texts: tuple[tuple[str, ...], ...]
    trajectory: tuple[Array, ...]

    @property
    def rigs(self) -> tuple[Rig, ...]:
        """The cameras of each sample at the model's picture size."""
        return tuple(observation.rig for observation in self.newest)

    @property
    def instructions(self) -> tuple[str, ...]:
        """What each sample's driver was told."""
        return tuple(observation.instruction for observation in self.newest)

    def shown(self, video: Array, texts: Sequence[str]) -> "Past":
        """The same past once its last chunk is decoded, uint8 [B, F, C, 3, h, w]; `texts` steered it."""
        frames = video.shape[1]
        seen = zip(self.newest, video, self.trajectory, strict=True)
        newest = tuple(imagined_chunk(before, chunk, poses[-frames:]) for before, chunk, poses in seen)
        said = tuple((*before, text) for before, text in zip(self.texts, texts, strict=True))
        return replace(self, newest=newest, texts=said)


@dataclass(frozen=True, eq=False, kw_only=True)
class Rollout:
    """An imagined continuation, decoded.

    Attributes:
        video: RGB uint8 [time, camera, 3, height, width]; the first frame follows the newest observed one.
        trajectory: The ego's poses at time 0 (now) and at every imagined frame, in the ego frame of now.
        rig: The cameras, at the size of the video.
        frequency_hz: Frames per second.
        texts: The guidance of each chunk.
        chunk_s: Seconds that a chunk lasts.
        seed: Of the noise.
        actions_given: Whether the steps were commanded (else they were imagined too).
        timing: Seconds per part.
        telemetry: Per chunk: mean and standard deviation of the latents, sharpness, share of still pixels.
        provenance: Model hash, preset, how it was sampled, and that it is imagined.
        memory_stats: Chunks and cells kept, megabytes.
        past: From here the rollout can go on.
    """

    video: UInt8[Array, "time camera 3 height width"]
    trajectory: Trajectory
    rig: Rig
    frequency_hz: float
    texts: tuple[str, ...]
    seed: int
    actions_given: bool
    chunk_s: float = 0.5
    timing: dict[str, float] = field(default_factory=dict)
    telemetry: tuple[dict[str, float], ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    memory_stats: dict[str, float] = field(default_factory=dict)
    past: Past | None = None

    def as_clip(self, clip_id: str) -> Clip:
        """The rollout as a clip (marked as imagined), for stitching, scoring or training."""
        poses = Trajectory(poses=self.trajectory.poses[1:], times_s=self.trajectory.times_s[1:])
        return Clip(
            id=clip_id,
            video=self.video,
            rig=self.rig,
            motion=poses.motion() if len(poses) > 1 else None,
            motion_origin="imagined",
            frequency_hz=self.frequency_hz,
            instructions=tuple(self._instructions()),
            source=f"imagined by Detour, model {self.provenance.get('model', 'unknown')}, seed {self.seed}",
        )

    def _instructions(self) -> Iterator[Instruction]:
        """One for each stretch of chunks with the same text; the last one holds on."""
        starts = [i for i in range(len(self.texts)) if i == 0 or self.texts[i] != self.texts[i - 1]]
        ends = [i * self.chunk_s for i in starts[1:]] + [math.inf]
        for start, end_s in zip(starts, ends, strict=True):
            if self.texts[start]:
                yield Instruction(text=self.texts[start], start_s=start * self.chunk_s, end_s=end_s)


def check_finite(what: str, *values: Tensor) -> None:
    """Say so when the model produced something that is not finite.

    Raises:
        Diverged: naming `what`.
    """
    if not all(bool(value.isfinite().all()) for value in values):
        raise Diverged(
            f"{what} has values that are not finite. Use more sampling steps, other actions or another checkpoint; "
            "what came before is sound."
        )


def chunk_telemetry(latents: Tensor, frames: Array) -> dict[str, float]:
    """Numbers that show drift: latents [F, C, ch, h, w] and frames uint8 [F, C, 3, H, W] of one chunk."""
    grey = frames.astype(np.float32).mean(axis=2)
    sharpness = float(np.abs(np.diff(grey, axis=-1)).mean())
    still = float((np.abs(np.diff(grey, axis=0)) < 1).mean()) if len(grey) > 1 else 0.0
    return {
        "latent_mean": float(latents.mean()),
        "latent_std": float(latents.std()),
        "sharpness": sharpness,
        "still_share": still,
    }


@dataclass(frozen=True, eq=False, kw_only=True)
class RolloutRequest:
    """What to imagine from a past.

    Attributes:
        frames: Frames wanted; whole chunks are made, the video is cut.
        seeds: One per sample.
        guides: One per sample; time counts from the first imagined frame of all.
        actions: Poses to drive, one trajectory per sample, or None: the steps are imagined too.
        sampling: How the noise is removed; the past brings its memory.
        on_chunk: Called with (chunk, chunks, the chunk's video [B, F, C, 3, h, w]).
    """

    frames: int
    seeds: tuple[int, ...]
    guides: tuple[Guide, ...]
    actions: tuple[Trajectory, ...] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    on_chunk: Callable[[int, int, Array], None] | None = None


@torch.no_grad()
def roll_out(model: "WorldModel", past: Past, request: RolloutRequest) -> list[Rollout]:
    """Imagine chunk after chunk; one rollout per sample of the past.

    Raises:
        Diverged: naming the chunk.
        BadMotion: if the actions do not cover the horizon.
    """
    per, first = model.per_chunk, past.chunks
    chunks = -(-request.frames // per)
    commands = None if request.actions is None else _commands(model, request.actions, first, chunks)
    videos: list[Array] = []
    telemetry: list[dict[str, float]] = []
    started = time.perf_counter()
    for index in range(chunks):
        texts = ask_guides(model, past, request.guides, request.seeds)
        given = None if commands is None else commands[:, index * per : (index + 1) * per]
        latents, past = _next_chunk(model, past, request, texts, given)
        video = model.tokenizer.decode(latents.flatten(0, 2))
        videos.append(video.reshape(*latents.shape[:3], *video.shape[1:]))
        past = past.shown(videos[-1], texts)
        telemetry.append(chunk_telemetry(latents.flatten(0, 1), videos[-1].reshape(-1, *videos[-1].shape[2:])))
        if request.on_chunk is not None:
            request.on_chunk(index, chunks, videos[-1])
    made = _Made(
        videos=np.concatenate(videos, axis=1)[:, : request.frames],
        telemetry=tuple(telemetry),
        timing={"generate_s": time.perf_counter() - started, "chunks": float(chunks)},
        first_chunk=first,
    )
    return [_one_rollout(model, past, request, made, sample) for sample in range(len(past.rays))]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Made:
    """What the loop over chunks made, for all samples."""

    videos: Array  # [B, time, C, 3, h, w]
    telemetry: tuple[dict[str, float], ...]
    timing: dict[str, float]
    first_chunk: int


def seeded_noise(model: "WorldModel", shape: Sequence[int], seeds: Sequence[int], stream: str, chunk: int) -> Tensor:
    """The noise of one stream and chunk, one row per seed, on the model's device."""
    return torch.stack([stream_noise(shape, seed, stream, chunk) for seed in seeds]).to(model.device)


def _commands(model: "WorldModel", actions: Sequence[Trajectory], first: int, chunks: int) -> Tensor:
    """Normalised steps [B, chunks * F, 3] of the commanded trajectories."""
    per, hertz = model.per_chunk, model.config.frequency_hz
    times = (first * per + np.arange(chunks * per + 1)) / hertz
    rows = []
    for trajectory in actions:
        missing_s = times[-1] - trajectory.times_s[-1]
        if len(trajectory) > 1 and 1e-6 < missing_s <= (per - 1) / hertz + 1e-6:
            trajectory = _held(trajectory, times[-1])  # the last chunk may be cut short
        rows.append(trajectory.resampled(times).motion().deltas)
    return model.normalised_steps(np.stack(rows))


def _held(trajectory: Trajectory, until_s: float) -> Trajectory:
    """The trajectory with its last step repeated up to a time."""
    poses, times = list(trajectory.poses), list(trajectory.times_s)
    step, gap = relative(poses[-2], poses[-1]), times[-1] - times[-2]
    while times[-1] + 1e-6 < until_s:
        poses.append(compose(poses[-1], step))
        times.append(times[-1] + gap)
    return Trajectory(poses=np.stack(poses), times_s=np.array(times))


def _next_chunk(
    model: "WorldModel", past: Past, request: RolloutRequest, texts: Sequence[str], given: Tensor | None
) -> tuple[Tensor, Past]:
    """Denoise one chunk; its latents [B, F, C, ch, h, w] and the past that includes it."""
    network, cameras = model.config.network, past.rays.shape[1]
    shape = (model.per_chunk, cameras, network.latent_channels, network.latent_height, network.latent_width)
    noise: State = (seeded_noise(model, shape, request.seeds, "video", past.chunks),)
    if given is None:
        noise = (*noise, seeded_noise(model, (model.per_chunk, 3), request.seeds, "steps", past.chunks))
    recall = model.recall(past)
    velocity = _chunk_velocity(model, past, recall, texts, given)
    times = sampling_times(request.sampling.steps, model.config.video_shift)
    result = find_sampler(request.sampling.sampler)(velocity, noise, times)
    check_finite(f"chunk {past.chunks} of the rollout", *result)
    moved = given if given is not None else result[1]
    return result[0], _extended(model, past, request, result[0], moved, recall)


def _frame_numbers(model: "WorldModel", past: Past) -> Tensor:
    return torch.arange(past.frames, past.frames + model.per_chunk, device=model.device)


def _chunk_velocity(
    model: "WorldModel", past: Past, recall: Recall | None, texts: Sequence[str], given: Tensor | None
) -> Velocity:
    """The network as a function of (video, steps) and time; steps are an input where they are given."""
    frames, batch = _frame_numbers(model, past), len(past.rays)
    guidance = model.guidance(texts, past.frames // model.per_chunk)
    period = model.period(batch)

    def velocity(state: State, t: float, _: float) -> State:
        times = torch.full((batch, model.per_chunk), t, device=model.device)
        part = FramesPart(
            frames=frames,
            clean=False,
            steps=state[1] if given is None else given,
            steps_time=times if given is None else torch.zeros_like(times),
            video=state[0],
            video_time=times,
        )
        sequence = TokenSequence(frames=(part,), rays=past.rays, period_s=period, guidance=guidance)
        output = model.network(sequence, recall, now=float(past.frames))
        return (output.video,) if given is not None else (output.video, output.steps)

    return velocity


def _extended(
    model: "WorldModel", past: Past, request: RolloutRequest, latents: Tensor, steps: Tensor, recall: Recall | None
) -> Past:
    """Write the finished chunk into the memory: one clean pass that sees no guidance."""
    asked = request.sampling.history_noise
    level = model.config.history_noise if asked is None else asked
    noise = seeded_noise(model, latents.shape[1:], request.seeds, "history", past.chunks)
    shape = latents.shape[:2]
    part = FramesPart(
        frames=_frame_numbers(model, past),
        clean=True,
        steps=steps,
        steps_time=torch.zeros(shape, device=model.device),
        video=mix(latents, noise, torch.tensor(level, device=model.device)),
        video_time=torch.full(shape, level, device=model.device),
    )
    sequence = TokenSequence(frames=(part,), rays=past.rays, period_s=model.period(len(past.rays)))
    entry = model.network(sequence, recall, now=float(past.frames), remember=True).entry
    driven = zip(past.trajectory, model.deltas(steps), strict=True)
    return replace(
        past,
        memory=past.memory.append(entry),
        frames=past.frames + model.per_chunk,
        chunks=past.chunks + 1,
        trajectory=tuple(_driven_on(poses, deltas) for poses, deltas in driven),
    )


def _driven_on(poses: Array, deltas: Array) -> Array:
    grown = list(poses)
    for delta in deltas:
        grown.append(compose(grown[-1], delta))
    return np.stack(grown)


def _one_rollout(model: "WorldModel", past: Past, request: RolloutRequest, made: _Made, sample: int) -> Rollout:
    hertz, start = model.config.frequency_hz, made.first_chunk * model.per_chunk
    count = request.frames + 1
    return Rollout(
        video=made.videos[sample],
        trajectory=Trajectory(
            poses=past.trajectory[sample][start : start + count], times_s=(start + np.arange(count)) / hertz
        ),
        rig=past.rigs[sample],
        frequency_hz=hertz,
        texts=past.texts[sample][made.first_chunk :],
        seed=request.seeds[sample],
        actions_given=request.actions is not None,
        chunk_s=model.per_chunk / hertz,
        timing=made.timing,
        telemetry=made.telemetry,
        provenance={
            "model": model.hash,
            "preset": model.config.preset,
            **request.sampling.to_json(),
            "memory": type(past.memory).__name__.lower(),
            "imagined": True,
        },
        memory_stats=memory_stats(past.memory),
        past=past,
    )
