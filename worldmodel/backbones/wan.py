"""Wan as the video expert of our network: the same sequence in, the same answers out (`worldmodel.network`).

What is Wan's own and what is ours:

- Video tokens run through Wan's blocks. They attend chunk by chunk: a latent frame is a chunk, it reads itself and the
  memory of earlier ones (keys unrotated, aged when read, as in our own network). A chunk being denoised reads its text by
  Wan's cross-attention; a chunk being remembered reads the empty text, so memory is free of guidance.
- Steps and plans run in a narrow expert with Wan's number of heads and head size, one layer beside each block. It reads video, memory
  and text (by the blocks' own text keys) through the common attention, alone against ready memory where the video is absent.
- Steps reach the video by adaptive norms that start at zero, and by nothing else: video tokens never read action tokens,
  so an untrained motion expert leaves Wan's pictures as they were.
- Cameras of one time are one wide picture, left to right in the rig's order, told apart by ray embeddings that start at zero.

Not given to Wan: warped views and jump sizes. Shape suffixes as in `worldmodel.backbones.blocks`; C cameras, F frames.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from worldmodel.attention import Cells
from worldmodel.attention_backends import Attend, find_backend
from worldmodel.backbones.blocks import (
    block_finish,
    block_modulation,
    patches,
    rotate_pairs,
    self_projection,
    text_projection,
    time_condition,
    velocities,
)
from worldmodel.backbones.text import TEXT_TOKENS
from worldmodel.backbones.tokens import (
    TokenLayout,
    WanRecall,
    action_reading,
    last_frames,
    layout_of,
    no_memory,
    ready_memory,
    video_reading,
)
from worldmodel.memory.entries import ChunkEntry, KeysValues
from worldmodel.network import ExpertLayer, Head, StepsEmbedding, WorldActionTransformer
from worldmodel.sequence import (
    JUMP_FEATURES,
    RAY_FEATURES,
    TIME_FEATURES,
    FramesPart,
    GuidancePart,
    NetworkConfig,
    Output,
    Recall,
    TokenSequence,
)


class StepsToVideo(nn.Module):
    """The steps into a chunk's frames, their noise times and the frame period, as a change of Wan's six conditions; zero at the start."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.action_width
        self.steps = StepsEmbedding(width, config.frames_per_chunk)
        self.period = nn.Linear(1, width)
        self.inner = nn.Linear(config.frames_per_chunk * width, width)
        self.out = _zero(nn.Linear(width, 6 * config.width))

    def forward(self, part: FramesPart, period_s: Tensor) -> Tensor:
        """[B, L, 6, D] for steps [B, F, 3]; steps that are absent count as unknown."""
        batch, frames = len(period_s), len(part.frames)
        steps = period_s.new_zeros(batch, frames, 3) if part.steps is None else part.steps
        time = period_s.new_ones(batch, frames) if part.steps_time is None else part.steps_time
        each = self.steps(steps, time).unflatten(1, (-1, self.steps.frames_per_chunk)).flatten(2)
        told = functional.silu(self.inner(each) + self.period(torch.log2(period_s * 8)[:, None, None]))
        changed: Tensor = self.out(told).unflatten(-1, (6, -1))
        return changed


@dataclass(frozen=True, eq=False, kw_only=True)
class _Video:
    """Video tokens and all that does not change from block to block."""

    x: Tensor  # [B, L, n, D]
    embedded: Tensor  # [B, L, D] noise times
    condition: Tensor  # [B, L, 6, D]
    texts: list[Tensor]  # embedded texts, [B, T, D]
    rows: list[int]  # which text each latent frame reads
    attend: Attend
    past: int  # cells of the memory that it reads


@dataclass(frozen=True, eq=False, kw_only=True)
class _Action:
    """Step and plan tokens and all that does not change from layer to layer."""

    x: Tensor  # [B, A, 1, width]
    condition: Tensor  # [B, A, width]
    attend: Attend
    texts: list[Tensor]  # embedded texts of the chunks, [B, T, D]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pass:
    """One pass: what every layer needs beside the tokens."""

    video: _Video | None
    action: _Action | None
    angles: dict[str, Tensor]  # of video, text and action, [n, d / 2]
    recall: Recall | None
    remember: bool


class WanNetwork(WorldActionTransformer):
    """Wan's transformer with a narrow expert for steps and plans.

    Args:
        config: Sizes as read from Wan's config (`worldmodel.backbones.model`).
        transformer: diffusers' `WanTransformer3DModel`.
        noise_steps: The timestep Wan calls pure noise; noise time 1 of ours. Wan's velocity, noise - data, is ours already.
        empty_text: Features of the empty text's tokens [tokens, text_width].
    """

    may_lack: tuple[str, ...] = ("staleness_in.", "action_jump.")

    empty_text: Tensor

    def __init__(self, config: NetworkConfig, transformer: Any, noise_steps: int, empty_text: Tensor) -> None:
        nn.Module.__init__(self)
        self.config, self.noise_steps, self.checkpointing = config, noise_steps, False
        self.attention = find_backend("torch", torch.device("cpu"))
        self.wan = transformer.requires_grad_(False)
        width = config.action_width
        self.rays_in = _zero(nn.Linear(RAY_FEATURES, config.width))
        self.steps_to_video = StepsToVideo(config)
        self.steps_in = StepsEmbedding(width, config.frames_per_chunk)
        self.plan_in = nn.Linear(3, width)
        self.plan_index = nn.Parameter(torch.randn(config.plan_poses, width) * 0.02)
        self.action_time = nn.Sequential(nn.Linear(TIME_FEATURES + 2, width), nn.SiLU(), nn.Linear(width, width))
        self.staleness_in = _zero(nn.Linear(1, width, bias=False))
        self.action_jump = _zero(nn.Linear(JUMP_FEATURES, width, bias=False))
        self.period = nn.ModuleDict({"action": nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))})
        self.layers = nn.ModuleList(nn.ModuleDict({"action": ExpertLayer(width, config)}) for _ in range(config.layers))
        self.steps_out, self.plan_out = Head(width, 3, config.adaln_rank), Head(width, 3, config.adaln_rank)
        self.register_buffer("empty_text", empty_text)

    # -- memory and texts -----------------------------------------------------------------------------------------

    def recall(self, memory: list[KeysValues], now: float) -> Recall | None:
        """Make a memory ready for a chunk that starts at frame `now`: video before steps, keys rotated by age."""
        return ready_memory(self.config, memory, now)

    def with_guidance(self, recall: Recall | None, guidance: GuidancePart, period_s: Tensor, now: float) -> Recall:  # noqa: ARG002
        """A recall that brings the texts along; Wan's cross-attention reads them in every pass."""
        if recall is None:
            return no_memory(self.config, guidance.features, guidance)
        return WanRecall(
            keys=recall.keys, values=recall.values, cells=recall.cells, valid=recall.valid, guidance=guidance
        )

    def _texts(
        self, sequence: TokenSequence, parts: list[FramesPart], guidance: list[Tensor]
    ) -> tuple[list[Tensor], list[int]]:
        """The texts that the latent frames read, and which reads which: the empty one for memory and without guidance."""
        told = {} if sequence.guidance is None else {k: i for i, k in enumerate(sequence.guidance.chunks.tolist())}
        rows = []
        for part in parts:
            chunks = (last_frames(part.frames) // self.config.frames_per_chunk).tolist()
            rows += [len(guidance) if part.clean else told.get(chunk, len(guidance)) for chunk in chunks]
        if len(guidance) not in rows:
            return guidance, rows
        padding = (0, 0, 0, TEXT_TOKENS - len(self.empty_text))
        empty = functional.pad(self.empty_text, padding).expand(len(sequence.period_s), -1, -1)
        return [*guidance, self._embedded_text(empty)], rows

    def _embedded_text(self, features: Tensor) -> Tensor:
        embedder = self.wan.condition_embedder.text_embedder
        embedded: Tensor = embedder(features.to(embedder.linear_1.weight.dtype))
        return embedded

    # -- tokens ---------------------------------------------------------------------------------------------------

    def _video(
        self, sequence: TokenSequence, layout: TokenLayout, recall: Recall | None, guidance: list[Tensor]
    ) -> _Video | None:
        parts = [part for part in sequence.frames if part.video is not None]
        if layout.video is None:
            return None
        assert sequence.rays is not None
        x = torch.cat([patches(self.wan, part.video) for part in parts if part.video is not None], dim=1)
        x = x + self.rays_in(sequence.rays).flatten(1, 3)[:, None].type_as(x)
        time = torch.cat([last_frames(part.video_time, 1) for part in parts if part.video_time is not None], dim=1)
        embedded, condition = time_condition(self.wan, time * self.noise_steps, x.dtype)
        moved = torch.cat([self.steps_to_video(part, sequence.period_s) for part in parts], dim=1)
        texts, rows = self._texts(sequence, parts, guidance)
        across = self.config.view_attention == "all"
        attend, past = video_reading(layout.video, recall, self.attention, across_views=across)
        return _Video(
            x=x,
            embedded=embedded,
            condition=condition + moved.type_as(condition),
            texts=texts,
            rows=rows,
            attend=attend,
            past=past,
        )

    def _action(
        self, sequence: TokenSequence, layout: TokenLayout, recall: Recall | None, guidance: list[Tensor]
    ) -> _Action | None:
        tokens = self._action_tokens(sequence)
        if tokens is None or layout.action is None:
            return None
        attend = action_reading(sequence, layout, recall, self.attention)
        return _Action(x=tokens.x, condition=tokens.condition, attend=attend, texts=guidance)

    # -- the pass -------------------------------------------------------------------------------------------------

    def forward(
        self, sequence: TokenSequence, recall: Recall | None = None, *, now: float = 0.0, remember: bool = False
    ) -> Output:
        """See `WorldActionTransformer.forward`; video has one latent frame per chunk."""
        if sequence.guidance is None and isinstance(recall, WanRecall):
            sequence = replace(sequence, guidance=recall.guidance)
        recall = recall if recall is not None and len(recall.cells) else None
        texts = [] if sequence.guidance is None else list(sequence.guidance.features.unbind(1))
        guidance = [self._embedded_text(text) for text in texts]
        layout = layout_of(self.config, sequence)
        one = _Pass(
            video=self._video(sequence, layout, recall, guidance),
            action=self._action(sequence, layout, recall, guidance),
            angles=layout.angles(now, self.config.head_size),
            recall=recall,
            remember=remember,
        )
        x, moved = (None if part is None else part.x for part in (one.video, one.action))
        kept = []
        for index in range(self.config.layers):
            x, moved, *own = self._one_layer(index, x, moved, one)
            kept.append(own)
        entry = _entry(kept, layout.joined(text=False), self.config.oldest_frames) if remember else None
        return self._answers(sequence, one, x, moved, entry)

    def _one_layer(self, index: int, x: Tensor | None, moved: Tensor | None, one: _Pass) -> tuple[Any, ...]:
        if self.checkpointing and torch.is_grad_enabled():
            found: tuple[Any, ...] = checkpoint(self._layer_of, index, x, moved, one, use_reentrant=False)
            return found
        return self._layer_of(index, x, moved, one)

    def _layer_of(self, index: int, x: Tensor | None, moved: Tensor | None, one: _Pass) -> tuple[Any, ...]:
        """Video and action tokens after one layer, then their unrotated queries, keys and values [B, H, N, d]."""
        block: Any = self.wan.blocks[index]
        expert: Any = self.layers[index].get_submodule("action")
        made, video = [], None
        if x is not None and one.video is not None:
            modulation = block_modulation(block, one.video.condition)
            video = self_projection(block, x, modulation)
            made.append(video)
            texts = [text_projection(block, text) for text in one.video.texts]
            x = block_finish(block, x, self._watched(index, video, one), modulation, texts, one.video.rows)
        if moved is not None and one.action is not None:
            modulation = expert.modulation(one.action.condition)
            action = expert.project(moved, modulation)
            made.append(action)
            moved = expert.finish(moved, self._acted(index, block, action, video, one), modulation)
        if not one.remember:
            return x, moved
        dtype = made[0][0].dtype
        return x, moved, *(torch.cat([part.to(dtype) for part in each], dim=2) for each in zip(*made, strict=True))

    def _watched(self, index: int, own: tuple[Tensor, Tensor, Tensor], one: _Pass) -> Tensor:
        """Each chunk's video reads the video of the memory, of earlier clean chunks and of itself."""
        assert one.video is not None
        queries, keys, values = (
            rotate_pairs(own[0], one.angles["video"]),
            rotate_pairs(own[1], one.angles["video"]),
            own[2],
        )
        if one.recall is not None:
            past = [x[index][:, :, : one.video.past].to(keys.dtype) for x in (one.recall.keys, one.recall.values)]
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        return one.video.attend(queries, keys, values)

    def _acted(
        self,
        index: int,
        block: Any,
        own: tuple[Tensor, Tensor, Tensor],
        video: tuple[Tensor, Tensor, Tensor] | None,
        one: _Pass,
    ) -> Tensor:
        """Steps and plans read memory, video, their chunk's text and each other."""
        assert one.action is not None
        read = [] if one.recall is None else [(one.recall.keys[index], one.recall.values[index])]
        if video is not None:
            read.append((rotate_pairs(video[1], one.angles["video"]), video[2]))
        if one.action.texts:
            told = [text_projection(block, text) for text in one.action.texts]
            keys, values = (torch.cat(part, dim=2) for part in zip(*told, strict=True))
            read.append((rotate_pairs(keys, one.angles["text"]), values))
        read.append((rotate_pairs(own[1], one.angles["action"]), own[2]))
        queries = rotate_pairs(own[0], one.angles["action"])
        keys, values = (torch.cat([part.to(queries.dtype) for part in each], dim=2) for each in zip(*read, strict=True))
        return one.action.attend(queries, keys, values)

    # -- answers --------------------------------------------------------------------------------------------------

    def _answers(
        self, sequence: TokenSequence, one: _Pass, x: Tensor | None, moved: Tensor | None, entry: ChunkEntry | None
    ) -> Output:
        video = steps = plan = None
        noisy = sum(
            len(last_frames(part.frames)) for part in sequence.frames if part.video is not None and not part.clean
        )
        if noisy and x is not None and one.video is not None:
            cameras = x.shape[2] // (self.config.grid[0] * self.config.grid[1])
            video = velocities(self.wan, x[:, -noisy:], one.video.embedded[:, -noisy:], cameras, self.config.grid)
        if moved is not None and one.action is not None:
            plans = 0 if sequence.plan is None else sequence.plan.values.shape[1] * self.config.plan_poses
            count = sum(part.steps.shape[1] for part in sequence.frames if part.steps is not None and not part.clean)
            end, condition = moved.shape[1] - plans, one.action.condition
            if count:
                steps = self.steps_out(moved[:, end - count : end], condition[:, end - count : end])[:, :, 0]
            if plans:
                flat = self.plan_out(moved[:, end:], condition[:, end:])[:, :, 0]
                plan = flat.unflatten(1, (-1, self.config.plan_poses))
        return Output(video=video, steps=steps, plan=plan, entry=entry)


def _zero(layer: nn.Linear) -> nn.Linear:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _entry(kept: list[list[Tensor]], cells: Cells, oldest_frames: int) -> ChunkEntry:
    keep = cells.remembered
    q, k, v = (torch.stack([layer[i] for layer in kept])[:, :, :, keep] for i in range(3))
    return ChunkEntry(keys=k, values=v, queries=q, cells=cells[keep], oldest_frames=oldest_frames)
