"""Do words help? Drives imagined freely under several guides, against what the driver of the scene really did.

At held-out moments of the town: ADE over the horizon, and how often the imagined drive amounts to the decision that the
driver made over 3 s, for silence, the driver's instruction, the model's own decisions, the town's hints (which know what
comes: an upper bound), another scene's hints (chance), and going on at constant velocity; with 95 % intervals over moments.

    uv run python benchmarks/guides.py assets/default --folder moments --out guides.json
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from eval_fid_fvd.held_out import Moment, moment_of, unseen_scenes
from eval_fid_fvd.statistics import bootstrap_interval
from worldmodel.decisions import decide
from worldmodel.geometry import Motion, Trajectory
from worldmodel.guidance import DecisionGuide, FixedGuide, Guide, GuideContext
from worldmodel.model import WorldModel
from worldmodel.plans import Observation
from worldmodel.sampling import Sampling
from worldmodel.town.guide import TownGuide
from worldmodel.town.scene import town_rig

SITUATIONS = ("intersection", "traffic_light", "stop_and_go", "street", "curvy", "pedestrian", "roundabout", "cut_in")
DECISION_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one guide achieves: means and 95 % intervals over moments."""

    guide: str
    ade_m: float
    ade_m_95: tuple[float, float]
    decisions: float
    decisions_95: tuple[float, float]
    asking_ms: float | None = None


@dataclass
class Timed:
    """A guide, and how long it took to answer."""

    guide: Guide
    seconds: list[float] = field(default_factory=list)

    def hint(self, context: GuideContext) -> str:
        """What the guide says."""
        started = time.perf_counter()
        text = self.guide.hint(context)
        self.seconds.append(time.perf_counter() - started)
        return text


def driven(moment: Moment, seconds: float) -> Trajectory:
    """What the driver of the scene does after a moment."""
    frames = round(seconds * moment.scene.frequency_hz)
    poses = moment.scene.ego_poses[moment.now : moment.now + frames + 1]
    times = np.arange(len(poses)) / moment.scene.frequency_hz
    return Trajectory(poses=poses, times_s=times).seen_from(poses[0])


def observed(moment: Moment) -> Observation:
    """What is seen and told at a moment."""
    now = moment.now / moment.scene.frequency_hz
    told = [one.text for one in moment.scene.instructions if one.start_s <= now < one.end_s]
    return replace(moment.observation, instruction=told[-1] if told else "")


def row_of(name: str, drives: Sequence[Trajectory], truth: Sequence[Trajectory], asking_ms: float | None = None) -> Row:
    """ADE and agreement of decisions, with intervals over moments."""
    pairs = list(zip(drives, truth, strict=True))
    ade = np.array([np.linalg.norm(a.poses[1:, :2] - b.poses[1:, :2], axis=1).mean() for a, b in pairs])
    same = np.array([float(decide(a, DECISION_S) == decide(b, DECISION_S)) for a, b in pairs])
    random = np.random.default_rng(0)
    return Row(
        guide=name,
        ade_m=float(ade.mean()),
        ade_m_95=bootstrap_interval(ade, generator=random),
        decisions=float(same.mean()),
        decisions_95=bootstrap_interval(same, generator=random),
        asking_ms=asking_ms,
    )


def imagined(
    model: WorldModel, moments: Sequence[Moment], make: Callable[[int], Guide], args: argparse.Namespace
) -> tuple[list[Trajectory], float]:
    """Drives under a guide for each moment, and seconds that a guide takes per chunk."""
    drives: list[Trajectory] = []
    spent: list[float] = []
    for first in range(0, len(moments), args.batch):
        numbers = range(first, min(first + args.batch, len(moments)))
        guides = [Timed(make(i)) for i in numbers]
        observations = [observed(moments[i]) for i in numbers]
        rollouts = model.imagine_batch(
            observations, seconds=args.seconds, seeds=list(numbers), guides=guides, sampling=Sampling(steps=args.steps)
        )
        drives += [rollout.trajectory for rollout in rollouts]
        spent += [seconds for guide in guides for seconds in guide.seconds]
    return drives, float(np.mean(spent))


def constant_velocity(moment: Moment, seconds: float) -> Trajectory:
    """The newest step, repeated straight on."""
    hertz = moment.scene.frequency_hz
    assert moment.observation.motion is not None
    step = moment.observation.motion.deltas[-1] * np.array([1, 0, 0])
    return Motion(deltas=np.repeat(step[None], round(seconds * hertz), axis=0), period_s=1 / hertz).trajectory()


def main() -> None:
    """Print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("moments"), help="keeps the rendered moments")
    parser.add_argument("--moments", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = WorldModel.from_pretrained(args.model)
    config = model.config
    hertz, history = config.frequency_hz, config.history_chunks * model.per_chunk
    rig = town_rig(config.cameras, config.width_px, config.height_px)
    scenes = unseen_scenes(SITUATIONS, 0, history / hertz + 4.0 + args.seconds, hertz)
    nows = [history - 1 + round(4.0 * hertz * (i % 5) / 5) for i in range(args.moments)]
    moments = [
        moment_of(scene, now, rig, history=history, future=0, folder=args.folder)
        for now, scene in zip(nows, scenes, strict=False)
    ]
    truth = [driven(moment, args.seconds) for moment in moments]
    others = moments[1:] + moments[:1]
    makers: dict[str, Callable[[int], Guide]] = {
        "nothing said": lambda _: FixedGuide(),
        "what the driver is told": lambda i: FixedGuide(text=observed(moments[i]).instruction),
        "the model's own decisions": lambda _: DecisionGuide(),
        "the town's hints (know what comes)": lambda i: TownGuide(moments[i].scene, moments[i].now / hertz),
        "another scene's hints": lambda i: TownGuide(others[i].scene, others[i].now / hertz),
    }
    rows = [row_of("constant velocity", [constant_velocity(one, args.seconds) for one in moments], truth)]
    for name, make in makers.items():
        drives, seconds = imagined(model, moments, make, args)
        rows.append(row_of(name, drives, truth, 1000 * seconds))
    print(f"{len(moments)} moments, {args.seconds:g} s, {args.steps} steps, model {model.hash}")
    print("| guide | ADE m (95 %) | same decision over 3 s (95 %) | ms per question |\n|---|---|---|---|")
    for row in rows:
        print(_line(row))
    if args.out is not None:
        facts = {"model": model.hash, "moments": len(moments), "seconds": args.seconds, "steps": args.steps}
        args.out.write_text(json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=1))


def _line(row: Row) -> str:
    asking = "" if row.asking_ms is None else f"{row.asking_ms:.1f}"
    ade, same = _with_interval(row.ade_m, row.ade_m_95), _with_interval(row.decisions, row.decisions_95)
    return f"| {row.guide} | {ade} | {same} | {asking} |"


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


if __name__ == "__main__":
    main()
