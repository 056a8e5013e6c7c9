"""Do the town's scores notice damage, and more of it the more there is? Known damage at four severities against other real clips.

The clips are those of `horizon.py` (test seeds, never trained on; from 4 s before now to 2 s after), five times 8 frames of each
camera, in two halves of other drives. Each half is damaged in turn and compared with the other as it is, and the two distances are averaged: so
what the halves happen to differ in neither adds to the damage nor hides it. The floor is the distance of the undamaged
halves. Swapped cameras go through the consistency of several cameras.

    uv run python benchmarks/corruptions.py horizon-clips --out corruptions.json --plot docs/images/corruptions.png

About 5 minutes of one core where the clips are there; rendering them takes 15 more.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from horizon import Wanted, town_clips

from eval_fid_fvd.cards import metric_name
from eval_fid_fvd.consistency import disagreement, overlaps_of
from eval_fid_fvd.corruptions import CORRUPTIONS, corrupted
from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.frechet import frechet_distance
from eval_fid_fvd.horizon import ENDS_S
from eval_fid_fvd.networks.town import town_r2p1d
from eval_fid_fvd.statistics import bootstrap_interval
from worldmodel.geometry import Array, Rig
from worldmodel.town.mixes import scene_list
from worldmodel.town.scene import town_rig

FRAMES, PICTURE_STEP = 8, 4  # frames of a clip; frames between its pictures
STARTS = (0, 8, 16, 24, 32)  # where the clips of a drive begin; the fastest takes 16 frames from there on
SWAPS = {"none": (0, 1, 2), "left and right": (2, 1, 0), "left and front": (1, 0, 2), "all in turn": (1, 2, 0)}
SPLITS = 50  # random halves of all real clips
Pair = tuple[Array, Array]  # of both halves, [scenes, samples, width] each


@dataclass(frozen=True, eq=False, kw_only=True)
class Features:
    """Of one set: `fvd` [scenes, clips, width] of clips, `fid` [scenes, clips * pictures, width] of pictures."""

    fvd: Array
    fid: Array


def features_of(videos: Sequence[Array], networks: FeatureNetworks, kind: str = "", amount: float = 0.0) -> Features:
    """Features of videos [time, camera, 3, h, w], damaged where a kind is given; the draws of a clip do not depend on the amount."""
    assert networks.clips is not None
    assert networks.pictures is not None
    clips, pictures = [], []
    for number, video in enumerate(videos):
        for start, camera in product(STARTS, range(video.shape[1])):
            part = video[start:, camera]
            if kind:
                draw = np.random.default_rng([number, camera, start])
                part = corrupted(part, kind, amount, frames=FRAMES, generator=draw)
            clips.append(networks.clips.features(part[None, :FRAMES])[0])
            pictures.append(networks.pictures.features(part[:FRAMES:PICTURE_STEP]))
    return Features(
        fvd=np.stack(clips).reshape(len(videos), -1, networks.clips.width),
        fid=np.stack(pictures).reshape(len(videos), -1, networks.pictures.width),
    )


def distance(a: Array, b: Array) -> float:
    """Fréchet distance of two sets [scenes, samples, width]."""
    return frechet_distance(a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]))


def measured(damaged: Pair, real: Pair, resamples: int) -> dict[str, Any]:
    """Mean distance of each damaged half from the other, real one, with its interval: 1.96 spreads of resampled scenes."""

    def of(rows: Sequence[Array]) -> float:
        return 0.5 * sum(distance(damaged[i][rows[i]], real[1 - i][rows[1 - i]]) for i in (0, 1))

    value, draw = of([np.arange(len(half)) for half in real]), np.random.default_rng(0)
    found = [of([draw.integers(len(half), size=len(half)) for half in real]) for _ in range(resamples)]
    margin = 1.96 * float(np.std(found, ddof=1))
    return {"value": value, "interval": [value - margin, value + margin]}


def halves(a: Array, b: Array) -> dict[str, float]:
    """Distances of random halves of all real scenes: the mean and the largest of SPLITS."""
    rows, draw = np.concatenate([a, b]), np.random.default_rng(1)
    found = []
    for _ in range(SPLITS):
        order = draw.permutation(len(rows))
        found.append(distance(rows[order[: len(a)]], rows[order[len(a) :]]))
    return {"mean": float(np.mean(found)), "largest": float(np.max(found))}


def check(curve: Sequence[float], floor: float) -> dict[str, bool]:
    """Whether a curve over the severities rises all the way, and begins above the floor."""
    return {"rises": bool((np.diff(curve) > 0).all()), "above_floor": min(curve) > floor}


def swapped_cameras(videos: Sequence[Array], rig: Rig) -> dict[str, dict[str, Any]]:
    """Mean disagreement of cameras that see the same ground, with the cameras as they are and swapped."""
    overlaps, found = overlaps_of(rig), {}
    for name, order in SWAPS.items():
        rows = np.array([disagreement(video[:FRAMES, list(order)], overlaps) for video in videos])
        values = rows[np.isfinite(rows).all(axis=1)].mean(axis=1)
        interval = bootstrap_interval(values, np.random.default_rng(0))
        found[name] = {"value": float(values.mean()), "interval": list(interval), "clips": len(values)}
    return found


def table_lines(result: Mapping[str, Any]) -> list[str]:
    """Markdown: one row for each score and kind of damage."""
    lines = []
    for metric, curves in result["scores"].items():
        floor = result["floors"][metric]
        lines += [
            f"{metric_name(metric, result['network'])}[{result['network']}], floor {floor['value']:.1f} "
            f"(random halves {floor['halves']['mean']:.1f}, at most {floor['halves']['largest']:.1f})",
            "",
            "| damage | mildest | | | worst | rises, above the floor |",
            "|---|---|---|---|---|---|",
        ]
        for kind, curve in curves.items():
            cells = [f"{point['value']:.1f} ({point['amount']:g})" for point in curve["points"]]
            verdict = ", ".join("yes" if curve[name] else "**no**" for name in ("rises", "above_floor"))
            lines.append(f"| {kind}: {CORRUPTIONS[kind].unit} | {' | '.join(cells)} | {verdict} |")
        lines.append("")
    swaps = [f"{name} {row['value']:.3f}" for name, row in result["swapped_cameras"].items()]
    return [*lines, f"Disagreement of cameras, swapped: {'; '.join(swaps)}"]


def plot(result: Mapping[str, Any], path: Path) -> None:
    """One panel for each kind of damage: both scores over the severity in units of their floor; one for swapped cameras."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(14, 6.4), constrained_layout=True)
    colors = {"fvd": "tab:blue", "fid": "tab:orange"}
    for axis, kind in zip(axes.flat, CORRUPTIONS, strict=False):
        for metric, curves in result["scores"].items():
            points, floor = curves[kind]["points"], result["floors"][metric]["value"]
            values = np.array([point["value"] for point in points]) / floor
            spread = np.abs(np.array([point["interval"] for point in points]).T / floor - values)
            name = f"{metric_name(metric, result['network'])}[{result['network']}]"
            amounts = [point["amount"] for point in points]
            axis.errorbar(amounts, values, yerr=spread, color=colors[metric], marker="o", capsize=3, label=name)
        axis.axhline(1, color="gray", ls="--", label="floor: real against real")
        axis.set_title(kind)
        axis.set_xlabel(CORRUPTIONS[kind].unit)
        axis.set_yscale("log")
        axis.set_ylim(bottom=0.5)
        axis.grid(alpha=0.3, which="both")
    axes[0, 0].legend(fontsize=7)
    for row in axes:
        row[0].set_ylabel("distance / floor")
    swaps, axis = result["swapped_cameras"], axes.flat[len(CORRUPTIONS)]
    values = np.array([row["value"] for row in swaps.values()])
    spread = np.abs(np.array([row["interval"] for row in swaps.values()]).T - values)
    axis.barh(list(swaps), values, xerr=spread, color="tab:green", capsize=3)
    axis.invert_yaxis()
    axis.set_title("swapped cameras")
    axis.set_xlabel("disagreement on common ground")
    axes.flat[-1].axis("off")
    figure.suptitle(f"{result['clips']} held-out clips of {FRAMES} frames on each side; 95 % intervals over scenes")
    temporary = path.with_name(f".{path.name}.partial.png")
    figure.savefig(temporary, dpi=110)
    os.replace(temporary, path)


def main() -> None:
    """Print the table; write JSON and a figure; fail if a curve does not rise or begins below the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Where the rendered clips are kept, the --folder of horizon.py.")
    parser.add_argument("--scenes", type=int, default=32, help="On each side; fifteen clips of each.")
    parser.add_argument("--seed", type=int, default=0, help="Of one half; the next seed is the other's.")
    parser.add_argument("--features", type=Path, help="Another town-r2p1d than the one that ships.")
    parser.add_argument("--resamples", type=int, default=40)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    wanted, rig = Wanted(frequency_hz=8.0, ends_s=ENDS_S, length_s=1.0, history_s=4.0), town_rig(3)
    ends = "-".join(f"{end:g}" for end in wanted.ends_s)
    folder = args.folder / f"{len(rig)}x{rig.width_px}x{rig.height_px}-{ends}s-1-4-8hz"
    scenes = (scene_list(args.scenes, seed, split="test") for seed in (args.seed, args.seed + 1))
    drives = [
        [np.concatenate([clip.history, *clip.windows[:2]]) for clip in town_clips(folder, some, rig, wanted)]
        for some in scenes
    ]
    networks = town_r2p1d(args.features)
    assert networks.clips is not None
    result: dict[str, Any] = {
        "network": networks.clips.name,
        "clips": args.scenes * len(rig) * len(STARTS),
        "floors": {},
        "scores": {"fvd": {}, "fid": {}},
        "swapped_cameras": swapped_cameras([video for half in drives for video in half], rig),
    }
    real = [features_of(half, networks) for half in drives]
    for metric in result["scores"]:
        pair = (getattr(real[0], metric), getattr(real[1], metric))
        result["floors"][metric] = {**measured(pair, pair, args.resamples), "halves": halves(*pair)}
    for kind, corruption in CORRUPTIONS.items():
        made = [[features_of(half, networks, kind, x) for half in drives] for x in corruption.severities]
        for metric, curves in result["scores"].items():
            pair, floor = (getattr(real[0], metric), getattr(real[1], metric)), result["floors"][metric]["value"]
            points = [measured((getattr(a, metric), getattr(b, metric)), pair, args.resamples) for a, b in made]
            points = [{"amount": x, **point} for x, point in zip(corruption.severities, points, strict=True)]
            curves[kind] = {"points": points, **check([point["value"] for point in points], floor)}
        curve = [round(point["value"], 1) for point in result["scores"]["fvd"][kind]["points"]]
        print(f"{kind}: FVD {curve}, floor {result['floors']['fvd']['value']:.1f}", flush=True)
    print("\n".join(table_lines(result)))
    if args.plot:
        plot(result, args.plot)
    if args.out:
        temporary = args.out.with_name(f".{args.out.name}.partial")
        temporary.write_text(json.dumps(result, indent=1))
        os.replace(temporary, args.out)
    wrong = [k for k, c in result["scores"]["fvd"].items() if not (c["rises"] and c["above_floor"])]
    if wrong:
        raise SystemExit(f"FVD does not rise, or begins below the floor: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
