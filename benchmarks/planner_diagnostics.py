"""How do the planners work? Strata, parts of the loss, next visual states against what needs no looking, group tests.

Moments of test scenes are rendered into MOMENTS first, once (about a second each); planners are folders of `detour train policy`,
or folders that hold several. Every planner is asked 7 to 8 times about each moment.

uv run python benchmarks/planner_diagnostics.py MOMENTS assets/planners --out diagnostics.json --markdown diagnostics.md \\
    --plot docs/images/diagnostics.png --sheet docs/images/next_states.png \\
    --store natural=runs/natural/store --store rich=runs/rich/store
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diagnostics_pictures import plot, sheet
from diagnostics_tables import markdown

from policy.answers import Ask
from policy.diagnosis import (
    Subject,
    extreme_facts,
    gain_facts,
    gap_facts,
    gaps_of,
    group_facts,
    hangs_on,
    loss_facts,
    strata_facts,
)
from policy.held_out_moments import RATE_HZ, SEED, HeldOutMoment, held_out_moments, moment_rig
from policy.learned import KIND, LearnedPlanner
from policy.planner_config import PlannerConfig
from policy.probing import Views, other_scenes, plain_plans, probe, redrawing, views_of
from policy.state_diagnosis import baselines_of, diversity_facts, link_facts, state_facts, store_facts
from worldmodel.errors import BadRequest
from worldmodel.model import WorldModel
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.store import Store

DRAWS = 5  # seed of the bootstrap and of the choice of other scenes


def main() -> None:
    """Write JSON, tables and pictures; the tables are printed where no file is named."""
    args = _parser().parse_args()
    torch.set_num_threads(args.threads)
    started = time.perf_counter()
    moments = held_out_moments(args.moments, args.scenes, seed=args.seed, progress=_said)
    tokenizer = WorldModel.from_pretrained(args.model).tokenizer
    planners = trained(args.planners, tokenizer, Ask(samples=args.samples, steps=args.steps))
    data = {name: data_facts(folder, tokenizer, planners[0].config) for name, folder in args.store}
    encoder = planners[0].config.text_encoder
    views = views_of(moments, moment_rig(), tokenizer, encoder)
    subjects = asked(planners, views, args.others, tokenizer)
    found = facts(subjects, moments, views) | {"data": data}
    if args.surprises:
        late = held_out_moments(args.moments, args.surprises, surprised=True, seed=args.seed, progress=_said)
        seen = views_of(late, moment_rig(), tokenizer, encoder)
        found["surprises"] = driving_facts(asked(planners, seen, args.others, tokenizer), late, seen)
    found["made_with"] = vars(args) | {"tokenizer": tokenizer.hash, "seconds": time.perf_counter() - started}
    if args.out:
        _write(args.out, json.dumps(found, indent=1, default=str))
    if args.markdown:
        _write(args.markdown, markdown(found))
    else:
        print(markdown(found))
    if args.plot:
        plot(found, args.plot)
    if args.sheet:
        sheet(subjects, moments, views, tokenizer, args.sheet)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moments", type=Path, help="folder of the rendered moments")
    parser.add_argument("planners", type=Path, nargs="+", help="folders of planners")
    parser.add_argument("--scenes", type=int, default=192)
    parser.add_argument(
        "--surprises", type=int, default=0, help="moments just before the driver notices something, beside them"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the test scenes")
    parser.add_argument("--model", default="assets/default", help="the world model whose tokenizer they see through")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="of denoising, for the diffusion planners")
    parser.add_argument(
        "--others", type=int, default=4, help="scenes whose pictures each moment gets instead of its own"
    )
    parser.add_argument("--store", type=_named, action="append", default=[], help="NAME=FOLDER of training stores")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="all numbers, JSON")
    parser.add_argument("--markdown", type=Path, help="the tables")
    parser.add_argument("--plot", type=Path, help="a figure, PNG")
    parser.add_argument("--sheet", type=Path, help="predicted next states beside the true ones, PNG")
    return parser


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    return name, Path(folder)


def _said(done: int, of: int) -> None:
    if done % 24 == 0 or done == of:
        print(f"rendered {done} of {of} scenes", file=sys.stderr, flush=True)


def trained(folders: list[Path], tokenizer: Tokenizer, ask: Ask) -> list[LearnedPlanner]:
    """All planners in the folders."""
    configs = sorted(path for folder in folders for path in folder.rglob("config.json"))
    found = [path.parent for path in configs if json.loads(path.read_text()).get("kind") == KIND]
    if not found:
        raise BadRequest(f"no planner lies in {', '.join(map(str, folders))}; train one with `detour train policy`.")
    return [LearnedPlanner.from_pretrained(folder, tokenizer, ask=ask) for folder in found]


def asked(planners: list[LearnedPlanner], views: Views, k: int, tokenizer: Tokenizer) -> list[Subject]:
    """Every planner's answers."""
    others, subjects = other_scenes(len(views), k, np.random.default_rng(DRAWS)), []
    redrawn = redrawing(tokenizer)
    for planner in planners:
        started = time.perf_counter()
        answers = probe(planner, views, others, redrawn=redrawn)
        subjects.append(Subject(name=planner.name, config=planner.config, answers=answers))
        print(f"{planner.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return subjects


def driving_facts(subjects: list[Subject], moments: list[HeldOutMoment], views: Views) -> dict[str, Any]:
    """What plans say: strata, differences, parts of the loss, what the plan hangs on."""
    gaps, truth, draws = gaps_of(moments), views.truth, np.random.default_rng(DRAWS)
    plans = plain_plans(views.steps, RATE_HZ) | {subject.name: subject.answers.plans for subject in subjects}
    return {
        "scenes": [moment.scene for moment in moments],
        "gap_m": gaps.tolist(),
        "strata": strata_facts(plans, truth, gaps, draws),
        "gains": gain_facts(subjects, truth, gaps, draws),
        "losses": {subject.name: loss_facts(subject, truth, gaps, draws) for subject in subjects},
        "hangs_on": {subject.name: hangs_on(subject, truth, draws) for subject in subjects},
    }


def facts(subjects: list[Subject], moments: list[HeldOutMoment], views: Views) -> dict[str, Any]:
    """Everything that is measured on the moments of ordinary drives."""
    gaps, draws = gaps_of(moments), np.random.default_rng(DRAWS)
    diversity, baselines = diversity_facts(views), baselines_of(views)
    floors = {name: [row["given_unbiased"] for row in rows] for name, rows in diversity.items()}
    return driving_facts(subjects, moments, views) | {
        "gaps": gap_facts(moments, draws),
        "diversity": diversity,
        "baselines": {name: rows.mean(axis=0).tolist() for name, rows in baselines.items()},
        "states": _kept({s.name: state_facts(s, views, baselines, floors, draws) for s in subjects}),
        "links": _kept({s.name: link_facts(s, views, gaps) for s in subjects}),
        "groups": group_facts(subjects, moments, views.truth),
        "extremes": extreme_facts(subjects, moments, views.truth),
    }


def data_facts(folder: Path, tokenizer: Tokenizer, config: PlannerConfig) -> dict[str, Any]:
    """Gaps and diversity of a training store, or of all stores in a folder."""
    stores = [Store.open(path.parent) for path in sorted(folder.rglob("store.json"))]
    if not stores:
        raise BadRequest(
            f"'{folder}' has no training store; name one, or a folder of several. See `detour train policy`."
        )
    latents = [store.latents(tokenizer) for store in stores]
    return store_facts(stores, latents, config, np.random.default_rng(DRAWS))


def _kept(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text)
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
