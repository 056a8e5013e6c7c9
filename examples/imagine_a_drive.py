"""Imagine one shipped clip along the path that was really driven, and paint it beside the recording.

uv run python examples/imagine_a_drive.py --clip 2 --out docs/images/imagined.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from studio.overlays import mosaic
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel

MOMENTS_S = (0.5, 1.0, 2.0)


def main() -> None:
    """Rows: recorded and imagined, half a second, one and two seconds ahead."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("assets/default"))
    parser.add_argument("--clip", type=int, default=0)
    parser.add_argument("--at", type=float, default=3.0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, clip = WorldModel.from_pretrained(args.model), Dataset.open(Path("assets/clips")).clip(args.clip)
    now, hertz = round(args.at * clip.frequency_hz), clip.frequency_hz
    driven = clip.motion[now : now + round(max(MOMENTS_S) * hertz)].trajectory()
    rollout = model.imagine(clip.observation(args.at, 2.0), seconds=max(MOMENTS_S), actions=driven, seed=0)
    rows = []
    for seconds in MOMENTS_S:
        frame = round(seconds * hertz)
        for title, video, index in (
            (f"recorded, {seconds:g} s ahead", clip.video, now + frame),
            (f"imagined, {seconds:g} s ahead", rollout.video, frame - 1),
        ):
            rows.append(mosaic(video[index : index + 1], clip.rig, title=title)[0])
    sheet = np.concatenate(rows, axis=1)
    Image.fromarray(sheet.transpose(1, 2, 0)).save(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
