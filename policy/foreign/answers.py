"""From what a foreign policy answered to a plan of ours, or to the reason why it is none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from policy.foreign.convention import FRAMES, OURS, UNITS_M, Convention
from worldmodel.decisions import HORIZONS_S, LATERAL, LONGITUDINAL
from worldmodel.errors import PolicyError
from worldmodel.geometry import Array, Trajectory, mean_pose
from worldmodel.plans import PLAN_TIMES_S, Decision, Plan

FARTHEST_M = 1000.0  # 4 s at 250 m/s
MOST_SAMPLES = 256
ROUTE_POINTS = 20  # 1 m apart
ROUTE_SLACK_M = 0.05
AT_THE_CAR_M = 0.5  # a point for now is there
SAME_M = 0.01  # the mean of the samples, and the trajectory


def plan_from(answer: Mapping[str, Any], convention: Convention | None, name: str) -> Plan:
    """The plan that an answer says.

    Args:
        answer: `trajectory`, `samples` (or both), and perhaps `times_s`, `route`, `decisions`; `native` when it is one of our plans.
        convention: What its numbers mean.
        name: Of the policy, for messages.
    Raises:
        PolicyError: of kind 'undeclared', 'wrong shape', 'wrong length', 'wrong rate', 'not finite', 'far away', 'samples differ',
            'bad route' or 'bad decisions'.
    """
    if answer.get("native"):
        convention = OURS
    if convention is None:
        raise PolicyError(
            f"policy '{name}' answered with bare numbers and declares no frame; their meaning is not guessed. Return a "
            "worldmodel.plans.Plan, or declare `frame`, `units`, ... (docs/your-policy.md).",
            "undeclared",
        )
    _check_times(answer, convention, name)
    samples = _samples(answer.get("samples"), convention, name)
    if answer.get("trajectory") is not None:
        poses = _poses(answer["trajectory"], convention, name, "trajectory")
    elif samples is not None:
        poses = mean_pose(samples)
    else:
        raise PolicyError(
            f"policy '{name}' answered without `trajectory` or `samples`. Send one of them.", "wrong shape"
        )
    _check_mean(poses, samples, name)
    return Plan(
        trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S),
        samples=samples if samples is not None and len(samples) > 1 else None,
        route=_route(answer.get("route"), convention, name),
        decisions=_decisions(answer.get("decisions"), name),
    )


def _check_times(answer: Mapping[str, Any], convention: Convention, name: str) -> None:
    said = answer.get("times_s")
    if said is None:
        return
    times = _numbers(said, name, "times_s")
    if times.shape != (len(convention.times_s),) or np.abs(times - convention.times_s).max() > 1e-3:
        raise PolicyError(
            f"policy '{name}' answered for times {_few(times)} s, but declares {_few(np.array(convention.times_s))} s. Correct one of them.",
            "wrong rate",
        )


def _samples(value: Any, convention: Convention, name: str) -> Float[Array, "k 8 3"] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or not 1 <= len(value) <= MOST_SAMPLES:
        raise PolicyError(
            f"policy '{name}' answered with samples that are no list of 1 to {MOST_SAMPLES} trajectories. Send that many.",
            "wrong shape",
        )
    return np.stack([_poses(one, convention, name, f"sample {number}") for number, one in enumerate(value)])


def _poses(value: Any, convention: Convention, name: str, what: str) -> Float[Array, "8 3"]:
    points = _numbers(value, name, what)
    if points.ndim != 2 or points.shape[1] != convention.columns:
        raise PolicyError(
            f"policy '{name}', {what}: got shape {list(points.shape)}; with heading '{convention.heading}' it is "
            f"[{len(convention.times_s)}, {convention.columns}]. Correct the answer or the declaration.",
            "wrong shape",
        )
    if len(points) != len(convention.times_s):
        raise PolicyError(
            f"policy '{name}', {what}: got {len(points)} points, but declares {len(convention.times_s)} (to {convention.horizon_s:g} s). "
            "Correct one of them.",
            "wrong length",
        )
    path = convention.to_ours(points)
    reached = np.hypot(path.poses[:, 0], path.poses[:, 1])
    if reached.max() > FARTHEST_M:
        raise PolicyError(
            f"policy '{name}', {what}: a point is {reached.max():.3g} m away; it must be within {FARTHEST_M:g} m of the car. Are "
            "these map coordinates, or other units than declared? Answer in the frame of the car now.",
            "far away",
        )
    if convention.times_s[0] == 0 and reached[0] > AT_THE_CAR_M:
        raise PolicyError(
            f"policy '{name}', {what}: the point for now is {reached[0]:.2f} m from the car; it must be the car itself. Correct "
            "the origin, or declare times that begin later.",
            "far away",
        )
    return convention.plan_poses(points)


def _numbers(value: Any, name: str, what: str) -> Array:
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PolicyError(
            f"policy '{name}', {what}: the answer is no array of numbers ({type(value).__name__}). Send rows of equal length.",
            "wrong shape",
        ) from error
    if not np.isfinite(found).all():
        raise PolicyError(
            f"policy '{name}', {what}: not finite at index {np.argwhere(~np.isfinite(found))[0].tolist()}. Plans need finite numbers.",
            "not finite",
        )
    return found


def _check_mean(poses: Float[Array, "8 3"], samples: Float[Array, "k 8 3"] | None, name: str) -> None:
    if samples is None:
        return
    off = float(np.abs(mean_pose(samples)[:, :2] - poses[:, :2]).max())
    if off > SAME_M:
        raise PolicyError(
            f"policy '{name}': its trajectory is {off:.2f} m from the mean of its samples; scores pair samples and must mean the same "
            "plan. Send the trajectory alone, or the samples alone.",
            "samples differ",
        )


def _route(value: Any, convention: Convention, name: str) -> Float[Array, "20 2"] | None:
    if value is None:
        return None
    points = _numbers(value, name, "route")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or np.abs(points).max() > 1e7:
        raise PolicyError(f"policy '{name}', route: got shape {list(points.shape)}; it is [n, 2].", "bad route")
    ahead = np.array([convention.ahead_of_rear_axle_m, 0.0])
    way = np.vstack([np.zeros(2), points @ FRAMES[convention.frame].T * UNITS_M[convention.units] + ahead])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(way, axis=0).T))])
    if along[-1] < ROUTE_POINTS - ROUTE_SLACK_M:
        raise PolicyError(
            f"policy '{name}', route: it is {along[-1]:.1f} m long; {ROUTE_POINTS} m are needed. Send a longer one, or none.",
            "bad route",
        )
    wanted = np.arange(1.0, ROUTE_POINTS + 1)
    return np.column_stack([np.interp(wanted, along, way[:, axis]) for axis in (0, 1)])


def _decisions(value: Any, name: str) -> tuple[Decision, ...] | None:
    if value is None:
        return None
    good = isinstance(value, Sequence) and len(value) == len(HORIZONS_S)
    good = good and all(
        isinstance(one, Mapping) and one.get("lateral") in LATERAL and one.get("longitudinal") in LONGITUDINAL
        for one in value
    )
    if not good:
        raise PolicyError(
            f"policy '{name}', decisions: they must be {len(HORIZONS_S)} (at 1, 2 and 3 s), each with `lateral` of "
            f"{', '.join(LATERAL)} and `longitudinal` of {', '.join(LONGITUDINAL)}. Correct them, or send none.",
            "bad decisions",
        )
    return tuple(Decision(lateral=one["lateral"], longitudinal=one["longitudinal"]) for one in value)


def _few(times: Array) -> str:
    flat = np.atleast_1d(times).reshape(-1)
    return ", ".join(f"{time:g}" for time in flat[:3]) + (f", ... {flat[-1]:g}" if len(flat) > 3 else "")
