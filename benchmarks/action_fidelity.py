"""Does the video obey? Pearson between commanded and read-back motion on held-out town scenes.

uv run python benchmarks/action_fidelity.py assets/default --commands 64
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from eval_fid_fvd.action_fidelity import action_fidelity, draw_commands
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("assets/clips"))
    parser.add_argument("--commands", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model, data = WorldModel.from_pretrained(args.model), Dataset.open(args.data)
    history_s = model.config.history_chunks * model.per_chunk / model.config.frequency_hz
    observations = []
    for i in range(args.commands):
        clip = data.clip(i % data.episodes)
        free = clip.duration_s - history_s - 0.5
        observations.append(clip.observation(history_s + free * (i // data.episodes) / 16 % free, history_s))
    commands = draw_commands(args.commands, args.seconds, model.config.frequency_hz, args.seed)
    result = action_fidelity(model, observations, commands, steps=args.steps, seed=args.seed)
    print(json.dumps({"model": model.hash, "steps": args.steps, **asdict(result)}))


if __name__ == "__main__":
    main()
