"""What the tokens of a pass through Wan are, where they stand, and who reads whom.

Tokens stand in this order: memory, video, texts, then steps and plans. The table of who sees whom is the common one
(`worldmodel.attention.visibility`) with one cut: video reads no action tokens (`worldmodel.backbones.wan` says why).

Shape suffixes: B batch, n tokens of a stream, S sources.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldmodel.attention import Cells, Stream
from worldmodel.attention_backends import Attend, Backend
from worldmodel.backbones.blocks import rotate_pairs, wan_angles
from worldmodel.backbones.files import TEMPORAL_STRIDE
from worldmodel.layout import Withheld, cells_of
from worldmodel.memory.entries import KeysValues
from worldmodel.reading import reading
from worldmodel.sequence import FramesPart, GuidancePart, NetworkConfig, Recall, TokenSequence


@dataclass(frozen=True, eq=False, kw_only=True)
class WanRecall(Recall):
    """A memory made ready, video before steps, and the texts of the chunk that reads it.

    Attributes:
        guidance: The texts; None: the sequence brings them, or there is none.
    """

    guidance: GuidancePart | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenLayout:
    """What the tokens of one pass are, by stream; None for a stream that is absent."""

    video: Cells | None
    text: Cells | None
    action: Cells | None

    def joined(self, *, text: bool = True) -> Cells:
        """All of them in order; or those that can become memory."""
        parts = (self.video, self.text if text else None, self.action)
        return Cells.joined([part for part in parts if part is not None])

    def angles(self, now: float, head_size: int) -> dict[str, Tensor]:
        """Rotation angles [n, head_size / 2] of each stream, counted from frame `now`."""
        parts = {"video": self.video, "text": self.text, "action": self.action}
        return {
            name: wan_angles(cells.position - cells.position.new_tensor([now, 0, 0]), head_size)
            for name, cells in parts.items()
            if cells is not None
        }


def layout_of(config: NetworkConfig, sequence: TokenSequence) -> TokenLayout:
    """What the tokens of a sequence are; video has one latent frame per chunk."""
    video = [_video_cells(config, part) for part in sequence.frames if part.video is not None]
    blind = replace(sequence, frames=tuple(replace(part, video=None) for part in sequence.frames))
    if sequence.plan is None and sequence.guidance is None and all(part.steps is None for part in sequence.frames):
        return TokenLayout(video=Cells.joined(video), text=None, action=None)
    rest = cells_of(config, blind)
    is_text = rest.stream == Stream.GUIDANCE
    return TokenLayout(
        video=Cells.joined(video) if video else None,
        text=rest[is_text] if bool(is_text.any()) else None,
        action=rest[~is_text] if bool((~is_text).any()) else None,
    )


def last_frames(values: Tensor, axis: int = 0) -> Tensor:
    """What belongs to the last frame of every chunk, along an axis of frames."""
    index = torch.arange(TEMPORAL_STRIDE - 1, values.shape[axis], TEMPORAL_STRIDE, device=values.device)
    return values.index_select(axis, index)


def _video_cells(config: NetworkConfig, part: FramesPart) -> Cells:
    """A latent frame stands at the last of its frames; cameras stand side by side."""
    assert part.video is not None
    rows, columns = config.grid
    frames, device = last_frames(part.frames), part.frames.device
    ranges = (frames, *(torch.arange(n, device=device) for n in (part.video.shape[2], rows, columns)))
    frame, camera, row, column = (grid.flatten() for grid in torch.meshgrid(*ranges, indexing="ij"))
    return Cells(
        stream=torch.full_like(frame, int(Stream.VIDEO)),
        chunk=frame // config.frames_per_chunk,
        clean=torch.full_like(frame, part.clean, dtype=torch.bool),
        camera=camera,
        position=torch.stack([frame, row, column + camera * columns], dim=-1).float(),
    )


# -- memory -----------------------------------------------------------------------------------------------------------


def ready_memory(config: NetworkConfig, memory: list[KeysValues], now: float) -> WanRecall | None:
    """A memory (one entry per layer) for a chunk that starts at frame `now`: video first, keys rotated by age."""
    if not memory:
        return None
    order = torch.argsort((_streams(memory[0].cells) != Stream.VIDEO).long(), stable=True)
    cells = memory[0].cells[order]
    position = cells.position.clone()
    position[..., 0] = position[..., 0].clamp(min=now - config.oldest_frames)
    angles = wan_angles(position - position.new_tensor([now, 0, 0]), config.head_size)
    return WanRecall(
        keys=tuple(rotate_pairs(layer.keys[:, :, order], angles) for layer in memory),
        values=tuple(layer.values[:, :, order] for layer in memory),
        cells=cells,
    )


def no_memory(config: NetworkConfig, like: Tensor, guidance: GuidancePart) -> WanRecall:
    """A recall that brings texts and nothing else."""
    empty = like.new_zeros(len(like), config.heads, 0, config.head_size)
    none = torch.zeros(0, dtype=torch.int64, device=like.device)
    cells = Cells(stream=none, chunk=none, clean=none.bool(), camera=none, position=like.new_zeros(0, 3))
    return WanRecall(keys=(empty,) * config.layers, values=(empty,) * config.layers, cells=cells, guidance=guidance)


def _streams(cells: Cells) -> Tensor:
    """The streams [n]; samples keep different cells, but as many of each stream in the same places."""
    return cells.stream if cells.stream.ndim == 1 else cells.stream[0]


# -- who reads whom ---------------------------------------------------------------------------------------------------


def video_reading(
    video: Cells, recall: Recall | None, backend: Backend, *, across_views: bool = True
) -> tuple[Attend, int]:
    """The attention of video tokens to the memory's video and to each other; and how many cells of memory that is."""
    if recall is None:
        return reading(video, video, backend=backend, across_views=across_views), 0
    past = (_streams(recall.cells) == Stream.VIDEO).nonzero()[:, 0]
    valid = None
    if recall.valid is not None:
        valid = torch.cat([recall.valid[:, past], recall.valid.new_ones(len(recall.valid), len(video))], dim=1)
    sources = Cells.joined([recall.cells[past], video])
    withheld = Withheld(valid=valid)
    return reading(video, sources, backend=backend, withheld=withheld, across_views=across_views), len(past)


def action_reading(sequence: TokenSequence, layout: TokenLayout, recall: Recall | None, backend: Backend) -> Attend:
    """The attention of step and plan tokens to memory, video, texts and each other."""
    assert layout.action is not None
    own = layout.joined()
    columns = [*_valid_past(sequence, recall), *_valid_video(sequence, layout)]
    if sequence.guidance is not None:
        columns.append(sequence.guidance.valid.flatten(1))
    columns.append(_all(sequence)[:, None].expand(-1, len(layout.action)))
    return reading(
        layout.action,
        own if recall is None else Cells.joined([recall.cells, own]),
        backend=backend,
        withheld=Withheld(valid=torch.cat(columns, dim=1), plan=sequence.plan),
    )


def _all(sequence: TokenSequence) -> Tensor:
    return torch.ones_like(sequence.period_s, dtype=torch.bool)


def _valid_past(sequence: TokenSequence, recall: Recall | None) -> list[Tensor]:
    """Which cells of the memory each sample may read, bool [B, S]."""
    if recall is None:
        return []
    return [_all(sequence)[:, None].expand(-1, len(recall.cells)) if recall.valid is None else recall.valid]


def _valid_video(sequence: TokenSequence, layout: TokenLayout) -> list[Tensor]:
    """Which video tokens take part in each sample, bool [B, n] per part."""
    if layout.video is None:
        return []
    parts = [part for part in sequence.frames if part.video is not None]
    counts = [len(last_frames(part.frames)) for part in parts]
    each = len(layout.video) // sum(counts)
    present = [_all(sequence) if part.video_present is None else part.video_present for part in parts]
    return [here[:, None].expand(-1, each * count) for here, count in zip(present, counts, strict=True)]
