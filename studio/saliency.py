"""`detour saliency`: where planners look at one moment of a clip, as overlays for people and as scores where it is known what is there."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval_fid_fvd.grounding import ceilings, grid_ceiling, grounding_scores, random_levels
from policy.integrated_gradients import BASELINES, integrated
from policy.learned import LearnedPlanner
from policy.planner import Planner
from policy.saliency import HEATS, NotApplicable, Views, cams, views_of
from policy.saliency_checks import randomised
from policy.saliency_patches import patch_effects, patch_effects_on, patches_of
from studio.demo import DEFAULT_MODEL, wish_of
from studio.demo_report import facts_of
from studio.html_report import Block, Figure, Note, Section, Table, write_report
from studio.moments import Moment, find_moment
from studio.planners import make_planner, model_for
from studio.planning import WITHOUT_MODEL
from studio.runs import RunWriter, new_folder, refuse_existing
from studio.saliency_masks import Masks, masks_of
from studio.saliency_overlays import overlay, picture_svg, write_png
from studio.saliency_scores import CHECK_SEEDS, TARGETS, WHOLE, picture_of, target_of
from worldmodel.errors import BadRig, ClipTooShort, MissingMotion, UnknownName
from worldmodel.geometry import Array, Rig
from worldmodel.plans import PLAN_TIMES_S

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

METHODS = (*HEATS, "integrated", "occlusion")
SLACK_S = 1e-6
SAID = {
    "users": "road users, front camera",
    "ahead": "nearest in the lane, front camera",
    "everywhere": "road users, all cameras",
}
Maps = dict[str, Array]  # by layer: [camera, rows, columns]


@dataclass(frozen=True, kw_only=True)
class SaliencyRequest:
    """What `detour saliency` is asked for.

    Attributes:
        clip: DATASET[:EPISODE[@SECONDS]].
        planners: Whose maps.
        method: One of METHODS; 'occlusion' is for any planner with pixels and for clips that do not go on, the others are for learned
            planners and need the 4 s that were driven.
        baseline: Where integrated gradients begin, one of `policy.integrated_gradients.BASELINES`.
        seed: Of the plans under grey patches, for planners that draw.
        model: Checkpoint folder, through whose tokenizer learned planners see.
    """

    clip: str
    planners: tuple[str, ...]
    method: str = "gradcam"
    baseline: str = "black"
    seed: int = 0
    model: str = DEFAULT_MODEL


def run_saliency(request: SaliencyRequest, out: Path, *, model: "WorldModel | None" = None) -> dict[str, Any]:
    """Make the maps and write the run folder; returns `run.json` with `scores` and `skipped`.

    The folder has `maps.npz` (one array [camera, rows, columns] per planner and layer, 'PLANNER/LAYER'), the overlays as PNG,
    scores, and a report.

    Raises:
        BadInput: if the request, clip or checkpoint cannot be used, `out` exists, or no planner has such a map.
    """
    refuse_existing(Path(out))
    for name, known, what in ((request.method, METHODS, "method"), (request.baseline, BASELINES, "baseline")):
        if name not in known:
            raise UnknownName(what, name, known)
    world = model or model_for(request.planners, request.model)
    moment = find_moment(request.clip, WITHOUT_MODEL if world is None else wish_of(world, WITHOUT_MODEL.future_s))
    started, masks = time.perf_counter(), masks_of(moment)
    found, notes, scores, skipped = _asked(request, moment, masks, world)
    with new_folder(Path(out)) as folder:
        run = RunWriter(folder=folder, command="detour saliency", request=asdict(request), seed=request.seed)
        run.timings_s["maps"] = time.perf_counter() - started
        arrays: dict[str, Any] = {f"{name}/{layer}": m for name, maps in found.items() for layer, m in maps.items()}
        np.savez_compressed(folder / "maps.npz", **arrays)
        pictures = _draw(folder, found, moment, masks)
        record = run.finish(
            scores, {"scores": scores, "notes": notes, "skipped": skipped, "overlays": list(pictures.values())}
        )
        _report(folder, request, record, moment, pictures, world)
        return record


def _asked(
    request: SaliencyRequest, moment: Moment, masks: Masks | None, world: "WorldModel | None"
) -> tuple[dict[str, Maps], list[str], list[dict[str, Any]], list[str]]:
    """Maps by planner, what to know of them, their scores, and who has none."""
    found: dict[str, Maps] = {}
    notes, skipped = list(moment.notes), []
    scores: list[dict[str, Any]] = []
    for name in request.planners:
        planner = make_planner(name, world)
        try:
            maps, said = maps_of(planner, moment, request)
        except (NotApplicable, MissingMotion, ClipTooShort, BadRig) as error:
            skipped.append(f"{planner.name}: {error}")
            continue
        found[planner.name] = maps
        notes += [f"{planner.name}: {text}" for text in said]
        scores += [] if masks is None else _scored(planner, maps, masks, moment, request)
    if not found:
        raise NotApplicable(f"no planner has a map here. {' '.join(skipped)} Name a planner that sees.")
    if masks is None:
        notes.append("nobody labelled this recording, so there is nothing to score the maps against.")
    return found, notes, scores, skipped


def maps_of(planner: Planner, moment: Moment, request: SaliencyRequest) -> tuple[Maps, list[str]]:
    """Maps of one planner by layer, and what to know of them.

    Raises:
        NotApplicable: for a planner without pixels, or one whose gradients are not ours to take.
        ClipTooShort: if the loss needs what was driven, and that is not known for 4 s.
        MissingMotion, BadRig: if the planner cannot use the clip.
    """
    observation = moment.observation()
    if not getattr(planner, "needs_pixels", True):
        raise NotApplicable("it sees no pixels, so it has no saliency. Ask a planner that sees.")
    if request.method == "occlusion":
        if isinstance(planner, LearnedPlanner):
            seen = planner.eyes.look(observation)
            return {"pictures": patch_effects(planner, seen, patches_of(planner, observation))}, []
        if planner.name == "imagining":
            raise NotApplicable(
                "a plan for each of 96 patches would imagine for an hour. Ask 'joint' or a learned planner."
            )
        return {"pictures": patch_effects_on(planner, observation, seed=request.seed)}, []
    if not isinstance(planner, LearnedPlanner):
        raise NotApplicable(
            "it has no visual tokens that are read before they are mixed with something else, or we do not know its gradients. Use "
            "--method occlusion."
        )
    views = views_of(planner, [observation], [driven_poses(moment)])
    if request.method == "integrated":
        one = integrated(planner, views, request.baseline)
        said = f"integrated gradients add up to {one.change:+.3f} within {one.error:.1%}."
        return {"latents": one.maps}, [said]
    return {layer: maps[0] for layer, maps in cams(planner, views, request.method).items()}, []


def driven_poses(moment: Moment) -> Array:
    """What was driven at 0.5 ... 4 s [8, 3].

    Raises:
        ClipTooShort: if that is not known.
    """
    driven = moment.driven()
    if driven is None or driven.times_s[-1] < PLAN_TIMES_S[-1] - SLACK_S:
        known = 0.0 if driven is None else float(driven.times_s[-1])
        raise ClipTooShort(
            f"clip '{moment.clip.id}' tells {known:g} s of what was driven from here on, and the planners' loss needs 4 s. Choose an "
            "earlier moment, or --method occlusion."
        )
    return driven.resampled(PLAN_TIMES_S).poses


def front_of(rig: Rig) -> int:
    """Number of the camera that looks most straight ahead."""
    return int(np.argmax([camera.ego_from_camera[0, 2] for camera in rig.cameras]))


def _scored(
    planner: Planner, maps: Mapping[str, Array], masks: Masks, moment: Moment, request: SaliencyRequest
) -> list[dict[str, Any]]:
    """One row per layer and target, with the levels that are needed to read it."""
    front, rows = front_of(moment.clip.rig), []
    disorder = _in_disorder(planner, moment, request)
    for layer, cells in maps.items():
        for target in TARGETS:
            mask = target_of(masks, target, front)
            if not mask.any():
                continue
            wide = cells.shape[0] if target == "everywhere" else 1
            row = _row(cells, mask, target, front, masks.users.shape[1:])
            row |= {"grid_best": grid_ceiling(mask, cells.shape[1], cells.shape[2] * wide) / row["area_share"]}
            row |= {"smaller_than_a_cell": bool(mask.mean() < 1 / (cells.shape[1] * cells.shape[2] * wide))}
            mixed = [_row(m[layer], mask, target, front, masks.users.shape[1:])["pm_over_area"] for m in disorder]
            row |= {"weights_in_disorder": float(np.mean(mixed)) if mixed else None}
            rows.append({"planner": planner.name, "layer": layer, "target": target, "masks": masks.source, **row})
    return rows


def _row(cells: Array, mask: Array, target: str, front: int, shape: tuple[int, ...]) -> dict[str, Any]:
    picture = picture_of(cells, target, front, (shape[0], shape[1]))
    scores, random, best = grounding_scores(picture, mask), random_levels(mask), ceilings(mask)
    row: dict[str, Any] = {"pm_over_area": scores["pm"] / random["pm"], "area_share": random["pm"]}
    for name, value in scores.items():
        row |= {name: value, f"{name}_random": random[name], f"{name}_best": best[name]}
    return row | {"no_heat": not bool((cells > 0).any())}


def _in_disorder(planner: Planner, moment: Moment, request: SaliencyRequest) -> list[Maps]:
    """Maps of the planner with all its weights in disorder; none for methods that do not look into it."""
    if request.method not in HEATS or not isinstance(planner, LearnedPlanner):
        return []
    views: Views = views_of(planner, [moment.observation()], [driven_poses(moment)])
    several = [cams(randomised(planner, WHOLE, seed), views, request.method) for seed in CHECK_SEEDS[:3]]
    return [{layer: maps[0] for layer, maps in found.items()} for found in several]


def _draw(folder: Path, found: Mapping[str, Maps], moment: Moment, masks: Masks | None) -> dict[str, str]:
    """Write the overlays; file names by what they show."""
    outlines = {} if masks is None else {"users": masks.users, "ahead": masks.ahead}
    newest, rig = moment.clip.video[moment.now], moment.clip.rig
    (folder / "overlays").mkdir()
    shown: dict[str, Array | None] = {"as it is": None}
    shown |= {f"{name}, {layer}": m for name, maps in found.items() for layer, m in maps.items()}
    files = {}
    for number, (title, cells) in enumerate(shown.items()):
        files[title] = f"overlays/{number:02d}.png"
        write_png(folder / files[title], overlay(newest, rig, cells, title=title, **outlines))
    return files


def _report(
    folder: Path,
    request: SaliencyRequest,
    record: Mapping[str, Any],
    moment: Moment,
    pictures: Mapping[str, str],
    world: "WorldModel | None",
) -> None:
    blocks: list[Block] = [Note(text=text) for text in (*record["skipped"], *record["notes"])]
    for title, name in pictures.items():
        blocks.append(Figure(svg=picture_svg(folder / name, title), caption=title))
    blocks.append(
        "Bright: where the map is largest in any of the cameras of that row. White outlines: road users; turquoise: the nearest body in the "
        "lane. A map is coarse: one value per cell of the planner's latents."
    )
    if record["scores"]:
        blocks.append(_table(record["scores"]))
    name = "no model" if world is None else f"{world.config.preset}, weights {world.hash}"
    write_report(
        folder / "report.html",
        f"Where planners look: clip {moment.clip.id}",
        f"Method: {request.method}. What a map shows depends on the method; a hot place is no proof of understanding.",
        [Section(heading="Maps", blocks=blocks)],
        facts_of(dict(record), moment.clip, name),
    )


def _table(scores: list[dict[str, Any]]) -> Table:
    rows = [
        (
            f"{row['planner']}, {row['layer']}",
            SAID[row["target"]],
            f"{row['pm_over_area']:.2f}",
            f"{row['grid_best']:.1f}",
            "-" if row["weights_in_disorder"] is None else f"{row['weights_in_disorder']:.2f}",
            f"{row['ap']:.3f} / {row['ap_random']:.3f}",
            f"{row['iou_top20']:.3f} / {row['iou_top20_random']:.3f} / {row['iou_top20_best']:.3f}",
        )
        for row in scores
    ]
    head = (
        "planner, layer",
        "target",
        "pointing ratio",
        "grid's best",
        "weights in disorder",
        "AP / random",
        "IoU / random / best",
    )
    return Table(
        head=head, rows=rows, caption="Pointing ratio: share of the heat over share of the picture; 1 is chance."
    )
