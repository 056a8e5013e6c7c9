"""Who sees whom, where tokens stand, and the attention itself.

Shape suffixes: B batch, Q query tokens, N key tokens, H heads, D head size.
"""

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
    """What each token of a sequence is and where it stands.

    Attributes:
        stream: `Stream` of each token, int64 [n].
        chunk: Chunk number, int64 [n].
        clean: Whether it belongs to the clean copy (memory) or to the copy being denoised, bool [n].
        position: Frame, row and column, float32 [n, 3]; frames count from the rollout's first observed frame.
    """

    stream: Tensor
    chunk: Tensor
    clean: Tensor
    position: Tensor

    def __len__(self) -> int:
        return len(self.stream)

    def __getitem__(self, keep: Tensor) -> "Cells":
        return Cells(
            stream=self.stream[keep], chunk=self.chunk[keep], clean=self.clean[keep], position=self.position[keep]
        )

    @staticmethod
    def joined(parts: "list[Cells]") -> "Cells":
        """All tokens of the parts, in order."""
        return Cells(
            stream=torch.cat([part.stream for part in parts]),
            chunk=torch.cat([part.chunk for part in parts]),
            clean=torch.cat([part.clean for part in parts]),
            position=torch.cat([part.position for part in parts]),
        )

    @property
    def remembered(self) -> Tensor:
        """Which tokens a memory keeps: clean video and clean steps; bool [n]."""
        return self.clean & ((self.stream == Stream.VIDEO) | (self.stream == Stream.STEPS))


def _table(device: torch.device) -> tuple[Tensor, Tensor]:
    same = torch.zeros(len(Stream), len(Stream), dtype=torch.bool)
    for reader, sources in READS.items():
        same[reader, list(sources)] = True
    memory = torch.tensor([stream in READS_MEMORY for stream in Stream])
    return same.to(device), memory.to(device)


def visibility(readers: Cells, sources: Cells) -> Tensor:
    """The mask: which source each reader may look at, bool [readers, sources]. The only place that decides it."""
    same_chunk, reads_memory = _table(readers.stream.device)
    r_stream, r_chunk, r_clean = (x[:, None] for x in (readers.stream, readers.chunk, readers.clean))
    s_stream, s_chunk, s_clean = (x[None, :] for x in (sources.stream, sources.chunk, sources.clean))
    in_memory = sources.remembered[None, :]
    noisy = ~r_clean & (
        (in_memory & (s_chunk < r_chunk) & reads_memory[r_stream])
        | (~s_clean & (s_chunk == r_chunk) & same_chunk[r_stream, s_stream])
    )
    clean = r_clean & readers.remembered[:, None] & in_memory & (s_chunk <= r_chunk)
    return noisy | clean


def rotary_angles(position: Tensor, head_size: int) -> Tensor:
    """Rotation angles [n, head_size / 2] of positions [n, 3]; about two fifths of the pairs for time, the rest for space.

    Source: Su et al., RoFormer (arXiv 2104.09864), one frequency ladder per axis; base 100, because grids and ages are
    small.
    """
    pairs = head_size // 2
    space = (pairs * 3 // 10, pairs * 3 // 10)
    parts = []
    for axis, count in enumerate((pairs - sum(space), *space)):
        frequencies = 100.0 ** (-torch.arange(count, device=position.device, dtype=torch.float32) / count)
        parts.append(position[:, axis, None].float() * frequencies)
    return torch.cat(parts, dim=-1)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate pairs of features [..., n, D] by angles [n, D / 2]."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention, [B, H, Q, D] on [B, H, N, D]; mask bool, broadcast to [B, H, Q, N], True = visible."""
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
