"""Train `town-r2p1d`, the feature network that scores of town frames stand on, from a training store of town scenes.

    uv run python benchmarks/train_town_features.py STORE assets/features --minutes 20 --work runs/town-features

STORE is what `detour train` leaves in its run folder (or `worldmodel.training.store.town_store` makes). Tasks and labels are
in `town_tasks.py`. The last tenth of the scenes is held out for the scores on the card. One thread is enough; where the
processor knows bfloat16, training uses it. The network so far is saved every few minutes, so that a killed run leaves one.
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from town_tasks import KINDS, WEIGHTS, Draws, Tasks, TownScenes, losses

from eval_fid_fvd.corruptions import CORRUPTIONS
from eval_fid_fvd.networks.town import TownR2p1d
from worldmodel.decisions import LATERAL, LONGITUDINAL
from worldmodel.town.scene import WEATHERS

HELD_OUT = 10  # every so many-th part of the scenes, the last ones
CLIPS = {16: 16, 8: 32}  # frames of the clips, batch after batch in turn, and how many of them are in a batch
SAVE_S, SPREAD_SHARE = 300.0, 0.1
MEASURED = 20  # batches for the scores of the finished network; half of them in between


def answers(network: TownR2p1d, tasks: Tasks, clips: Tensor, *, fast: bool) -> dict[str, Tensor]:
    """What network and tasks say to clips."""
    with torch.autocast(clips.device.type, dtype=torch.bfloat16, enabled=fast):
        maps = network(clips)
    said: dict[str, Tensor] = tasks(maps)
    return said


def train(network: TownR2p1d, tasks: Tasks, draws: Draws, *, minutes: float, rate: float, fast: bool) -> Iterator[int]:
    """Train by the process's own clock; yields the number of steps after each."""
    parameters = [*network.parameters(), *tasks.parameters()]
    groups = [{"params": list(module.parameters()), "times": times} for module, times in ((network, 1.0), (tasks, 3.0))]
    optimiser = torch.optim.AdamW(groups, lr=rate, weight_decay=0.02)
    step, limit, since, smooth = 0, 60 * minutes, time.process_time(), dict[str, float]()
    while (spent := time.process_time() - since) < limit:
        for group in optimiser.param_groups:
            now = min(1, (step + 1) / 60) * max(0.01, 0.5 + 0.5 * math.cos(math.pi * spent / limit))
            group["lr"] = rate * group["times"] * now
        frames = list(CLIPS)[step % len(CLIPS)]
        batch = draws.batch(CLIPS[frames], frames)
        found = losses(answers(network, tasks, batch["clips"], fast=fast), batch)
        torch.stack([WEIGHTS[name] * value for name, value in found.items()]).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 2.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        values = {name: float(value.detach()) for name, value in found.items()}
        smooth = {name: 0.97 * smooth.get(name, v) + 0.03 * v for name, v in values.items()}
        step += 1
        if step % 50 == 0:
            print(step, f"{spent:.0f} s", {name: round(value, 3) for name, value in smooth.items()}, flush=True)
        yield step


@torch.no_grad()
def standardise(network: TownR2p1d, draws: Draws, batches: int) -> None:
    """Set mean and spread of the features from undamaged clips and pictures."""
    network.eval()
    clips = [draws.batch(CLIPS[16], 16)["clips"] for _ in range(batches)]
    for name, frames in (("clip", slice(None)), ("picture", slice(0, 1))):
        rows = torch.cat([network(batch[:, :, frames]).mean(dim=(2, 3, 4)) for batch in clips])
        spread = rows.std(0)
        getattr(network, f"{name}_mean").copy_(rows.mean(0))
        getattr(network, f"{name}_spread").copy_(spread.clamp(min=SPREAD_SHARE * float(spread.mean())))
    network.train()


@torch.no_grad()
def measured(
    network: TownR2p1d, tasks: Tasks, rows: range, scenes: TownScenes, batches: int
) -> dict[str, tuple[float, float]]:
    """Scores on held-out scenes, each beside that of the best constant answer: clips of 16 frames, undamaged and damaged."""
    network.eval()
    tasks.eval()
    clean, worse = ([], []), ([], [])
    for share, (said, true) in ((0.0, clean), (1.0, worse)):
        draws = Draws(scenes=scenes, rows=rows, seed=9, damage=share)
        for _ in range(batches):
            batch = draws.batch(CLIPS[16], 16)
            said.append(answers(network, tasks, batch["clips"], fast=False))
            true.append(batch)
    network.train()
    tasks.train()
    return {**_clean_scores(*map(_joined, clean)), **_damage_scores(*map(_joined, worse))}


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _clean_scores(said: dict[str, Any], true: dict[str, Any]) -> dict[str, tuple[float, float]]:
    found = {}
    for i, (name, unit) in enumerate((("speed, mean error, m/s", 5.0), ("yaw rate, mean error, rad/s", 0.1))):
        truth = unit * true["motion"][:, i]
        found[name] = (_error(unit * said["motion"][:, i], truth), _error(np.median(truth), truth))
    truths = (true["decisions"][:, 0], true["decisions"][:, 1], true["weather"], true["situation"])
    sizes = (len(LATERAL), len(LONGITUDINAL), len(WEATHERS), said["situation"].shape[1])
    for name, truth, size in zip(("lateral", "longitudinal", "weather", "situation"), truths, sizes, strict=True):
        hit = said[name].argmax(1) == truth
        found[f"{name} ({size}), accuracy"] = (float(hit.mean()), float(np.bincount(truth).max() / len(truth)))
        classes = np.unique(truth)
        found[f"{name}, balanced"] = (float(np.mean([hit[truth == one].mean() for one in classes])), 1 / len(classes))
    for i, name in enumerate(KINDS):
        truth = true["counts"][:, i] ** 2
        found[f"{name}, mean error of the number"] = (
            _error(np.clip(said["counts"][:, i], 0, None) ** 2, truth),
            _error(np.median(truth), truth),
        )
    return found


def _damage_scores(said: dict[str, Any], true: dict[str, Any]) -> dict[str, tuple[float, float]]:
    found = {}
    for i, kind in enumerate(CORRUPTIONS):
        error = said["severity"][:, i] - true["severity"][:, i]
        found[f"{kind}, share of the variance of the severity's root explained"] = (
            float(1 - (error**2).mean() / true["severity"][:, i].var()),
            0.0,
        )
    return found


def _error(said: Any, truth: np.ndarray) -> float:
    return float(np.abs(said - truth).mean())


def main() -> None:
    """Train by the clock; write weights and card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/town-features"), help="Keeps counts and the network so far."
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="Of the process's own time.")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="A network to go on from; what its card says is kept.")
    args = parser.parse_args()
    scenes = TownScenes.open(args.store, args.work)
    count = len(scenes.data) - len(scenes.data) // HELD_OUT
    draws = Draws(scenes=scenes, rows=range(count), seed=args.seed)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(args.seed)
        network = TownR2p1d() if args.start is None else TownR2p1d.from_pretrained(args.start)
        network = network.train().requires_grad_(True).to(memory_format=torch.channels_last_3d)
        tasks = Tasks(len(scenes.names))
    saved, step, fast = time.monotonic(), 0, bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

    def save(folder: Path, steps: int, batches: int) -> None:
        standardise(network, Draws(scenes=scenes, rows=range(count), seed=7, damage=0.0), batches)
        scores = measured(network, tasks, range(count, len(scenes.data)), scenes, batches)
        network.save_pretrained(folder, card(scenes, args, steps, scores), overwrite=True)
        print(folder, {name: round(value, 3) for name, (value, _) in scores.items()}, flush=True)

    for step in train(network, tasks, draws, minutes=args.minutes, rate=args.rate, fast=fast):
        if time.monotonic() - saved > SAVE_S:
            save(args.work / "so-far", step, MEASURED // 2)
            saved = time.monotonic()
    save(args.out, step, MEASURED)


def card(scenes: TownScenes, args: argparse.Namespace, steps: int, scores: dict[str, tuple[float, float]]) -> str:
    """The model card."""
    held = len(scenes.data) // HELD_OUT
    store = scenes.data.store
    seeds = [seed for _, seed in scenes.data.scenes]
    rows = [f"| {name} | {value:.3f} | {constant:.3f} |" for name, (value, constant) in scores.items()]
    return "\n".join(
        [
            "# town-r2p1d: a feature network for town frames",
            "",
            "What scores with the name `town-r2p1d-...` are made with (`eval_fid_fvd/networks/town.py`); not a published network,",
            "and its numbers are no plain FID or FVD. It shares nothing with any world model or tokenizer. Apache-2.0.",
            "",
            "A small R(2+1)D: frames of one camera at 128x64, 8 frames or more (longer clips whole); the features are the means of",
            "its last map, in standard deviations of true town clips. A picture goes through as a clip that stands still.",
            "",
            f"Trained {'from scratch' if args.start is None else 'further (see below)'} by `benchmarks/train_town_features.py`",
            f"on {len(scenes.data) - held} town scenes of training seeds",
            f"{min(seeds):,} to {max(seeds):,} ({held} more held out) at {store.frequency_hz:g} Hz, {steps:,} batches of clips of 16 and 8 frames",
            f"(some of them still), {args.minutes:g} minutes of one processor core; no recorded data. Asked at once: mean speed and yaw rate,",
            "decisions over the clip, weather, situation, numbers of visible road users, where they are, and how strongly a clip was",
            "damaged (`eval_fid_fvd/corruptions.py`; a little more than half of the clips were, one way each). So it has seen the",
            "kinds of damage that `benchmarks/corruptions.py` measures it with, on other scenes.",
            "",
            "| held-out clips of 16 frames | network | best constant |",
            "|---|---|---|",
            *rows,
            "",
            *([] if args.start is None else [f"It went on from a network of the same command, {args.start.name}.", ""]),
            "Limits: it knows the town at about 8 Hz and nothing else; on recorded video its numbers say little.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
