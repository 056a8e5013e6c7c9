"""`detour stitch`: an object put into a clip, and what planners answer with and without it."""

import math
import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from studio.counterfactual import EditedClip, Pair, apply_edit, pair_of, response_row
from studio.demo import DEFAULT_MODEL, wish_of
from studio.demo_report import facts_of, plans_drawn, responses_table, timings_table
from studio.ground import clicked_place
from studio.html_report import Block, Figure, Note, Section, Video, write_report
from studio.moments import Moment, editable, find_moment
from studio.overlays import COLORS, PathLayer, birds_eye_svg
from studio.planners import DEFAULT_PLANNERS, make_planner, model_for
from studio.planning import WITHOUT_MODEL
from studio.runs import RunWriter, new_folder, refuse_existing
from studio.sprites import Sprite, read_sprite
from studio.stitch import StitchedClip, place_of
from studio.town_answer import TownAnswer, add_town_paths, town_answer, town_facts, town_layers
from studio.town_scene import roadside_m, town_depth, town_scene
from studio.town_sprites import lookalike_of, sized_sprite, sprite_of
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadRequest, ClipTooShort, Diverged, MissingMotion, PolicyError
from worldmodel.geometry import Array
from worldmodel.plans import Plan

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.town.scene import Scene


@dataclass(frozen=True, kw_only=True)
class StitchRequest:
    """What `detour stitch` is asked for.

    Attributes:
        clip: DATASET[:EPISODE[@SECONDS]].
        variant: One of `placement.DISTANCES_M`.
        kind: What is stitched, when no picture is given.
        picture: A PNG with transparency instead; needs `height_m`.
        height_m: Real height of what the picture shows; of a kind, another height than its usual one.
        x_m, y_m: Where it stands now, metres ahead and to the left; None for the variant's own place.
        click: Instead: 'CAMERA:COLUMN,ROW', the pixel of the newest frame at which it touches the road.
        yaw_deg: Its heading against the ego's; 0 shows its back.
        speed_mps: How fast it moves along its heading.
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
    x_m: float | None = None
    y_m: float | None = None
    click: str | None = None
    yaw_deg: float = 0.0
    speed_mps: float = 0.0
    planners: tuple[str, ...] = DEFAULT_PLANNERS
    samples: int = 8
    seed: int = 0
    model: str = DEFAULT_MODEL


def run_stitch(request: StitchRequest, out: Path, *, model: "WorldModel | None" = None) -> dict[str, Any]:
    """Stitch an object, plan before and after, and write the run folder; returns `run.json` with `responses`.

    The folder has the edited videos, the object's masks per camera (`masks.npz`, bool [time, height, width]), both plans of
    every planner, and a report.

    Raises:
        BadInput: if the request, clip, picture or checkpoint cannot be used, or `out` exists.
    """
    refuse_existing(Path(out))
    sprite = sprite_for(request)
    world = model or model_for(request.planners, request.model)
    wish = WITHOUT_MODEL if world is None else wish_of(world, WITHOUT_MODEL.future_s)
    moment = editable(find_moment(request.clip, wish))
    started = time.perf_counter()
    edit, edited = stitched_for(request, moment, sprite)
    stitched_s = time.perf_counter() - started
    pairs, skipped = _pairs(request, moment, edited, edit, world)
    town = town_answer(moment, edit, picture=request.picture is not None)
    with new_folder(Path(out)) as folder:
        plain = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(request).items()}
        run = RunWriter(folder=folder, command="detour stitch", request=plain, seed=request.seed)
        run.timings_s |= {"stitch": stitched_s, "plan": time.perf_counter() - started - stitched_s}
        assert edited.stitched is not None
        _write_masks(folder / "masks.npz", edited.stitched)
        _add_paths(run, pairs, town)
        run.add_video("stitched", edited.clip.video, edited.clip.rig, edited.clip.frequency_hz, imagined=False)
        blocks = _blocks(run, moment, edited.stitched, pairs, skipped, town)
        facts = {
            "stitch": edited.stitched.provenance,
            "placements": [asdict(placement) for placement in edited.stitched.placements],
            "responses": {pair.planner: response_row(pair.response) for pair in pairs},
            "town": town_facts(town),
            "skipped": skipped,
        }
        record = run.finish([], facts)
        _report(folder, request, record, moment, edited.stitched, blocks, world)
        return record


def sprite_for(request: StitchRequest) -> Sprite | None:
    """What is to be stitched: the kind at the height asked for, or the picture; None for the kind's own drawing.

    Raises:
        UnknownName, BadRequest: if there is no such kind, or a picture without a height.
    """
    if request.picture is None:
        return sized_sprite(request.kind, request.height_m)
    if request.height_m is None:
        raise BadRequest(f"'{request.picture}' has no size in metres; say how high the object is with --height-m.")
    return read_sprite(request.picture, request.height_m)


def stitched_for(request: StitchRequest, moment: Moment, sprite: Sprite | None) -> tuple[StitchSprite, EditedClip]:
    """The edit with its place, and the clip after it; a town clip tells depth and roadside.

    Raises:
        BadEdit, BadRequest, MissingMotion: as `studio.stitch.stitch`, or if two places are given.
    """
    edit = StitchSprite(
        variant=request.variant,
        kind=request.kind,
        at_s=moment.at_s,
        x_m=request.x_m,
        y_m=request.y_m,
        yaw_rad=math.radians(request.yaw_deg),
        speed_mps=request.speed_mps,
    )
    if request.click is not None:
        if request.x_m is not None or request.y_m is not None:
            raise BadRequest("a click and a place in metres are given; one of them says where. Leave the other out.")
        x, y = clicked_place(moment.clip, request.click)
        edit = replace(edit, x_m=x, y_m=y)
    known = _town_of(moment)
    if known is None:
        return edit, apply_edit(moment.clip, edit, sprite=sprite)
    scene, depth_m = known
    if edit.variant == "lookalike" and edit.y_m is None:
        frame = round(moment.start_s * scene.frequency_hz) + moment.now
        edit = replace(edit, y_m=roadside_m(scene, frame, lookalike_of(sprite or sprite_of(edit.kind))))
    return edit, apply_edit(moment.clip, edit, sprite=sprite, depth_m=depth_m)


@lru_cache(maxsize=1)
def _town_of(moment: Moment) -> "tuple[Scene, Float[Array, 'time camera height width']] | None":
    """The scene of a town clip and its depth, of the last moment that was asked about: several edits need the same."""
    scene = town_scene(moment)
    return None if scene is None else (scene, town_depth(scene, moment))


def _pairs(
    request: StitchRequest, moment: Moment, edited: EditedClip, edit: StitchSprite, world: "WorldModel | None"
) -> tuple[list[Pair], list[str]]:
    """Everybody's plans without and with, and who could not be asked."""
    pairs, skipped = [], list(moment.notes)
    asked = {"at_s": moment.at_s, "history_s": moment.history_s}
    for name in request.planners:
        planner = make_planner(name, world, request.samples)
        try:
            pairs.append(pair_of(planner, moment.clip, edited, edit, **asked, seed=request.seed))
        except (MissingMotion, ClipTooShort, PolicyError, Diverged) as error:
            skipped.append(f"{planner.name}: {error}")
    return pairs, skipped


def _write_masks(path: Path, stitched: StitchedClip) -> None:
    masks: dict[str, Any] = {name: stitched.masks[:, c] for c, name in enumerate(stitched.clip.rig.names)}
    np.savez_compressed(path, **masks)


def _add_paths(run: RunWriter, pairs: list[Pair], town: TownAnswer | None) -> None:
    for pair in pairs:
        run.paths[f"plan {pair.planner} without"] = pair.factual.trajectory
        run.paths[f"plan {pair.planner} with"] = pair.edited.trajectory
    add_town_paths(run, town)


def _blocks(
    run: RunWriter,
    moment: Moment,
    stitched: StitchedClip,
    pairs: list[Pair],
    skipped: list[str],
    town: TownAnswer | None,
) -> list[Block]:
    """What the report shows of the plans."""
    blocks: list[Block] = [Note(text=text) for text in skipped]
    if pairs:
        first = pairs[0]
        frames = plans_drawn(stitched.clip, moment.now, first.factual, first.edited)
        path = run.add_picture_row("plans", frames, moment.clip.frequency_hz, imagined=False)
        blocks += [
            Video(
                path=path,
                alt="The stitched frames, then the plans.",
                caption="Blue: without. Orange: with the object.",
            ),
            Figure(
                svg=_above(moment, first.factual, first.edited, stitched, town),
                caption="From above; a line each 10 m, the cross is the object.",
            ),
            responses_table(pairs, town),
        ]
    if town is not None:
        blocks.append(town.sentence)
    return blocks


def _report(
    folder: Path,
    request: StitchRequest,
    record: dict[str, Any],
    moment: Moment,
    stitched: StitchedClip,
    blocks: list[Block],
    world: "WorldModel | None",
) -> None:
    name = "no model" if world is None else f"{world.config.preset}, weights {world.hash}"
    sections = [
        Section(heading="Plans with and without", blocks=blocks),
        Section(heading="Time spent", blocks=[timings_table(record["timings_s"])]),
    ]
    write_report(
        folder / "report.html",
        f"{stitched.provenance['sprite']}, {request.variant}: clip {moment.clip.id}",
        "An object that was never there, put into a recording; the same planner, the same seed.",
        sections,
        facts_of(record, moment.clip, name),
    )


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
