"""Feature networks as contracts: what a picture or clip goes through before a Fréchet or kernel distance is taken.

A distance is only comparable with another one made by the same network, weights, resize rule and value range, so all
of that is part of the contract and is printed with every number (`cards.py`). The networks themselves are in `networks/`,
one file each; `networks/catalogue.py` lists them with the files they are loaded from.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from worldmodel.errors import BadVideo, ClipTooShort

Array = np.ndarray
BATCH_FRAMES = 16
Prepared = TypeVar("Prepared")
ALL_FRAMES = "all frames at once"


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureNetwork:
    """A network that turns pictures or clips into features, and everything one must know to repeat it.

    Attributes:
        name: As printed in brackets behind a score, such as 'inception-2015'.
        file_hash: Hash of the weights.
        value_range: What the network is fed, such as '[-1, 1]'.
        resize: How frames are brought to the network's size.
        frames_needed: 1 for a network of pictures; otherwise the fewest frames a clip must have.
        frames_rule: What is done with the frames of a longer clip.
        layer: Which layer's output the features are.
        width: Number of features.
        compute: uint8 RGB [n, 3, h, w] (pictures) or [n, time, 3, h, w] (clips) -> float64 [n, width].
    """

    name: str
    file_hash: str
    value_range: str
    resize: str
    frames_needed: int
    frames_rule: str = ALL_FRAMES
    layer: str
    width: int
    compute: Callable[[Array], Array]

    @property
    def takes_clips(self) -> bool:
        """Whether one feature row describes a clip; otherwise one picture."""
        return self.frames_needed > 1

    def features(self, frames: UInt8[Array, "n ..."]) -> Float[Array, "n width"]:
        """Features of n pictures [n, 3, h, w] or n clips [n, time, 3, h, w], float64.

        Raises:
            BadVideo: for another dtype or shape.
            ClipTooShort: if clips have fewer frames than the network needs.
        """
        axes = 5 if self.takes_clips else 4
        if frames.dtype != np.uint8 or frames.ndim != axes or frames.shape[-3] != 3 or not frames.size:
            form = "[n, time, 3, h, w]" if self.takes_clips else "[n, 3, h, w]"
            raise BadVideo(f"{self.name}: got {frames.dtype} {frames.shape}; it needs uint8 RGB {form}. Convert first.")
        if self.takes_clips and frames.shape[1] < self.frames_needed:
            raise ClipTooShort(
                f"clips have {frames.shape[1]} frames, but {self.name} needs at least {self.frames_needed}. "
                "Use longer clips, or score them with --metrics fid."
            )
        return np.asarray(self.compute(frames), np.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class PairNetwork:
    """A learned distance between two pictures of the same moment (LPIPS), and what one must know to repeat it.

    Attributes:
        name: As printed in brackets behind a score, such as 'alex-v0.1'.
        file_hash: Hash of the weights.
        value_range: What the network is fed.
        resize: How frames are brought to the network's size, or 'none'.
        layer: Which layers are compared.
        compute: Two uint8 RGB arrays [n, 3, h, w] -> float64 [n].
    """

    name: str
    file_hash: str
    value_range: str = "[-1, 1]"
    resize: str = "none"
    layer: str
    compute: Callable[[Array, Array], Array]


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureNetworks:
    """The networks a set of scores is made with: of pictures (FID, KID), of clips (FVD, KVD), of pairs (LPIPS)."""

    pictures: FeatureNetwork | None = None
    clips: FeatureNetwork | None = None
    pairs: PairNetwork | None = None


def in_batches(compute: Callable[[Array], Array], frames: Array, size: int = BATCH_FRAMES) -> Array:
    """Rows of `compute` over at most `size` frames at a time."""
    return np.concatenate([compute(batch) for batch in _batches(frames, size)])


def overlapped(
    prepare: Callable[[Array], Prepared], compute: Callable[[Prepared], Array], frames: Array, size: int = BATCH_FRAMES
) -> Array:
    """Rows of `compute` over prepared batches; a thread prepares the next batch (resizes it) meanwhile, never two."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare") as pool:
        rows: list[Array] = []
        waiting: Future[Prepared] | None = None
        for batch in _batches(frames, size):
            ahead = pool.submit(prepare, batch)
            if waiting is not None:
                rows.append(compute(waiting.result()))
            waiting = ahead
        assert waiting is not None  # there is at least one frame
        return np.concatenate([*rows, compute(waiting.result())])


def _batches(frames: Array, size: int) -> Iterator[Array]:
    return (np.ascontiguousarray(frames[start : start + size]) for start in range(0, len(frames), size))
