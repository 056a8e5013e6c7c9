"""Which reading of a foreign policy's numbers puts its paths where the car went: the declared one, or another?

A frame that is mixed up shows on straight roads and in bends, units and rate at the speed it begins with.
"""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from policy.foreign.convention import (
    ANGLES_RAD,
    FRAMES,
    HEADINGS,
    OURS,
    RELATIVE_TO,
    UNITS_M,
    Convention,
    derived_headings,
)
from policy.foreign.examination import Asked, Told
from worldmodel.geometry import Array, wrap_angle
from worldmodel.plans import PLAN_TIMES_S

CLEARLY, CLEARLY_M = 2.0, 1.0  # another reading fits this many times better, and by this many metres
TURNS_M = 1.0  # sideways in 4 s; a path that turns less says nothing of left and right
MOVING_MPS = 3.0
SPEED_RATIO = (0.6, 1.6)  # of the first half second against the present speed
RATES_HZ = (1.0, 2.0, 4.0, 5.0, 8.0, 10.0, 20.0)
FITS = (0.8, 1.25)
SKEW_RAD = 0.5  # of headings against the path, on average


def _convention(asked: Asked, answer: dict[str, Any]) -> Convention:
    declared = asked.planner.declared.convention
    return OURS if answer.get("native") or declared is None else declared


def _values(answer: dict[str, Any]) -> Array:
    if answer.get("trajectory") is not None:
        return np.array(answer["trajectory"], np.float64)
    return np.asarray(np.array(answer["samples"], np.float64).mean(axis=0))


def reading_errors(asked: Asked, told: Told) -> dict[tuple[str, str], float]:
    """Mean distance to the driven path over what was said, metres, under every reading of (frame, relative_to)."""
    found = {}
    for frame, relative_to in product(FRAMES, RELATIVE_TO):
        off = []
        for probe, _, answer in told:
            declared = _convention(asked, answer)
            read = replace(declared, frame=frame, relative_to=relative_to)
            said = declared.horizon_s + 1e-6 >= PLAN_TIMES_S
            gaps = read.plan_poses(_values(answer))[:, :2] - probe.driven[:, :2]
            off.append(float(np.hypot(*gaps[said].T).mean()))
        found[frame, relative_to] = float(np.mean(off))
    return found


def fits_the_drives(asked: Asked, told: Told) -> bool:
    """Whether its paths go where the car went, as declared."""
    errors = reading_errors(asked, told)
    declared = _convention(asked, told[0][2])
    here = declared.frame, declared.relative_to
    best = min(errors, key=lambda reading: errors[reading])
    places = "; ".join(probe.place for probe, _, _ in told)
    if errors[here] > CLEARLY * errors[best] and errors[here] > errors[best] + CLEARLY_M:
        name, was, fits = ("frame", here[0], best[0]) if best[0] != here[0] else ("relative_to", here[1], best[1])
        asked.found(
            True,
            "frame" if name == "frame" else "points",
            places,
            f"as declared ({name} {was}) its paths end up {errors[here]:.1f} m from where the car went, on average; read as "
            f"{fits} it is {errors[best]:.1f} m. Declare `{name}: {fits}`, or correct the answer.",
        )
        return False
    turns = [abs(plan.trajectory.poses[-1, 1]) for probe, plan, _ in told if probe.way != "straight"]
    if not turns or max(turns) < TURNS_M:
        asked.found(
            False,
            "frame",
            places,
            "it drives straight on in bends, so whether left and right are mixed up cannot be told.",
        )
    return True


def begins_at_the_present_speed(asked: Asked, told: Told) -> bool:
    """Whether it begins with the present speed: units and rate."""
    ratios = [
        float(np.hypot(*plan.trajectory.poses[0, :2]) / PLAN_TIMES_S[0] / speed)
        for probe, plan, _ in told
        if (speed := probe.observation.speed_mps) is not None and speed > MOVING_MPS
    ]
    if not ratios or SPEED_RATIO[0] <= (ratio := float(np.median(ratios))) <= SPEED_RATIO[1]:
        return True
    declared = _convention(asked, told[0][2])
    fits = [
        f"`units: {unit}`"
        for unit, metres in UNITS_M.items()
        if FITS[0] <= ratio * metres / UNITS_M[declared.units] <= FITS[1]
    ]
    step = declared.times_s[1] - declared.times_s[0] if len(declared.times_s) > 1 else declared.times_s[0]
    fits += [f"`rate_hz: {rate:g}`" for rate in RATES_HZ if FITS[0] <= ratio * step * rate <= FITS[1]]
    asked.found(
        True,
        "units and rate",
        "all moments",
        f"in the first half second it drives {ratio:.2g} times as fast as the car does now. "
        + (
            f"What would fit: {' or '.join(fits)}. Correct the declaration."
            if fits
            else "Check units, rate and origin."
        ),
    )
    return False


def points_along_its_path(asked: Asked, told: Told) -> None:
    """Whether given headings point along the path."""
    declared = _convention(asked, told[0][2])
    if declared.heading == "derived":
        return

    def skew(read: Convention) -> float:
        off = []
        for _, _, answer in told:
            poses = read.plan_poses(_values(answer))
            along = derived_headings(np.vstack([np.zeros(2), poses[:, :2]]))[1:]
            off.append(float(np.abs(wrap_angle(poses[:, 2] - along)).mean()))
        return float(np.mean(off))

    readings = product([one for one in HEADINGS if one != "derived"], ANGLES_RAD)
    off = {reading: skew(replace(declared, heading=reading[0], angles=reading[1])) for reading in readings}
    here, best = off[declared.heading, declared.angles], min(off, key=lambda reading: off[reading])
    if here > SKEW_RAD and here > CLEARLY * off[best]:
        asked.found(
            True,
            "heading",
            "all moments",
            f"as declared (heading {declared.heading}, angles {declared.angles}) it drives {np.degrees(here):.0f} degrees askew; read "
            f"as {best[0]} in {best[1]} it is {np.degrees(off[best]):.0f}. Declare that, or correct the answer.",
        )
