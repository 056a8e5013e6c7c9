"""What does a long rollout cost in memory, and does it survive a kill? Mosaic, cameras and latents streamed to disk.

Each rollout runs in a process of its own. The peak of its resident memory is compared with that of a short one; then a long
one is killed (SIGKILL) in its middle, continued by another process, and its outputs compared byte for byte with those of the
rollout that nobody killed.

    uv run python benchmarks/long_rollouts.py --model test --out long.json
    uv run python benchmarks/long_rollouts.py --model assets/default --seconds 10 120

`test` is the smallest preset with random weights. Ten minutes take about 2 minutes of one core with `test` and 10 with the
shipped model; the kill takes as long again.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

TEST, CLIP = "test", "assets/clips:0@2"
MOST_GROWTH = 1.5  # memory of the long rollout over that of the short one


@dataclass(frozen=True, kw_only=True)
class Run:
    """One rollout in one process.

    Attributes:
        seconds: Horizon.
        chunks: Computed in this go.
        wall_s: Of the rollout, without loading.
        timing: Seconds by part.
        peak_mib: Largest resident memory of the process.
        loaded_mib: The same before the rollout began.
        output_mib: Of all files.
        digests: SHA-256 of each output.
    """

    seconds: float
    chunks: int
    wall_s: float
    timing: dict[str, float]
    peak_mib: float
    loaded_mib: float
    output_mib: float
    digests: dict[str, str]


def main() -> None:
    """Print two tables."""
    args = _arguments()
    if args.one is not None:
        print(json.dumps(asdict(roll(args, args.one))))
        return
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        runs = [_process(args, seconds, Path(scratch) / f"whole-{seconds:g}") for seconds in args.seconds]
        _print_memory(runs)
        same = None if args.no_kill else _killed(args, runs[-1], Path(scratch))
    if args.out is not None:
        args.out.write_text(json.dumps({"model": args.model, "runs": [asdict(run) for run in runs], "same": same}))
    if runs[-1].peak_mib > MOST_GROWTH * runs[0].peak_mib or same is False:
        sys.exit("a rollout needed too much memory, or did not go on as it would have")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=TEST)
    parser.add_argument("--memory", default="window", help="window or selective; full grows with the horizon")
    parser.add_argument("--seconds", type=float, nargs=2, default=(10.0, 600.0), metavar=("SHORT", "LONG"))
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    parser.add_argument("--scratch", type=Path, help="folder for the rollouts, on a disk")
    parser.add_argument("--no-kill", action="store_true", help="memory only")
    for name in ("--one", "--kill-at"):
        parser.add_argument(name, type=float, help=argparse.SUPPRESS)
    for name in ("--to", "--partial"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# -- one process ------------------------------------------------------------------------------------------------------


def roll(args: argparse.Namespace, seconds: float) -> Run:
    """Imagine so many seconds into `args.to`."""
    import torch

    from studio.jobs.folder.storage import Storage
    from studio.jobs.work.streaming import stream
    from worldmodel.sampling import Sampling

    torch.set_num_threads(1)
    model, sampling = _model(args.model), Sampling(memory=args.memory)
    past = model.remember([_observation(model)], sampling.empty_memory(model.config.history_chunks))
    loaded = _peak_mib()
    args.to.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    made = stream(
        model,
        past,
        frames=round(seconds * model.config.frequency_hz),
        seeds=[0],
        sampling=sampling,
        sinks=[_sinks(args.to, model, past)],
        scratch=args.to.parent,
        partial=Storage.at(args.partial or args.to.with_suffix(".partial")),
        on_chunk=lambda chunk, _: _die() if chunk == args.kill_at else None,
    )
    wall_s = time.perf_counter() - begun
    files = [path for path in sorted(args.to.rglob("*")) if path.is_file()]
    return Run(
        seconds=seconds,
        chunks=made.chunks,
        wall_s=wall_s,
        timing=dict(made.timing),
        peak_mib=_peak_mib(),
        loaded_mib=loaded,
        output_mib=sum(path.stat().st_size for path in files) / 2**20,
        digests={path.relative_to(args.to).as_posix(): _digest(path) for path in files},
    )


def _model(name: str) -> Any:
    import torch

    from worldmodel.model import WorldModel
    from worldmodel.network import WorldActionTransformer
    from worldmodel.tokenizer import Tokenizer
    from worldmodel.training.presets import find_preset

    if name != TEST:
        return WorldModel.from_pretrained(name)
    config = replace(find_preset(TEST).model, step_std=(0.2, 0.05, 0.01), step_mean=(1.0, 0.0, 0.0))
    torch.default_generator.manual_seed(0)
    return WorldModel(config, Tokenizer(config.tokenizer), WorldActionTransformer(config.network))


def _observation(model: Any) -> Any:
    from studio.demo import wish_of
    from studio.moments import find_moment

    return find_moment(CLIP, wish_of(model, 1.0)).observation()


def _sinks(out: Path, model: Any, past: Any) -> list[Any]:
    from studio.jobs.work.sinks import LatentsSink, camera_sink, mosaic_sink

    [rig], hertz = past.rigs, model.config.frequency_hz
    cameras = [camera_sink(out / "cameras" / f"{name}.mp4", i, hertz) for i, name in enumerate(rig.names)]
    return [mosaic_sink(out / "mosaic.mp4", rig, hertz), *cameras, LatentsSink(out=out / "latents.safetensors")]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _peak_mib() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


# -- several ----------------------------------------------------------------------------------------------------------


def _process(args: argparse.Namespace, seconds: float, to: Path, *more: str) -> Run:
    done = _started(args, seconds, to, *more)
    if done.returncode:
        sys.exit(f"the rollout of {seconds:g} s ended with {done.returncode}")
    return Run(**json.loads(done.stdout))


def _started(args: argparse.Namespace, seconds: float, to: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["--model", args.model, "--memory", args.memory, "--one", str(seconds), "--to", str(to), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, env=environment, check=False
    )


def _killed(args: argparse.Namespace, whole: Run, scratch: Path) -> bool:
    """Whether a rollout that was killed in its middle and continued has the outputs of the whole one."""
    to, partial = scratch / "killed", ["--partial", str(scratch / "killed.partial")]
    middle = whole.chunks // 2 + 1
    died = _started(args, whole.seconds, to, *partial, "--kill-at", str(middle))
    rest = _process(args, whole.seconds, to, *partial)
    same = died.returncode == -signal.SIGKILL and rest.digests == whole.digests
    print("\n| killed after chunk | computed again | outputs | MiB at most after it |\n|---|---|---|---|")
    again = middle + rest.chunks - whole.chunks
    print(f"| {middle} of {whole.chunks} | {again} | {'equal' if same else 'DIFFERENT'} | {rest.peak_mib:.0f} |")
    return same


def _print_memory(runs: list[Run]) -> None:
    print(
        "| seconds | frames | MiB at most | before it | ratio | wall s | model s | sinks s | checkpoints s | joining s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for run in runs:
        parts = " | ".join(f"{run.timing[part]:.1f}" for part in ("generate_s", "write_s", "keep_s", "join_s"))
        ratio = run.peak_mib / runs[0].peak_mib
        print(
            f"| {run.seconds:g} | {run.seconds * 8:g} | {run.peak_mib:.0f} | {run.loaded_mib:.0f} | {ratio:.2f} | "
            f"{run.wall_s:.1f} | {parts} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
