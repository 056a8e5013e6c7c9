"""Who sees whom, where tokens stand, and the attention itself.

Shape suffixes: B batch, Q query tokens, N key tokens, H heads, D head size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor
from torch.nn import functional


class Stream(IntEnum):
    """The four streams of the sequence."""

    VIDEO = 0
    STEPS = 1
    PLAN = 2
    GUIDANCE = 3


# Within one chunk: which streams a stream reads. (Memory, i.e. clean video and steps of earlier chunks, is read by
# READS_MEMORY; the clean copies that become memory read clean video and steps alone, never guidance.)
READS: dict[Stream, frozenset[Stream]] = {
    Stream.VIDEO: frozenset({Stream.VIDEO, Stream.STEPS, Stream.GUIDANCE}),
    Stream.STEPS: frozenset({Stream.VIDEO, Stream.STEPS, Stream.GUIDANCE}),
    Stream.PLAN: frozenset({Stream.PLAN, Stream.GUIDANCE}),
    Stream.GUIDANCE: frozenset({Stream.GUIDANCE}),
}
READS_MEMORY = frozenset({Stream.VIDEO, Stream.STEPS, Stream.PLAN})
REMEMBERED = frozenset({Stream.VIDEO, Stream.STEPS})


@dataclass(frozen=True, eq=False, kw_only=True)
class Cells:
    """What each token of a sequence is and where it stands; [n], or [B, n] where samples keep different tokens.

    Attributes:
        stream: `Stream` of each token, int64.
        chunk: Chunk number, int64.
        clean: Whether it belongs to the clean copy (memory) or to the copy being denoised, bool.
        camera: Camera of a video token, int64; -1 elsewhere.
        position: Frame, row and column, float32 [..., n, 3]; frames count from the rollout's first observed frame.
    """

    stream: Tensor
    chunk: Tensor
    clean: Tensor
    camera: Tensor
    position: Tensor

    def __len__(self) -> int:
        return self.stream.shape[-1]

    def __getitem__(self, keep: Tensor) -> "Cells":
        return self._each(lambda x: x[..., keep], self.position[..., keep, :])

    @staticmethod
    def joined(parts: "list[Cells]") -> "Cells":
        """All tokens of the parts, in order."""
        batch = max((part.stream.shape[:-1] for part in parts), default=torch.Size())
        parts = [part.expanded(batch) for part in parts]
        return Cells(
            stream=torch.cat([part.stream for part in parts], dim=-1),
            chunk=torch.cat([part.chunk for part in parts], dim=-1),
            clean=torch.cat([part.clean for part in parts], dim=-1),
            camera=torch.cat([part.camera for part in parts], dim=-1),
            position=torch.cat([part.position for part in parts], dim=-2),
        )

    def expanded(self, batch: torch.Size) -> "Cells":
        """The same tokens for each sample of a batch shape; itself if it has that shape already."""
        if self.stream.shape[:-1] == batch:
            return self
        return self._each(lambda x: x.expand(*batch, -1), self.position.expand(*batch, -1, -1))

    def repeated(self, times: int) -> "Cells":
        """The same tokens for `times` batches in a row; itself where all samples have the same tokens."""
        if self.stream.ndim == 1:
            return self
        return self._each(lambda x: x.repeat(times, 1), self.position.repeat(times, 1, 1))

    def _each(self, change: Callable[[Tensor], Tensor], position: Tensor) -> "Cells":
        return Cells(
            stream=change(self.stream),
            chunk=change(self.chunk),
            clean=change(self.clean),
            camera=change(self.camera),
            position=position,
        )

    @property
    def remembered(self) -> Tensor:
        """Which tokens a memory keeps: clean video and clean steps; bool."""
        return self.clean & ((self.stream == Stream.VIDEO) | (self.stream == Stream.STEPS))


def _table(device: torch.device) -> tuple[Tensor, Tensor]:
    same = torch.zeros(len(Stream), len(Stream), dtype=torch.bool)
    for reader, sources in READS.items():
        same[reader, list(sources)] = True
    memory = torch.tensor([stream in READS_MEMORY for stream in Stream])
    return same.to(device), memory.to(device)


def visibility(readers: Cells, sources: Cells, *, across_views: bool = True) -> Tensor:
    """The mask: which source each reader may look at, bool [..., readers, sources]. The only place that decides it.

    Args:
        across_views: False is for large rigs: a video token then reads video of its own camera at any time, and of other
            cameras in its own frame alone (factorised attention, Bertasius et al., arXiv 2102.05095, in one softmax).
    """
    same_chunk, reads_memory = _table(readers.stream.device)
    r_stream, r_chunk, r_clean = (x[..., :, None] for x in (readers.stream, readers.chunk, readers.clean))
    s_stream, s_chunk, s_clean = (x[..., None, :] for x in (sources.stream, sources.chunk, sources.clean))
    in_memory = sources.remembered[..., None, :]
    noisy = ~r_clean & (
        (in_memory & (s_chunk < r_chunk) & reads_memory[r_stream])
        | (~s_clean & (s_chunk == r_chunk) & same_chunk[r_stream, s_stream])
    )
    clean = r_clean & readers.remembered[..., :, None] & in_memory & (s_chunk <= r_chunk)
    seen = noisy | clean
    return seen if across_views else seen & ~_elsewhere(readers, sources)


def _elsewhere(readers: Cells, sources: Cells) -> Tensor:
    """Pairs of video tokens that share neither camera nor frame, bool [..., readers, sources]."""
    video = (readers.stream == Stream.VIDEO)[..., :, None] & (sources.stream == Stream.VIDEO)[..., None, :]
    camera = readers.camera[..., :, None] != sources.camera[..., None, :]
    frame = readers.position[..., :, None, 0] != sources.position[..., None, :, 0]
    return video & camera & frame


def rotary_angles(position: Tensor, head_size: int) -> Tensor:
    """Rotation angles [..., n, head_size / 2] of positions [..., n, 3]; two fifths of the pairs for time, else for space.

    Source: Su et al., RoFormer (arXiv 2104.09864), one frequency ladder per axis; base 100, because grids and ages are
    small.
    """
    pairs = head_size // 2
    space = (pairs * 3 // 10, pairs * 3 // 10)
    parts = []
    for axis, count in enumerate((pairs - sum(space), *space)):
        frequencies = 100.0 ** (-torch.arange(count, device=position.device, dtype=torch.float32) / count)
        parts.append(position[..., axis, None].float() * frequencies)
    return torch.cat(parts, dim=-1)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate pairs of features [..., n, D] by angles [n, D / 2]."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention, [B, H, Q, D] on [B, H, N, D]; mask bool, broadcast to [B, H, Q, N], True = visible."""
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
