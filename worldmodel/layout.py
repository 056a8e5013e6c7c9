"""What each token of a sequence is, and which tokens a sample keeps from its readers.

Tokens stand in one order everywhere: video, steps, plan, guidance; within a stream in the order of the sequence's parts.
Shape suffixes: B batch, N tokens, S sources (cells of the memory, then tokens).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.attention import Cells, Stream
from worldmodel.sequence import FramesPart, NetworkConfig, PlanPart, Recall, TokenSequence


def cells_of(config: NetworkConfig, sequence: TokenSequence) -> Cells:
    """What each token is, in the order in which attention sees them."""
    per = config.frames_per_chunk
    video = [_video_cells(config, part) for part in sequence.frames if part.video is not None]
    steps = [_made(Stream.STEPS, part.frames, part.clean, per) for part in sequence.frames if part.steps is not None]
    rest = []
    if sequence.plan is not None:
        rest.append(_chunk_cells(Stream.PLAN, sequence.plan.chunks, config.plan_poses, per))
    if sequence.guidance is not None:
        length = sequence.guidance.features.shape[2]
        rest.append(_chunk_cells(Stream.GUIDANCE, sequence.guidance.chunks, length, per))
    return Cells.joined([*video, *steps, *rest])


def _video_cells(config: NetworkConfig, part: FramesPart) -> Cells:
    assert part.video is not None
    rows, columns = config.grid
    ranges = (part.frames, *(torch.arange(n, device=part.frames.device) for n in (part.video.shape[2], rows, columns)))
    frame, camera, row, column = (grid.flatten() for grid in torch.meshgrid(*ranges, indexing="ij"))
    return _made(Stream.VIDEO, frame, part.clean, config.frames_per_chunk, (row, column), camera)


def _chunk_cells(stream: Stream, chunks: Tensor, each: int, per_chunk: int) -> Cells:
    return _made(stream, (chunks * per_chunk).repeat_interleave(each), False, per_chunk)


def _made(
    stream: Stream,
    frame: Tensor,
    clean: bool,
    per_chunk: int,
    place: tuple[Tensor, Tensor] | None = None,
    camera: Tensor | None = None,
) -> Cells:
    row, column = (torch.zeros_like(frame),) * 2 if place is None else place
    return Cells(
        stream=torch.full_like(frame, int(stream)),
        chunk=frame // per_chunk,
        clean=torch.full_like(frame, clean, dtype=torch.bool),
        camera=torch.full_like(frame, -1) if camera is None else camera,
        position=torch.stack([frame, row, column], dim=-1).float(),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Withheld:
    """What single samples of a batch keep from readers that could look at it by the table.

    Attributes:
        valid: Sources that take part, bool [B, S]; None when all do. Absent video and padding of texts do not.
        plan: Plans that read an older memory only (`PlanPart.staleness`), or None.
    """

    valid: Tensor | None = None
    plan: PlanPart | None = None

    def kept(self, readers: Cells, sources: Cells) -> Tensor | None:
        """Which sources each reader may look at, bool [B, readers or 1, S]; None when nothing is withheld."""
        valid = None if self.valid is None else self.valid[:, None, :]
        if self.plan is None or self.plan.staleness is None:
            return valid
        fresh = self._too_fresh(self.plan, self.plan.staleness, readers, sources)
        return ~fresh if valid is None else valid & ~fresh

    @staticmethod
    def _too_fresh(plan: PlanPart, staleness: Tensor, readers: Cells, sources: Cells) -> Tensor:
        """Clean cells that are newer than a plan is told its memory to be, bool [B, readers, S]."""
        which = (plan.chunks[None, :] == readers.chunk[:, None]).int().argmax(dim=1)
        newest = readers.chunk - 1 - staleness[:, which]
        is_plan = (readers.stream == Stream.PLAN) & ~readers.clean
        later = sources.chunk[..., None, :] > newest[..., None]
        return is_plan[:, None] & sources.remembered[..., None, :] & later


def withheld(config: NetworkConfig, sequence: TokenSequence, recall: Recall | None) -> Withheld:
    """What the samples of a sequence and its memory withhold; tells nothing apart that no sample withholds."""
    own = _taking_part(config, sequence)
    past = None if recall is None else recall.valid
    plan = sequence.plan if sequence.plan is not None and sequence.plan.staleness is not None else None
    if past is None and (own is None or bool(own.all())):
        return Withheld(plan=plan)
    parts = [] if recall is None else [_or_all(past, sequence, len(recall.cells))]
    return Withheld(valid=torch.cat([*parts, _or_all(own, sequence, _tokens(config, sequence))], dim=1), plan=plan)


def _or_all(valid: Tensor | None, sequence: TokenSequence, count: int) -> Tensor:
    if valid is not None:
        return valid
    return torch.ones(len(sequence.period_s), count, dtype=torch.bool, device=sequence.period_s.device)


def _taking_part(config: NetworkConfig, sequence: TokenSequence) -> Tensor | None:
    """Which tokens of the sequence may be read, bool [B, N]; None when all may."""
    absent = any(part.video is not None and part.video_present is not None for part in sequence.frames)
    if not absent and sequence.guidance is None:
        return None
    columns = []
    for part in (part for part in sequence.frames if part.video is not None):
        count = _pictures(part) * config.grid[0] * config.grid[1]
        present = None if part.video_present is None else part.video_present[:, None].expand(-1, count)
        columns.append(_or_all(present, sequence, count))
    texts = None if sequence.guidance is None else sequence.guidance.valid.flatten(1)
    named = sum(column.shape[1] for column in columns) + (0 if texts is None else texts.shape[1])
    columns.append(_or_all(None, sequence, _tokens(config, sequence) - named))
    return torch.cat(columns if texts is None else [*columns, texts], dim=1)


def _pictures(part: FramesPart) -> int:
    return 0 if part.video is None else part.video.shape[1] * part.video.shape[2]


def _tokens(config: NetworkConfig, sequence: TokenSequence) -> int:
    """How many tokens a sequence has."""
    rows, columns = config.grid
    count = sum(_pictures(part) * rows * columns for part in sequence.frames)
    count += sum(len(part.frames) for part in sequence.frames if part.steps is not None)
    if sequence.plan is not None:
        count += len(sequence.plan.chunks) * config.plan_poses
    return count if sequence.guidance is None else count + sequence.guidance.valid[0].numel()
