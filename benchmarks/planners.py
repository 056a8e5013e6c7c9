"""How well do the planners plan and drive? Every planner at the same moments and on the same courses of test seeds.

Plans at one moment per scene: errors at 1 to 4 s, collisions, decisions, and all of it where eyes are needed and where not. Then closed
loop in the town. Intervals and paired differences are over scenes. Scenes, answers and drives are kept in FOLDER: a stopped run goes
on, and more scenes or planners can follow.

uv run python benchmarks/planners.py FOLDER --planner rich/ik --planner natural/ik --out planners.json > planners.md

`--planner` takes names and folders as `detour drive` does and may be repeated. Rows that every table has: stand still, constant velocity,
constant turn rate, joint, and the privileged expert (of plans: the driven path itself).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policy.learned import LearnedPlanner
from policy.planner import Planner
from studio.closed_loop import SECONDS, drives_of, held_out_courses
from studio.open_loop import Answers, Errors, answers_of, driven_answers, errors_of, majority_right
from studio.open_loop_scenes import DRIVE, SEED, SURPRISE, DrivenMoment, driven_moments, gaps_of
from studio.planner_summary import compared, drives_summary, open_loop_summary, strata_summary
from studio.planner_table import tables
from studio.planners import check_planner, make_planner
from studio.runs import commit
from worldmodel.model import WorldModel
from worldmodel.town.records.moments import CRITICAL_M

ALWAYS = ("stand-still", "constant-velocity", "constant-turn-rate", "joint")
SLOW = ("imagining",)  # asked at moments and not on courses: it imagines 4 s for every plan


def main() -> None:
    """Print Markdown tables; write all numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where scenes, answers and drives are kept")
    parser.add_argument("--planner", action="append", default=[], help="a name or folder; may be repeated")
    parser.add_argument("--only", action="store_true", help="leave out the rows that every table has, but the expert's")
    parser.add_argument("--drives", type=int, default=176, help="moments of drives, one per scene")
    parser.add_argument("--surprises", type=int, default=66, help="moments of surprises, one per scene")
    parser.add_argument("--courses", type=int, default=22, help="of the closed loop; 0 leaves it out")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a course")
    parser.add_argument("--seed", type=int, default=SEED, help="where in the range of test seeds moments begin")
    parser.add_argument("--samples", type=int, default=8, help="plans per answer, by those that draw")
    parser.add_argument("--model", default="assets/default", help="the world model")
    parser.add_argument("--out", type=Path, help="JSON with every number")
    args = parser.parse_args()
    torch.set_num_threads(1)
    world = WorldModel.from_pretrained(args.model)
    names = [*(() if args.only else ALWAYS), *args.planner]
    for name in names:
        check_planner(name)
    content = measured(args, names, world)
    if args.out:
        partial = args.out.with_suffix(".part")
        partial.write_text(json.dumps(content))
        os.replace(partial, args.out)
    print(tables(content))


def measured(args: argparse.Namespace, names: Sequence[str], world: WorldModel) -> dict[str, Any]:
    """Everything, as plain data."""
    moments = driven_moments(args.folder / "moments", args.drives, args.surprises, seed=args.seed, progress=_rendered)
    gaps = gaps_of(moments)
    answers = {}
    for name in names:
        found = kept_answers(name, moments, world, args)
        answers[found.planner] = found
    driven = driven_answers(moments)
    answers[driven.planner] = driven
    errors = {name: errors_of(one, moments) for name, one in answers.items()}
    drives = closed_loop(names, world, args) if args.courses else {}
    kinds = {kind: np.array([moment.kind == kind for moment in moments]) for kind in (DRIVE, SURPRISE)}
    main = kinds[DRIVE]
    return {
        "about": {
            "commit": commit(), "model": world.hash, "seed": args.seed, "samples": args.samples, "drives": args.drives,
            "surprises": args.surprises, "courses": args.courses, "course_s": args.seconds, "critical_m": CRITICAL_M,
            "critical": float((gaps[main] > CRITICAL_M).mean()),
            "driven_hits": float(errors[driven.planner].hits[main, -1].mean()),
            "majority_right": majority_right([moment for moment in moments if moment.kind == DRIVE]).tolist(),
        },
        "moments": [moment.facts() for moment in moments],
        "answers": {name: one.to_json() | listed(errors[name]) for name, one in answers.items()},
        "open_loop": {name: open_loop(one, errors[name], kinds) for name, one in answers.items()},
        "strata": strata_summary(errors, gaps, main),
        "drives": drives,
        "closed_loop": {name: drives_summary(rows) for name, rows in drives.items()},
        "differences": compared(errors, gaps, {kind: rows for kind, rows in kinds.items() if rows.any()}, drives),
    }  # fmt: skip


def open_loop(answers: Answers, errors: Errors, kinds: dict[str, np.ndarray]) -> dict[str, Any]:
    """The summary of one planner's answers."""
    found: dict[str, Any] = {kind: open_loop_summary(errors, rows) for kind, rows in kinds.items() if rows.any()}
    return found | {"failed": len(answers.failures), "says_decisions": answers.says_decisions}


def listed(errors: Errors) -> dict[str, Any]:
    """Errors of every moment as plain values; null where the planner failed."""
    arrays = {"ade_m": errors.ade_m, "fde_m": errors.fde_m, "hits": errors.hits, "right": errors.right}
    return {name: [row.tolist() if np.isfinite(row).all() else None for row in rows] for name, rows in arrays.items()}


def kept_answers(name: str, moments: Sequence[DrivenMoment], world: WorldModel, args: argparse.Namespace) -> Answers:
    """A planner's answers; those that the folder has are not asked for again."""
    planner = make_planner(name, world, args.samples)
    about = f"{planner.name}-{weights_of(planner, world)}-{args.samples}-{args.seed}-{args.drives}-{args.surprises}"
    path = args.folder / "answers" / ("".join(c if c.isalnum() or c in "-." else "_" for c in about) + ".json")
    if not path.exists():
        started = time.perf_counter()
        found = answers_of(planner, moments)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(found.to_json()))
        os.replace(partial, path)
        print(
            f"{planner.name}: asked at {len(moments)} moments, {time.perf_counter() - started:.0f} s", file=sys.stderr
        )
    return Answers.from_json(json.loads(path.read_text()))


def weights_of(planner: Planner, world: WorldModel) -> str:
    """What tells one planner of a name from another."""
    return planner.hash if isinstance(planner, LearnedPlanner) else world.hash


def closed_loop(names: Sequence[str], world: WorldModel, args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Drives of everybody on the same courses."""
    courses, found = held_out_courses(args.courses, seconds=args.seconds), {}
    for name in (*(name for name in names if name not in SLOW), "expert"):
        started = time.perf_counter()
        drives = drives_of(name, courses, args.folder / "drives", model=world, samples=args.samples)
        found[drives[0]["driver"]] = drives
        mean = np.mean([drive["driving_score"] for drive in drives])
        print(f"{name}: {mean:.1f} on {len(courses)} courses, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return found


def _rendered(number: int, count: int) -> None:
    if number % 20 == 0:
        print(f"rendered {number} of {count} scenes", file=sys.stderr)


if __name__ == "__main__":
    main()
