"""What a loss is made of: what can be known without looking, what the pictures add to the answer, and what that earns.

Two decompositions, both exact identities. `visual_parts` intervenes: the planner is asked again with the pictures of other
scenes, everything else the same. `conditional_parts` only observes: moments are grouped by what is told (command, ego status).

Source: "Grounding Driving VLA via Inverse Kinematics", section 2.2 and appendices E.1 and E.2. The paper drops the cross term,
which is right where the truth does not depend on the pictures; here it is measured, because it says whether looking pays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRequest

Array = np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class VisualParts:
    """Squared error per moment, in parts; `loss` = `blind` + `visual` + `cross`.

    Attributes:
        loss: Of the answer, [n].
        blind: Of the mean answer over pictures: the bias of what is known without looking.
        visual: Squared distance of the answer to that mean: what varying with the pictures costs where it earns nothing.
        cross: Twice their inner product. Negative: the pictures move the answer towards the truth.
    """

    loss: Float[Array, " n"]
    blind: Float[Array, " n"]
    visual: Float[Array, " n"]
    cross: Float[Array, " n"]

    @property
    def earned(self) -> Float[Array, " n"]:
        """How much smaller the loss is than that of the blind mean, [n]: -(visual + cross)."""
        return -(self.visual + self.cross)


def visual_parts(
    own: Float[Array, "n ..."], swapped: Float[Array, "n k ..."], truth: Float[Array, "n ..."]
) -> VisualParts:
    """The parts of the squared error of answers, by what they would be with other pictures.

    Args:
        own: Answers to the moments as they are.
        swapped: Answers to the same moments with the pictures of k other scenes, k at least 2. Their mean stands for the mean
            over all pictures; that k are few is corrected for without bias, so that single parts may be a little below 0.
    Raises:
        BadRequest: for other shapes, k below 2, or values that are not finite.
    """
    answers, others, target = (np.asarray(values, np.float64) for values in (own, swapped, truth))
    shaped = others.ndim == answers.ndim + 1 and others.shape[:1] + others.shape[2:] == answers.shape == target.shape
    if not shaped or others.shape[1] < 2 or not answers.size or not all(map(_finite, (answers, others, target))):
        raise BadRequest(
            f"answers {answers.shape}, with other pictures {others.shape}, truth {target.shape}: they must be finite, [n, ...], "
            "[n, k, ...] with k of at least 2, and [n, ...]. Ask with the pictures of two or more other scenes."
        )
    count, k = others.shape[:2]
    answers, others, target = answers.reshape(count, -1), others.reshape(count, k, -1), target.reshape(count, -1)
    mean = others.mean(axis=1)
    noise = others.var(axis=1, ddof=1).sum(axis=1) / k  # of the mean over k pictures
    seen, left = answers - mean, mean - target
    return VisualParts(
        loss=((answers - target) ** 2).sum(axis=1),
        blind=(left**2).sum(axis=1) - noise,
        visual=(seen**2).sum(axis=1) - noise,
        cross=2 * (seen * left).sum(axis=1) + 2 * noise,
    )


@dataclass(frozen=True, kw_only=True)
class ConditionalParts:
    """Mean squared error per element, in parts; `loss` = `bias` + `residual`.

    Attributes:
        bias: Of the groups' mean answers.
        residual: Of what is left of answers and truth around their groups' means; that of an answer which does not depend on
            the pictures is `diversity`.
        answered: Variance of the answers within the groups.
        diversity: Variance of the truth within the groups.
        cross: -2 x their covariance; `residual` = `answered` + `diversity` + `cross`.
        groups: How many there are.
    """

    loss: float
    bias: float
    residual: float
    answered: float
    diversity: float
    cross: float
    groups: int


def conditional_parts(
    answers: Float[Array, "n ..."], truth: Float[Array, "n ..."], groups: Sequence[Any] | Array
) -> ConditionalParts:
    """The parts of a mean squared error within groups of what is told.

    Args:
        groups: What is told at each moment, as any labels: a command, bins of the ego status, or both.
    Raises:
        BadRequest: for other shapes, no moments, or values that are not finite.
    """
    said, target, labels = np.asarray(answers, np.float64), np.asarray(truth, np.float64), np.asarray(groups)
    if (
        said.shape != target.shape
        or len(labels) != len(said)
        or not said.size
        or not _finite(said)
        or not _finite(target)
    ):
        raise BadRequest(
            f"answers {said.shape}, truth {target.shape} and {len(labels)} groups: they must be finite and of one length, at least "
            "one. Pair them first."
        )
    said, target = said.reshape(len(said), -1), target.reshape(len(said), -1)
    names, rows = np.unique(labels, return_inverse=True)
    said_mean, target_mean = (_group_means(values, rows.reshape(-1), len(names)) for values in (said, target))
    said_rest, target_rest = said - said_mean, target - target_mean
    return ConditionalParts(
        loss=float(((said - target) ** 2).mean()),
        bias=float(((said_mean - target_mean) ** 2).mean()),
        residual=float(((said_rest - target_rest) ** 2).mean()),
        answered=float((said_rest**2).mean()),
        diversity=float((target_rest**2).mean()),
        cross=float(-2 * (said_rest * target_rest).mean()),
        groups=len(names),
    )


def _group_means(values: Array, rows: Array, count: int) -> Array:
    """Each row's group's mean [n, d]."""
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, rows, values)
    means: Array = sums / np.bincount(rows, minlength=count)[:, None]
    return means[rows]


def _finite(values: Array) -> bool:
    return bool(np.isfinite(values).all())
