"""What the moments of a scene ask of a driver: the ego-status gap and the decisions.

A moment is a frame, two per second, that has 3 s of the scene after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.decisions import HORIZONS_S, LATERAL, LONGITUDINAL
from worldmodel.geometry import Array, Trajectory, relative, wrap_angle
from worldmodel.plans import Decision
from worldmodel.town.scene import Scene
from worldmodel.town.words.labels import decision_at

MOMENT_S = 0.5  # seconds between moments
FUTURE_S = 3.0
GAP_TIMES_S = np.arange(1, 7) * 0.5  # up to FUTURE_S
CRITICAL_M = 1.0  # a larger gap is vision-critical; the paper's own threshold is not legible in our copy of it


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What the moments of a scene ask of a driver, one entry per moment.

    Attributes:
        gaps_m: The ego-status gap, see `ego_status_gap`.
        decisions: At 1, 2 and 3 s, see `worldmodel.decisions`.
    """

    gaps_m: tuple[float, ...]
    decisions: tuple[tuple[Decision, ...], ...]

    def __len__(self) -> int:
        return len(self.gaps_m)

    @property
    def critical(self) -> int:
        """How many moments are vision-critical: the gap exceeds CRITICAL_M."""
        return sum(gap > CRITICAL_M for gap in self.gaps_m)

    def counts(self, horizon: int) -> dict[str, int]:
        """How many moments decide what, for one of HORIZONS_S by number; lateral classes first."""
        made = [word for d in self.decisions for word in (d[horizon].lateral, d[horizon].longitudinal)]
        return {name: made.count(name) for name in (*LATERAL, *LONGITUDINAL)}


def moments_of(scene: Scene) -> Moments:
    """All moments of a scene; none where it is too short."""
    driven = Trajectory(poses=scene.ego_poses, times_s=np.arange(len(scene)) / scene.frequency_hz)
    frames = moment_frames(len(scene), scene.frequency_hz)
    return Moments(
        gaps_m=tuple(ego_status_gap(scene, driven, frame) for frame in frames),
        decisions=tuple(_decisions(scene, frame) for frame in frames),
    )


def moment_frames(frames: int, frequency_hz: float) -> range:
    """Which frames of a scene of that many are moments."""
    future = int(np.ceil(FUTURE_S * frequency_hz - 1e-6))
    return range(0, frames - future, max(1, round(MOMENT_S * frequency_hz)))


def ego_status_gap(scene: Scene, driven: Trajectory, frame: int) -> float:
    """Metres between where the ego drives and where its present speed and yaw rate would take it: ADE over 3 s.

    Positions at 0.5, 1.0, ... 3.0 s. The present yaw rate is that of the step into `frame` (out of it for the first).

    Source: "Grounding Driving VLA via Inverse Kinematics", appendix J (the ego-status gap of nuScenes samples).
    """
    poses, before = scene.ego_poses, max(frame, 1)
    yaw_rate = float(wrap_angle(poses[before, 2] - poses[before - 1, 2])) * scene.frequency_hz
    guess = constant_motion(float(scene.ego_speeds_mps[frame]), yaw_rate, GAP_TIMES_S)
    true = relative(poses[frame], driven.resampled(frame / scene.frequency_hz + GAP_TIMES_S).poses)[:, :2]
    return float(np.linalg.norm(guess - true, axis=1).mean())


def constant_motion(speed_mps: float, yaw_rate_radps: float, times_s: Array) -> Float[Array, "n 2"]:
    """Positions after a time at constant speed and yaw rate, in the frame of the start.

    >>> constant_motion(2.0, 0.0, np.array([1.5])).tolist()
    [[3.0, 0.0]]
    """
    turned = yaw_rate_radps * times_s
    chord = speed_mps * times_s * np.sinc(turned / 2 / np.pi)
    return np.stack([chord * np.cos(turned / 2), chord * np.sin(turned / 2)], axis=-1)


def _decisions(scene: Scene, frame: int) -> tuple[Decision, ...]:
    made = (decision_at(scene, frame, horizon) for horizon in HORIZONS_S)
    return tuple(decision for decision in made if decision is not None)  # a moment has all of them


def critical_share(moments: Sequence[Moments]) -> float:
    """Share of vision-critical moments over scenes; 0 where there is no moment."""
    total = sum(len(each) for each in moments)
    return sum(each.critical for each in moments) / total if total else 0.0


def decision_shares(moments: Sequence[Moments]) -> dict[str, dict[str, float]]:
    """Per horizon ('1 s', '2 s', '3 s') the share of each decision; the classes of each axis sum to 1."""
    total = max(sum(len(each) for each in moments), 1)
    return {
        f"{horizon:g} s": {
            name: sum(each.counts(number)[name] for each in moments) / total for name in (*LATERAL, *LONGITUDINAL)
        }
        for number, horizon in enumerate(HORIZONS_S)
    }
