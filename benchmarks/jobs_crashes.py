"""A batch whose workers and driver are killed again and again: is it, in the end, the batch that nobody disturbed?

The untrained model of the `test` preset imagines a tiny recording from several moments, with several seeds and texts. The batch is run
once in peace, and once while a worker or the driver's whole process group gets SIGKILL at moments drawn from a seed: after so
many finished units and a part of one more, or while workers come up. After each kill of the driver the same command is run again. Then

- every file of every unit is the same in both (unit.json without times, memory and versions),
- the manifest has every unit once, and nothing is left that does not belong there,
- no more works were begun than units, kills and workers allow, and no unit more often than kills.

    uv run python benchmarks/jobs_crashes.py crashes --units 200 --kills 20 --workers 2 --out crashes.json

About 10 minutes of two cores.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

FPS, SECONDS_OF_CLIP, MOMENTS = 8, 6, (2.0, 2.5, 3.0, 3.5)
TEXTS = (None, "turn left", "turn right", "stop", "keep going")
VARYING = ("timings_s", "peak_bytes", "made")  # of unit.json
OUTPUTS = ["mosaic", "cameras", "latents", "trajectory", "scores"]
WORKERS = ("engines.local_worker", "ray::RayWorker")  # in the command lines of workers
PATIENCE_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill.

    Attributes:
        victim: 'worker' or 'driver' (with all of its processes).
        after: Finished units before it; -1 for while workers come up.
        delay_s: What passes then.
    """

    victim: str
    after: int
    delay_s: float


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What came out; empty tuples are what one wants.

    Attributes:
        units, kills, driver_kills: How many.
        differ: Units whose files are not the same.
        missing, double: Units that the manifest lacks, or has more than once.
        left: What lies in the folder and does not belong there.
        begun: Works that were begun; as many as units at least.
        allowed: The most that kills and workers explain.
        most_begun: Times that one unit was begun.
        seconds, quiet_s: With kills and without.
    """

    units: int
    kills: int
    driver_kills: int
    differ: tuple[str, ...]
    missing: tuple[str, ...]
    double: tuple[str, ...]
    left: tuple[str, ...]
    begun: int
    allowed: int
    most_begun: int
    seconds: float
    quiet_s: float

    @property
    def fine(self) -> bool:
        """Whether the batch survived."""
        wrong = self.differ or self.missing or self.double or self.left
        return not wrong and self.units <= self.begun <= self.allowed and self.most_begun <= 1 + self.kills


def prepare(folder: Path, units: int) -> Path:
    """A model, a recording and a job of so many units; returns the job file."""
    moments = MOMENTS[: max(1, min(len(MOMENTS), units // 4))]
    texts = TEXTS if units % (len(TEXTS) * len(moments)) == 0 else TEXTS[:1]
    seeds = units // (len(moments) * len(texts))
    if seeds * len(moments) * len(texts) != units:
        raise SystemExit(f"{units} units do not fit {len(moments)} moments; use a multiple of {len(moments)}.")
    folder.mkdir(parents=True, exist_ok=True)
    _write_model(folder / "model")
    _write_recording(folder / "drives")
    job = {
        "model": "model",
        "clips": [{"dataset": "drives", "at_s": list(moments)}],
        "sweep": {"texts": list(texts), "seeds": list(range(seeds)), "seconds": [1.0], "steps": [2]},
        "outputs": OUTPUTS,
        "metrics": ["psnr", "ade"],
    }
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(job, sort_keys=False))
    return file


def _write_model(folder: Path) -> None:
    import torch

    from worldmodel.model import WorldModel
    from worldmodel.network import WorldActionTransformer
    from worldmodel.tokenizer import Tokenizer
    from worldmodel.training.presets import find_preset

    config = replace(find_preset("test").model, step_std=(0.2, 0.05, 0.01), step_mean=(1.0, 0.0, 0.0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WorldModel(config, Tokenizer(config.tokenizer), WorldActionTransformer(config.network))
    model.save_pretrained(folder)


def _write_recording(folder: Path) -> None:
    from worldmodel.clips import Clip, Instruction
    from worldmodel.geometry import Motion
    from worldmodel.io.lerobot import write_dataset
    from worldmodel.town.scene import town_rig

    frames = FPS * SECONDS_OF_CLIP
    pictures = np.random.default_rng(0).integers(0, 256, (frames, 3, 3, 32, 64), dtype=np.uint8)
    clip = Clip(
        id="noise",
        video=pictures,
        rig=town_rig(3, 64, 32),
        motion=Motion(deltas=np.array([[1.0, 0.0, 0.005]] * (frames - 1)), period_s=1 / FPS),
        motion_origin="poses",
        frequency_hz=float(FPS),
        instructions=(Instruction(text="keep going"),),
        source="made by a benchmark",
    )
    write_dataset([clip], folder, name="drives")


def kills_of(seed: int, kills: int, units: int, workers: int, unit_s: float) -> list[Kill]:
    """When who is killed: one in five while workers come up, the others spread over the batch; the same for the same seed."""
    draw = random.Random(seed)
    moments = sorted(draw.sample(range(units * 4 // 5 - workers), kills))  # some are left for the last delays
    early = set(draw.sample(range(kills), kills // 5))
    return [
        Kill(
            victim="driver" if number in early else draw.choice(("worker", "driver")),
            after=-1 if number in early else moments[number],
            delay_s=draw.uniform(0, 4.0 if number in early else min(2 * unit_s, 1.0)),
        )
        for number in range(kills)
    ]


@dataclass(eq=False, kw_only=True)
class Run:
    """The command that does the batch, started again after each kill of the driver."""

    job: Path
    out: Path
    engine: str
    workers: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, in a process group of its own."""
        command = [str(Path(sys.executable).with_name("detour")), "jobs", "run", str(self.job), "--out", str(self.out)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--engine", self.engine, "--workers", str(self.workers)],
                stdout=log,
                stderr=log,
                process_group=0,
            )

    @property
    def running(self) -> bool:
        """Whether the driver lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def over(self) -> bool:
        """Whether the driver ended by itself."""
        return self.process is not None and (self.process.poll() or 0) >= 0 and not self.running

    @property
    def finished(self) -> int:
        """Units whose output is there."""
        return sum(1 for _ in self.out.glob("units/*/*/unit.json"))

    def wait(self) -> int:
        """Until it ends by itself; its exit code."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def kill(self, victim: str, draw: random.Random) -> bool:
        """Whether somebody was killed: one worker, or the driver with its whole group."""
        assert self.process is not None
        try:
            if victim == "worker":
                draw.choice(self._workers()).kill()
                return True
            os.killpg(self.process.pid, signal.SIGKILL)
        except (IndexError, psutil.Error, ProcessLookupError):
            return False
        self.process.wait(PATIENCE_S)
        return True

    def _workers(self) -> list[psutil.Process]:
        assert self.process is not None
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in found if any(name in _command(child) for name in WORKERS)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def crash(run: Run, kills: Sequence[Kill], seed: int) -> list[Kill]:
    """Run the batch to its end through all kills; those that happened."""
    draw, happened = random.Random(seed + 1), []
    run.start()
    for kill in kills:
        while run.running and run.finished < kill.after:
            time.sleep(0.02)
        time.sleep(kill.delay_s)
        while run.running and not run.kill(kill.victim, draw):
            time.sleep(0.05)  # until a worker is up
        if run.over:
            break
        happened.append(kill)
        if not run.running:
            run.start()
    for _ in range(3):  # a unit whose worker was killed too often is done by the next run
        if run.wait() == 0:
            break
        run.start()
    return happened


def compare(quiet: Path, crashed: Path, happened: Sequence[Kill], workers: int) -> dict[str, Any]:
    """Fields of `Findings` that two folders decide."""
    import pandas

    wanted, got = _units(quiet), _units(crashed)
    rows = Counter(pandas.read_parquet(crashed / "manifest")["key"])
    begun, times = _begun(crashed)
    drivers = sum(kill.victim == "driver" for kill in happened)
    return {
        "units": len(wanted),
        "kills": len(happened),
        "driver_kills": drivers,
        "differ": tuple(key for key in sorted(wanted.keys() | got.keys()) if wanted.get(key) != got.get(key)),
        "missing": tuple(sorted(wanted.keys() - rows.keys())),
        "double": tuple(sorted(key for key, count in rows.items() if count > 1)),
        "left": _left(crashed),
        "begun": begun,
        "allowed": len(wanted) + drivers * workers + len(happened) - drivers,
        "most_begun": times,
    }


def _units(out: Path) -> dict[str, dict[str, str]]:
    """Hash of each file, by unit."""
    found: dict[str, dict[str, str]] = {}
    for folder in out.glob("units/*/*"):
        found[folder.name] = {
            path.relative_to(folder).as_posix(): _hash(path) for path in folder.rglob("*") if path.is_file()
        }
    return found


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.name == "unit.json":
        facts = {name: value for name, value in json.loads(content).items() if name not in VARYING}
        content = json.dumps(facts, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _begun(out: Path) -> tuple[int, int]:
    """Works that were begun, and how often the unit that was begun most."""
    times: Counter[str] = Counter()
    for path in out.glob("events/*.jsonl"):
        for line in path.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # torn by a kill
            times.update(event["keys"] if event["event"] == "work_began" else ())
    return sum(times.values()), max(times.values(), default=0)


def _left(out: Path) -> tuple[str, ...]:
    """Files of what is not finished. Notes of tries that failed may stay: those of units that are done count no more."""
    found = [path for name in ("partial", "scratch", "damaged") for path in (out / name).rglob("*") if path.is_file()]
    found += [path for path in (out / "failures").glob("*") if not any(out.glob(f"units/*/{path.stem}/unit.json"))]
    found += [path for path in out.rglob("*") if path.is_file() and ("tmp" in path.name or path.name.startswith("."))]
    found += [folder for folder in out.glob("units/*/*") if not (folder / "unit.json").is_file()]
    return tuple(sorted({path.relative_to(out).as_posix() for path in found}))


def in_peace(folder: Path, units: int, workers: int) -> tuple[Run, float]:
    """A batch that nobody disturbs, and its seconds.

    Raises:
        RuntimeError: if it fails even so.
    """
    job, began = prepare(folder, units), time.monotonic()
    run = Run(job=job, out=folder / "quiet", engine="local", workers=workers, log=folder / "quiet.log")
    run.start()
    if run.wait() != 0:
        raise RuntimeError(f"the undisturbed batch failed; see {run.log}")
    return run, time.monotonic() - began


def under_fire(quiet: Run, quiet_s: float, kills: Sequence[Kill], engine: str, seed: int = 0) -> Findings:
    """The same batch with kills, in a folder beside the undisturbed one, and how they compare."""
    name, began = f"crashed-{engine}", time.monotonic()
    folder = quiet.out.parent
    run = replace(quiet, out=folder / name, engine=engine, log=folder / f"{name}.log", process=None)
    happened = crash(run, kills, seed)
    seconds = time.monotonic() - began
    return Findings(**compare(quiet.out, run.out, happened, run.workers), seconds=seconds, quiet_s=quiet_s)


def table(found: Findings, engine: str, workers: int) -> str:
    """The findings for people."""
    rows: Mapping[str, object] = {
        "units": found.units,
        "kills (of them the driver with all workers)": f"{found.kills} ({found.driver_kills})",
        "units that differ from the undisturbed batch": len(found.differ),
        "missing in the manifest": len(found.missing),
        "double in the manifest": len(found.double),
        "files left that do not belong there": len(found.left),
        "units begun (most that kills explain)": f"{found.begun} ({found.allowed})",
        "most often that one unit was begun": found.most_begun,
        "minutes with kills (without)": f"{found.seconds / 60:.1f} ({found.quiet_s / 60:.1f})",
    }
    lines = [f"| {engine}, {workers} workers | |", "|---|---|"] + [
        f"| {name} | {value} |" for name, value in rows.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table; the exit code is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for models, recordings and both batches; must not exist")
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="the findings as JSON")
    asked = parser.parse_args()
    if asked.folder.exists():
        raise SystemExit(f"{asked.folder} is there already; name a new folder.")
    quiet, quiet_s = in_peace(asked.folder, asked.units, asked.workers)
    kills = kills_of(asked.seed, asked.kills, asked.units, asked.workers, quiet_s * asked.workers / asked.units)
    found = under_fire(quiet, quiet_s, kills, asked.engine, asked.seed)
    if asked.out:
        asked.out.write_text(json.dumps(asdict(found) | {"fine": found.fine}, indent=2))
    print(table(found, asked.engine, asked.workers))
    sys.exit(not found.fine)


if __name__ == "__main__":
    main()
