"""The world-action transformer: one sequence of video, steps, plan and guidance tokens. Tensors in, tensors out.

It knows no noise schedule, no file and no device. Experts (mixture of transformers, Liang et al., arXiv 2411.04996):
video has a wide one, steps and plan share a narrow one, guidance has a small one; all attend together.

Shape suffixes: B batch, F frames, C cameras, H heads, N tokens, D width; a stream's tokens are kept as
[B, units, tokens per unit, D], where a unit shares one condition (a frame of video; a single token elsewhere).
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.attention import Cells, rotary_angles, rotate
from worldmodel.attention_backends import BACKENDS, Attend, find_backend
from worldmodel.layout import cells_of, withheld
from worldmodel.memory import ChunkEntry, KeysValues
from worldmodel.reading import reading
from worldmodel.sequence import (
    JUMP_FEATURES,
    RAY_FEATURES,
    TIME_FEATURES,
    FramesPart,
    GuidancePart,
    NetworkConfig,
    Output,
    PlanPart,
    Recall,
    TokenSequence,
    jump_features,
    time_features,
)


def _mlp(inner: int, hidden: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inner, hidden), nn.SiLU(), nn.Linear(hidden, outer))


def _zero(layer: nn.Linear) -> nn.Linear:
    """A layer that says nothing at the start; a checkpoint from before it existed may lack it (`may_lack`)."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Modulation(nn.Module):
    """Low-rank adaptive layer norm: six (or two) vectors per condition, zero at the start."""

    def __init__(self, width: int, rank: int, vectors: int) -> None:
        super().__init__()
        self.vectors = vectors
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, vectors * width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """`vectors` tensors [B, units, 1, width] of conditions [B, units, width]."""
        parts: tuple[Tensor, ...] = self.up(functional.silu(self.down(condition)))[:, :, None].chunk(self.vectors, -1)
        return parts


class ExpertLayer(nn.Module):
    """One stream's share of a layer: projections into and out of the common attention, and its feed-forward."""

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__()
        self.heads, self.head_size = config.heads, config.head_size
        inner = config.heads * config.head_size
        self.modulation = Modulation(width, config.adaln_rank, 6)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.into = nn.Linear(width, 3 * inner, bias=False)
        self.query_norm = nn.RMSNorm(config.head_size)
        self.key_norm = nn.RMSNorm(config.head_size)
        self.out = nn.Linear(inner, width)
        self.feed = nn.Sequential(
            nn.Linear(width, config.mlp_ratio * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.mlp_ratio * width, width),
        )

    def project(self, x: Tensor, modulation: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, H, n, D] of tokens [B, units, per unit, width]."""
        shift, scale = modulation[0], modulation[1]
        projected = self.into(self.norm(x) * (1 + scale) + shift).flatten(1, 2)
        q, k, v = projected.unflatten(-1, (3, self.heads, self.head_size)).permute(2, 0, 3, 1, 4)
        return self.query_norm(q), self.key_norm(k), v

    def finish(self, x: Tensor, attended: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        """Add the attention's answer [B, H, n, D] and the feed-forward to the tokens."""
        _, _, gate, shift_feed, scale_feed, gate_feed = modulation
        x = x + gate * self.out(attended.transpose(1, 2).flatten(2)).view_as(x)
        fed: Tensor = x + gate_feed * self.feed(self.norm(x) * (1 + scale_feed) + shift_feed)
        return fed


class Head(nn.Module):
    """Tokens to velocities: adaptive norm and a linear layer that starts at zero."""

    def __init__(self, width: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.modulation = Modulation(width, rank, 2)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.linear = nn.Linear(width, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, units, per unit, outputs] of tokens and their conditions [B, units, width]."""
        shift, scale = self.modulation(condition)
        predicted: Tensor = self.linear(self.norm(x) * (1 + scale) + shift)
        return predicted


class StepsEmbedding(nn.Module):
    """Steps [B, F, 3] with their noise times to vectors: the step itself and its sum since the chunk's start."""

    def __init__(self, width: int, frames_per_chunk: int) -> None:
        super().__init__()
        self.frames_per_chunk = frames_per_chunk
        self.mlp = _mlp(6 + TIME_FEATURES, width, width)

    def forward(self, steps: Tensor, time: Tensor) -> Tensor:
        """[B, F, width]."""
        summed = steps.unflatten(1, (-1, self.frames_per_chunk)).cumsum(2).flatten(1, 2) / self.frames_per_chunk
        embedded: Tensor = self.mlp(torch.cat([steps, summed, time_features(time)], dim=-1))
        return embedded


@dataclass(eq=False, kw_only=True)
class _Tokens:
    """One expert's tokens on their way through the layers."""

    x: Tensor  # [B, units, per unit, D]
    condition: Tensor  # [B, units, D]


class WorldActionTransformer(nn.Module):
    """The network: velocities for every token that is being denoised, keys and values for every clean one."""

    may_lack: tuple[str, ...] = (
        "view_in.",
        "staleness_in.",
        "video_jump.",
        "action_jump.",
    )  # inputs that came later: an older checkpoint goes without them

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.attention = BACKENDS["torch"]
        self._project, self._finish = ExpertLayer.project, ExpertLayer.finish
        widths = {"video": config.width, "action": config.action_width, "guidance": config.guidance_width}
        patch_values = config.latent_channels * config.patch**2
        self.video_in = nn.Linear(patch_values, config.width)
        self.view_in = _zero(nn.Linear(patch_values, config.width))
        self.ray_in = _mlp(RAY_FEATURES, config.width, config.width)
        self.video_time = _mlp(TIME_FEATURES, config.width, config.width)
        self.video_steps = StepsEmbedding(config.width, config.frames_per_chunk)
        self.steps_in = StepsEmbedding(config.action_width, config.frames_per_chunk)
        self.plan_in = nn.Linear(3, config.action_width)
        self.plan_index = nn.Parameter(torch.randn(config.plan_poses, config.action_width) * 0.02)
        self.action_time = _mlp(TIME_FEATURES + 2, config.action_width, config.action_width)
        self.staleness_in = _zero(nn.Linear(1, config.action_width, bias=False))
        self.video_jump = _zero(nn.Linear(JUMP_FEATURES, config.width, bias=False))
        self.action_jump = _zero(nn.Linear(JUMP_FEATURES, config.action_width, bias=False))
        self.guidance_in = nn.Linear(config.text_width, config.guidance_width)
        self.period = nn.ModuleDict({name: _mlp(1, width, width) for name, width in widths.items()})
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: ExpertLayer(width, config) for name, width in widths.items()})
            for _ in range(config.layers)
        )
        self.video_out = Head(config.width, patch_values, config.adaln_rank)
        self.steps_out = Head(config.action_width, 3, config.adaln_rank)
        self.plan_out = Head(config.action_width, 3, config.adaln_rank)

    # -- tokens ---------------------------------------------------------------------------------------------------

    def _patches(self, video: Tensor) -> Tensor:
        p = self.config.patch
        folded = functional.pixel_unshuffle(video.flatten(0, 2), p)
        return folded.unflatten(0, video.shape[:3]).permute(0, 1, 2, 4, 5, 3).flatten(2, 4)

    def _unpatch(self, patches: Tensor, cameras: int) -> Tensor:
        rows, columns = self.config.grid
        grid = patches.unflatten(2, (cameras, rows, columns)).permute(0, 1, 2, 5, 3, 4)
        return functional.pixel_shuffle(grid.flatten(0, 2), self.config.patch).unflatten(0, grid.shape[:3])

    def _period(self, name: str, sequence: TokenSequence) -> Tensor:
        period: Tensor = self.period[name](torch.log2(sequence.period_s * 8)[:, None, None])
        return period

    def _video_tokens(self, sequence: TokenSequence) -> _Tokens | None:
        parts = [part for part in sequence.frames if part.video is not None]
        if not parts:
            return None
        assert sequence.rays is not None
        rays = self.ray_in(sequence.rays).flatten(1, 3)[:, None]
        x, condition = [], []
        for part in parts:
            assert part.video is not None
            assert part.video_time is not None
            x.append(self.video_in(self._patches(part.video)) + rays + self._view(part))
            moved = 0.0 if part.steps is None else self.video_steps(part.steps, part.steps_time)
            jump = self.video_jump(jump_features(part.video_jump, part.video_time, sequence.scales, clean=part.clean))
            condition.append(self.video_time(time_features(part.video_time)) + moved + jump)
        return _Tokens(x=torch.cat(x, 1), condition=torch.cat(condition, 1) + self._period("video", sequence))

    def _view(self, part: FramesPart) -> Tensor | float:
        if part.view is None:
            return 0.0
        seen: Tensor = self.view_in(self._patches(part.view))
        return seen if part.view_known is None else seen * part.view_known[:, None, None, None]

    def _action_tokens(self, sequence: TokenSequence) -> _Tokens | None:
        x, condition = [], []
        for part in sequence.frames:
            if part.steps is not None:
                assert part.steps_time is not None
                x.append(self.steps_in(part.steps, part.steps_time))
                jump = jump_features(part.steps_jump, part.steps_time, sequence.scales, clean=part.clean)
                condition.append(self._action_condition(part.steps_time, plan=False) + self.action_jump(jump))
        if sequence.plan is not None:
            plan = self.plan_in(sequence.plan.values) + self.plan_index
            x.append(plan.flatten(1, 2))
            time = sequence.plan.time[:, :, None].expand(plan.shape[:3]).flatten(1, 2)
            jump = self.action_jump(jump_features(sequence.plan.jump, sequence.plan.time, sequence.scales, clean=False))
            told = jump.repeat_interleave(self.config.plan_poses, dim=1) + self._staleness(sequence.plan)
            condition.append(self._action_condition(time, plan=True) + told)
        if not x:
            return None
        return _Tokens(
            x=torch.cat(x, 1)[:, :, None], condition=torch.cat(condition, 1) + self._period("action", sequence)
        )

    def _action_condition(self, time: Tensor, *, plan: bool) -> Tensor:
        kind = torch.tensor([float(plan), float(not plan)], device=time.device).expand(*time.shape, 2)
        condition: Tensor = self.action_time(torch.cat([time_features(time), kind], dim=-1))
        return condition

    def _staleness(self, plan: PlanPart) -> Tensor | float:
        if plan.staleness is None:
            return 0.0
        told: Tensor = self.staleness_in(plan.staleness[..., None].float())
        return told.repeat_interleave(self.config.plan_poses, dim=1)

    def _guidance_tokens(self, sequence: TokenSequence) -> _Tokens | None:
        if sequence.guidance is None:
            return None
        x = self.guidance_in(sequence.guidance.features).flatten(1, 2)
        condition = self._period("guidance", sequence).expand(-1, x.shape[1], -1)
        return _Tokens(x=x[:, :, None], condition=condition)

    def tuned(self, *, attention: str = "torch", compiled: bool = False) -> Self:
        """Choose how it is computed, not what: the answers stay the same to rounding. Returns self.

        Args:
            attention: A name of `worldmodel.attention_backends.BACKENDS`; must suit the device that the network is on.
            compiled: Compile the experts' layers (at their first use, once for each width; minutes on a processor).
        Raises:
            UnknownName, BadRequest: see `find_backend`.
        """
        self.attention = find_backend(attention, self.video_in.weight.device)
        project, finish = ExpertLayer.project, ExpertLayer.finish
        if compiled:
            project, finish = torch.compile(project, dynamic=True), torch.compile(finish, dynamic=True)
        self._project, self._finish = project, finish
        return self

    # -- the pass -------------------------------------------------------------------------------------------------

    def recall(self, memory: list[KeysValues], now: float) -> Recall | None:
        """Make a memory (one entry per layer) ready for a chunk that starts at frame `now`: rotate its keys by age."""
        if not memory:
            return None
        cells = memory[0].cells
        position = cells.position.clone()
        position[..., 0] = position[..., 0].clamp(min=now - self.config.oldest_frames)
        angles = rotary_angles(position - position.new_tensor([now, 0, 0]), self.config.head_size).unsqueeze(-3)
        return Recall(
            keys=tuple(rotate(layer.keys, angles) for layer in memory),
            values=tuple(layer.values for layer in memory),
            cells=cells,
        )

    def with_guidance(self, recall: Recall | None, guidance: GuidancePart, period_s: Tensor, now: float) -> Recall:
        """A recall that also holds the texts of the chunk that starts at frame `now`.

        Texts look at nothing but themselves, so reading them once serves every sampling step of the chunk: leave them out of
        the sequence then. Memory must be written with the recall that went in. Padding that no sample has goes.
        """
        sequence = TokenSequence(frames=(), period_s=period_s, guidance=guidance)
        part, cells = self._guidance_tokens(sequence), cells_of(self.config, sequence)
        assert part is not None
        attend, streams = self._reading(sequence, cells, None), {"guidance": part}
        angles = rotary_angles(cells.position - cells.position.new_tensor([now, 0, 0]), self.config.head_size)
        made = [self._layer(layer, streams, angles, attend, None)[1:] for layer in self.layers]
        valid = guidance.valid.flatten(1)
        used = valid.any(dim=0)
        texts = Recall(
            keys=tuple(rotate(keys, angles)[:, :, used] for keys, _ in made),
            values=tuple(values[:, :, used] for _, values in made),
            cells=cells[used],
            valid=None if bool(valid[:, used].all()) else valid[:, used],
        )
        return texts if recall is None else recall.joined(texts)

    def forward(
        self, sequence: TokenSequence, recall: Recall | None = None, *, now: float = 0.0, remember: bool = False
    ) -> Output:
        """Run the sequence against a memory.

        Args:
            now: First frame of the chunk that reads the memory; ages count from it.
            remember: Also return keys, values and queries of the clean tokens.
        """
        tokens = {
            "video": self._video_tokens(sequence),
            "action": self._action_tokens(sequence),
            "guidance": self._guidance_tokens(sequence),
        }
        streams = {name: part for name, part in tokens.items() if part is not None}
        cells = cells_of(self.config, sequence)
        attend = self._reading(sequence, cells, recall)
        angles = rotary_angles(cells.position - cells.position.new_tensor([now, 0, 0]), self.config.head_size)
        kept = []
        for index, layer in enumerate(self.layers):
            past = None if recall is None else (recall.keys[index], recall.values[index])
            kept.append(self._layer(layer, streams, angles, attend, past))
        entry = _entry(kept, cells, self.config.oldest_frames) if remember else None
        return self._outputs(sequence, streams, entry)

    def _reading(self, sequence: TokenSequence, cells: Cells, recall: Recall | None) -> Attend:
        """The attention of this pass: who looks at whom is the same in every layer."""
        return reading(
            cells,
            cells if recall is None else Cells.joined([recall.cells, cells]),
            backend=self.attention,
            withheld=withheld(self.config, sequence, recall),
            across_views=self.config.view_attention == "all",
        )

    def _layer(
        self,
        layer: nn.Module,
        streams: dict[str, _Tokens],
        angles: Tensor,
        attend: Attend,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        experts: dict[str, ExpertLayer] = {name: layer.get_submodule(name) for name in streams}  # type: ignore[misc]
        modulations = {name: experts[name].modulation(part.condition) for name, part in streams.items()}
        projected = [self._project(experts[name], part.x, modulations[name]) for name, part in streams.items()]
        q, k, v = (torch.cat(parts, dim=2) for parts in zip(*projected, strict=True))
        keys, values = rotate(k, angles), v
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        attended = attend(rotate(q, angles), keys, values)
        sizes = [part.x.shape[1] * part.x.shape[2] for part in streams.values()]
        for (name, part), share in zip(streams.items(), attended.split(sizes, dim=2), strict=True):
            part.x = self._finish(experts[name], part.x, share, modulations[name])
        return q, k, v

    def _outputs(self, sequence: TokenSequence, streams: dict[str, _Tokens], entry: ChunkEntry | None) -> Output:
        video = steps = plan = None
        noisy = [part for part in sequence.frames if not part.clean]
        if any(part.video is not None for part in noisy):
            count = sum(part.video.shape[1] for part in noisy if part.video is not None)
            part = streams["video"]
            assert noisy[0].video is not None
            predicted = self.video_out(part.x[:, -count:], part.condition[:, -count:])
            video = self._unpatch(predicted, noisy[0].video.shape[2])
        if "action" in streams:
            part = streams["action"]
            plans = 0 if sequence.plan is None else sequence.plan.values.shape[1] * self.config.plan_poses
            count = sum(part.steps.shape[1] for part in noisy if part.steps is not None)
            end = part.x.shape[1] - plans
            if count:
                steps = self.steps_out(part.x[:, end - count : end], part.condition[:, end - count : end])[:, :, 0]
            if plans:
                flat = self.plan_out(part.x[:, end:], part.condition[:, end:])[:, :, 0]
                plan = flat.unflatten(1, (-1, self.config.plan_poses))
        return Output(video=video, steps=steps, plan=plan, entry=entry)


def _entry(kept: list[tuple[Tensor, Tensor, Tensor]], cells: Cells, oldest_frames: int) -> ChunkEntry:
    keep = cells.remembered
    q, k, v = (torch.stack([layer[i] for layer in kept])[:, :, :, keep] for i in range(3))
    return ChunkEntry(keys=k, values=v, queries=q, cells=cells[keep], oldest_frames=oldest_frames)
