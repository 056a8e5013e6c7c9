"""How long does an imagined drive stay good? Windows up to 16 s, against real frames, repeating, the tokenizer and other clips.

Held-out town clips (test seeds, every situation in turn) are rendered once into a folder. The model drives each as logged;
windows that end at 1, 2, 4, 8 and 16 s are scored with a named network, always with as many clips on both sides, and
compared with the last frame repeated, the tokenizer's reconstruction and other real clips of the same situations.

    uv run python benchmarks/horizon.py assets/default --clips 32 --folder horizon-clips --out horizon.json --plot horizon.png

The clips take about 7 minutes of one core to render (64x128), the scores about 5; the clips are kept and read the next time.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.horizon import ENDS_S, REAL, Horizon, horizon_rows
from eval_fid_fvd.horizon_checks import horizon_checks
from eval_fid_fvd.networks.catalogue import choose_networks
from eval_fid_fvd.networks.tokenizer import tokenizer_features
from eval_fid_fvd.networks.town import town_r2p1d
from eval_fid_fvd.perceptual import lpips_alex
from eval_fid_fvd.windows import MOTION, PAIR_FORMULAS, WindowEvidence, window_evidence, window_frames
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.model import WorldModel
from worldmodel.plans import Observation
from worldmodel.sampling import Sampling
from worldmodel.town.mixes import scene_list
from worldmodel.town.render import render
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

MODEL, REPEAT, FLOOR, OTHERS = "driven as logged", "repeat last frame", "tokenizer floor", "other real clips"
HISTORY_S = 4.0
PLOTTED = ("fid", "fvd", "ssim", MOTION)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which frames of a scene are rendered."""

    frequency_hz: float
    ends_s: tuple[float, ...]
    length_s: float
    history_s: float

    @property
    def seconds(self) -> float:
        """How long the scene must be."""
        return self.history_s + self.ends_s[-1] + 0.5

    @property
    def now(self) -> int:
        """The newest frame that is observed."""
        return round(self.history_s * self.frequency_hz) - 1

    @property
    def windows(self) -> list[slice]:
        """Frames of each window among those after now."""
        return [window_frames(end, self.length_s, self.frequency_hz) for end in self.ends_s]

    def frames(self) -> list[int]:
        """All of the history, then each window's."""
        later = [self.now + 1 + i for window in self.windows for i in range(window.start, window.stop)]
        return [*range(self.now + 1), *later]


@dataclass(frozen=True, eq=False, kw_only=True)
class TownClip:
    """One rendered scene: history [time, camera, 3, h, w], windows likewise, and the steps of the whole scene."""

    history: Array
    windows: tuple[Array, ...]
    deltas: Array
    text: str

    def observation(self, rig: Rig, wanted: Wanted, seconds: float) -> Observation:
        """The newest seconds of the history, with their motion."""
        frames = round(seconds * wanted.frequency_hz)
        return Observation(
            video=self.history[-frames:],
            rig=rig,
            motion=Motion(deltas=self.deltas[wanted.now - frames + 1 : wanted.now], period_s=1 / wanted.frequency_hz),
            frequency_hz=wanted.frequency_hz,
            instruction=self.text,
        )


def town_clips(folder: Path, scenes: Sequence[tuple[str, int]], rig: Rig, wanted: Wanted) -> list[TownClip]:
    """The scenes, rendered where the folder lacks them; each is one file, written under a temporary name."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for i, (situation, seed) in enumerate(scenes):
        path = folder / f"{situation}-{seed}.npz"
        if not path.exists():
            print(f"rendering clip {i + 1} of {len(scenes)}: {path.stem}", flush=True)
            _render(path, situation, seed, rig, wanted)
        with np.load(path) as data:
            found.append(_clip(data["video"], data["deltas"], str(data["text"]), wanted))
    return found


def _render(path: Path, situation: str, seed: int, rig: Rig, wanted: Wanted) -> None:
    scene = simulate(situation, seed, seconds=wanted.seconds, frequency_hz=wanted.frequency_hz)
    video = render(scene, rig, wanted.frames()).rgb
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    text = next((one.text for one in scene.instructions if one.end_s > wanted.history_s), "")
    with temporary.open("wb") as file:
        np.savez(file, video=video, deltas=scene.trajectory().motion().deltas, text=np.array(text))
    os.replace(temporary, path)


def _clip(video: Array, deltas: Array, text: str, wanted: Wanted) -> TownClip:
    lengths = [wanted.now + 1, *(window.stop - window.start for window in wanted.windows)]
    history, *windows = np.split(video, np.cumsum(lengths)[:-1])
    return TownClip(history=history, windows=tuple(windows), deltas=deltas, text=text)


def imagined(
    model: WorldModel, clips: Sequence[TownClip], rig: Rig, wanted: Wanted, sampling: Sampling, batch: int
) -> tuple[list[Array], list[tuple[str, ...]]]:
    """The model's windows, each [clips, time, camera, 3, h, w], driven as logged; and every rollout's warnings."""
    history_s = model.config.history_chunks * model.per_chunk / wanted.frequency_hz
    parts: list[list[Array]] = []
    warnings: list[tuple[str, ...]] = []
    ahead = round(wanted.ends_s[-1] * wanted.frequency_hz)
    for start in range(0, len(clips), batch):
        some = clips[start : start + batch]
        steps = [clip.deltas[wanted.now : wanted.now + ahead] for clip in some]
        rollouts = model.imagine_batch(
            [clip.observation(rig, wanted, history_s) for clip in some],
            seconds=wanted.ends_s[-1],
            seeds=list(range(start, start + len(some))),
            actions=[Motion(deltas=rows, period_s=1 / wanted.frequency_hz).trajectory() for rows in steps],
            sampling=sampling,
        )
        parts.append([np.stack([rollout.video[window] for rollout in rollouts]) for window in wanted.windows])
        warnings += [rollout.warnings for rollout in rollouts]
        print(f"imagined {start + len(some)} of {len(clips)} clips", flush=True)
    return [np.concatenate(window) for window in zip(*parts, strict=True)], warnings


def horizon_of(
    made: Sequence[Array],
    clips: Sequence[TownClip],
    others: Sequence[TownClip],
    model: WorldModel,
    networks: FeatureNetworks,
    wanted: Wanted,
    args: argparse.Namespace,
) -> Horizon:
    """Features and means of all sides in all windows."""
    formulas = PAIR_FORMULAS if args.lpips is None else {**PAIR_FORMULAS, "lpips": lpips_alex(args.lpips).compute}
    last = np.stack([clip.history[-1:] for clip in clips])
    real: list[WindowEvidence] = []
    sides: dict[str, list[WindowEvidence]] = {MODEL: [], REPEAT: [], FLOOR: [], OTHERS: []}
    for w, window in enumerate(made):
        truth = np.stack([clip.windows[w] for clip in clips])
        shown = np.stack([model.tokenizer.decode_video(model.tokenizer.encode_video(video)) for video in truth])
        for side, video in (
            (MODEL, window),
            (REPEAT, np.repeat(last, window.shape[1], axis=1)),
            (FLOOR, shown),
            (OTHERS, np.stack([clip.windows[w] for clip in others])),
        ):
            sides[side].append(window_evidence(video, networks, real=truth, formulas=formulas))
        real.append(window_evidence(truth, networks))
        print(f"measured the window that ends at {wanted.ends_s[w]:g} s", flush=True)
    return Horizon(
        ends_s=wanted.ends_s,
        length_s=wanted.length_s,
        real=tuple(real),
        sides={side: tuple(windows) for side, windows in sides.items()},
        networks=networks,
        card={
            "frequency_hz": wanted.frequency_hz,
            "condition_frames": 0,
            "cameras": f"{made[0].shape[2]}, pooled",
            "size": f"{made[0].shape[5]}x{made[0].shape[4]}",
            "codec": "arrays",
            "device": str(model.device),
        },
        resamples=args.resamples,
    )


def networks_of(args: argparse.Namespace, model: WorldModel) -> FeatureNetworks:
    """Published networks where their files are given, else the town's, else the tokenizer's own features."""
    given = choose_networks(args.weights, device=args.device)
    spare = town_r2p1d(args.features) if args.features.exists() else tokenizer_features(model.tokenizer)
    return FeatureNetworks(pictures=given.pictures or spare.pictures, clips=given.clips or spare.clips)


def table_lines(horizon: Horizon, metrics: Sequence[str]) -> Iterator[str]:
    """A Markdown table: one row for each metric and side, one column for each window, intervals in brackets."""
    yield "| | " + " | ".join(f"{end:g} s" for end in horizon.ends_s) + " |"
    yield "|---" * (len(horizon.ends_s) + 1) + "|"
    for metric, side, scores in horizon_rows(horizon, metrics):
        cells = []
        for score in scores:
            interval = "" if score.interval is None else f" ({score.interval[0]:.3g} to {score.interval[1]:.3g})"
            cells.append(f"{score.value:.3g}{interval}")
        yield f"| {horizon.name(metric)}, {side} | " + " | ".join(cells) + " |"


def check_lines(horizon: Horizon) -> Iterator[str]:
    """The thresholds, each with its ratio, and whether it is met."""
    for check in horizon_checks(horizon, MODEL, floor=FLOOR, repeat=REPEAT):
        interval = "" if check.interval is None else f" ({check.interval[0]:.2f} to {check.interval[1]:.2f})"
        limit = f"{check.at_least:g} to {check.at_most:g}" if check.at_least else f"at most {check.at_most:g}"
        yield f"- {check.name}: {check.value:.2f}{interval}, wanted {limit}: {'met' if check.met else 'MISSED'}"


def warning_lines(warnings: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """How many rollouts left the training range, and with what."""
    left = [texts for texts in warnings if texts]
    yield f"{len(left)} of {len(warnings)} rollouts left the range of the training data."
    for texts in left[:5]:
        yield f"- {texts[0]}"


def plot(horizon: Horizon, path: Path) -> None:
    """One panel for each metric over the horizon, a line for each side, bars for the intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.5), constrained_layout=True)
    colors = {MODEL: "tab:blue", REPEAT: "tab:red", FLOOR: "tab:green", OTHERS: "tab:gray", REAL: "black"}
    for axis, metric in zip(axes.flat, PLOTTED, strict=True):
        for _, side, scores in horizon_rows(horizon, [metric]):
            values = np.array([score.value for score in scores])
            ends = np.array([score.interval or (score.value, score.value) for score in scores])
            spread = np.abs(ends.T - values)
            axis.errorbar(
                horizon.ends_s, values, yerr=spread, label=side, color=colors[side], marker="o", ms=4, capsize=3, lw=1.5
            )
            axis.set_title(horizon.name(metric))
        axis.set_xscale("log", base=2)
        axis.set_xticks(horizon.ends_s, [f"{end:g}" for end in horizon.ends_s])
        axis.set_xlabel(f"end of the {horizon.length_s:g} s window, s after now")
        axis.grid(alpha=0.3)
        if metric in ("fid", "fvd"):
            axis.set_yscale("log")
    axes[1, 1].set_title("mean change from frame to frame, grey levels")
    axes[0, 0].legend(fontsize=8)
    figure.suptitle(f"{len(horizon.real[0])} held-out town clips; 95 % intervals over clips")
    temporary = path.with_name(f".{path.name}.partial.png")
    figure.savefig(temporary, dpi=110)
    os.replace(temporary, path)


def main() -> None:
    """Print a table and the thresholds; write JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--folder", type=Path, required=True, help="Where the rendered clips are kept.")
    parser.add_argument("--ends", type=float, nargs="+", default=list(ENDS_S), help="Seconds after now.")
    parser.add_argument("--window", type=float, default=1.0, help="Seconds; I3D needs at least 10 frames.")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--memory", default="window")
    parser.add_argument("--history-noise", type=float, help="Level at which imagined chunks are remembered.")
    parser.add_argument("--guidance-motion", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="Of the scenes.")
    parser.add_argument("--weights", type=Path, action="append", default=[], help="Inception or I3D weights.")
    parser.add_argument("--features", type=Path, default=Path("assets/features"), help="The town's feature network.")
    parser.add_argument("--lpips", type=Path, help="AlexNet weights for LPIPS.")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    model = WorldModel.from_pretrained(args.model, args.device)
    config = model.config
    wanted = Wanted(
        frequency_hz=config.frequency_hz,
        ends_s=tuple(sorted(args.ends)),
        length_s=args.window,
        history_s=max(HISTORY_S, config.history_chunks * model.per_chunk / config.frequency_hz),
    )
    rig = town_rig(config.cameras, config.width_px, config.height_px)
    name = f"{config.cameras}x{config.width_px}x{config.height_px}-{'-'.join(f'{end:g}' for end in wanted.ends_s)}s"
    folder = args.folder / f"{name}-{wanted.length_s:g}-{wanted.history_s:g}-{wanted.frequency_hz:g}hz"
    clips, others = (
        town_clips(folder, scene_list(args.clips, seed, split="test"), rig, wanted)
        for seed in (args.seed, args.seed + 1)
    )
    sampling = Sampling(
        steps=args.steps,
        memory=args.memory,
        history_noise=args.history_noise,
        guidance_motion=args.guidance_motion,
    )
    made, warnings = imagined(model, clips, rig, wanted, sampling, args.batch)
    networks = networks_of(args, model)
    horizon = horizon_of(made, clips, others, model, networks, wanted, args)
    metrics = ["fid", "fvd", "ssim", *(["lpips"] if args.lpips else []), MOTION]
    lines = [*table_lines(horizon, metrics), "", *check_lines(horizon), "", *warning_lines(warnings)]
    print("\n".join(lines))
    if args.plot:
        plot(horizon, args.plot)
    if args.out:
        _write(args.out, horizon, metrics, warnings, {"model": model.hash, "sampling": sampling.to_json()})


def _write(
    path: Path, horizon: Horizon, metrics: Sequence[str], warnings: Sequence[tuple[str, ...]], facts: dict[str, Any]
) -> None:
    rows = [
        {"metric": metric, "side": side, "windows": [score.to_json() for score in scores]}
        for metric, side, scores in horizon_rows(horizon, metrics)
    ]
    checks = [
        {"name": c.name, "value": c.value, "interval": c.interval, "limits": [c.at_least, c.at_most], "met": c.met}
        for c in horizon_checks(horizon, MODEL, floor=FLOOR, repeat=REPEAT)
    ]
    result = {
        **facts,
        "ends_s": horizon.ends_s,
        "rows": rows,
        "checks": checks,
        "warnings": [list(w) for w in warnings],
    }
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(result, indent=1))
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
