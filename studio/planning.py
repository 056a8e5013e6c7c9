"""`detour stitch` and `detour plan`: what planners answer, with and without an object in the way, and how close they come."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.counterfactual import apply_edit, pair_of, response_row
from studio.demo import DEFAULT_MODEL, wish_of
from studio.demo_report import facts_of, plans_drawn, responses_table, timings_table
from studio.html_report import Block, Figure, Note, Section, Video, write_report
from studio.moments import Moment, Wish, find_moment, moment_of
from studio.overlays import COLORS, PathLayer, birds_eye_svg
from studio.plan_scores import INPUTS, Answer, Future, plan_summary
from studio.planners import DEFAULT_PLANNERS, make_planner, model_for
from studio.runs import RunWriter, new_folder, refuse_existing
from studio.sprites import read_sprite
from studio.stitch import StitchedClip, place_of
from studio.town_answer import TownAnswer, add_town_paths, town_answer, town_facts, town_layers
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadRequest, ClipTooShort, MissingMotion
from worldmodel.io.lerobot import Dataset, find_clip
from worldmodel.plans import PLAN_TIMES_S, Plan

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

WITHOUT_MODEL = Wish(history=8, chunk=2, future_s=float(PLAN_TIMES_S[-1]))


@dataclass(frozen=True, kw_only=True)
class StitchRequest:
    """What `detour stitch` is asked for.

    Attributes:
        clip: DATASET[:EPISODE[@SECONDS]].
        variant: 'near', 'far', 'sky_near', 'sky_far' or 'empty'.
        kind: What is stitched, when no picture is given.
        picture: A PNG with transparency instead; needs `height_m`.
        height_m: Real height of what the picture shows.
        planners: Who is asked.
        samples: Plans per answer of the joint planner.
        seed: Shared by both plans.
        model: Checkpoint folder of the joint planner.
    """

    clip: str
    variant: str = "near"
    kind: str = "car"
    picture: Path | None = None
    height_m: float | None = None
    planners: tuple[str, ...] = DEFAULT_PLANNERS
    samples: int = 8
    seed: int = 0
    model: str = DEFAULT_MODEL


def run_stitch(request: StitchRequest, out: Path, *, model: "WorldModel | None" = None) -> dict[str, Any]:
    """Stitch an object, plan before and after, and write the run folder; returns `run.json` with `responses`.

    Raises:
        BadInput: if the request, clip, picture or checkpoint cannot be used, or `out` exists.
    """
    refuse_existing(Path(out))
    if request.picture is not None and request.height_m is None:
        raise BadRequest(f"'{request.picture}' has no size in metres; say how high the object is with --height-m.")
    sprite = None if request.picture is None else read_sprite(request.picture, request.height_m or 0.0)
    world = model or model_for(request.planners, request.model)
    wish = WITHOUT_MODEL if world is None else wish_of(world, WITHOUT_MODEL.future_s)
    moment = find_moment(request.clip, wish)
    edit = StitchSprite(variant=request.variant, kind=request.kind, at_s=moment.at_s)
    started = time.perf_counter()
    edited = apply_edit(moment.clip, edit, sprite=sprite)
    stitched_s = time.perf_counter() - started
    pairs, skipped = [], []
    for name in request.planners:
        planner = make_planner(name, world, request.samples)
        try:
            pairs.append(
                pair_of(
                    planner,
                    moment.clip,
                    edited,
                    edit,
                    at_s=moment.at_s,
                    history_s=moment.history_s,
                    seed=request.seed,
                )
            )
        except MissingMotion as error:
            skipped.append(f"{planner.name}: {error}")
    town = town_answer(moment, edit, picture=sprite is not None)
    with new_folder(Path(out)) as folder:
        plain = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(request).items()}
        run = RunWriter(folder=folder, command="detour stitch", request=plain, seed=request.seed)
        run.timings_s |= {"stitch": stitched_s, "plan": time.perf_counter() - started - stitched_s}
        assert edited.stitched is not None
        facts = {
            "stitch": edited.stitched.provenance,
            "placements": [asdict(placement) for placement in edited.stitched.placements],
            "responses": {pair.planner: response_row(pair.response) for pair in pairs},
            "town": town_facts(town),
            "skipped": skipped,
        }
        for pair in pairs:
            run.paths[f"plan {pair.planner} without"] = pair.factual.trajectory
            run.paths[f"plan {pair.planner} with"] = pair.edited.trajectory
        add_town_paths(run, town)
        run.add_video("stitched", edited.clip.video, edited.clip.rig, edited.clip.frequency_hz, imagined=False)
        blocks: list[Block] = [Note(text=text) for text in skipped]
        if pairs:
            first = pairs[0]
            frames = plans_drawn(edited.clip, moment.now, first.factual, first.edited)
            path = run.add_picture_row("plans", frames, moment.clip.frequency_hz, imagined=False)
            blocks += [
                Video(
                    path=path,
                    alt="The stitched frames, then the plans.",
                    caption="Blue: without. Orange: with the object.",
                ),
                Figure(
                    svg=_above(moment, first.factual, first.edited, edited.stitched, town),
                    caption="From above; a line each 10 m, the cross is the object.",
                ),
                responses_table(pairs, town),
            ]
        if town is not None:
            blocks.append(town.sentence)
        record = run.finish([], facts)
        name = "no model" if world is None else f"{world.config.preset}, weights {world.hash}"
        sections = [
            Section(heading="Plans with and without", blocks=blocks),
            Section(heading="Time spent", blocks=[timings_table(run.timings_s)]),
        ]
        write_report(
            folder / "report.html",
            f"{edited.stitched.provenance['sprite']}, {request.variant}: clip {moment.clip.id}",
            "An object that was never there, put into a recording; the same planner, the same seed.",
            sections,
            facts_of(record, moment.clip, name),
        )
        return record


def _above(moment: Moment, before: Plan, after: Plan, stitched: StitchedClip, town: TownAnswer | None) -> str:
    layers = [
        PathLayer(label="without", points_m=before.trajectory.poses[:, :2], color=COLORS["before"]),
        PathLayer(label="with", points_m=after.trajectory.poses[:, :2], color=COLORS["after"]),
    ]
    driven = moment.driven()
    if driven is not None:
        layers.append(PathLayer(label="driven", points_m=driven.poses[:, :2], color=COLORS["truth"], dashed=True))
    layers += town_layers(town)
    boxes = moment.clip.boxes[moment.now] if moment.clip.boxes is not None else ()
    return birds_eye_svg(layers, boxes=boxes, obstacle_m=place_of(stitched), title="Plans from above")


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What `detour plan` is asked for.

    Attributes:
        clip: DATASET for all its episodes, or DATASET:EPISODE[@SECONDS] for one.
        planners: Who is asked.
        samples: Plans per answer of the joint planner.
        seed: Of all plans.
        model: Checkpoint folder of the joint planner.
    """

    clip: str
    planners: tuple[str, ...] = DEFAULT_PLANNERS
    samples: int = 8
    seed: int = 0
    model: str = DEFAULT_MODEL


def run_plan(
    request: PlanRequest,
    *,
    model: "WorldModel | None" = None,
    on_clip: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Plan once per clip and compare with what was driven, decided, and in the way; with counts.

    Returns:
        `plans`: one entry per clip and planner (poses, ADE, FDE); `scores`: per planner as `plan_summary`; `inputs`: what
        the planners see; `skipped`: clips left out, and why.

    Raises:
        BadInput: if the request, dataset or checkpoint cannot be used.
    """
    dataset, episode, at_s = find_clip(request.clip)
    world = model or model_for(request.planners, request.model)
    wish = WITHOUT_MODEL if world is None else wish_of(world, WITHOUT_MODEL.future_s)
    named = not Path(request.clip).is_dir()
    episodes = [episode] if named else list(range(dataset.episodes))
    answers: list[Answer] = []
    skipped: list[str] = []
    for done, index in enumerate(episodes, start=1):
        answers += _planned(request, dataset, index, at_s, wish, world, skipped, alone=named)
        on_clip(done, len(episodes))
    names = dict.fromkeys(answer.planner for answer in answers)
    return {
        "clip": request.clip,
        "seed": request.seed,
        "inputs": INPUTS,
        "plans": [answer.facts() for answer in answers],
        "scores": {name: plan_summary([a for a in answers if a.planner == name], request.seed) for name in names},
        "skipped": skipped,
    }


def _planned(
    request: PlanRequest,
    dataset: Dataset,
    episode: int,
    at_s: float | None,
    wish: Wish,
    world: "WorldModel | None",
    skipped: list[str],
    *,
    alone: bool,
) -> list[Answer]:
    try:
        moment = moment_of(dataset, episode, at_s, wish)
    except ClipTooShort as error:
        if alone:
            raise
        skipped.append(str(error))
        return []
    answers, future = [], Future(moment)
    for name in request.planners:
        try:
            plan = make_planner(name, world, request.samples).plan(moment.observation(), request.seed)
        except MissingMotion as error:
            skipped.append(f"clip '{moment.clip.id}', {name}: {error}")
            continue
        answers.append(Answer(planner=name, plan=plan, future=future))
    return answers
