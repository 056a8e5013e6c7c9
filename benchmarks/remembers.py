"""Does it remember? Colour, kind and presence of a vehicle that comes back into view, for each memory.

The model reads real frames of a `remember` scene of the town (test seeds) until a parked vehicle that it saw is about to
come back after at least 8 s out of sight, then imagines on along the logged path. `eval_fid_fvd.remembering` says how
agreement is read from the pixels. Rows: full memory; a selective one of a quarter of its size; a window of that same size;
the longest window that was trained; and as baselines no past but the last chunk, the tokenizer's floor (the real frames,
encoded and decoded) and chance. Rendered scenes are kept in --cache, and reused.

    uv run python benchmarks/remembers.py assets/default --scenes 12 --cache remember-cache --out remembers.json
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval_fid_fvd.remembering import COLORS, Looks, Return, find_return, imagined_returns, looks_of, mean_agreement
from eval_fid_fvd.statistics import bootstrap_interval
from worldmodel.clips import Clip
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.memory import AnyMemory, Full, Selective, Window, memory_stats
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling
from worldmodel.town.mixes import SPLITS
from worldmodel.town.records.fingerprint import town_fingerprint
from worldmodel.town.render import render
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

SITUATIONS = ("remember_roundabout", "remember_roundabout", "remember_block")
ASKED = ("color", "kind", "presence")


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One vehicle that comes back: the frames from the first that is read, its candidates, which frames are judged."""

    clip: Clip
    looks: Looks
    judged: tuple[int, ...]  # counted from the first imagined frame
    gap_s: float


def cases(args: argparse.Namespace, rig: Rig, per_chunk: int) -> list[Case]:
    """As many as are wanted, from test seeds in turn."""
    found: list[Case] = []
    for i in range(12 * args.scenes):
        seed = SPLITS["test"] + args.seed + i // len(SITUATIONS)
        case = case_of(SITUATIONS[i % len(SITUATIONS)], seed + (i % 2) * 500_000, args, rig, per_chunk)
        if case is not None:
            found.append(case)
            print(f"{len(found)} of {args.scenes} scenes", end="\r", file=sys.stderr, flush=True)
        if len(found) == args.scenes:
            return found
    sys.exit(f"only {len(found)} vehicles come back in {12 * args.scenes} scenes; ask for fewer --scenes or --chunks")


def case_of(situation: str, seed: int, args: argparse.Namespace, rig: Rig, per_chunk: int) -> Case | None:
    """The case of one scene, from the cache if it is there; None if nothing comes back."""
    size = f"{len(rig)}x{rig.height_px}x{rig.width_px}-{args.chunks}x{per_chunk}+{args.horizon}-{town_fingerprint()}"
    file = args.cache / f"{situation}-{seed}-{size}.npz"
    if not file.exists():
        scene = simulate(situation, seed, seconds=45.0, frequency_hz=8.0)
        back = find_return(scene, chunks=args.chunks, per_chunk=per_chunk, horizon=args.horizon)
        args.cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npz")
        pictures = {} if back is None else _pictures(back, rig, args.horizon)
        np.savez_compressed(partial, **pictures)
        partial.rename(file)
    with np.load(file) as data:
        return _restored(dict(data), file.stem, rig) if data.files else None


def _pictures(back: Return, rig: Rig, horizon: int) -> dict[str, Any]:
    frames = range(back.first, back.now + horizon)
    looks = looks_of(back, rig)
    return {
        "video": render(back.scene, rig, frames).rgb,
        "deltas": back.scene.trajectory().motion()[frames.start : frames.stop - 1].deltas,
        "judged": np.array(back.judged) - back.now,
        "gap_s": np.array(back.gap_s),
        "colors": looks.colors,
        "kinds": looks.kinds,
        "presence": looks.presence,
    }


def _restored(data: dict[str, Array], name: str, rig: Rig) -> Case:
    clip = Clip(
        id=name,
        video=data["video"],
        rig=rig,
        motion=Motion(deltas=data["deltas"], period_s=1 / 8),
        frequency_hz=8.0,
        source="Detour's embedded town (simulated)",
    )
    looks = Looks(colors=data["colors"], kinds=data["kinds"], presence=data["presence"])
    return Case(clip=clip, looks=looks, judged=tuple(data["judged"].tolist()), gap_s=float(data["gap_s"]))


def memories(model: WorldModel, chunks: int) -> dict[str, AnyMemory]:
    """The rows; all bounded ones but the trained window hold a quarter of what full memory holds."""
    quarter, recent = chunks // 4, min(model.config.history_chunks, chunks // 4 - 2)
    budget = quarter - 1 - recent
    return {
        "full": Full(),
        "selective, a quarter": Selective(sink=1, recent=recent, video_budget=budget, action_budget=budget),
        "window of the same size": Window(sink=1, recent=quarter - 1),
        "trained window": Window(sink=1, recent=model.config.history_chunks),
        "last chunk only": Window(sink=0, recent=1),
    }


def judged(model: WorldModel, found: list[Case], args: argparse.Namespace) -> dict[str, dict[str, Array]]:
    """Agreement per scene of every row."""
    rows: dict[str, dict[str, Array]] = {}
    read, sampling = args.chunks * model.per_chunk, Sampling(steps=args.steps)
    for name, memory in memories(model, args.chunks).items():
        started, told, stats = time.perf_counter(), [], {}
        for first in range(0, len(found), args.batch):
            some = found[first : first + args.batch]
            video, past = imagined_returns(model, [c.clip for c in some], memory, read=read, sampling=sampling)
            stats = memory_stats(past.memory)
            told += [c.looks.agreement(v[list(c.judged)]) for c, v in zip(some, video, strict=True)]
        rows[name] = mean_agreement(told)
        cells, seconds = stats["cells"], time.perf_counter() - started
        print(f"{name}: {cells:g} cells at the end, {seconds:.0f} s", file=sys.stderr, flush=True)
    frames = [c.clip.video[read:][list(c.judged)] for c in found]
    again = [model.tokenizer.decode_video(model.tokenizer.encode_video(video)) for video in frames]
    for name, videos in (("real frames, tokenizer's floor", again), ("real frames", frames)):
        rows[name] = mean_agreement([c.looks.agreement(v) for c, v in zip(found, videos, strict=True)])
    return rows


def interval(values: Array) -> tuple[float, float]:
    """95 % over scenes; always with the same draws, so that rows can be compared."""
    low, high = bootstrap_interval(values, np.random.default_rng(0))
    return round(100 * low, 1), round(100 * high, 1)


def contrasts(rows: dict[str, dict[str, Array]]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Selective less others, in points, with the interval of the paired difference over scenes."""
    mine, found = rows["selective, a quarter"], {}
    for asked in ASKED:
        best = max(("full", "trained window"), key=lambda name: rows[name][asked].mean())
        others = {f"better of full and trained window ({best})": best, "window of the same size": ""}
        found[asked] = {
            label: (round(100 * float(difference.mean()), 1), *interval(difference))
            for label, name in others.items()
            for difference in [mine[asked] - rows[name or label][asked]]
        }
    return found


def main() -> None:
    """Print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--chunks", type=int, default=44, help="chunks that are read; full memory holds them all")
    parser.add_argument("--horizon", type=int, default=24, help="frames that are imagined")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("remember-cache"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = WorldModel.from_pretrained(args.model)
    rig = town_rig(model.config.cameras, model.config.width_px, model.config.height_px)
    found = cases(args, rig, model.per_chunk)
    rows = judged(model, found, args)
    gaps = [case.gap_s for case in found]
    print(
        f"{len(found)} vehicles out of sight for {min(gaps):.1f} to {max(gaps):.1f} s; {args.steps} steps, model {model.hash}"
    )
    print("| memory | " + " | ".join(f"{asked} %" for asked in ASKED) + " |\n|---|" + "---|" * len(ASKED))
    for name, row in rows.items():
        values = [f"{100 * row[asked].mean():.1f} {interval(row[asked])}" for asked in ASKED]
        print(f"| {name} | " + " | ".join(values) + " |")
    print(f"| chance | {100 / COLORS:.1f} | 50 | 50 |")
    for asked, differences in contrasts(rows).items():
        for label, (mean, low, high) in differences.items():
            print(f"{asked}: selective less {label}: {mean:+.1f} points ({low:+.1f} to {high:+.1f})")
    if args.out:
        plain = {name: {asked: row[asked].tolist() for asked in ASKED} for name, row in rows.items()}
        facts = {"model": model.hash, "steps": args.steps, "chunks": args.chunks, "gaps_s": gaps}
        args.out.write_text(json.dumps({**facts, "rows": plain, "contrasts": contrasts(rows)}, indent=1))


if __name__ == "__main__":
    main()
