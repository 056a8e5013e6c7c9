"""Is a foreign policy what it declares? Everything is asked and measured.

A blind or a bad policy is no error, and only noted; one that says something else than it declares is.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from policy.foreign.examination import Asked, Probe, Told
from policy.foreign.planner import ForeignPlanner
from policy.foreign.readings import begins_at_the_present_speed, fits_the_drives, points_along_its_path
from worldmodel.geometry import Array, Motion
from worldmodel.plans import PLAN_TIMES_S, Observation

BRUTAL_MPS2 = 15.0  # no road car does that
ASTRAY_M, ASTRAY = 5.0, 3.0  # worse than driving straight on by this much and this many times


def examined(planner: ForeignPlanner, probes: Sequence[Probe], clock: Callable[[], float]) -> Asked:
    """Ask a policy everything.

    Args:
        planner: Started.
        probes: At least one; best some straight and some to each side.
        clock: Seconds, such as `time.perf_counter`.
    """
    asked, told = Asked(planner=planner), []
    for probe in probes:
        before = clock()
        answer = asked.ask(probe.observation, probe.place)
        if answer is not None:
            asked.seconds.append(clock() - before)
            told.append((probe, *answer))
    if not told:
        return asked
    if planner.said_more():
        asked.found(
            True, "garbage", told[-1][0].place, "it goes on writing after its answer; one line per request is needed."
        )
    trusted = begins_at_the_present_speed(asked, told) and fits_the_drives(asked, told)
    points_along_its_path(asked, told)
    if trusted:
        _plausible(asked, told)
    if _repeatable(asked, told[0][0]):
        _stateless(asked, told)
        _reacts(asked, told)
    return asked


def _plausible(asked: Asked, told: Told) -> None:
    """Plans that no car drives, and plans that are much worse than going straight on."""
    for probe, plan, _ in told:
        speeds = np.concatenate([[probe.observation.speed_mps or 0.0], plan.speeds_mps()])
        hardest = float(np.abs(np.diff(speeds)).max() / 0.5)
        if hardest > BRUTAL_MPS2:
            asked.found(
                True,
                "plausibility",
                probe.place,
                f"its speed changes by {hardest:.0f} m/s2; no car does that. Check rate, units and the order of its points.",
            )
    off, straight = (
        np.mean([_off(poses, probe.driven) for probe, poses in pairs])
        for pairs in (
            [(probe, plan.trajectory.poses) for probe, plan, _ in told],
            [(probe, _straight(probe.observation)) for probe, _, _ in told],
        )
    )
    worse = off > ASTRAY * straight and off > straight + ASTRAY_M
    asked.found(
        bool(worse),
        "plausibility",
        "all moments",
        f"its paths are {off:.2f} m from the driven ones on average, going straight on at constant speed {straight:.2f} m"
        + (". Check what its numbers mean." if worse else "."),
    )


def _off(poses: Float[Array, "8 3"], driven: Float[Array, "8 3"]) -> float:
    return float(np.hypot(*(poses[:, :2] - driven[:, :2]).T).mean())


def _straight(observation: Observation) -> Float[Array, "8 3"]:
    return np.column_stack([(observation.speed_mps or 0.0) * PLAN_TIMES_S, np.zeros((len(PLAN_TIMES_S), 2))])


def _repeatable(asked: Asked, probe: Probe) -> bool:
    """Whether the same question and seed give the same answer; and whether other seeds do."""
    randomness = asked.planner.declared.needs.randomness
    asked.poses(probe.observation, probe.place)  # what it may keep is now of this moment
    once, again = (asked.poses(probe.observation, probe.place) for _ in range(2))
    other = asked.poses(probe.observation, probe.place, seed=1)
    if once is None or again is None or other is None:
        return False
    if gap := _gap(again, once):
        asked.found(
            randomness != "unseeded",
            "determinism",
            probe.place,
            f"asked twice in a row with one seed, its answers differ by {gap:.2g} m"
            + (
                ", as declared (randomness unseeded). Pairs cannot share their noise: differences contain it."
                if randomness == "unseeded"
                else f", but randomness is declared as {randomness}. Let the seed decide, or declare `randomness: unseeded`."
            ),
        )
        return False
    if randomness == "none" and (gap := _gap(other, again)):
        asked.found(
            True, "determinism", probe.place, f"another seed moves it by {gap:.2g} m. Declare `randomness: seeded`."
        )
    if randomness == "seeded" and not _gap(other, again):
        asked.found(False, "determinism", probe.place, "another seed changes nothing; it seems to draw nothing.")
    return True


def _stateless(asked: Asked, told: Told) -> None:
    """Whether what was asked in between, or in another order, changes an answer."""
    for probe, plan, _ in reversed(told):
        again = asked.poses(probe.observation, probe.place)
        if again is not None and (gap := _gap(again, plan.trajectory.poses)):
            asked.found(
                True,
                "memory",
                probe.place,
                f"asked again after other questions, its answer differs by {gap:.2g} m: it keeps something between requests. "
                "Every request holds all it may know; answer from that alone.",
            )
            return


def _reacts(asked: Asked, told: Told) -> None:
    """What changes its answers: pictures, motion, words."""
    changes: tuple[tuple[str, Callable[[Observation], Observation], str], ...] = (
        ("pictures", _black, "black pictures change nothing: it does not look. Studies will find no reaction."),
        ("ego motion", _half_as_fast, "half the speed changes nothing: it does not use its own motion."),
        ("instruction", _told_otherwise, "another instruction changes nothing."),
    )
    chosen = {probe.way: (probe, plan) for probe, plan, _ in told}
    for what, change, message in changes:
        if what == "pictures" and not asked.planner.needs_pixels:
            continue
        gaps = []
        for probe, plan in chosen.values():
            changed = asked.poses(change(probe.observation), f"{probe.place}, other {what}")
            gaps += [] if changed is None else [_gap(changed, plan.trajectory.poses)]
        if gaps and not max(gaps):
            asked.found(False, what, "all moments", message)
        elif gaps:
            asked.found(False, what, "all moments", f"it reacts (by up to {max(gaps):.2g} m).")


def _black(observation: Observation) -> Observation:
    return replace(observation, video=np.zeros_like(observation.video))


def _half_as_fast(observation: Observation) -> Observation:
    motion = observation.motion
    if motion is None:
        return observation
    return replace(observation, motion=Motion(deltas=motion.deltas * [0.5, 0.5, 1.0], period_s=motion.period_s))


def _told_otherwise(observation: Observation) -> Observation:
    return replace(observation, instruction="turn right" if "left" in observation.instruction else "turn left")


def _gap(one: Float[Array, "8 3"], other: Float[Array, "8 3"]) -> float:
    return float(np.abs(one - other).max())
