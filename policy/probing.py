"""A learned planner asked many times about the same moments: as they are, with other scenes' pictures, with other next states.

What a planner answers to the same ego status and instruction with the pictures of another scene shows what its plan takes from
looking; what it answers with the true next states in the place of the predicted ones shows what better prediction would be worth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from policy.answers import Ask
from policy.held_out_moments import HeldOutMoment
from policy.inverse_kinematics import InverseKinematics, PooledInverseKinematics
from policy.learned import LearnedPlanner
from policy.planner_config import PlannerConfig
from policy.seeing import Seen, ego_status, text_means
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Rig, integrate_rates, mean_pose
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.sequence import ray_features
from worldmodel.text_encoders import make_text_encoder
from worldmodel.tokenizer import Tokenizer

PLANS_FROM_STATES = (InverseKinematics, PooledInverseKinematics)
Redrawing = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Views:
    """Moments as planners of one tokenizer and text encoder see them.

    Attributes:
        cells: Latents of the pictures that are seen [n, picture, camera, channel, h, w].
        states: Latents of those 1, 2 and 3 s later [n, state, camera, channel, h, w].
        rays: Camera rays of the latent cells [camera, h, w, features].
        steps: The newest ego steps [n, STEPS_SEEN, 3].
        texts: Mean features of the instructions [n, width].
        truth: Poses driven at 0.5 ... 4 s [n, 8, 3].
    """

    cells: Tensor
    states: Tensor
    rays: Tensor
    steps: Array
    texts: Tensor
    truth: Array

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def now(self) -> Tensor:
        """Latents of the newest pictures [n, camera, channel, h, w]."""
        return self.cells[:, -1]

    def seen(self, config: PlannerConfig, rows: Sequence[int], pictures: Sequence[int] | None = None) -> Seen:
        """Network inputs of moments, with the pictures of others where these are named."""
        of = list(rows if pictures is None else pictures)
        ego = np.stack([ego_status(config, self.steps[row]) for row in rows])
        return Seen(
            cells=self.cells[of],
            rays=self.rays.expand(len(of), *self.rays.shape),
            ego=torch.from_numpy(ego),
            text=self.texts[list(rows)],
        )


@torch.no_grad()
def views_of(moments: Sequence[HeldOutMoment], rig: Rig, tokenizer: Tokenizer, text_encoder: str) -> Views:
    """Encode moments once for all planners."""
    cells = torch.stack([tokenizer.encode_video(moment.seen) for moment in moments]).float()
    states = torch.stack([tokenizer.encode_video(moment.later) for moment in moments]).float()
    return Views(
        cells=cells,
        states=states,
        rays=ray_features(rig, (cells.shape[-2], cells.shape[-1])),
        steps=np.stack([moment.steps for moment in moments]),
        texts=text_means(make_text_encoder(text_encoder), [moment.text for moment in moments]),
        truth=np.stack([moment.label.poses for moment in moments]),
    )


def other_scenes(count: int, k: int, generator: np.random.Generator) -> Int[Array, "count k"]:
    """For each scene k different others; every scene is used k times.

    Raises:
        BadRequest: where there are not that many others.
    """
    if not 1 <= k < count:
        raise BadRequest(
            f"{k} other scenes were asked for each of {count}; at most {count - 1} exist. Use more scenes."
        )
    order = generator.permutation(count)
    shifts = generator.permutation(np.arange(1, count))[:k]
    others = np.empty((count, k), dtype=np.int64)
    others[order] = np.stack([np.roll(order, shift) for shift in shifts], axis=1)
    return others


@dataclass(frozen=True, eq=False, kw_only=True)
class Probed:
    """What a planner answers; plans in metres and radians, the mean of its samples.

    Attributes:
        plans: To the moments as they are [n, 8, 3].
        swapped: With the pictures of k other scenes [n, k, 8, 3].
        states: Predicted next states [n, state, camera, channel, h, w]; None for planners that predict none.
        swapped_states: Predicted with the pictures of the first of the other scenes; None as above.
        from_true: Plans from the true next states in the place of the predicted ones [n, 8, 3]; None as above.
        from_present: Plans from the present state in their place, as if nothing moved [n, 8, 3]; None as above.
        from_redrawn: Plans from the predicted states after they were decoded to pictures and encoded again [n, 8, 3]: what
            can be seen in them stays, a code that cannot be seen is lost. None as above, or where nothing redraws.
    """

    plans: Array
    swapped: Array
    states: Array | None = None
    swapped_states: Array | None = None
    from_true: Array | None = None
    from_present: Array | None = None
    from_redrawn: Array | None = None


@torch.no_grad()
def probe(
    planner: LearnedPlanner, views: Views, others: Int[Array, "n k"], *, redrawn: Redrawing | None = None, seed: int = 0
) -> Probed:
    """Ask a planner all of it. Every answer to a moment has the same noise.

    Args:
        others: Whose pictures each moment gets instead of its own, see `other_scenes`.
        redrawn: Latents through pixels and back, see `redrawing`.
    """
    rows = range(len(views))
    plans = np.stack([_plan(planner, views, row, row, seed) for row in rows])
    swapped = (
        np.stack([[_plan(planner, views, row, int(other), seed) for other in others[row]] for row in rows])
        if planner.needs_pixels
        else np.repeat(plans[:, None], others.shape[1], axis=1)
    )
    if not isinstance(planner.network, PLANS_FROM_STATES):
        return Probed(plans=plans, swapped=swapped)
    network = planner.network
    predicted, elsewhere = (
        network.predictor(views.seen(planner.config, rows, pictures)) for pictures in (None, others[:, 0].tolist())
    )
    true = target_states(planner.config, views)
    present = views.now[:, None].expand_as(true)
    return Probed(
        plans=plans,
        swapped=swapped,
        states=predicted.double().numpy(),
        swapped_states=elsewhere.double().numpy(),
        from_true=_plans_from(planner, views, true, seed),
        from_present=_plans_from(planner, views, present, seed),
        from_redrawn=None if redrawn is None else _plans_from(planner, views, redrawn(predicted), seed),
    )


def target_states(config: PlannerConfig, views: Views) -> Tensor:
    """What a planner's predictor is to say: the next states, or the present one for the ablation 'ik-current'."""
    return views.now[:, None] if config.state_frames == (0,) else views.states


def redrawing(tokenizer: Tokenizer) -> Redrawing:
    """Decodes states [n, state, camera, channel, h, w] to 8-bit pictures and encodes these again."""

    def redrawn(states: Tensor) -> Tensor:
        return torch.stack([tokenizer.encode_video(tokenizer.decode_video(each)).float() for each in states])

    return redrawn


def _asked(planner: LearnedPlanner, seed: int) -> Ask:
    return Ask(seed=seed, samples=planner.ask.samples, steps=planner.ask.steps, sampler=planner.ask.sampler)


def _plan(planner: LearnedPlanner, views: Views, row: int, pictures: int, seed: int) -> Array:
    """The mean plan [8, 3] of one moment."""
    answer = planner.network.answer(views.seen(planner.config, [row], [pictures]), _asked(planner, seed))
    return mean_pose(planner.poses(answer.poses))


def _plans_from(planner: LearnedPlanner, views: Views, states: Tensor, seed: int) -> Array:
    """Mean plans [n, 8, 3] from given visual states."""
    network = planner.network
    assert isinstance(network, PLANS_FROM_STATES)
    asked = _asked(planner, seed)
    found = [
        mean_pose(
            planner.poses(network.plans(views.now[row : row + 1], states[row : row + 1], views.rays[None], asked))
        )
        for row in range(len(views))
    ]
    return np.stack(found)


def plain_plans(steps: Array, rate_hz: float) -> dict[str, Array]:
    """What two planners that do not learn would drive [n, 8, 3] after ego steps [n, step, 3]: by their names."""
    times = np.concatenate([[0.0], PLAN_TIMES_S])
    speeds = np.hypot(steps[:, -1, 0], steps[:, -1, 1]) * rate_hz
    rates = steps[:, -1, 2] * rate_hz
    count = len(PLAN_TIMES_S)

    def arc(speed: float, rate: float) -> Array:
        return integrate_rates(np.full(count, speed), np.full(count, rate), times).resampled(PLAN_TIMES_S).poses

    return {
        "constant velocity": np.stack([arc(speed, 0.0) for speed in speeds]),
        "constant turn rate": np.stack([arc(speed, rate) for speed, rate in zip(speeds, rates, strict=True)]),
    }
