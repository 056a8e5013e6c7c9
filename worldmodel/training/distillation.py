"""Few steps: a trained model learns to jump, so that 16 and more sampling steps become 8, 4, 2 or 1.

The network is told how far the sampler will go with its answer (`worldmodel.sequence.jump_features`) and learns the mean
velocity over that stretch: two jumps of half the length, made by itself, are the target of one. Jumps of 1/16 and below are
the plain velocity, which goes on learning from data. Source: shortcut models, Frans et al. (arXiv 2410.12557). Ours starts
from a trained model, learns mostly jumps (three quarters, theirs one quarter), jumps over the very grid that samplers use, takes
its own current weights as the target (theirs: averaged ones, which a resumable loop would have to carry along), and takes
guidance scales as inputs, whose plain velocity is the guided one: Meng et al. (arXiv 2210.03142).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from worldmodel.flow import mix, shifted, velocity_target
from worldmodel.sequence import FramesPart, Output, TokenSequence
from worldmodel.training.draws import Batch, Draw
from worldmodel.training.guided import draw_scales, first_rows, motion_given, variants
from worldmodel.training.tasks import WorldActionTask, masked_mean

FEW_STEPS = (1, 2, 4, 8)
SLOPE_SHARE = 0.25  # of the chunks, which learn the plain velocity
STEPS_SHARES = (0.2, 0.25, 0.2, 0.1)  # of the chunks, for each of FEW_STEPS

Parts = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Jump:
    """From which noise time over which middle to which end; a slope has three equal times. Any one shape."""

    now: Tensor
    mid: Tensor
    then: Tensor

    @property
    def whole(self) -> Tensor:
        """Length of the jump, 0 for a slope."""
        return self.now - self.then

    @staticmethod
    def drawn(slope_time: Tensor, steps: Tensor, where: Tensor, shift: float) -> "Jump":
        """Jumps of a sampler's grid.

        Args:
            slope_time: Times of the slopes.
            steps: Number of sampling steps that each jump belongs to; 0 is a slope. Shaped like `slope_time`.
            where: Uniform in [0, 1): which of those steps.
            shift: Of the sampling times.
        """
        count = steps.clamp(min=1)
        first = 1 - (where * count).floor() / count
        grid = [shifted((first - share / count).clamp(min=0), shift) for share in (0.0, 0.5, 1.0)]
        now, mid, then = (torch.where(steps > 0, time, slope_time) for time in grid)
        return Jump(now=now, mid=mid, then=then)

    def where(self, mask: Tensor, other: "Jump") -> "Jump":
        """The same jumps where the mask says so, and the other ones elsewhere."""
        names = ("now", "mid", "then")
        return Jump(**{name: torch.where(mask, getattr(self, name), getattr(other, name)) for name in names})

    def only(self, mask: Tensor, time: Tensor) -> "Jump":
        """The same jumps where the mask says so, and slopes at `time` elsewhere."""
        return self.where(mask, Jump(now=time, mid=time, then=time))

    def like(self, values: Tensor) -> "Jump":
        """With axes of one added, so that it broadcasts against values of more axes."""
        axes = (1,) * (values.ndim - self.now.ndim)
        return Jump(**{name: getattr(self, name).reshape(*self.now.shape, *axes) for name in ("now", "mid", "then")})


def two_half_jumps(velocity: Callable[[Parts, bool], Parts], state: Parts, jumps: tuple[Jump, ...]) -> Parts:
    """Mean velocities over the jumps, by two steps of half the length; where there is no way to go, the first answer.

    Args:
        velocity: Answers for a state, at the jumps' start (False) or middle (True).
        state: Tensors at the jumps' start. jumps: One for each, shaped to broadcast.
    """
    first = velocity(state, False)
    middle = tuple(x + (j.mid - j.now) * v for x, v, j in zip(state, first, jumps, strict=True))
    second = velocity(middle, True)
    found = []
    for v1, v2, j in zip(first, second, jumps, strict=True):
        share = torch.where(j.whole > 0, (j.now - j.mid) / j.whole.clamp(min=1e-6), 1.0)
        found.append(share * v1 + (1 - share) * v2)
    return tuple(found)


def draw_steps(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """To how many sampling steps each jump belongs, 0 for a slope; with the shares of this file, int64."""
    shares = torch.tensor([SLOPE_SHARE, *STEPS_SHARES])
    rows = torch.multinomial(shares, int(torch.Size(shape).numel()), replacement=True, generator=generator)
    return torch.tensor([0, *FEW_STEPS])[rows].reshape(shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Jumps:
    """What each stream of each denoised chunk is asked for: video and steps [B, F], plan [B, K]."""

    video: Jump
    steps: Jump
    plan: Jump

    def __iter__(self) -> Iterator[Jump]:
        return iter((self.video, self.steps, self.plan))

    def like(self, state: Parts) -> tuple[Jump, ...]:
        return tuple(jump.like(values) for jump, values in zip(self, state, strict=True))


class DistillationTask(WorldActionTask):
    """Learn jumps of 1, 1/2, 1/4 and 1/8 of the way from noise to data, and keep the plain velocity.

    Video and steps of a chunk that are denoised together jump together, as they do in samplers; plans jump on their own.
    """

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """A batch of `WorldActionTask`, with the features of the empty text where guidance is learnt."""
        batch = super().batch(step, rank, world)
        if self.preset.guided_share:
            encoded = self.data[int(batch["source"][0])]
            row = torch.full((len(batch["source"]),), encoded.rows[""])
            batch["silence"], batch["silence_valid"] = encoded.texts[row], encoded.texts_valid[row]
        return batch

    def loss(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Distance of every answer from two half jumps of the model itself, or from the velocity of the data."""
        draw = Draw.of(self, batch, generator)
        draw = replace(draw, view=self._view(batch, draw, batch["latents"]))
        jumps = self._jumps(draw, generator)
        first = self.first_noisy * self.per_chunk
        clean = batch["latents"][:, first:], batch["steps"][:, first:], batch["plans"]
        noise = draw.video_noise, draw.steps_noise, draw.plan_noise
        shaped = jumps.like(clean)
        state = tuple(mix(x, n, j.now) for x, n, j in zip(clean, noise, shaped, strict=True))

        guided = round(self.preset.guided_share * len(draw.present))
        scales = draw_scales(draw, guided, generator)
        now, whole = tuple(j.now for j in jumps), tuple(j.whole for j in jumps)

        def half(state: Parts, at_middle: bool) -> Parts:
            times = tuple(j.mid if at_middle else j.now for j in jumps)
            lengths = tuple(j.mid - j.then if at_middle else j.now - j.mid for j in jumps)
            return self._answer(module, batch, _at(draw, state, times), lengths, scales)

        slopes = tuple(velocity_target(x, n) for x, n in zip(clean, noise, strict=True))
        with torch.no_grad():
            jumped = two_half_jumps(half, state, shaped)
            if guided:
                slopes = self._guided_slopes(module, batch, _at(draw, state, now), slopes, scales[:guided])
        targets = tuple(
            torch.where(j.whole > 0, far, near) for j, far, near in zip(shaped, jumped, slopes, strict=True)
        )
        answers = self._answer(module, batch, _at(draw, state, now), whole, scales)
        return self._distances(batch, draw, jumps, answers, targets)

    def _jumps(self, draw: Draw, generator: torch.Generator) -> _Jumps:
        shape, device, per = draw.plan_time.shape, draw.plan_time.device, self.per_chunk

        def drawn() -> tuple[Tensor, Tensor]:
            return draw_steps(shape, generator).to(device), torch.rand(shape, generator=generator).to(device)

        (steps, where), plan = drawn(), drawn()
        steps, where = steps.repeat_interleave(per, dim=1), where.repeat_interleave(per, dim=1)
        video, known = draw.learn_video[:, None], draw.learn_steps[:, None] & (draw.steps_time < 1)
        together, alone = (Jump.drawn(draw.steps_time, steps, where, shift) for shift in (self.config.video_shift, 1.0))
        return _Jumps(
            video=Jump.drawn(draw.video_time, steps, where, self.config.video_shift).only(video, draw.video_time),
            steps=together.where(video, alone).only(known, draw.steps_time),
            plan=Jump.drawn(draw.plan_time, *plan, 1.0),
        )

    def _guided_slopes(self, module: nn.Module, batch: Batch, draw: Draw, slopes: Parts, scales: Tensor) -> Parts:
        """The slopes, those of the first samples under guidance; plans are never guided."""
        count = len(scales)
        mixes = [torch.zeros_like(values[:count]) for values in slopes[:2]]
        for variant in variants(*first_rows(batch, draw, count), scales):
            answers = self._answer(module, variant.batch, variant.draw, None, None)
            for mixed, answer in zip(mixes, answers, strict=False):
                mixed += variant.weight.reshape(-1, *(1,) * (answer.ndim - 1)) * answer
        given = motion_given(draw)[:count, None, None]
        mixes[1] = torch.where(given, slopes[1][:count], mixes[1])
        return *(torch.cat([m, s[count:]]) for m, s in zip(mixes, slopes, strict=False)), slopes[2]

    def _answer(
        self, module: nn.Module, batch: Batch, draw: Draw, lengths: Parts | None, scales: Tensor | None
    ) -> Parts:
        """Mean velocities over the lengths."""
        output: Output = module(_asked(self._sequence(batch, draw), lengths, scales))
        assert output.video is not None
        assert output.steps is not None
        assert output.plan is not None
        return output.video, output.steps, output.plan

    def _distances(
        self, batch: Batch, draw: Draw, jumps: _Jumps, answers: Parts, targets: Parts
    ) -> tuple[Tensor, dict[str, float]]:
        first = self.first_noisy * self.per_chunk
        errors = [(a - b).square().flatten(2).mean(-1) for a, b in zip(answers[:2], targets[:2], strict=True)]
        plan = (answers[2] - targets[2]).square().mean(dim=-1)
        learnt = draw.learn_video[:, None].expand_as(errors[0])
        parts = {
            "video": masked_mean(errors[0], learnt),
            "steps": masked_mean(errors[1], draw.learn_steps[:, None] & batch["known"][:, first:]),
            "plan": masked_mean(plan, batch["plans_known"]),
        }
        preset = self.preset
        total = parts["video"] + preset.steps_weight * parts["steps"] + preset.plan_weight * parts["plan"]
        parts["video_jump"] = masked_mean(errors[0], learnt & (jumps.video.whole > 0))
        return total, {name: float(value.detach()) for name, value in parts.items()}


def _at(draw: Draw, state: Parts, times: Parts) -> Draw:
    """The draw with another state of video, steps and plans, at other noise times."""
    names = ("noisy_video", "noisy_steps", "noisy_plans", "video_time", "steps_time", "plan_time")
    return replace(draw, **dict(zip(names, (*state, *times), strict=True)))


def _asked(sequence: TokenSequence, lengths: Parts | None, scales: Tensor | None) -> TokenSequence:
    """The sequence with the jumps asked for, `lengths` of video, steps and plan, and with guidance scales."""
    assert sequence.plan is not None
    video, steps, plan = (None, None, None) if lengths is None else lengths
    noisy: FramesPart = replace(sequence.frames[-1], video_jump=video, steps_jump=steps)
    asked_plan = replace(sequence.plan, jump=plan)
    return replace(sequence, frames=(*sequence.frames[:-1], noisy), plan=asked_plan, scales=scales)
