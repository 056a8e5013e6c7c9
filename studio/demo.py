"""The whole story on one clip: imagine under two instructions, stitch an obstacle, plan before and after, score, report."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval_fid_fvd.images import psnr_of_frames, ssim_of_frames
from eval_fid_fvd.planning import ade_fde
from policy.baselines import ConstantTurnRatePlanner, ConstantVelocityPlanner
from policy.planner import JointPlanner, Planner
from studio.counterfactual import EditedClip, apply_edit, pair_of
from studio.demo_story import Story
from studio.moments import Wish, find_moment
from studio.runs import RunWriter, new_folder, refuse_existing
from studio.town_answer import town_answer
from worldmodel.clips import Clip
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit, MissingMotion
from worldmodel.geometry import Array, Trajectory
from worldmodel.io.lerobot import find_clip
from worldmodel.pictures import resize_video
from worldmodel.plans import PLAN_TIMES_S, Plan
from worldmodel.sampling import Sampling

if TYPE_CHECKING:
    from worldmodel.config import WorldModelConfig
    from worldmodel.model import WorldModel

ASSETS = Path(__file__).resolve().parent.parent / "assets"
DEFAULT_CLIP = f"{ASSETS / 'clips'}:2"  # a street where the town's own driver brakes for the obstacle
DEFAULT_MODEL = str(ASSETS / "default")
MAX_HISTORY_S = 2.0  # more is not needed for the story, and shorter clips can tell it too

Progress = Callable[[str, float | None], None]


def silent(part: str, seconds: float | None) -> None:
    """A progress that shows nothing."""
    del part, seconds


@dataclass(frozen=True, kw_only=True)
class DemoRequest:
    """What the demo is asked for.

    Attributes:
        clip: DATASET[:EPISODE[@SECONDS]].
        model: Checkpoint folder.
        seconds: Horizon of the imagined futures.
        sampling: Of the imagined futures.
        seed: Of all noise.
        kind: What is put in the way.
        samples: Plans per answer of the joint planner.
    """

    clip: str = DEFAULT_CLIP
    model: str = DEFAULT_MODEL
    seconds: float = 4.0
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    kind: str = "car"
    samples: int = 8


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo wrote.

    Attributes:
        folder: The run folder.
        report: `report.html` inside it.
        scores: As in `scores.json`.
        skipped: What could not be done, and why.
        timings_s: Seconds per part.
    """

    folder: Path
    report: Path
    scores: tuple[dict[str, Any], ...]
    skipped: tuple[str, ...]
    timings_s: dict[str, float]


def run_demo(
    out: Path,
    *,
    clip: str | None = None,
    seconds: float = 4.0,
    seed: int = 0,
    sampling: Sampling | None = None,
    model: "WorldModel | str | None" = None,
    kind: str = "car",
    progress: Progress = silent,
) -> DemoResult:
    """Tell the whole story into a run folder.

    Args:
        out: A folder that does not exist yet.
        clip: DATASET[:EPISODE[@SECONDS]]; None for the clip that ships.
        seconds: Horizon of the imagined futures.
        seed: Of all noise; the same seed writes the same frames and plans.
        sampling: Of the imagined futures; None: the default.
        model: A loaded model, a checkpoint folder, or None for the one that ships.
        kind: What is put in the way.
        progress: Called with (part, None) when a part begins and (part, seconds) when it has ended.

    Raises:
        OutputExists: if `out` exists or cannot be written.
        BadInput: if the clip or the checkpoint cannot be used. What a clip merely lacks (motion, boxes, a long enough
            future) is said in the report instead.
    """
    from studio.demo_report import write_demo_report

    refuse_existing(Path(out))
    name = model if isinstance(model, str) else DEFAULT_MODEL if model is None else "a loaded model"
    request = DemoRequest(
        clip=clip or DEFAULT_CLIP, model=name, seconds=seconds, sampling=sampling or Sampling(), seed=seed, kind=kind
    )
    find_clip(request.clip)  # a mistyped name fails before anything slow begins
    with new_folder(Path(out)) as folder:
        run = RunWriter(folder=folder, command="detour demo", request=asdict(request), seed=seed)
        with _timed(run, "load the model", progress):
            world = _model(model, request)
        with _timed(run, "read the clip", progress):
            story = _story(world, request)
        with _timed(run, "imagine two futures", progress):
            _imagine(story, world, request)
        with _timed(run, "stitch an obstacle", progress):
            _stitch(story, request)
        with _timed(run, "plan before and after", progress):
            _plan(story, world, request)
        with _timed(run, "score against what happened", progress):
            _score(story, world)
        with _timed(run, "write the report", progress):
            write_demo_report(run, story, world)
    done = Path(out)
    return DemoResult(
        folder=done,
        report=done / "report.html",
        scores=tuple(story.scores),
        skipped=tuple(story.skipped),
        timings_s=run.timings_s,
    )


@contextmanager
def _timed(run: RunWriter, part: str, progress: Progress) -> Iterator[None]:
    progress(part, None)
    started = time.perf_counter()
    yield
    run.timings_s[part] = time.perf_counter() - started
    progress(part, run.timings_s[part])


def _model(model: "WorldModel | str | None", request: DemoRequest) -> "WorldModel":
    from worldmodel.model import WorldModel, check_horizon

    check_horizon(request.seconds)
    return WorldModel.from_pretrained(request.model) if model is None or isinstance(model, str) else model


def wish_of(world: "WorldModel", seconds: float) -> Wish:
    """As much past as helps the model and the story, and as much future as will be compared."""
    return wish_for(world.config, seconds)


def wish_for(config: "WorldModelConfig", seconds: float) -> Wish:
    """`wish_of` a model that need not be loaded."""
    chunk = config.network.frames_per_chunk
    chunks = min(config.history_chunks, max(1, round(MAX_HISTORY_S * config.frequency_hz) // chunk))
    future_s = max(seconds, float(PLAN_TIMES_S[-1]))
    return Wish(history=chunks * chunk, chunk=chunk, future_s=future_s, rate_hz=config.frequency_hz)


def _story(world: "WorldModel", request: DemoRequest) -> Story:
    moment = find_moment(request.clip, wish_of(world, request.seconds))
    frames = round(request.seconds * moment.clip.frequency_hz)
    truth = moment.clip.video[moment.now + 1 :][:frames]
    if len(truth):
        truth = resize_video(truth, world.config.width_px, world.config.height_px)
    story = Story(moment=moment, truth=truth)
    if len(truth) < frames:
        covered = len(truth) / moment.clip.frequency_hz
        story.skipped.append(
            f"The recording goes on for {covered:.2f} s only; what is imagined beyond that is not scored."
        )
    return story


def instructions_for(clip: Clip, at_s: float) -> tuple[str, str]:
    """What the driver was told (or to follow the road), and something else to tell him."""
    told = clip.instruction_at(at_s) or "follow the road"
    return told, "turn right at the crossing" if "left" in told else "turn left at the crossing"


def _imagine(story: Story, world: "WorldModel", request: DemoRequest) -> None:
    from worldmodel.guidance import FixedGuide

    observation = story.moment.observation()
    for text in instructions_for(story.moment.clip, story.moment.at_s):
        rollout = world.imagine(
            observation,
            seconds=request.seconds,
            seed=request.seed,
            guide=FixedGuide(text=text),
            sampling=request.sampling,
        )
        story.rollouts.append((text, rollout))
        story.skipped += [said for said in (*story.moment.notes, *rollout.warnings) if said not in story.skipped]
    driven = story.moment.driven()
    if driven is None:
        story.skipped.append("The clip has no ego motion, so the drive as logged cannot be commanded to the model.")
        return
    covered = min(request.seconds, float(driven.times_s[-1]))
    story.replay = world.imagine(
        observation, seconds=covered, seed=request.seed, actions=driven, sampling=request.sampling
    )


def _stitch(story: Story, request: DemoRequest) -> None:
    edit = StitchSprite(variant="near", kind=request.kind, at_s=story.moment.at_s)
    try:
        story.edited = apply_edit(story.moment.clip, edit)
        story.town = town_answer(story.moment, edit)
    except (MissingMotion, BadEdit) as error:
        story.skipped.append(f"No obstacle was stitched: {error}")


def _plan(story: Story, world: "WorldModel", request: DemoRequest) -> None:
    planners: list[Planner] = [
        JointPlanner(world, request.samples),
        ConstantVelocityPlanner(),
        ConstantTurnRatePlanner(),
    ]
    edited, variant = story.edited, "near"
    if edited is None:
        edited, variant = EditedClip(clip=story.moment.clip, stitched=None), "empty"
    edit = StitchSprite(variant=variant, kind=request.kind, at_s=story.moment.at_s)
    for planner in planners:
        try:
            pair = pair_of(
                planner,
                story.moment.clip,
                edited,
                edit,
                at_s=story.moment.at_s,
                history_s=story.moment.history_s,
                seed=request.seed,
            )
            story.pairs.append(pair)
        except MissingMotion:
            story.skipped.append(f"Planner '{planner.name}' needs the current speed, which this clip does not have.")


def _score(story: Story, world: "WorldModel") -> None:
    if len(story.truth):
        story.scores += list(_picture_scores(story, world))
    driven = story.moment.driven()
    if driven is None:
        story.skipped.append("Plans are not scored: without ego motion nobody knows what was driven.")
        return
    for pair in story.pairs:
        errors = plan_errors(pair.factual, driven)
        if errors is None:
            story.skipped.append("Plans are not scored: less than 0.5 s of the drive follows.")
            return
        until = min(float(PLAN_TIMES_S[-1]), float(driven.times_s[-1]) // 0.5 * 0.5)
        for name, value in errors.items():
            metric = {"ade_m": "ADE", "fde_m": "FDE"}[name]
            story.scores.append(
                {"metric": metric, "of": f"plan: {pair.planner}", "value": value, "unit": "m", "n": 1, "until_s": until}
            )


def plan_errors(plan: Plan, driven: Trajectory) -> dict[str, float] | None:
    """ADE and FDE over the part of the plan that the recording covers; None when it covers nothing of it."""
    known = driven.times_s[-1] + 1e-6 >= PLAN_TIMES_S
    if not known.any():
        return None
    trajectory = plan.trajectory
    return ade_fde(Trajectory(poses=trajectory.poses[known], times_s=trajectory.times_s[known]), driven)


def _picture_scores(story: Story, world: "WorldModel") -> Iterator[dict[str, Any]]:
    """PSNR and SSIM of every contestant against the recording, cameras and frames pooled, mean of dB."""
    truth = story.truth
    newest = resize_video(story.moment.clip.video[story.moment.now], world.config.width_px, world.config.height_px)
    rebuilt = world.tokenizer.decode_video(world.tokenizer.encode_video(truth))
    contestants: list[tuple[str, Array]] = [
        ("reconstruction by the tokenizer (the ceiling)", rebuilt),
        ("repeat the last frame (the baseline)", np.broadcast_to(newest, truth.shape)),
    ]
    if story.replay is not None:
        contestants.append(("imagined, driven as logged", story.replay.video))
    contestants += [(f"imagined, told '{text}'", rollout.video) for text, rollout in story.rollouts]
    for of, video in contestants:
        yield from frame_scores(of, video, truth)


def frame_scores(of: str, video: Array, truth: Array) -> Sequence[dict[str, Any]]:
    """PSNR and SSIM over the frames that both have; inputs uint8 [time, camera, 3, h, w]."""
    frames = min(len(video), len(truth))
    a, b = (side[:frames].reshape(-1, *side.shape[-3:]) for side in (video, truth))
    rows = [{"metric": "PSNR", "of": of, "value": float(psnr_of_frames(a, b).mean()), "unit": "dB", "n": len(a)}]
    if min(a.shape[-2:]) >= 11:
        rows.append({"metric": "SSIM", "of": of, "value": float(ssim_of_frames(a, b).mean()), "unit": "", "n": len(a)})
    return rows
