"""Who drives how well? Driving score per situation of planners in the town, with bootstrap intervals over scenes.

uv run python benchmarks/town_planners.py --scenes 12
"""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import numpy as np

from eval_fid_fvd.driving_score import DEFAULT_FORM, PENALTIES, summary
from eval_fid_fvd.navsim import mean_scores
from eval_fid_fvd.statistics import bootstrap_interval, wilcoxon_p
from policy.baselines import ConstantTurnRatePlanner, ConstantVelocityPlanner, PrivilegedExpert, StandStillPlanner
from policy.driving import Drive, drive
from policy.town_drive import ENDS, Course
from worldmodel.town.traffic import SITUATIONS

DRIVERS = (StandStillPlanner, ConstantVelocityPlanner, ConstantTurnRatePlanner, PrivilegedExpert)
FIRST_SEED = 2_000_000  # where the town's test seeds begin


def main() -> None:
    """Print a Markdown table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=12, help="per situation")
    parser.add_argument("--seconds", type=float, default=15.0, help="given per scene, after 2 s of the expert")
    parser.add_argument("--situation", action="append", help="only these; may be repeated")
    parser.add_argument("--form", default=DEFAULT_FORM, choices=sorted(PENALTIES), help="of CARLA's penalty")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    courses = [
        Course(situation=situation, seed=FIRST_SEED + number, seconds=args.seconds, form=args.form)
        for number in range(args.scenes)
        for situation in args.situation or SITUATIONS
    ]
    drives = []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for number, made in enumerate(pool.map(driven, courses), start=1):
            drives += made
            print(f"{number} of {len(courses)} scenes", file=sys.stderr)
    print(json.dumps(facts(drives), indent=1) if args.json else markdown(drives, args.seconds, args.form))


def driven(course: Course) -> list[Drive]:
    """One course by everybody, without the plans (they are large)."""
    return [replace(drive(driver(), course), plans=()) for driver in DRIVERS]


def of(drives: list[Drive], driver: str, situation: str | None = None) -> list[Drive]:
    """The drives of one driver (in one situation)."""
    return [one for one in drives if one.driver == driver and situation in (None, one.course.situation)]


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % of the resampled means."""
    return bootstrap_interval(values, np.random.default_rng(0)) if len(values) > 1 else (values[0], values[0])


def cell(drives: list[Drive]) -> str:
    """Mean driving score and its interval."""
    values = np.array([one.score.value for one in drives])
    low, high = interval(values)
    return f"{values.mean():.1f} ({low:.1f}–{high:.1f})"


def row(head: str, cells: list[str]) -> str:
    """A line of a table."""
    return f"| {head} | " + " | ".join(cells) + " |"


def markdown(drives: list[Drive], seconds: float, form: str) -> str:
    """The table by situation, and the parts of the score over all scenes."""
    names = [driver.name for driver in DRIVERS]
    situations = list(dict.fromkeys(one.course.situation for one in drives))
    lines = [
        f"Driving score (CARLA form {form}, 0 to 100), {len(of(drives, names[0], situations[0]))} scenes per situation, {seconds:g} s "
        "each, 95 % bootstrap interval over scenes.",
        "",
        row("situation", names),
        "|---|" + "---|" * len(names),
    ]
    lines += [row(situation, [cell(of(drives, name, situation)) for name in names]) for situation in situations]
    lines += [row("**all**", [f"**{cell(of(drives, name))}**" for name in names]), ""]
    table = {name: totals(of(drives, name)) for name in names}
    lines += [row("over all scenes", names), "|---|" + "---|" * len(names)]
    for part in table[names[0]]:
        lines.append(row(part, [f"{table[name][part]:.3g}" if part in table[name] else "–" for name in names]))
    lines += ["", *(f"{a} < {b}: mean difference {gap[0]:.1f} ({gap[1]:.1f}–{gap[2]:.1f}), Wilcoxon p = {p:.2g}"
                    for a, b, gap, p in differences(drives, names))]  # fmt: skip
    return "\n".join(lines)


def totals(drives: list[Drive]) -> dict[str, float]:
    """CARLA's and NAVSIM's numbers over scenes, and how many drives had no infraction."""
    found = summary([one.score for one in drives], [one.conduct for one in drives])
    found |= {f"NAVSIM {name}": value for name, value in mean_scores([one.navsim for one in drives]).items()}
    found["NAVSIM epdms"] = float(np.mean([one.epdms for one in drives]))
    for end in ENDS:
        found[f"ended by {end}"] = float(np.mean([one.end == end for one in drives]))
    return found


def differences(drives: list[Drive], names: list[str]) -> list[tuple[str, str, tuple[float, float, float], float]]:
    """Paired over scenes: the better driver's score minus the worse one's, with its interval and a rank test."""
    means = {name: np.array([one.score.value for one in of(drives, name)]) for name in names}
    order = sorted(names, key=lambda name: float(means[name].mean()))
    found = []
    for worse, better in pairwise(order):
        gap = means[better] - means[worse]
        found.append((worse, better, (float(gap.mean()), *interval(gap)), wilcoxon_p(means[better], means[worse])))
    return found


def facts(drives: list[Drive]) -> dict[str, Any]:
    """Every drive's numbers, and the totals."""
    rows = [
        {
            "situation": one.course.situation,
            "seed": one.course.seed,
            "driver": one.driver,
            "driving_score": one.score.value,
            "route_completion": one.score.completion,
            "penalty": one.score.penalty,
            "end": one.end,
            "pdms": one.navsim.pdms,
            "epdms": one.epdms,
            "infractions": [asdict(infraction) for infraction in one.conduct.infractions],
        }
        for one in drives
    ]
    return {"drives": rows, "totals": {driver.name: totals(of(drives, driver.name)) for driver in DRIVERS}}


if __name__ == "__main__":
    main()
