"""One scene of a grounding study: its eligible moment, everything that is put there, every planner, one row per sample."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from policy.foreign.failures import unusable
from policy.planner import Planner
from studio.counterfactual import EditedClip
from studio.eligible import Verdict
from studio.study_cases import Case, Known, cases_of
from studio.study_config import StudyConfig
from studio.study_eyes import Make, history_s, longest_history_s, planners_of
from studio.study_things import Thing, stitched, swept_things, things_of
from worldmodel.errors import DetourError
from worldmodel.geometry import Trajectory
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan, Response

if TYPE_CHECKING:
    import pyarrow as pa

NOT_STITCHED = "not stitched"  # how such errors begin
OTHER_SEED = "other_seed"  # nothing is put anywhere; the second plan draws other noise
COLUMNS = {
    "scene": "string",
    "situation": "string",
    "seed": "int64",
    "at_s": "float64",
    "speed_mps": "float64",
    "swept": "bool_",
    "planner": "string",
    "variant": "string",
    "distance_m": "float64",
    "size": "float64",
    "oracle_m": "float64",
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


def scene_rows(config: StudyConfig, number: int, make: Make = planners_of, known: Known | None = None) -> SceneRows:
    """Everything a study asks of one scene; a pure function of its arguments, on one thread.

    Args:
        config: The study.
        number: Of the scene.
        make: Makes the planners.
        known: Verdicts of an earlier study of the same scenes.
    Raises:
        DetourError: if the scene or the planners cannot be made; what a planner cannot answer stands in its rows.
    """
    with one_thread():
        planners = make(config)
        found = cases_of(config, longest_history_s(planners, config)).found(number, known or {})
        rows = () if found.case is None else tuple(case_rows(config, found.case, planners))
    return SceneRows(verdicts=found.verdicts, rows=rows)


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


def is_swept(config: StudyConfig, scene: str) -> bool:
    """Whether a scene has the sweep's objects, too: about one in `sweep_every`, by its name."""
    return crc32(f"{scene}, swept".encode()) % config.sweep_every == 0 and bool(swept_things(config))


def case_rows(config: StudyConfig, case: Case, planners: Sequence[Planner]) -> Iterator[dict[str, Any]]:
    """Everything that is asked at one moment, one row per planner, thing and paired sample."""
    seed = seed_of(config, case.scene)
    swept = is_swept(config, case.scene)
    head = {"scene": case.scene, "situation": case.situation, "seed": case.seed, "at_s": case.found.at_s}
    head |= {"speed_mps": case.found.speed_mps, "swept": swept}
    factual = []
    for planner in planners:
        observation = _shown(planner, case, None, config)
        factual.append(asked_for(planner, observation, seed))
        again = asked_for(planner, observation, seed_of(config, f"{case.scene}, again"))
        for row in _responses(factual[-1], again):
            yield {**head, "planner": planner.name, "variant": OTHER_SEED, "object_px": 0, **row}
    for thing in (*things_of(config), *(swept_things(config) if swept else ())):
        told = {**head, "variant": thing.label, "distance_m": thing.distance_m, "size": thing.size}
        told["oracle_m"] = case.oracle_m(thing)
        edited = edited_clip(config, case, thing)
        for planner, before in zip(planners, factual, strict=True):
            if isinstance(edited, str):
                yield {**told, "planner": planner.name, "sample": 0, "error": f"{NOT_STITCHED}: {edited}"}
                continue
            after = asked_for(planner, _shown(planner, case, edited, config), seed)
            for row in _responses(before, after):
                yield {**told, "planner": planner.name, **_object(edited, len(case.clip) - 1), **row}


def _shown(planner: Planner, case: Case, edited: EditedClip | None, config: StudyConfig) -> Observation:
    clip = case.clip if edited is None else edited.clip
    return clip.observation(case.now_s, min(history_s(planner, config), len(clip) / clip.frequency_hz))


def seed_of(config: StudyConfig, scene: str) -> int:
    """The seed that all plans of a scene share."""
    return (config.seed + crc32(scene.encode())) % 2**31


def edited_clip(config: StudyConfig, case: Case, thing: Thing) -> EditedClip | str:
    """The case's clip with a thing in it, or why it has none."""
    if thing.variant == "lookalike" and case.in_town and case.roadside_m is None:
        return "no free place beside the road in sight"
    return stitched(case.clip, thing, config.kind, case.now_s, depth_m=case.depth_m, roadside_m=case.roadside_m)


def asked_for(planner: Planner, observation: Observation, seed: int) -> Plan | str:
    """The plan, or why there is none."""
    try:
        plan = planner.plan(observation, seed)
        _samples(plan)  # refuses numbers that are none
        return plan
    except DetourError as error:
        return unusable(error)


def _object(edited: EditedClip, frame: int) -> dict[str, Any]:
    """How much of the object the newest frame shows."""
    there = edited.stitched
    assert there is not None
    shares = [p.occluded_share for p in there.placements if p.frame == frame and p.occluded_share is not None]
    return {"object_px": int(there.masks[frame].sum()), "occluded_share": max(shares, default=None)}


def _responses(before: Plan | str, after: Plan | str) -> Iterator[dict[str, Any]]:
    """One row per paired sample."""
    if isinstance(before, str) or isinstance(after, str):
        yield {"sample": 0, "error": before if isinstance(before, str) else str(after)}
        return
    ones, others = _samples(before), _samples(after)
    if len(ones) != len(others):
        yield {
            "sample": 0,
            "error": f"not paired: {len(ones)} samples without the object and {len(others)} with it",
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
    return [{name: _plain(value) for name, value in asdict(one).items()} for one in verdicts]
