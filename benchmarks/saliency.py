"""Where do planners look? Heat maps held against what is on the road, on held-out scenes with somebody ahead in the lane.

uv run python benchmarks/saliency.py SCENES runs/rich runs/natural                # renders the scenes into SCENES first, once
uv run python benchmarks/saliency.py SCENES rich/ik rich/direct --out saliency    # saliency.json and saliency.md
uv run python benchmarks/saliency.py SCENES rich/ik rich/direct --sheet sheet.png --rows 4

A planner is named by its name, its folder, or a folder of planners. Beside every score are the share that area alone gives, the
grid's ceiling, and what is left when weights or pictures are mixed up.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policy.learned import LearnedPlanner
from policy.planner import Planner
from policy.saliency import NotApplicable, cams, views_of
from policy.saliency_patches import Patches, patches_of
from studio.console import counter
from studio.planners import check_planner, make_planner
from studio.runs import commit, versions
from studio.saliency_overlays import overlay, write_png
from studio.saliency_scenes import Shot, held_out_shots, scene_rig
from studio.saliency_scores import MAIN, Scorer, cross_checks, differences, measured
from worldmodel.model import WorldModel

SEED = 23  # of the scenes
SECOND = ("ik", "ik-current", "ik-pooled", "refiner")  # kinds that are compared with 'direct'
THRESHOLD = 2.0


def main() -> None:
    """Write JSON and Markdown, and print the Markdown."""
    args = _arguments()
    torch.set_num_threads(1)
    names = found_planners(args.planners)
    for name in names:
        check_planner(name)
    started = time.process_time()
    shots, without = held_out_shots(args.scenes, args.count, args.seed, progress=counter("scenes"))
    print(f"scenes: {time.process_time() - started:.0f} s of processor time", file=sys.stderr)
    world = WorldModel.from_pretrained(args.model)
    planners = [make_planner(name, world) for name in names]
    if args.sheet is not None:
        write_png(args.sheet, sheet(planners, shots[: args.rows]))
        return
    record = compared(planners, shots, check=args.check, steps=args.steps)
    record |= {"without": without, "seed": args.seed, "commit": commit(), "versions": versions()}
    text = markdown(record)
    print(text)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "saliency.json").write_text(json.dumps(record, indent=1, default=_plain) + "\n")
        (args.out / "saliency.md").write_text(text + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, help="folder of the scenes")
    parser.add_argument("planners", nargs="+", help="names or folders")
    parser.add_argument("--count", type=int, default=100, help="scenes")
    parser.add_argument("--seed", type=int, default=SEED, help="of the scenes, within the test split")
    parser.add_argument("--check", type=int, default=12, help="scenes for integrated gradients and grey patches")
    parser.add_argument("--steps", type=int, default=16, help="of integrated gradients")
    parser.add_argument("--model", default="assets/default", help="whose tokenizer the planners see through")
    parser.add_argument("--out", type=Path, help="folder for saliency.json and saliency.md")
    parser.add_argument("--sheet", type=Path, help="only draw a contact sheet into this PNG")
    parser.add_argument("--rows", type=int, default=4, help="scenes on the sheet")
    return parser.parse_args()


def found_planners(names: Sequence[str]) -> list[str]:
    """Names as they are, and folders of planners as the planners in them."""
    found: list[str] = []
    for name in names:
        inside = [] if (Path(name) / "config.json").exists() else sorted(Path(name).glob("*/config.json"))
        found += [str(config.parent) for config in inside] or [name]
    return found


def compared(planners: Sequence[Planner], shots: Sequence[Shot], *, check: int, steps: int) -> dict[str, Any]:
    """Scores of all planners on the same scenes, differences to `direct` of the same mix, and cross-checks on the first few."""
    front = scene_rig().names.index("front")
    masks = [shot.masks for shot in shots]
    scorer, few = Scorer(masks, front), Scorer(masks[:check], front)
    results: dict[str, Any] = {}
    kinds: dict[str, tuple[str, str]] = {}
    inapplicable: dict[str, str] = {}
    patches: list[Patches] = []
    for planner in planners:
        started = time.process_time()
        try:
            if not isinstance(planner, LearnedPlanner):
                raise NotApplicable("not a learned planner of ours: its gradient is not known. Use grey patches.")
            views = views_of(planner, [s.observation for s in shots], [s.driven for s in shots])
            row = measured(planner, views, scorer)
            if not patches:
                patches = [patches_of(planner, shot.observation) for shot in shots[:check]]
            row["cross_checks"] = cross_checks(planner, views[:check], patches, few, steps=steps)
        except NotApplicable as error:
            inapplicable[planner.name] = str(error)
            continue
        row["seconds"] = time.process_time() - started
        print(f"{planner.name}: {row['seconds']:.0f} s of processor time", file=sys.stderr)
        results[planner.name], kinds[planner.name] = row, (planner.config.label, planner.config.mix)
    names = {kind: name for name, kind in kinds.items()}
    pairs = [
        (name, names["direct", mix])
        for name, (label, mix) in kinds.items()
        if label != "direct" and ("direct", mix) in names
    ]
    return {
        "scenes": [f"{shot.name}@{shot.at_s:g}" for shot in shots],
        "checked_scenes": check,
        "shown": {name: int(shown.sum()) for name, shown in scorer.shown.items()},
        "area_share": {name: float(area.mean()) for name, area in scorer.area.items()},
        "planners": results,
        "inapplicable": inapplicable,
        "differences": differences(results, pairs, scorer),
    }


def spread(row: dict[str, Any], digits: int = 2) -> str:
    """A value and its interval."""
    if row["interval"] is None:
        return f"{row['value']:.{digits}f}"
    low, high = row["interval"]
    return f"{row['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def markdown(record: dict[str, Any]) -> str:
    """Four tables: scores, sanity, differences, cross-checks."""
    parts = [_lead(record), _scores(record), _sanity(record)]
    parts += [_differences(record)] if record["differences"] else []
    parts += [_ways(record), _crossed(record)]
    parts += [f"`{name}`: not applicable: {reason}" for name, reason in record["inapplicable"].items()]
    return "\n\n".join(parts)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"**{title}**", "", *lines])


def _lead(record: dict[str, Any]) -> str:
    shares = ", ".join(f"{name} {share:.3f}" for name, share in record["area_share"].items())
    return (
        f"{len(record['scenes'])} held-out scenes with somebody ahead in the lane ({record.get('without', 0)} had nobody at any of their "
        f"moments), 95 % bootstrap intervals over scenes. A pointing ratio is the share of the heat on the target over the target's "
        f"share of the picture: 1 is what a map without knowledge gets, {THRESHOLD:g} is the threshold. Area shares: {shares}."
    )


def _scores(record: dict[str, Any]) -> str:
    rows = []
    for name, row in record["planners"].items():
        users, ahead, wide = (row["scores"][target] for target in ("users", "ahead", "everywhere"))
        small = ahead["sizes"].get("smaller")
        rows.append(
            [
                f"{name}, {row['main_layer']}",
                spread(users["pm_over_area"]),
                f"{users['grid_ceiling'] / users['area_share']:.1f}",
                spread(ahead["pm_over_area"]),
                f"{ahead['grid_ceiling'] / ahead['area_share']:.1f}",
                "-" if small is None else f"{spread(small)}, n {small['images']}",
                spread(wide["pm_over_area"]),
                f"{users['ap']['value']:.3f} / {users['ap']['random']:.3f}",
                f"{users['iou_top20']['value']:.3f} / {users['iou_top20']['random']:.3f} / {users['iou_top20']['ceiling']:.3f}",
                f"{users['f1_top20']['value']:.3f} / {users['f1_top20']['random']:.3f} / {users['f1_top20']['ceiling']:.3f}",
                f"{users['zero_maps']:.0%}",
            ]
        )
    head = [
        "planner, layer",
        "road users",
        "grid's best",
        "in the lane",
        "grid's best",
        "in the lane, smaller than a cell",
        "all cameras",
        "AP / random",
        "IoU top 20 % / random / best",
        "F1 top 20 % / random / best",
        "maps without heat",
    ]
    return _table("Pointing ratios of Grad-CAM, front camera unless said otherwise", head, rows)


def _sanity(record: dict[str, Any]) -> str:
    rows = []
    for name, row in record["planners"].items():
        rows += [
            [
                name,
                f"{check}, {one['tries']}",
                spread(one["users"]["pm_over_area"]),
                f"{spread(one['users']['lost'])}, {one['users']['above']}",
                spread(one["ahead"]["pm_over_area"]),
                f"{spread(one['ahead']['lost'])}, {one['ahead']['above']}",
                f"{one['correlation']:.2f}",
                f"{one['zero_maps']:.0%}",
            ]
            for check, one in row["sanity"].items()
        ]
    head = ["planner", "in disorder", "road users", "lost", "in the lane", "lost", "rank correlation", "no heat"]
    return _table(
        "The same maps with weights or pictures in disorder, and how much of the ratio that takes", head, rows
    )


def _differences(record: dict[str, Any]) -> str:
    rows = [
        [
            f"{row['planner']} minus {row['minus']}",
            *(spread(row[target]) for target in ("users", "ahead", "everywhere")),
        ]
        for row in record["differences"]
    ]
    return _table(
        "Differences of pointing ratios, paired by scene",
        ["planners", "road users", "in the lane", "all cameras"],
        rows,
    )


def _ways(record: dict[str, Any]) -> str:
    rows = [
        [name, layer, how, spread(one["users"]), spread(one["ahead"]), f"{one['zero_maps']:.0%}"]
        for name, row in record["planners"].items()
        for layer, ways in row["layers"].items()
        for how, one in ways.items()
    ]
    return _table("Other layers and ways", ["planner", "layer", "way", "road users", "in the lane", "no heat"], rows)


def _crossed(record: dict[str, Any]) -> str:
    rows = [
        [name, method, spread(one["users"]), spread(one["ahead"]), f"{one['correlation']:.2f}", _extra(one)]
        for name, row in record["planners"].items()
        for method, one in row["cross_checks"].items()
    ]
    head = ["planner", "method", "road users", "in the lane", f"rank correlation with {MAIN}", "note"]
    return _table(f"Cross-checks on {record['checked_scenes']} of the scenes", head, rows)


def _extra(one: dict[str, Any]) -> str:
    if "error" in one:
        return f"completeness error {one['error']:.1%}"
    return f"largest effect {one['effect_m']:.2f} m"


def sheet(planners: Sequence[Planner], shots: Sequence[Shot]) -> np.ndarray:
    """A contact sheet: scenes below each other; the front camera as it is, then each planner's heat."""
    seeing = [p for p in planners if isinstance(p, LearnedPlanner) and p.needs_pixels]
    front = scene_rig().names.index("front")
    heats = []
    for planner in seeing:
        views = views_of(planner, [s.observation for s in shots], [s.driven for s in shots])
        heats.append(next(iter(cams(planner, views, MAIN).values())))
    rows = []
    for number, shot in enumerate(shots):
        maps = [None, *(heat[number] for heat in heats)]
        titles = [f"{shot.name} @ {shot.at_s:g} s", *(planner.name for planner in seeing)]
        rows.append(np.concatenate([_front(shot, m, t, front) for m, t in zip(maps, titles, strict=True)], axis=2))
    return np.concatenate(rows, axis=1)


def _front(shot: Shot, maps: np.ndarray | None, title: str, front: int) -> np.ndarray:
    rig = type(shot.observation.rig)(cameras=(shot.observation.rig.cameras[front],))
    keep = slice(front, front + 1)
    tile = overlay(
        shot.observation.video[-1][keep],
        rig,
        None if maps is None else maps[keep],
        title=title,
        users=shot.masks.users[keep],
        ahead=shot.masks.ahead[keep],
    )
    return np.pad(tile, ((0, 0), (0, 4), (0, 4)))


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no plain form")


if __name__ == "__main__":
    main()
