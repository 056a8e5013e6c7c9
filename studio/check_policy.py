"""`detour check-policy`: is a policy of your own what it declares? Asked about drives whose future is known."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policy.foreign.examination import Finding, Probe
from policy.foreign.planner import ForeignPlanner
from policy.foreign.probes import examined
from policy.foreign.sources import source_of
from studio.moments import Wish, moment_of
from worldmodel.errors import ClipTooShort
from worldmodel.geometry import Trajectory
from worldmodel.io.lerobot import Dataset, find_clip
from worldmodel.plans import PLAN_TIMES_S

CLIPS = Path(__file__).resolve().parent.parent / "assets" / "clips"
HISTORY_S, EVERY_S = 2.0, 0.5
HORIZON_S = float(PLAN_TIMES_S[-1])
MOVING_MPS = 4.0
STRAIGHT_RAD, BEND_RAD = 0.05, 0.2  # heading change over 4 s
OF_EACH = 2  # moments per way


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A moment of a dataset, known by its motion alone."""

    episode: int
    at_s: float
    turned_rad: float


def choose_probes(dataset: Dataset) -> list[Probe]:
    """The straightest moments of a dataset and its sharpest bends to each side, at most OF_EACH of one way, one per drive and way.

    Raises:
        ClipTooShort: if no drive has 2 s of past and 4 s of future with motion.
    """
    found = [one for episode in range(dataset.episodes) for one in _candidates(dataset, episode)]
    if not found:
        raise ClipTooShort(
            f"no clip of '{dataset.path}' has {HISTORY_S:g} s of past, {HORIZON_S:g} s of future and ego motion above {MOVING_MPS:g} "
            "m/s. Name other clips with --clips."
        )
    straight = sorted((one for one in found if abs(one.turned_rad) < STRAIGHT_RAD), key=lambda one: abs(one.turned_rad))
    bends = sorted((one for one in found if abs(one.turned_rad) > BEND_RAD), key=lambda one: -abs(one.turned_rad))
    chosen = [(one, "straight") for one in _spread(straight)]
    chosen += [(one, "left") for one in _spread([one for one in bends if one.turned_rad > 0])]
    chosen += [(one, "right") for one in _spread([one for one in bends if one.turned_rad < 0])]
    return [_probe(dataset, one, way) for one, way in chosen or [(found[0], "neither straight nor a bend")]]


def _candidates(dataset: Dataset, episode: int) -> list[_Candidate]:
    motion, rate = dataset.motion(episode), dataset.frequency_hz
    if motion is None:
        return []
    whole, found = motion.trajectory(), []
    first, last = HISTORY_S, (len(motion)) / rate - HORIZON_S
    for at_s in np.arange(first, last + 1e-9, EVERY_S):
        now = round(at_s * rate)
        if motion.speeds_mps[now - 1] < MOVING_MPS:
            continue
        ahead = np.unwrap(whole.poses[now : now + round(HORIZON_S * rate) + 1, 2])
        found.append(_Candidate(episode=episode, at_s=float(at_s), turned_rad=float(ahead[-1] - ahead[0])))
    return found


def _spread(candidates: list[_Candidate]) -> list[_Candidate]:
    """The first OF_EACH of different drives."""
    first: dict[int, _Candidate] = {}
    for one in candidates:
        first.setdefault(one.episode, one)
    return list(first.values())[:OF_EACH]


def _probe(dataset: Dataset, one: _Candidate, way: str) -> Probe:
    rate = dataset.frequency_hz
    wish = Wish(history=round(HISTORY_S * rate), chunk=1, future_s=HORIZON_S)
    moment = moment_of(dataset, one.episode, one.at_s, wish)
    driven: Trajectory | None = moment.driven()
    assert driven is not None
    return Probe(
        observation=moment.observation(),
        driven=driven.resampled(PLAN_TIMES_S).poses,
        way=way,
        place=f"clip '{moment.clip.id}' at {one.at_s:g} s ({way})",
    )


def check_policy(spec: str, clips: str = str(CLIPS)) -> dict[str, Any]:
    """Ask a policy about drives whose future is known, and say everything that is wrong with it.

    Args:
        spec: As `policy.foreign.sources` says.
        clips: A dataset with motion.

    Returns:
        `name`, `declares`; `problems` and `notes`, each with `check`, `place` and `message`; `latency_ms` (first, median, p95);
        `moments` that it was asked about.

    Raises:
        BadPolicy: if it cannot be started or does not declare what it must.
        BadDataset, ClipTooShort: if the clips cannot be used.
    """
    planner = ForeignPlanner(source_of(spec))
    try:
        probes = choose_probes(find_clip(clips)[0])
        asked = examined(planner, probes, time.perf_counter)
        declared = planner.declared
        return {
            "policy": spec,
            "name": planner.name,
            "declares": {"convention": _plain(declared.convention), "needs": _plain(declared.needs)},
            "moments": [probe.place for probe in probes],
            "problems": [_row(one) for one in asked.findings if one.problem],
            "notes": [_row(one) for one in asked.findings if not one.problem],
            "latency_ms": _latency(asked.seconds),
        }
    finally:
        planner.close()


def _plain(value: Any) -> dict[str, Any] | None:
    return None if value is None else {name: given for name, given in vars(value).items() if given is not None}


def _row(one: Finding) -> dict[str, str]:
    return {"check": one.check, "place": one.place, "message": one.message}


def _latency(seconds: list[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    later = np.array(seconds[1:] or seconds) * 1000
    return {
        "first": seconds[0] * 1000,
        "median": float(np.median(later)),
        "p95": float(np.percentile(later, 95)),
        "answers": len(seconds),
    }


def lines_of(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    lines = [f"{report['name']}: asked about {len(report['moments'])} moments"]
    lines += [f"  problem ({one['check']}): {one['message']}\n    {one['place']}" for one in report["problems"]]
    lines += [f"  note ({one['check']}): {one['message']}" for one in report["notes"]]
    if report["latency_ms"] is not None:
        lines.append(
            "  answers take {median:.0f} ms (95 %: {p95:.0f} ms, first {first:.0f} ms)".format(**report["latency_ms"])
        )
    return [*lines, f"{len(report['problems']) or 'no'} problem{'s' * (len(report['problems']) != 1)} found"]
