"""How good are imagined futures? Against what happened, repeating the last frame, and the tokenizer's floor.

For moments spread over held-out episodes: PSNR and SSIM per second of the horizon, for futures driven as logged, futures
the model imagines freely, the last frame repeated, another clip's actions, and the tokenizer's reconstruction; a Fréchet
distance in the tokenizer's own features (named, never plain FVD); the plans' ADE beside constant velocity.

    uv run python benchmarks/rollouts.py assets/default assets/clips --moments 32 --seconds 4 --out rollouts.json
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from eval_fid_fvd.networks.tokenizer import tokenizer_features
from eval_fid_fvd.planning import ade_fde
from eval_fid_fvd.videos import score_videos
from policy.baselines import ConstantVelocityPlanner
from policy.planner import JointPlanner
from worldmodel.clips import Clip
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel
from worldmodel.pictures import resize_video
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.sampling import Sampling


def moments(data: Dataset, episodes: list[int], count: int, history_s: float, seconds: float) -> list[tuple[Clip, int]]:
    """`count` (clip, frame) pairs, spread evenly over the episodes, with enough history and future."""
    found = []
    for i in range(count):
        episode = episodes[i % len(episodes)]
        clip = data.clip(episode)
        first = round(history_s * clip.frequency_hz)
        last = len(clip) - round(max(seconds, PLAN_TIMES_S[-1]) * clip.frequency_hz) - 1
        if last < first:
            sys.exit(f"episode {episode} is too short for {history_s} s of history and {seconds} s of future")
        share = (i // len(episodes) + 0.5) / max(1, -(-count // len(episodes)))
        found.append((clip, first + round(share * (last - first))))
    return found


def main() -> None:
    """Print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--episode", type=int, action="append")
    parser.add_argument("--moments", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model, data = WorldModel.from_pretrained(args.model), Dataset.open(args.data)
    hertz, width, height = model.config.frequency_hz, model.config.width_px, model.config.height_px
    history_s = model.config.history_chunks * model.per_chunk / hertz
    chosen = moments(data, args.episode or list(range(data.episodes)), args.moments, history_s, args.seconds)
    frames = round(args.seconds * hertz)
    observations = [clip.observation(now / hertz, history_s) for clip, now in chosen]
    drives = [clip.motion[now : now + frames].trajectory() for clip, now in chosen]
    real = np.stack([resize_video(clip.video[now + 1 : now + 1 + frames], width, height) for clip, now in chosen])
    last = np.stack([resize_video(clip.video[now : now + 1], width, height) for clip, now in chosen])
    made = {
        "repeat last frame": np.repeat(last, frames, axis=1),
        "tokenizer reconstruction": np.stack(
            [model.tokenizer.decode_video(model.tokenizer.encode_video(v)) for v in real]
        ),
    }
    wishes = {"driven as logged": drives, "another clip's actions": drives[1:] + drives[:1], "imagined freely": None}
    for name, actions in wishes.items():
        videos = []
        for start in range(0, len(chosen), args.batch):
            part = slice(start, start + args.batch)
            rollouts = model.imagine_batch(
                observations[part],
                seconds=args.seconds,
                seeds=list(range(start, start + len(observations[part]))),
                actions=None if actions is None else actions[part],
                sampling=Sampling(steps=args.steps),
            )
            videos += [rollout.video for rollout in rollouts]
        made[name] = np.stack(videos)
    networks = tokenizer_features(model.tokenizer)
    result = {"model": model.hash, "moments": len(chosen), "seconds": args.seconds, "steps": args.steps, "rows": {}}
    for name, video in made.items():
        scores = score_videos(video, real, ["psnr", "ssim", "fvd"], networks, frequency_hz=hertz)
        row = {score.name: round(score.value, 4) for score in scores.scores}
        for metric, curve in scores.curves.items():
            seconds = np.array_split(np.array(curve.values), max(1, round(args.seconds)))
            row[f"{metric} per second"] = [round(float(part.mean()), 3) for part in seconds]
        row["motion"] = round(float(np.abs(np.diff(video.astype(np.int16), axis=1)).mean()), 3)
        result["rows"][name] = row
        print(f"{name}: {row}", flush=True)
    result["real motion"] = round(float(np.abs(np.diff(real.astype(np.int16), axis=1)).mean()), 3)
    ahead = round(PLAN_TIMES_S[-1] * hertz)
    truths = [clip.motion[now : now + ahead].trajectory() for clip, now in chosen]
    for planner in (JointPlanner(model), ConstantVelocityPlanner()):
        errors = [
            ade_fde(planner.plan(o, 0).trajectory, t.resampled(PLAN_TIMES_S))
            for o, t in zip(observations, truths, strict=True)
        ]
        result[planner.name] = {key: round(float(np.mean([e[key] for e in errors])), 3) for key in errors[0]}
        print(planner.name, result[planner.name])
    print("real motion", result["real motion"])
    if args.out:
        args.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
