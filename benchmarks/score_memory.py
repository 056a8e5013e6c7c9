"""How much memory do scores of many clips take? Two folders of videos, all metrics, and a network as wide as FID's.

The videos are town-sized noise that moves, as many files as asked for (a few are encoded, the rest are copies). Pictures go
through a stand-in that is as wide as FID's network (2048 features, a fixed random projection), so that the features of all
pictures do not fit into what is kept and statistics are streamed; clips go through the town's network that ships.

    python benchmarks/score_memory.py --clips 1000
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from eval_fid_fvd.metrics import METRICS
from eval_fid_fvd.networks.town import town_r2p1d
from eval_fid_fvd.videos import score_folders
from worldmodel.io.video import write_video

ENCODED = 40


def main() -> None:
    """Make the videos, score them, print seconds and the largest resident memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--metrics", default="fid,kid,fvd,kvd,precision,recall,density,coverage,psnr,ssim")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sides = [write_side(Path(folder) / name, args, seed) for seed, name in enumerate(("a", "b"))]
        before = peak_mb()
        networks = FeatureNetworks(pictures=wide_network(2048), clips=town_r2p1d().clips)
        started = time.perf_counter()
        scores = score_folders(*sides, [name for name in args.metrics.split(",") if name in METRICS], networks)
        seconds = time.perf_counter() - started
    sys.stderr.write(scores.table() + "\n")
    rows = {"clips": scores.clips, "seconds": round(seconds, 1), "peak_mb": peak_mb(), "peak_before_mb": before}
    print(json.dumps({**vars(args), **rows}))


def write_side(folder: Path, args: argparse.Namespace, seed: int) -> Path:
    """A folder of videos: pictures of smooth noise that move sideways."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for i in range(min(args.clips, ENCODED)):
        coarse = random.integers(0, 256, size=(3, args.height // 8, args.width // 8), dtype=np.uint8)
        picture = coarse.repeat(8, axis=1).repeat(8, axis=2)
        write_video(
            folder / f"{i:05}.mp4", np.stack([np.roll(picture, 2 * t, axis=2) for t in range(args.frames)]), 8.0
        )
    for i in range(ENCODED, args.clips):
        shutil.copy(folder / f"{i % ENCODED:05}.mp4", folder / f"{i:05}.mp4")
    return folder


def wide_network(width: int) -> FeatureNetwork:
    """A stand-in for a network of pictures: a fixed random projection of their 8 x 8 block means."""
    projection = np.random.default_rng(0).normal(size=(8 * 16 * 3, width)) / 50

    def compute(frames: np.ndarray) -> np.ndarray:
        n, _, h, w = frames.shape
        blocks = frames[:, :, : h // 8 * 8, : w // 16 * 16].reshape(n, 3, 8, h // 8, 16, w // 16).mean(axis=(3, 5))
        return np.tanh(blocks.reshape(n, -1) / 255 @ projection)

    return FeatureNetwork(
        name=f"projection-{width}",
        file_hash="none",
        value_range="[0, 1]",
        resize="block means, 16x8",
        frames_needed=1,
        layer="random projection, tanh",
        width=width,
        compute=compute,
    )


def peak_mb() -> int:
    """Largest resident memory of this process so far, megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
