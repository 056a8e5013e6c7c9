"""What does a plan lose when its memory is older than now?

Plans for the same moments of held-out clips, from a memory up to now and from memories that end half a second and a whole
second earlier; the network is told their age.

    uv run python benchmarks/staleness.py assets/default assets/clips --moments 32
"""

import argparse
from pathlib import Path

import numpy as np

from eval_fid_fvd.statistics import bootstrap_interval
from worldmodel.geometry import Array, relative
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel
from worldmodel.plans import PLAN_TIMES_S

AGES_S = (0.0, 0.5, 1.0)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--moments", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8)
    args = parser.parse_args()
    model, data = WorldModel.from_pretrained(args.model), Dataset.open(args.data)
    hertz = model.config.frequency_hz
    history_s = model.config.history_chunks * model.per_chunk / hertz
    ahead = np.round(PLAN_TIMES_S * hertz).astype(int)
    errors: dict[float, list[float]] = {age: [] for age in AGES_S}
    for i in range(args.moments):
        clip = data.clip(i % data.episodes)
        assert clip.motion is not None
        last = len(clip) - 1 - int(ahead[-1])
        first = round((history_s + max(AGES_S)) * hertz)
        now = first + (i // data.episodes) * max(1, (last - first) // max(1, args.moments // data.episodes))
        poses = clip.motion.trajectory().poses
        driven: Array = np.stack([relative(poses[now], poses[now + step]) for step in ahead])
        for age in AGES_S:
            seen = clip.observation(now / hertz - age, history_s)
            plan = model.plan(seen, seed=0, samples=args.samples, stale_s=age)
            errors[age].append(float(np.linalg.norm(plan.trajectory.poses[:, :2] - driven[:, :2], axis=1).mean()))
    print("| memory ends | plan ADE m (95 %) |\n|---|---|")
    for age, values in errors.items():
        low, high = bootstrap_interval(np.array(values), np.random.default_rng(0))
        print(f"| {age:g} s before now | {np.mean(values):.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
