"""How far are the planners from what the town's expert drives? ADE and FDE over 4 s on scenes of the test seeds, one moment each.

uv run python benchmarks/planners.py TEST --scenes 96                 # renders them into TEST first, once
uv run python benchmarks/planners.py TEST runs/rich runs/natural      # with all planners trained into these folders
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval_fid_fvd.statistics import bootstrap_interval
from policy.answers import Ask
from policy.baselines import ConstantTurnRatePlanner, ConstantVelocityPlanner
from policy.learned import LearnedPlanner
from policy.planner import JointPlanner, Planner
from policy.training.labels import Label, known_motion, labels_of
from worldmodel.decisions import LATERAL, LONGITUDINAL, decisions_of
from worldmodel.geometry import Motion
from worldmodel.model import WorldModel
from worldmodel.plans import Observation
from worldmodel.town.mixes import scene_list
from worldmodel.town.records.moments import CRITICAL_M
from worldmodel.town.scene import town_rig
from worldmodel.training.store import Store
from worldmodel.training.town_store import town_store

PIECE = 24  # scenes per store, so that an interrupted run goes on
SEEN_S, SCENE_S = 2.0, 6.0
SEED = 11  # of the scenes


def main() -> None:
    """Print a Markdown table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path, help="folder of the test scenes")
    parser.add_argument("runs", type=Path, nargs="*", help="folders of `detour train policy`")
    parser.add_argument("--scenes", type=int, default=192)
    parser.add_argument("--model", default="assets/default", help="the world model")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="of denoising, for the diffusion planners")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    stores = test_stores(args.test, args.scenes)
    world = WorldModel.from_pretrained(args.model)
    planners: list[Planner] = [ConstantVelocityPlanner(), ConstantTurnRatePlanner(), JointPlanner(world, args.samples)]
    ask = Ask(samples=args.samples, steps=args.steps)
    trained = [config.parent for run in args.runs for config in sorted(run.glob("*/config.json"))]
    planners += [LearnedPlanner.from_pretrained(folder, world.tokenizer, ask=ask) for folder in trained]
    moments = [moment for store in stores for moment in moments_of_store(store)][: args.scenes]
    results = {planner.name: measure(planner, moments) for planner in planners}
    print(json.dumps(facts(results, moments), indent=1) if args.json else markdown(results, moments))


def test_stores(folder: Path, scenes: int) -> list[Store]:
    """Stores of the test scenes; those that are missing are made."""
    pairs, stores = scene_list(-(-scenes // PIECE) * PIECE, SEED, split="test"), []
    for number in range(0, len(pairs), PIECE):
        piece = folder / f"piece-{number // PIECE}"
        if not (piece / "store.json").exists():
            print(f"rendering scenes {number} to {number + PIECE} of {len(pairs)}", file=sys.stderr)
            town_store(
                piece,
                pairs[number : number + PIECE],
                town_rig(3, 128, 64),
                video_s=SEEN_S,
                scene_s=SCENE_S,
                frequency_hz=8.0,
            )
        stores.append(Store.open(piece))
    return stores


def moments_of_store(store: Store) -> list[tuple[Observation, Label]]:
    """Of each scene what is seen in its first two seconds, and what is driven then."""
    now, found = store.video.shape[1] - 1, []
    for clip in range(len(store)):
        label = labels_of(known_motion(store, clip), [now])[now]
        words = store.words
        text = store.texts[clip] if words is None else words[clip].at("instruction", now / store.frequency_hz)
        seen = Observation(
            video=np.array(store.video[clip]),
            rig=store.rig,
            motion=Motion(deltas=np.array(store.deltas[clip, :now]), period_s=1 / store.frequency_hz),
            frequency_hz=store.frequency_hz,
            instruction=text,
        )
        found.append((seen, label))
    return found


def measure(planner: Planner, moments: list[tuple[Observation, Label]]) -> dict[str, np.ndarray]:
    """One value per moment: ADE, FDE, right decisions at 2 s, milliseconds."""
    rows = []
    for seen, label in moments:
        started = time.perf_counter()
        plan = planner.plan(seen, seed=0)
        spent = time.perf_counter() - started
        distances = np.linalg.norm(plan.trajectory.poses[:, :2] - label.poses[:, :2], axis=1)
        made = decisions_of(plan, start_mps=seen.speed_mps)[1]
        right = [LATERAL.index(made.lateral), LONGITUDINAL.index(made.longitudinal)] == label.decisions[1].tolist()
        rows.append((distances.mean(), distances[-1], right, 1000 * spent))
    print(f"{planner.name}: {np.mean([row[0] for row in rows]):.2f} m", file=sys.stderr)
    return dict(zip(("ade_m", "fde_m", "decision", "ms"), np.array(rows, float).T, strict=True))


def critical(moments: list[tuple[Observation, Label]]) -> np.ndarray:
    """Which moments are vision-critical."""
    return np.array([label.gap_m > CRITICAL_M for _, label in moments])


def markdown(results: dict[str, dict[str, np.ndarray]], moments: list[tuple[Observation, Label]]) -> str:
    """The table: means, with 95 % bootstrap intervals over scenes."""
    need = critical(moments)
    lines = [
        f"{len(moments)} scenes of the test seeds, one moment each, {need.mean():.0%} of them vision-critical; 95 % bootstrap intervals.",
        "",
        "| planner | ADE m | FDE m | ADE vision-critical | ADE ego-dominated | decision at 2 s right | ms, median |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        cells = [spread(row["ade_m"]), spread(row["fde_m"]), spread(row["ade_m"][need]), spread(row["ade_m"][~need])]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['decision'].mean():.0%} | {np.median(row['ms']):.0f} |")
    return "\n".join(lines)


def spread(values: np.ndarray) -> str:
    """A mean and its interval."""
    low, high = bootstrap_interval(values, np.random.default_rng(0))
    return f"{values.mean():.2f} ({low:.2f}–{high:.2f})"


def facts(results: dict[str, dict[str, np.ndarray]], moments: list[tuple[Observation, Label]]) -> dict[str, Any]:
    """Every value."""
    rows = {name: {key: values.tolist() for key, values in row.items()} for name, row in results.items()}
    return {"vision_critical": critical(moments).tolist(), "planners": rows}


if __name__ == "__main__":
    main()
