"""The detectability gate: can a linear probe on a tokenizer's latents tell whether a road user stands ahead?

For every distance, town scenes are rendered twice, with and without one inserted actor on the ego's way, everything
else equal. A logistic regression on the front camera's latents is trained on two thirds of the scenes and scored on
the rest (area under the ROC curve). A probe on the pixels themselves (shrunk 2x) shows what was there to be seen.

    uv run python benchmarks/detectability.py runs/mini/tokenizer [more tokenizer folders] --scenes 240
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from worldmodel.edits import InsertActor
from worldmodel.errors import BadEdit
from worldmodel.geometry import Rig
from worldmodel.tokenizer import Tokenizer
from worldmodel.town.render import render
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

GATES = {("car", 15.0): 0.95, ("car", 30.0): 0.90, ("car", 45.0): 0.80, ("pedestrian", 12.0): 0.85}
SITUATIONS = ("street", "empty_road", "highway")
FIRST_SEED = 1_000_000  # validation seeds


def pictures(kind: str, distance_m: float, scenes: int, rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """Front pictures with and without the actor, uint8 [scenes, 3, h, w] each."""
    with_actor, without, seed = [], [], FIRST_SEED
    while len(without) < scenes:
        situation = SITUATIONS[seed % len(SITUATIONS)]
        random = np.random.default_rng(seed)
        edit = InsertActor(kind=kind, x_m=distance_m, y_m=float(random.uniform(-0.7, 0.7)), at_s=0.5)
        seed += 1
        try:
            edited = simulate(situation, seed, seconds=1.0, edits=[edit])
        except BadEdit:
            continue
        factual = simulate(situation, seed, seconds=1.0)
        with_actor.append(render(edited, rig, [4]).rgb[0, 0])
        without.append(render(factual, rig, [4]).rgb[0, 0])
    return np.stack(with_actor), np.stack(without)


def probe_auc(present: np.ndarray, absent: np.ndarray) -> float:
    """AUC on held-out scenes of an L2-regularised linear probe on features [scenes, d] each."""
    cut = len(present) * 2 // 3
    train = np.concatenate([present[:cut], absent[:cut]])
    mean, std = train.mean(0), train.std(0) + 1e-3
    labels = np.repeat([1, 0], cut)
    test = np.concatenate([present[cut:], absent[cut:]])
    best = 0.0
    for strength in (1e-4, 1e-3, 1e-2):
        probe = LogisticRegression(C=strength, max_iter=500).fit((train - mean) / std, labels)
        scores = probe.decision_function((test - mean) / std)
        best = max(best, float(roc_auc_score(np.repeat([1, 0], len(present) - cut), scores)))
    return best


def main() -> None:
    """Print a table and one JSON line per tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizers", nargs="+", type=Path)
    parser.add_argument("--scenes", type=int, default=240)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    args = parser.parse_args()
    rig = Rig(cameras=(town_rig(3, args.width, args.height).cameras[1],))
    tokenizers = {str(path): Tokenizer.from_pretrained(path) for path in args.tokenizers}
    rows: dict[str, dict[str, float]] = {name: {} for name in ("pixels", *tokenizers)}
    for (kind, distance), gate in GATES.items():
        present, absent = pictures(kind, distance, args.scenes, rig)
        label = f"{kind} {distance:g} m (gate {gate})"
        small = [x[:, :, ::2, ::2].reshape(len(x), -1) / 255.0 for x in (present, absent)]
        rows["pixels"][label] = probe_auc(*small)
        for name, tokenizer in tokenizers.items():
            features = [tokenizer.encode(x).flatten(1).cpu().numpy() for x in (present, absent)]
            rows[name][label] = probe_auc(*features)
        print(label, {name: round(row[label], 3) for name, row in rows.items()}, file=sys.stderr, flush=True)
    for name, row in rows.items():
        print(json.dumps({"features": name, "scenes": args.scenes, **{k: round(v, 4) for k, v in row.items()}}))


if __name__ == "__main__":
    main()
