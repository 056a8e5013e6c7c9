"""Train the feature network that FID and FVD of town frames stand on, from a training store.

Four tasks at once on pairs of consecutive frames, half of them blurred or made noisy: where road users are (a grid), which
situation and which camera, how strong blur and noise are, and the step between the frames. The last tenth of the store's
scenes is held out.

    uv run python benchmarks/train_town_features.py STORE assets/features --minutes 10
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.town_network import COARSE, PAIRS, TownNetwork, fitted
from worldmodel.training.store import Store

GRID = (8, 16)
WORST_BLUR_PX, WORST_NOISE = 2.5, 0.2


class Tasks(nn.Module):
    """What the features are asked; thrown away after training."""

    def __init__(self, situations: int, cameras: int) -> None:
        super().__init__()
        self.objects = nn.Conv2d(COARSE, 1, 1)
        self.situation = nn.Linear(COARSE, situations)
        self.camera = nn.Linear(COARSE, cameras)
        self.quality = nn.Linear(COARSE, 2)
        self.steps = nn.Linear(cameras * PAIRS, 3)


class Batches:
    """Random pairs of frames of a store, with labels; a pure function of the seed and the number of calls."""

    def __init__(self, store: Store, scenes: range, seed: int) -> None:
        self.store, self.scenes, self.random = store, scenes, np.random.default_rng(seed)
        names = [situation for situation, _ in store.made_from["town"]]
        self.names = sorted(set(names))
        self.labels = np.array([self.names.index(name) for name in names])
        steps = store.deltas[: len(names)].reshape(-1, 3)
        self.mean, self.spread = steps.mean(0), steps.std(0)

    def draw(self, count: int) -> dict[str, Tensor]:
        """Pictures [2, count, camera, 3, h, w] in [-1, 1] and labels."""
        store, random = self.store, self.random
        rows = [(int(random.choice(self.scenes)), int(random.integers(store.video.shape[1] - 1))) for _ in range(count)]
        video = np.stack([store.video[clip, frame : frame + 2] for clip, frame in rows], axis=1)
        objects = np.stack([store.objects[clip, frame] for clip, frame in rows])
        steps = np.stack([(store.deltas[clip, frame] - self.mean) / self.spread for clip, frame in rows])
        pictures = fitted(video.reshape(-1, *video.shape[3:])).unflatten(0, video.shape[:3])
        grid = functional.adaptive_avg_pool2d(torch.from_numpy(objects).float(), GRID)
        quality = torch.from_numpy(random.uniform(size=(count, 2)) * (random.random(size=(count, 2)) < 0.5)).float()
        return {
            "pictures": _worsened(pictures, quality, random),
            "objects": (grid > 0.1).float(),
            "situation": torch.from_numpy(self.labels[[clip for clip, _ in rows]]),
            "quality": quality,
            "steps": torch.from_numpy(steps).float(),
        }


def _worsened(pictures: Tensor, quality: Tensor, random: np.random.Generator) -> Tensor:
    """Pictures blurred and made noisy as `quality` [count, 2] says."""
    made = pictures.clone()
    for i, (blur, noise) in enumerate(quality.tolist()):
        if blur:
            x = torch.arange(-5, 6, dtype=torch.float32)
            weights = torch.exp(-0.5 * (x / (0.3 + WORST_BLUR_PX * blur)) ** 2)
            weights = (weights / weights.sum()).expand(3, 1, 1, 11)
            flat = made[:, i].flatten(0, 1)
            flat = functional.conv2d(functional.pad(flat, (5, 5, 0, 0), mode="replicate"), weights, groups=3)
            flat = functional.conv2d(
                functional.pad(flat, (0, 0, 5, 5), mode="replicate"), weights.transpose(2, 3), groups=3
            )
            made[:, i] = flat.view_as(made[:, i])
        if noise:
            values = random.standard_normal(size=tuple(made[:, i].shape), dtype=np.float32)
            made[:, i] += WORST_NOISE * noise * torch.from_numpy(values)
    return made.clamp(-1, 1)


def losses(network: TownNetwork, tasks: Tasks, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """One loss for each task."""
    pictures = batch["pictures"]
    _, count, cameras = pictures.shape[:3]
    _, coarse = network.maps(pictures.flatten(0, 2))
    before, after = coarse.unflatten(0, (2, -1))
    pairs = network.pair_maps(before, after).mean(dim=(2, 3)).unflatten(0, (count, cameras)).flatten(1)
    seen = before.mean(dim=(2, 3))
    each = torch.arange(cameras).repeat(count)
    return {
        "objects": functional.binary_cross_entropy_with_logits(
            tasks.objects(before).view(count, cameras, *GRID), batch["objects"], pos_weight=torch.tensor(5.0)
        ),
        "situation": functional.cross_entropy(tasks.situation(seen), batch["situation"].repeat_interleave(cameras)),
        "camera": functional.cross_entropy(tasks.camera(seen), each),
        "quality": functional.mse_loss(tasks.quality(seen), batch["quality"].repeat_interleave(cameras, 0)),
        "steps": functional.smooth_l1_loss(tasks.steps(pairs), batch["steps"]),
    }


WEIGHTS = {"objects": 1.0, "situation": 0.3, "camera": 0.3, "quality": 5.0, "steps": 1.0}


@torch.no_grad()
def measured(network: TownNetwork, tasks: Tasks, held_out: Batches, batches: int = 8) -> dict[str, float]:
    """Mean losses on held-out scenes."""
    network.eval()
    found = [losses(network, tasks, held_out.draw(16)) for _ in range(batches)]
    network.train()
    return {name: float(torch.stack([one[name] for one in found]).mean()) for name in found[0]}


def main() -> None:
    """Train by the clock; write weights and card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="Of the process's own time.")
    parser.add_argument("--pairs", type=int, default=16, help="Per batch.")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    store = Store.open(args.store)
    held = len(store) // 10
    train = Batches(store, range(len(store) - held), args.seed)
    test = Batches(store, range(len(store) - held, len(store)), args.seed + 1)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(args.seed)
        network, tasks = TownNetwork(), Tasks(len(train.names), store.video.shape[2])
    network.train()
    parameters = [*network.parameters(), *tasks.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=0.01)
    step, limit, since = 0, 60 * args.minutes, time.process_time()
    before = measured(network, tasks, test)
    while (spent := time.process_time() - since) < limit:
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 50) * max(0.02, 1 - spent / limit)
        found = losses(network, tasks, train.draw(args.pairs))
        sum(WEIGHTS[name] * value for name, value in found.items()).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 50 == 0:
            print(step, f"{spent:.0f} s", {name: round(float(value), 3) for name, value in found.items()}, flush=True)
    after = measured(network, tasks, test)
    network.eval().save_pretrained(args.out, _card(store, args, step, before, after), overwrite=True)
    print("held out, before", before, "after", after)


def _card(store: Store, args: argparse.Namespace, steps: int, before: dict[str, float], after: dict[str, float]) -> str:
    lines = [f"| {name} | {before[name]:.3f} | {after[name]:.3f} |" for name in after]
    return "\n".join(
        [
            "# Feature network for town frames",
            "",
            "What `FID` and `FVD` with the name `town-...` are made with (`eval_fid_fvd/town_network.py`); not a published network.",
            "",
            f"Trained from scratch on {len(store) - len(store) // 10} town scenes of training seeds, {steps} steps of {args.pairs} pairs of "
            f"frames and three cameras, {args.minutes:g} minutes of one CPU core (`benchmarks/train_town_features.py`); Apache-2.0, no "
            "recorded data.",
            "",
            f"| task, loss on {len(store) // 10} held-out scenes | before | after |",
            "|---|---|---|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
