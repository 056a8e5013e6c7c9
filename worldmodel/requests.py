"""What to imagine from a past: how long, with which noise, told what, driving where."""

from collections.abc import Callable
from dataclasses import dataclass, field

from worldmodel.geometry import Array, Trajectory
from worldmodel.guidance import Guide
from worldmodel.sampling import Sampling


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
