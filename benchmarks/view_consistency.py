"""Do the cameras agree? The level of real clips, and what wrong calibrations, moved pixels and swapped cameras do to it.

Every clip of a dataset is measured as recorded, with the calibration of one camera turned by some degrees, with that camera's
pictures moved by some pixels, with the cameras in reverse order, and with the second camera of each pair taken from another clip.
With a checkpoint, its imagined futures (driven as logged) and its tokenizer's reconstruction of the real frames stand beside them.

    uv run python benchmarks/view_consistency.py assets/clips --model assets/default --out consistency.json

About ten seconds for the eight clips, and a minute for the checkpoint's futures.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eval_fid_fvd.cards import Score
from eval_fid_fvd.consistency import Overlaps, consistency_scores, disagreement, disagreement_of_strangers, overlaps_of
from worldmodel.geometry import Array, Rig
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling

AXES = {"pitch": (1, 2), "yaw": (2, 0), "roll": (0, 1)}  # of the camera's own frame
DEGREES, PIXELS = (0.5, 1.0, 2.0, 3.0), (1, 2, 3, 4)
SIDEWAYS, DOWN = -1, -2


def turned(rig: Rig, number: int, degrees: float, axis: str) -> Rig:
    """The rig with one camera's calibration turned about its own axis."""
    i, j = AXES[axis]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    turn[[i, j, i, j], [i, j, j, i]] = cos, cos, -sin, sin
    cameras = list(rig.cameras)
    cameras[number] = replace(cameras[number], ego_from_camera=cameras[number].ego_from_camera @ turn)
    return replace(rig, cameras=tuple(cameras))


def moved(video: Array, number: int, pixels: int, axis: int) -> Array:
    """The video with one camera's pictures moved around their edge."""
    out = video.copy()
    out[:, number] = np.roll(video[:, number], pixels, axis=axis)
    return out


def measured(videos: Sequence[Array], rig: Rig) -> Array:
    """[clips, pairs]"""
    overlaps = overlaps_of(rig)
    return np.stack([disagreement(video, overlaps) for video in videos])


def cases(videos: Sequence[Array], rig: Rig, number: int) -> Iterator[tuple[str, Array]]:
    """(what was done, disagreement [clips, pairs]); both signs of a change as one."""
    for axis in AXES:
        for degrees in DEGREES:
            both = [measured(videos, turned(rig, number, sign * degrees, axis)) for sign in (-1, 1)]
            yield f"calibration {axis} {degrees:g} deg", np.mean(both, axis=0)
    for name, side in (("sideways", SIDEWAYS), ("down", DOWN)):
        for pixels in PIXELS:
            pushed = [measured([moved(v, number, sign * pixels, side) for v in videos], rig) for sign in (-1, 1)]
            yield f"pictures {name} {pixels} px", np.mean(pushed, axis=0)
    yield "cameras in reverse order", measured([video[:, ::-1] for video in videos], rig)
    overlaps = overlaps_of(rig)
    others = [disagreement_of_strangers(v, videos[i - 1], overlaps) for i, v in enumerate(videos)]
    yield "second camera of another clip", np.stack(others)


def of_model(
    folder: Path, dataset: Dataset, clips: range, args: argparse.Namespace
) -> Iterator[tuple[str, Array, Rig]]:
    """What the checkpoint shows, after now, and the rig at its size."""
    model = WorldModel.from_pretrained(folder)
    found = [dataset.clip(number) for number in clips]
    config = model.config
    rig = dataset.rig.scaled(config.width_px, config.height_px)
    history = config.history_chunks * model.per_chunk
    frames = round(args.seconds * config.frequency_hz)
    now = history - 1
    rollouts = model.imagine_batch(
        [clip.observation(now / config.frequency_hz, history / config.frequency_hz) for clip in found],
        seconds=args.seconds,
        seeds=list(clips),
        actions=[clip.motion[now : now + frames].trajectory() for clip in found if clip.motion is not None],
        sampling=Sampling(steps=args.steps),
    )
    true = [clip.video[now + 1 : now + 1 + frames] for clip in found]
    shown = [model.tokenizer.decode_video(model.tokenizer.encode_video(video)) for video in true]
    yield "real frames of those seconds", measured(true, dataset.rig), dataset.rig
    yield "tokenizer's reconstruction", measured(shown, rig), rig
    yield "imagined, driven as logged", measured([rollout.video for rollout in rollouts], rig), rig


def row(score: Score) -> str:
    """Value, interval and the level of real clips."""
    low, high = score.interval or (score.value, score.value)
    return f"{score.value:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Print a table; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--clips", type=int, default=64, help="At most.")
    parser.add_argument("--every", type=int, default=8, help="Every how many frames one is measured.")
    parser.add_argument("--model", type=Path, help="Checkpoint whose futures are measured too.")
    parser.add_argument("--seconds", type=float, default=2.0, help="Of the futures.")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    clips = range(min(args.clips, len(dataset.ids)))
    videos = [dataset.frames(number, np.arange(0, dataset.length(number), args.every)) for number in clips]
    overlaps = overlaps_of(dataset.rig)
    number = overlaps.pairs[0].pair[1]
    real = measured(videos, dataset.rig)
    card = {
        "frames": len(videos[0]),
        "frequency_hz": dataset.frequency_hz / args.every,
        "condition_frames": 0,
        "codec": "dataset",
        "device": "cpu",
    }
    scores: dict[str, Score] = {}

    def keep(name: str, rows: Array, own: Overlaps) -> None:
        scores[name] = consistency_scores(rows, own, card, real=real)["pooled"]
        print(f"| {name} | {row(scores[name])} |", flush=True)

    print(
        f"{len(videos)} clips, pairs {', '.join(ground.name for ground in overlaps.pairs)}, changed: {dataset.rig.names[number]}"
    )
    keep("as recorded", real, overlaps)
    for name, rows in cases(videos, dataset.rig, number):
        keep(name, rows, overlaps)
    if args.model:
        for name, rows, rig in of_model(args.model, dataset, clips, args):
            keep(name, rows, overlaps_of(rig))
    if args.out:
        temporary = args.out.with_name(f".{args.out.name}.partial")
        temporary.write_text(json.dumps({name: score.to_json() for name, score in scores.items()}, indent=1))
        os.replace(temporary, args.out)


if __name__ == "__main__":
    main()
