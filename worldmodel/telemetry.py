"""What is watched while a rollout grows: a few numbers per chunk that drift shows in, and the range they had in training.

A rollout that leaves the training range is still returned; it carries a warning with the chunk and the measure, because
each frame of a drifted rollout may look plausible by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldmodel.geometry import Array

if TYPE_CHECKING:
    from worldmodel.tokenizer import Tokenizer

Range = tuple[float, float]
MEASURES = (
    "latent_mean",
    "latent_variance",
    "sharpness",
    "brightness",
    "contrast",
    "colourfulness",
    "frozen_share",
)
FROZEN_GREY = 2.0  # a pixel that changes by less, in grey levels of 255, stands still
MOVING_MPS = 2.0  # below this speed nothing need move in the pictures
OUTSIDE = 0.001  # share of training chunks on either side of a range
MARGIN = 0.1  # what a range is widened by on either side, as a share of its width


def chunk_telemetry(latents: Tensor, frames: Array, speed_mps: float) -> dict[str, float]:
    """Numbers that show drift in one chunk of one rollout.

    Args:
        latents: Normalised latents [F, cameras, channels, h, w].
        frames: The same, decoded: uint8 [F, cameras, 3, height, width].
        speed_mps: Mean speed of the ego over the chunk.

    Returns:
        `latent_mean`, `latent_variance`; those of `picture_telemetry`; `speed_mps`.
    """
    return {
        "latent_mean": float(latents.double().mean()),
        "latent_variance": float(latents.double().var(correction=0)),
        **picture_telemetry(frames),
        "speed_mps": float(speed_mps),
    }


def picture_telemetry(frames: Array) -> dict[str, float]:
    """Numbers that show drift in consecutive frames alone, whatever made them.

    Args:
        frames: uint8 [F, cameras, 3, height, width].

    Returns:
        `sharpness` (mean absolute second difference along rows over the mean absolute first one: low when blurred, high in
        noise, whatever the contrast); in grey levels of 255 `brightness` (mean), `contrast` (standard deviation) and
        `colourfulness` (mean spread of red, green and blue); `frozen_share` (pixels that change by less than FROZEN_GREY
        from frame to frame, 0 to 1).
    """
    colour = frames.astype(np.float32)
    grey = colour.mean(axis=2)
    still = np.abs(np.diff(grey, axis=0)) < FROZEN_GREY
    edges, bends = (float(np.abs(np.diff(grey, order, axis=-1)).mean()) for order in (1, 2))
    return {
        "sharpness": bends / edges if edges else 0.0,
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "colourfulness": float((colour.max(axis=2) - colour.min(axis=2)).mean()),
        "frozen_share": float(still.mean()) if still.size else 0.0,
    }


def batch_telemetry(
    latents: Tensor, videos: Array, trajectories: Sequence[Array], frequency_hz: float
) -> tuple[dict[str, float], ...]:
    """`chunk_telemetry` of every sample of a batch.

    Args:
        latents: [B, F, cameras, channels, h, w].
        videos: uint8 [B, F, cameras, 3, height, width].
        trajectories: Poses so far, [at least F + 1, 3] per sample; the chunk's are the last.
    """
    frames = videos.shape[1]
    ways = [np.diff(poses[-frames - 1 :, :2], axis=0) for poses in trajectories]
    speeds = [float(np.hypot(*way.T).mean()) * frequency_hz for way in ways]
    return tuple(chunk_telemetry(*sample) for sample in zip(latents, videos, speeds, strict=True))


def training_range(chunks: Sequence[Mapping[str, float]]) -> dict[str, Range]:
    """The range of each measure over training chunks: all but OUTSIDE on either side, widened by MARGIN.

    `frozen_share` is taken over chunks faster than MOVING_MPS alone. A measure without any chunk is left out.
    """
    found = {}
    for name in MEASURES:
        values = np.array([chunk[name] for chunk in chunks if _speaks(name, chunk)], np.float64)
        if len(values):
            low, high = np.quantile(values, [OUTSIDE, 1 - OUTSIDE])
            margin = MARGIN * (high - low)
            found[name] = (float(low - margin), float(high + margin))
    return found


def _speaks(name: str, chunk: Mapping[str, float]) -> bool:
    """Whether a measure says anything about a chunk: pictures may stand still where the car does."""
    return name != "frozen_share" or chunk["speed_mps"] > MOVING_MPS


def outside(chunk: Mapping[str, float], ranges: Mapping[str, Range]) -> tuple[str, ...]:
    """Names of the measures with which a chunk is outside the training range."""
    return tuple(
        name
        for name, (low, high) in ranges.items()
        if name in chunk and _speaks(name, chunk) and not low <= chunk[name] <= high
    )


def drift_warnings(
    chunks: Sequence[Mapping[str, float]], ranges: Mapping[str, Range], *, first_chunk: int, chunk_s: float
) -> tuple[str, ...]:
    """One sentence for each measure that left the training range: the first such chunk, the value, the range, how often.

    Args:
        first_chunk: Number of the first of `chunks` in its rollout.
        chunk_s: Seconds that a chunk lasts.
    """
    left = [outside(chunk, ranges) for chunk in chunks]
    sentences = []
    for name, (low, high) in ranges.items():
        at = [i for i, names in enumerate(left) if name in names]
        if at:
            number, value = first_chunk + at[0], chunks[at[0]][name]
            sentences.append(
                f"chunk {number} ({number * chunk_s:g} s): {name} is {value:.3g}, but it was {low:.3g} to {high:.3g} in "
                f"training; so it is in {len(at)} of {len(chunks)} chunks. Trust the pictures up to there."
            )
    return tuple(sentences)


def joined_ranges(ranges: Iterable[Mapping[str, Range]]) -> dict[str, Range]:
    """The range of each measure over several sets of training data."""
    joined: dict[str, Range] = {}
    for one in ranges:
        for name, (low, high) in one.items():
            before = joined.get(name, (low, high))
            joined[name] = (min(low, before[0]), max(high, before[1]))
    return joined


@torch.no_grad()
def measure_training_range(
    tokenizer: "Tokenizer",
    latents: Array,
    deltas: Array,
    *,
    frames_per_chunk: int,
    frequency_hz: float,
    chunks: int = 512,
) -> dict[str, Range]:
    """The training range of every measure, from chunks of training data as the tokenizer shows them.

    Pictures are decoded from latents, as a rollout's are: what the tokenizer itself blurs is no drift.

    Args:
        latents: Normalised, [clips, time, cameras, channels, h, w].
        deltas: Steps in metres and radians, [clips, at least time - 1, 3]; row i leads from frame i to frame i + 1.
        frames_per_chunk: Frames of a chunk.
        frequency_hz: Frames per second.
        chunks: How many to look at, spread evenly over the clips; all if there are fewer.
    """
    per_clip = latents.shape[1] // frames_per_chunk
    wanted = np.unique(np.linspace(0, len(latents) * per_clip - 1, chunks).round().astype(int))
    found = []
    for number in wanted:
        clip, start = number // per_clip, number % per_clip * frames_per_chunk
        values = torch.from_numpy(np.asarray(latents[clip, start : start + frames_per_chunk], np.float32))
        steps = deltas[clip, start : start + frames_per_chunk]
        speed_mps = float(np.hypot(steps[:, 0], steps[:, 1]).mean()) * frequency_hz
        found.append(chunk_telemetry(values, tokenizer.decode_video(values), speed_mps))
    return training_range(found)
