"""What is kept of clips that were read: features and paired scores, never pixels; bounded, however many clips there are."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.frechet import FeatureStats
from worldmodel.errors import BadRequest

Array = np.ndarray
KEPT_BYTES = 64 * 1024**2  # of features of one network on one side; beyond, statistics and a sample of clips are kept
BLOCK_BYTES = (
    4 * 1024**2
)  # features are kept in blocks: small arrays between large ones that come and go would pin memory
BATCH_ROWS = 512  # rows gathered before they are merged into the statistics
Halves = tuple[FeatureStats, FeatureStats]


class FeatureSet:
    """Features of one side under one network.

    Every clip is kept while all fit into `budget_bytes`. Beyond that, statistics of all clips are streamed (of clips with
    even and with odd numbers, so that half can be set against half), and of the features a fair sample of clips stays
    (reservoir sampling), for intervals and kernels. Two sets that are fed alike and share a seed keep the same clips.

    Args:
        seed: Of the sample.
        budget_bytes: Of features kept.
    """

    def __init__(self, seed: int = 0, budget_bytes: int = KEPT_BYTES) -> None:
        self.seen = 0
        self.kept: list[Float[Array, "group samples width"]] = []
        self._numbers: list[int] = []
        self._block: Array = np.empty(0)
        self._generator, self._budget = np.random.default_rng(seed), budget_bytes
        self._streams: list[tuple[_Stream, _Stream]] | None = None

    @property
    def streamed(self) -> bool:
        """Whether not all features are kept."""
        return self._streams is not None

    def add(self, rows: Float[Array, "group samples width"], name: str) -> None:
        """Take the features of the next clip.

        Args:
            rows: Groups (cameras that are scored apart), samples of the clip, width of the network.
            name: Of the clip, for messages.
        Raises:
            BadRequest: for values that are not finite.
        """
        if not np.isfinite(rows).all():
            raise BadRequest(
                f"clip '{name}' has features that are not finite; every value must be. Check that clip and the feature "
                "network's weights."
            )
        number, self.seen = self.seen, self.seen + 1
        capacity = max(2, self._budget // max(rows.nbytes, 1))
        if len(self.kept) < capacity and not self.streamed:
            self.kept.append(self._place(rows))
            self._numbers.append(number)
            return
        if self._streams is None:
            self._streams = [(_Stream(rows.shape[2]), _Stream(rows.shape[2])) for _ in rows]
            for before, old in zip(self._numbers, self.kept, strict=True):
                self._stream(before, old)
        self._stream(number, rows)
        slot = int(self._generator.integers(self.seen))
        if slot < len(self.kept):
            self.kept[slot][...], self._numbers[slot] = rows, number

    def _place(self, rows: Array) -> Array:
        """The rows, copied into the newest block."""
        place = len(self.kept) % max(1, BLOCK_BYTES // rows.nbytes)
        if place == 0:
            self._block = np.empty((max(1, BLOCK_BYTES // rows.nbytes), *rows.shape))
        self._block[place] = rows
        return np.asarray(self._block[place])

    def halves(self, group: int | None) -> Halves:
        """Statistics of clips with even and with odd numbers.

        Args:
            group: One group; None for all together.
        Raises:
            BadRequest: if every feature is kept: then there are none, and none are needed.
        """
        if self._streams is None:
            raise BadRequest("no statistics were streamed, all features are kept. Take `clips` instead.")
        chosen = self._streams if group is None else [self._streams[group]]
        even, odd = chosen[0][0].total, chosen[0][1].total
        for stream in chosen[1:]:
            even, odd = even + stream[0].total, odd + stream[1].total
        return even, odd

    def clips(self, group: int | None) -> list[Float[Array, "samples width"]]:
        """Features of the clips that are kept, in the order of the clips.

        Args:
            group: One group; None for all together.
        """
        order = np.argsort(self._numbers)
        kept = [self.kept[i] for i in order]
        return [rows.reshape(-1, rows.shape[-1]) if group is None else rows[group] for rows in kept]

    def _stream(self, number: int, rows: Array) -> None:
        assert self._streams is not None
        for streams, group in zip(self._streams, rows, strict=True):
            streams[number % 2].add(group)


class _Stream:
    """Statistics that take rows in small pieces and merge them in larger ones."""

    def __init__(self, width: int) -> None:
        self._total, self._waiting, self._count = FeatureStats.empty(width), np.empty((BATCH_ROWS, width)), 0

    def add(self, rows: Array) -> None:
        for start in range(0, len(rows), BATCH_ROWS):
            piece = rows[start : start + BATCH_ROWS]
            if self._count + len(piece) > BATCH_ROWS:
                self._merge()
            self._waiting[self._count : self._count + len(piece)] = piece
            self._count += len(piece)

    @property
    def total(self) -> FeatureStats:
        self._merge()
        if len(self._total.root) > self._total.width:  # only root^T root counts: the triangle says the same in less
            self._total = replace(self._total, root=np.asarray(np.linalg.qr(self._total.root, mode="r")))
        return self._total

    def _merge(self) -> None:
        if self._count:
            self._total = self._total + FeatureStats.of(self._waiting[: self._count])
            self._count = 0


@dataclass(eq=False)
class Evidence:
    """What is kept of two sides.

    Attributes:
        features: Per kind of network ('pictures', 'clips'): the generated and the real side.
        pairs: Per paired metric one array [time, camera] per clip.
        apart: The same between each real clip and the real clip before it.
        clips: How many clips were taken on each side.
    """

    features: dict[str, tuple[FeatureSet, FeatureSet]] = field(default_factory=dict)
    pairs: dict[str, list[Float[Array, "time camera"]]] = field(default_factory=dict)
    apart: dict[str, list[Float[Array, "time camera"]]] = field(default_factory=dict)
    clips: tuple[int, int] = (0, 0)
