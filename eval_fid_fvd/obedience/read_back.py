"""Did the video obey? Commands are driven in imagination, then read back from the pixels and compared with what was asked.

Two readers: the model's own `explain` with past steps withheld, and `Readers`, trained on true frames and sharing
nothing with the model. Beside every error stand those of somebody who drives as the log instead, and of the commands of
other rollouts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.planning import motion_correlation
from eval_fid_fvd.readers import Readers
from worldmodel.errors import BadMotion, BadRequest
from worldmodel.geometry import Array, Motion, Trajectory, wrap_angle
from worldmodel.pictures import resize_video
from worldmodel.plans import Observation
from worldmodel.rollout import Rollout
from worldmodel.sampling import Sampling

SHUFFLES = 16
CONTEXT_S = 0.5  # of what was observed, before the first imagined frame, for `explain`
TURN_RAD = float(np.radians(25.0))
WAYS = ("left", "straight", "right")


class Imagines(Protocol):
    """A model that continues observations."""

    def imagine_batch(
        self,
        observations: Sequence[Observation],
        *,
        seconds: float,
        seeds: Sequence[int],
        actions: Sequence[Trajectory] | None,
        sampling: Sampling,
    ) -> list[Rollout]:
        """Continue each observation, along its action where there is one."""


class Explains(Protocol):
    """A model that reads motion from pixels."""

    def explain_batch(self, observations: Sequence[Observation], *, seed: int, steps: int) -> list[Motion]:
        """The steps into all frames after the first chunk."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PathReading:
    """How commands were read back by one reader.

    Attributes:
        ade_m: Mean distance from the commanded path, one per command.
        shuffled_m: The same from the paths of other commands, mean over SHUFFLES orders.
        correlation: Pearson over all steps, for 'speed' and 'yaw_rate'.
        shuffled_correlation: Against other commands, mean over the orders.
    """

    ade_m: Float[Array, " n"]
    shuffled_m: Float[Array, " n"]
    correlation: dict[str, float]
    shuffled_correlation: dict[str, float]


def imagine_all(
    model: Imagines,
    observations: Sequence[Observation],
    *,
    seconds: float,
    seeds: Sequence[int],
    actions: Sequence[Trajectory] | None = None,
    sampling: Sampling,
    batch: int = 8,
) -> list[Rollout]:
    """Continue all observations, `batch` at a time.

    Raises:
        BadRequest: for another number of commands than observations.
    """
    if actions is not None and len(actions) != len(observations):
        raise BadRequest(
            f"{len(observations)} observations came with {len(actions)} commands; each needs one. Give one for each."
        )
    rollouts: list[Rollout] = []
    for start in range(0, len(observations), batch):
        part = slice(start, start + batch)
        rollouts += model.imagine_batch(
            observations[part],
            seconds=seconds,
            seeds=seeds[part],
            actions=None if actions is None else actions[part],
            sampling=sampling,
        )
    return rollouts


def explained(
    model: Explains,
    observations: Sequence[Observation],
    videos: Sequence[Array],
    *,
    steps: int,
    seed: int = 0,
    batch: int = 8,
) -> list[Motion]:
    """Motion of what follows each observation, read by the model's own `explain`, past steps withheld.

    Args:
        videos: What follows, uint8 [time, camera, 3, h, w]; the last observed half second is the reader's context.
    """
    context = round(CONTEXT_S * observations[0].frequency_hz)
    watched = [replace(o, video=_joined(o, v, context), motion=None) for o, v in zip(observations, videos, strict=True)]
    found: list[Motion] = []
    for start in range(0, len(watched), batch):
        found += model.explain_batch(watched[start : start + batch], seed=seed, steps=steps)
    return [motion[: len(video)] for motion, video in zip(found, videos, strict=True)]


def seen_by(readers: Readers, observations: Sequence[Observation], videos: Sequence[Array]) -> list[Motion]:
    """Motion of what follows each observation, read by the independent reader, from the newest observed frame on."""
    return [
        readers.read_motion(_joined(observation, video, 1), observation.frequency_hz)
        for observation, video in zip(observations, videos, strict=True)
    ]


def _joined(observation: Observation, video: Array, frames: int) -> Array:
    """The last observed frames, at the size of what follows, and that."""
    height, width = video.shape[-2:]
    return np.concatenate([resize_video(observation.video[-frames:], width, height), video])


def path_errors(paths: Sequence[Motion], wanted: Sequence[Motion]) -> Float[Array, " n"]:
    """Mean distance in metres between two paths that start together, over their frames; one value per pair.

    Raises:
        BadRequest: for unequal numbers of paths or steps.
    """
    if [len(path) for path in paths] != [len(path) for path in wanted]:
        raise BadRequest(
            f"paths of {sorted({len(p) for p in paths})} and {sorted({len(p) for p in wanted})} steps cannot be compared; "
            "pairs need equal steps. Cut them to the same seconds first."
        )
    pairs = zip(paths, wanted, strict=True)
    return np.array([path_distances(path.deltas[None], other.deltas[None])[0][0] for path, other in pairs])


def path_distances(
    paths: Float[Array, "n steps 3"], wanted: Float[Array, "n steps 3"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Mean and final distance between paths given as steps, each [n], metres.

    Args:
        paths: SE(2) steps [n, steps, 3]: forward m, left m, yaw rad, each in the frame at its start.
        wanted: The same shape.
    Raises:
        BadRequest: for unequal shapes.
        BadMotion: for values that are not finite.
    """
    a, b = np.asarray(paths, np.float64), np.asarray(wanted, np.float64)
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3 or not a.size:
        raise BadRequest(
            f"steps are {a.shape} and {b.shape}; both must be [n, steps, 3], at least one each. Pair them."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadMotion(
            "steps hold values that are not finite; every one must be. Leave such clips out and count them."
        )
    apart = np.linalg.norm(_places(a) - _places(b), axis=-1)
    return np.asarray(apart.mean(axis=1)), np.asarray(apart[:, -1])


def _places(steps: Float[Array, "n steps 3"]) -> Float[Array, "n steps 2"]:
    """Positions after each step, in the frame before the first."""
    yaw = np.cumsum(steps[..., 2], axis=1) - steps[..., 2]
    cos, sin = np.cos(yaw), np.sin(yaw)
    x = cos * steps[..., 0] - sin * steps[..., 1]
    y = sin * steps[..., 0] + cos * steps[..., 1]
    return np.asarray(np.cumsum(np.stack([x, y], axis=-1), axis=1))


def path_reading(read: Sequence[Motion], asked: Sequence[Motion], seed: int = 0) -> PathReading:
    """Compare what was read with what was asked, and with what others were asked.

    Raises:
        BadRequest: as `path_errors`; for fewer than two commands.
    """
    if len(asked) < 2:
        raise BadRequest(f"{len(asked)} command(s) cannot be shuffled; at least two are needed. Drive more of them.")
    orders = [_others(asked, seed + i) for i in range(SHUFFLES)]
    shuffled = [motion_correlation(list(read), order) for order in orders]
    return PathReading(
        ade_m=path_errors(read, asked),
        shuffled_m=np.mean([path_errors(read, order) for order in orders], axis=0),
        correlation=motion_correlation(list(read), list(asked)),
        shuffled_correlation={name: float(np.mean([one[name] for one in shuffled])) for name in shuffled[0]},
    )


def _others(motions: Sequence[Motion], seed: int) -> list[Motion]:
    """The motions in an order in which none stays at its place."""
    order = np.random.default_rng(seed).permutation(len(motions))
    shifted = np.empty(len(motions), dtype=int)
    shifted[order] = np.roll(order, 1)
    return [motions[i] for i in shifted]


def way_of(motion: Motion) -> str:
    """'left', 'straight' or 'right': where a drive leads to, by its change of heading."""
    turned = float(np.sum(wrap_angle(motion.deltas[:, 2])))
    return "left" if turned > TURN_RAD else "right" if turned < -TURN_RAD else "straight"


def balanced_accuracy(said: Sequence[bool] | Array, true: Sequence[bool] | Array) -> float:
    """Mean of the shares read rightly among the true and among the false; NaN where one of them is missing."""
    a, b = np.asarray(said, bool), np.asarray(true, bool)
    if not b.any() or b.all():
        return float("nan")
    return float((a[b].mean() + (~a[~b]).mean()) / 2)
