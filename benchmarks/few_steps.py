"""What fewer sampling steps cost: 16, 8, 4, 2 and 1 steps of a distilled checkpoint, beside the one it was made from.

For moments spread over held-out episodes, driven as logged, with equal seeds: how far the futures of n steps are from those
that the first checkpoint named makes in 16 (PSNR over the first chunk, before they part), PSNR and sharpness against what
happened, mean motion beside the real one, seconds per chunk of one rollout; and the plans' ADE with as many steps.

    uv run python benchmarks/few_steps.py assets/default runs/town/model --data assets/clips --moments 16
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval_fid_fvd.planning import ade_fde
from worldmodel.clips import Clip
from worldmodel.geometry import Array, Trajectory
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel
from worldmodel.pictures import resize_video
from worldmodel.plans import PLAN_TIMES_S, Observation
from worldmodel.sampling import Sampling

STEPS = (16, 8, 4, 2, 1)
BATCH = 8
REFERENCE_STEPS = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Questions:
    """What both checkpoints are asked, and what really happened."""

    observations: list[Observation]
    drives: list[Trajectory]
    plans: list[Trajectory]
    real: Array
    seconds: float


def main() -> None:
    """Print one table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="The undistilled one first.")
    parser.add_argument("--data", type=Path, default=Path("assets/clips"))
    parser.add_argument("--moments", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    models = [WorldModel.from_pretrained(path) for path in args.models]
    asked = questions(models[0], Dataset.open(args.data), args.moments, args.seconds)
    reference, rows = futures(models[0], asked, REFERENCE_STEPS)[0][:, : models[0].per_chunk], []
    print("| model | steps | PSNR to 16 steps | PSNR | sharpness | motion | s per chunk | plan ADE m | plan ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path, model in zip(args.models, models, strict=True):
        for steps in STEPS:
            rows.append(
                {"model": str(path), "hash": model.hash, "steps": steps, **scores(model, asked, steps, reference)}
            )
            print("| " + " | ".join(str(rows[-1][name]) for name in rows[-1] if name != "hash") + " |", flush=True)
    print(
        f"{args.moments} moments of {args.data}, {args.seconds:g} s; sharpness and motion are shares of the real ones"
    )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


def questions(model: WorldModel, data: Dataset, count: int, seconds: float) -> Questions:
    """Moments of the data with their past, the steps that were driven then, and what was seen."""
    hertz = model.config.frequency_hz
    history_s = model.config.history_chunks * model.per_chunk / hertz
    chosen = [moment(data, i, count, history_s, max(seconds, PLAN_TIMES_S[-1])) for i in range(count)]
    frames, ahead = round(seconds * hertz), round(PLAN_TIMES_S[-1] * hertz)
    size = model.config.width_px, model.config.height_px
    driven = [clip.motion for clip, _ in chosen if clip.motion is not None]
    return Questions(
        observations=[clip.observation(now / hertz, history_s) for clip, now in chosen],
        drives=[motion[now : now + frames].trajectory() for motion, (_, now) in zip(driven, chosen, strict=True)],
        plans=[
            motion[now : now + ahead].trajectory().resampled(PLAN_TIMES_S)
            for motion, (_, now) in zip(driven, chosen, strict=True)
        ],
        real=np.stack([resize_video(clip.video[now + 1 : now + 1 + frames], *size) for clip, now in chosen]),
        seconds=seconds,
    )


def moment(data: Dataset, number: int, count: int, history_s: float, future_s: float) -> tuple[Clip, int]:
    """One of `count` moments spread evenly over the episodes: a clip and a frame with enough past and future."""
    clip = data.clip(number % data.episodes)
    first = round(history_s * clip.frequency_hz)
    last = len(clip) - round(future_s * clip.frequency_hz) - 1
    share = (number // data.episodes + 0.5) / max(1, -(-count // data.episodes))
    return clip, first + round(share * (last - first))


def futures(model: WorldModel, asked: Questions, steps: int) -> tuple[Array, float]:
    """The imagined videos, and seconds per chunk of a single one."""
    videos, sampling = [], Sampling(steps=steps)
    for start in range(0, len(asked.observations), BATCH):
        part = slice(start, start + BATCH)
        seeds = list(range(start, start + len(asked.observations[part])))
        rollouts = model.imagine_batch(
            asked.observations[part], seconds=asked.seconds, seeds=seeds, actions=asked.drives[part], sampling=sampling
        )
        videos += [rollout.video for rollout in rollouts]
    alone = model.imagine(asked.observations[0], seconds=asked.seconds, actions=asked.drives[0], sampling=sampling)
    return np.stack(videos), alone.timing["generate_s"] / alone.timing["chunks"]


def scores(model: WorldModel, asked: Questions, steps: int, reference: Array) -> dict[str, float]:
    """One row of the table."""
    videos, chunk_s = futures(model, asked, steps)
    pasts = [model.remember([observation]) for observation in asked.observations]
    ready = time.perf_counter()
    drawn = [
        model.plan(o, steps=steps, past=past).trajectory for o, past in zip(asked.observations, pasts, strict=True)
    ]
    plan_s = (time.perf_counter() - ready) / len(drawn)
    errors = [ade_fde(plan, true)["ade_m"] for plan, true in zip(drawn, asked.plans, strict=True)]
    return {
        "psnr_to_16": round(psnr(videos[:, : model.per_chunk], reference), 2),
        "psnr": round(psnr(videos, asked.real), 2),
        "sharpness": round(sharpness(videos) / sharpness(asked.real), 3),
        "motion": round(motion(videos) / motion(asked.real), 3),
        "chunk_s": round(chunk_s, 3),
        "plan_ade_m": round(float(np.mean(errors)), 3),
        "plan_ms": round(1000 * plan_s, 1),
    }


def psnr(a: Array, b: Array) -> float:
    """Mean over clips, dB."""
    errors = np.square(a.astype(np.float64) - b).mean(axis=tuple(range(1, a.ndim)))
    return float((10 * np.log10(255**2 / np.maximum(errors, 1e-9))).mean())


def sharpness(videos: Array) -> float:
    """Mean difference between neighbouring columns."""
    return float(np.abs(np.diff(videos.astype(np.int16), axis=-1)).mean())


def motion(videos: Array) -> float:
    """Mean difference between neighbouring frames."""
    return float(np.abs(np.diff(videos.astype(np.int16), axis=1)).mean())


if __name__ == "__main__":
    main()
