"""Does the model do as it is told? Paths, words, weather, brake lights and hand-overs, read back from imagined pixels.

    uv run python benchmarks/obeys.py assets/default --clips 16 --folder runs/obeys

Everything is asked at held-out moments of the town (test seeds), rendered once into `--folder`. Commands and words differ
from what was driven, so that going on as before is no answer. Beside every number stand its baselines and how well the
reader reads true frames; intervals are 95 %, bootstrap over clips.
"""

import argparse
import json
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import torch

from eval_fid_fvd.obedience.paths import path_rows
from eval_fid_fvd.obedience.road_users import hand_over_row, lights_row
from eval_fid_fvd.obedience.suite import Suite
from eval_fid_fvd.obedience.table import as_markdown
from eval_fid_fvd.obedience.words import text_rows, weather_rows
from eval_fid_fvd.readers import Readers
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling

PARTS = {
    "path": path_rows,
    "text": text_rows,
    "weather": weather_rows,
    "lights": lights_row,
    "hand-over": hand_over_row,
}


def main() -> None:
    """Print the table; `--json` writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--readers", type=Path, default=Path("assets/readers"))
    parser.add_argument("--folder", type=Path, default=Path("runs/obeys"), help="keeps the rendered moments")
    parser.add_argument("--clips", type=int, default=16, help="moments per quantity; junctions are a quarter of it")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--json", type=Path)
    hints = get_type_hints(Sampling)
    for one in fields(Sampling):
        kind = (get_args(hints[one.name]) or (hints[one.name],))[0]  # the first of 'float | None'
        parser.add_argument(
            f"--{one.name.replace('_', '-')}", type=kind, default=one.default, help=one.metadata["help"]
        )
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    sampling = Sampling(**{one.name: getattr(args, one.name) for one in fields(Sampling)})
    model, readers = WorldModel.from_pretrained(args.model), Readers.from_pretrained(args.readers)
    suite = Suite(
        model=model,
        readers=readers,
        sampling=sampling,
        folder=args.folder,
        clips=args.clips,
        batch=args.batch,
        seed=args.seed,
    )
    rows, started = [], time.perf_counter()
    for part in args.parts:
        rows += PARTS[part](suite)
        print(f"{part}: done after {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    settings = " ".join(sampling.words()) or "as by default"
    print(
        f"model {model.hash} ({model.config.preset}), readers {readers.hash}, sampling {settings}, seed {args.seed}\n"
    )
    print(as_markdown(rows))
    if args.json:
        content = {
            "model": model.hash,
            "readers": readers.hash,
            "sampling": sampling.to_json(),
            "rows": [vars(row) for row in rows],
        }
        temporary = args.json.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(args.json)


if __name__ == "__main__":
    main()
