"""One scene of a grounding study: its eligible moment, every variant, every planner, one row per paired sample."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from policy.planner import Planner
from studio.counterfactual import EditedClip, apply_edit
from studio.eligible import Verdict, first_eligible
from studio.study_config import StudyConfig
from studio.town_scene import roadside_m
from studio.town_sprites import lookalike_of, sprite_of
from worldmodel.clips import Clip, Instruction
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit, DetourError
from worldmodel.geometry import Array, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan, Response
from worldmodel.town.scene import Scene, town_rig

if TYPE_CHECKING:
    import pyarrow as pa

Make = Callable[[StudyConfig], Sequence[Planner]]
COLUMNS = {
    "scene": "string",
    "situation": "string",
    "seed": "int64",
    "at_s": "float64",
    "speed_mps": "float64",
    "oracle_m": "float64",
    "planner": "string",
    "variant": "string",
    "sample": "int32",
    "factual_m": "float64",
    "edited_m": "float64",
    "change_m": "float64",
    "endpoint_m": "float64",
    "lateral_m": "float64",
    "onset_s": "float64",
    "object_px": "int64",
    "occluded_share": "float64",
    "error": "string",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneRows:
    """What one scene gives.

    Attributes:
        verdicts: Of its moments, up to the first eligible one.
        rows: One per planner, variant and sample, as plain values of COLUMNS; none without an eligible moment.
    """

    verdicts: tuple[Verdict, ...]
    rows: tuple[dict[str, Any], ...]


@lru_cache(maxsize=1)
def planners_of(config: StudyConfig) -> tuple[Planner, ...]:
    """The planners that a study names, loaded once per process."""
    from studio.planners import make_planner, model_for

    model = model_for(config.planners, config.model or _shipped())
    return tuple(make_planner(name, model, config.samples) for name in config.planners)


def _shipped() -> str:
    from studio.demo import DEFAULT_MODEL

    return DEFAULT_MODEL


def scene_rows(config: StudyConfig, pair: tuple[str, int], make: Make = planners_of) -> SceneRows:
    """Everything a study asks of one scene; a pure function of its arguments, on one thread.

    Args:
        config: The study.
        pair: Situation and seed.
        make: Makes the planners.
    Raises:
        DetourError: if the scene or the planners cannot be made; what a planner cannot answer stands in its rows.
    """
    from worldmodel.town.traffic import simulate

    situation, seed = pair
    seconds = max(config.moments_s) + float(PLAN_TIMES_S[-1]) + 1.0
    scene = simulate(situation, seed, seconds=seconds, frequency_hz=config.frequency_hz)
    verdicts = first_eligible(scene, config.moments_s, kind=config.kind)
    if not verdicts or not verdicts[-1].eligible:
        return SceneRows(verdicts=tuple(verdicts), rows=())
    with one_thread():
        rows = tuple(_rows(config, scene, verdicts[-1], make(config)))
    return SceneRows(verdicts=tuple(verdicts), rows=rows)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums over threads differ in their last bits; on one thread any number of workers gives the same."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rows(config: StudyConfig, scene: Scene, found: Verdict, planners: Sequence[Planner]) -> Iterator[dict[str, Any]]:
    clip, depth = seen(config, scene, found.at_s)
    now_s = (len(clip) - 1) / config.frequency_hz
    seed = seed_of(config, scene)
    without = clip.observation(now_s, config.history_s)
    factual = [asked_for(planner, without, seed) for planner in planners]
    head = {"scene": scene.id, "situation": scene.situation, "seed": scene.seed, "at_s": found.at_s}
    head |= {"speed_mps": found.speed_mps, "oracle_m": found.oracle_m}
    for variant in config.variants:
        edited = edited_clip(config, scene, found, clip, depth, variant, now_s)
        for planner, before in zip(planners, factual, strict=True):
            told = {**head, "planner": planner.name, "variant": variant}
            if isinstance(edited, str):
                yield {**told, "sample": 0, "error": edited}
                continue
            after = asked_for(planner, edited.clip.observation(now_s, config.history_s), seed)
            for row in _responses(before, after):
                yield {**told, **_object(edited, len(clip) - 1), **row}


def seed_of(config: StudyConfig, scene: Scene) -> int:
    """The seed that all plans of a scene share."""
    return (config.seed + crc32(scene.id.encode())) % 2**31


def seen(config: StudyConfig, scene: Scene, at_s: float) -> tuple[Clip, Array]:
    """What the planners see up to a moment, and the depth of all that stands there [time, camera, h, w]."""
    from worldmodel.town.looks.world import GROUND_INSTANCE
    from worldmodel.town.render import render

    now = round(at_s * scene.frequency_hz)
    first = now + 1 - max(1, round(config.history_s * scene.frequency_hz))
    rig = town_rig(config.cameras, config.width_px, config.height_px)
    taken = render(scene, rig, range(first, now + 1))
    driven = scene.trajectory().motion()
    said = next((i.text for i in scene.instructions if i.start_s <= at_s + 1e-9 < i.end_s), "")
    clip = Clip(
        id=scene.id,
        video=taken.rgb,
        rig=rig,
        motion=driven[first:now] if now > first else None,
        motion_origin="town" if now > first else "none",
        frequency_hz=scene.frequency_hz,
        instructions=(Instruction(text=said),) if said else (),
        boxes=tuple(scene.boxes(frame) for frame in range(first, now + 1)),
        source="the town, for a study",
    )
    return clip, np.where(taken.instance == GROUND_INSTANCE, np.inf, taken.depth_m)


def edited_clip(
    config: StudyConfig, scene: Scene, found: Verdict, clip: Clip, depth: Array, variant: str, now_s: float
) -> EditedClip | str:
    """The clip of `seen` with the variant's object, or why it has none."""
    edit = StitchSprite(variant=variant, kind=config.kind, at_s=now_s)
    if variant == "lookalike":
        frame = round(found.at_s * scene.frequency_hz)
        side = roadside_m(scene, frame, lookalike_of(sprite_of(config.kind)))
        if side is None:
            return "no free place beside the road in sight"
        edit = replace(edit, y_m=side)
    try:
        return apply_edit(clip, edit, depth_m=depth)
    except BadEdit as error:
        return str(error)


def asked_for(planner: Planner, observation: Observation, seed: int) -> Plan | str:
    """The plan, or why there is none."""
    try:
        return planner.plan(observation, seed)
    except DetourError as error:
        return f"{type(error).__name__}: {error}"


def _object(edited: EditedClip, frame: int) -> dict[str, Any]:
    """How much of the object the newest frame shows."""
    stitched = edited.stitched
    assert stitched is not None
    shares = [p.occluded_share for p in stitched.placements if p.frame == frame and p.occluded_share is not None]
    return {"object_px": int(stitched.masks[frame].sum()), "occluded_share": max(shares, default=None)}


def _responses(before: Plan | str, after: Plan | str) -> Iterator[dict[str, Any]]:
    """One row per paired sample."""
    if isinstance(before, str) or isinstance(after, str):
        yield {"sample": 0, "error": before if isinstance(before, str) else str(after)}
        return
    ones, others = _samples(before), _samples(after)
    if len(ones) != len(others):
        yield {
            "sample": 0,
            "error": f"{len(ones)} samples without the object and {len(others)} with it cannot be paired",
        }
        return
    for number, (one, other) in enumerate(zip(ones, others, strict=True)):
        response = Response(factual=one, edited=other)
        yield {
            "sample": number,
            "factual_m": one.path_length_m,
            "edited_m": other.path_length_m,
            "change_m": response.path_length_change_m,
            "endpoint_m": response.endpoint_shift_m,
            "lateral_m": response.lateral_shift_m,
            "onset_s": response.braking_onset_s,
        }


def _samples(plan: Plan) -> list[Plan]:
    if plan.samples is None:
        return [plan]
    return [Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S)) for poses in plan.samples]


def table_of(rows: Sequence[dict[str, Any]]) -> "pa.Table":
    """Rows as a table with the types of COLUMNS; what a row lacks is null."""
    import pyarrow as pa

    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    clean = [{name: _plain(row.get(name)) for name in COLUMNS} for row in rows]
    return pa.Table.from_pylist(clean, schema=schema)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def verdict_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as plain data."""
    return [asdict(one) for one in verdicts]
