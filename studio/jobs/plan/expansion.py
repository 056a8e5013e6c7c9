"""From a job file to all of its units. Everything is counted before anything is written out, and checked before anything runs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from studio.demo import wish_for
from studio.imagine import read_actions
from studio.jobs.plan.clip_choice import chosen_moments
from studio.jobs.plan.clip_library import Chosen, Library, Problems
from studio.jobs.plan.identity import model_files, setup_of
from studio.jobs.plan.job_file import Job, Part
from studio.jobs.plan.job_sweep import ConstantActions, EditWish, FileActions, Schedule
from studio.jobs.plan.job_values import Numbers
from studio.jobs.units import ActionChoice, Batch, ClipRef, EditChoice, UnitRequest, make_batch
from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadInput, BadRequest
from worldmodel.guidance import parse_schedule
from worldmodel.io.lerobot import Dataset
from worldmodel.io.rig_file import rig_content

MAX_POSES = 4_000  # an hour at 1 Hz; every unit's record holds them

OnClip = Callable[[int, int], None]


def expand(
    job: Job,
    *,
    model: str | None = None,
    batch: int | None = None,
    threads: int | None = None,
    device: str | None = None,
    cache: Path | None = None,
    options: Mapping[str, Any] | None = None,
    out: str = "",
    on_clip: OnClip = lambda *_: None,
) -> Batch:
    """All units of a job, in the order of clips, moments and the sweep's lists; equal requests become one.

    Args:
        model, batch, threads, device: Instead of those of the job; None keeps them.
        cache: Where datasets from elsewhere are copied to; None for the user's cache folder.
        options: Of the object store that the batch and its datasets lie in.
        out: Where the batch will lie; '' for here.
        on_clip: Called with recordings looked at so far, and all.
    Raises:
        BadRequest: if there are more units than the job's limit (with the number), or clips that cannot be used (all named).
        BadInput: if model, planners or paths to drive cannot be used.
    """
    job = job.with_execution(model=model, batch=batch, threads=threads, device=device)
    _check_count(job, [max(1, _fewest(part)) for part in job.parts()])
    files = model_files(job.model)
    library, problems = Library(cache=cache, options=options, out=out), Problems()
    moments = [_moments(part, files.config, library, problems) for part in job.parts()]
    _check_count(job, list(map(len, moments)))
    actions = [_actions(part, files.config.frequency_hz) for part in job.parts()]
    parts = list(zip(job.parts(), moments, actions, strict=True))
    for part, found, driven in parts:
        _check_recorded(part, found, driven, problems)
    everything = [one for found in moments for one in found]
    refs = _references(everything, library, problems, on_clip)
    if job.one_rig:
        _check_rigs(everything, problems)
    problems.raise_any()
    requests = [
        one for part, found, driven in parts for one in _requests(part, [refs[_name(one)] for one in found], driven)
    ]
    planners = sorted({name for part in job.parts() for name in part.planners})
    setup = setup_of(job.model, planners, files=files, **job.execution.model_dump())
    return make_batch(setup, requests, job.to_json())


def _moments(part: Part, config: WorldModelConfig, library: Library, problems: Problems) -> list[Chosen]:
    """The moments of all entries; where no times are named, those that suit the longest horizon, for all horizons."""
    wish = wish_for(config, max(part.sweep.seconds))
    return [one for clips in part.clips for one in chosen_moments(clips, wish, library, problems)]


def _fewest(part: Part) -> int:
    """How many moments there are at least, as far as the file itself says."""
    return sum(len(clips.at_s) if isinstance(clips.at_s, tuple) else 1 for clips in part.clips)


def _check_count(job: Job, moments: Sequence[int]) -> None:
    """Refuse too many units, with their number, before they are written out."""
    count = sum(number * part.sweep.count for number, part in zip(moments, job.parts(), strict=True))
    if count <= job.limits.units:
        return
    said = [
        " x ".join(
            [f"{number:,} moment{'s' if number != 1 else ''}"]
            + [f"{many:,} {name}" for name, many in part.sweep.counts().items() if many > 1]
        )
        for number, part in zip(moments, job.parts(), strict=True)
    ]
    raise BadRequest(
        f"the job comes to {count:,} units ({' + '.join(said[:5])}{' + ...' if len(said) > 5 else ''}); its limit is "
        f"{job.limits.units:,}. Sweep over less, use clips' `limit`, or raise `limits: {{units: ...}}` (1,000,000 at most)."
    )


def _name(chosen: Chosen) -> tuple[str, int, int]:
    return chosen.address, chosen.episode, chosen.now


def _references(
    moments: Sequence[Chosen], library: Library, problems: Problems, on_clip: OnClip
) -> dict[tuple[str, int, int], ClipRef]:
    """Every moment with its digest; each recording is read once."""
    found: dict[tuple[str, int, int], ClipRef] = {}
    recordings = len({(one.address, one.episode) for one in moments})
    seen: set[tuple[str, int]] = set()
    for one in moments:
        if (one.address, one.episode) not in seen:
            seen.add((one.address, one.episode))
            on_clip(len(seen), recordings)
        try:
            digest = library.digest(one)
        except BadInput as error:
            problems.note(f"{one.name}: {error}")
            continue
        name = one.dataset.ids[one.episode]
        found[_name(one)] = ClipRef(dataset=one.address, episode=one.episode, id=name, at_s=one.at_s, digest=digest)
    return found


def _check_rigs(moments: Sequence[Chosen], problems: Problems) -> None:
    """Note datasets whose cameras or rate differ from those of the first."""
    datasets: dict[str, Dataset] = {}
    for one in moments:
        datasets.setdefault(one.address, one.dataset)
    first = next(iter(datasets), "")
    for address, dataset in datasets.items():
        differ = [name for name, value in _rig(dataset).items() if value != _rig(datasets[first])[name]]
        if differ:
            problems.note(
                f"'{address}' has another rig than '{first}' ({', '.join(differ)} differ), and the job says `one_rig: true`. "
                "Split the job, or leave that out"
            )


def _rig(dataset: Dataset) -> dict[str, Any]:
    size = f"{dataset.rig.width_px}x{dataset.rig.height_px}"
    cameras = [{k: v for k, v in one.items() if k != "name"} for one in rig_content(dataset.rig)["cameras"]]
    return {"cameras": dataset.rig.names, "size": size, "calibration": cameras, "rate": dataset.frequency_hz}


def _actions(part: Part, frequency_hz: float) -> list[ActionChoice]:
    """The ways to move that a sweep names; paths are read.

    Raises:
        BadTable: if a path cannot be read.
        BadRequest: if it has too many poses, or ends before the longest horizon.
    """
    found = []
    for wish in part.sweep.actions:
        if isinstance(wish, ConstantActions):
            steady = wish.constant
            name = wish.name or "constant"
            found.append(
                ActionChoice(kind="constant", name=name, speed_mps=steady.speed_mps, yaw_rate_dps=steady.yaw_rate_dps)
            )
        elif isinstance(wish, FileActions):
            poses = _poses(Path(wish.file), max(part.sweep.seconds), frequency_hz)
            found.append(ActionChoice(kind="poses", name=wish.name or Path(wish.file).stem, poses=poses))
        else:
            found.append(ActionChoice(kind=wish, name=wish))
    return found


def _poses(path: Path, seconds: float, frequency_hz: float) -> tuple[tuple[float, float, float, float], ...]:
    driven = read_actions(path)
    if len(driven.times_s) > MAX_POSES:
        raise BadRequest(
            f"'{path}' has {len(driven.times_s)} poses; at most {MAX_POSES} are kept. Give it at a lower rate."
        )
    if driven.times_s[-1] + 1e-6 < round(seconds * frequency_hz) / frequency_hz:
        raise BadRequest(
            f"'{path}' ends after {driven.times_s[-1]:g} s, but the sweep's longest horizon is {seconds:g} s. Give a longer "
            "path, or a shorter horizon."
        )
    return tuple(
        (float(t), float(x), float(y), float(yaw)) for t, (x, y, yaw) in zip(driven.times_s, driven.poses, strict=True)
    )


def _check_recorded(part: Part, moments: Sequence[Chosen], actions: Sequence[ActionChoice], problems: Problems) -> None:
    """Note the moments after which less was driven than a sweep over recorded actions needs."""
    if not any(choice.kind == "recorded" for choice in actions):
        return
    need = max(part.sweep.seconds)
    for one in moments:
        if not one.dataset.has_motion:
            problems.note(
                f"'{one.address}' has no ego motion, so nothing can be driven as recorded. Leave `recorded` out"
            )
        elif one.left_s + 1e-6 < need:
            problems.note(
                f"{one.name}: after {one.at_s:g} s {one.left_s:g} s were driven, and {need:g} s are to be driven as recorded. "
                "Choose earlier moments or a shorter horizon"
            )


def _requests(part: Part, clips: Sequence[ClipRef], actions: Sequence[ActionChoice]) -> Iterator[UnitRequest]:
    """Every combination; seeds change fastest, moments slowest."""
    sweep, (outputs, metrics) = part.sweep, part.kept()
    said = [(None, _schedule(text)) if isinstance(text, Schedule) else (text, "") for text in sweep.texts]
    edits = [None if edit is None else _edit(edit) for edit in sweep.edits]
    make = partial(UnitRequest, planners=part.planners, samples=part.samples, outputs=outputs, metrics=metrics)
    lists = (edits, said, actions, sweep.seconds, list(sweep.samplings()))
    for clip in clips:
        for edit, (text, schedule), action, seconds, sampling in product(*lists):
            asked = make(
                clip=clip, text=text, schedule=schedule, actions=action, edit=edit, seconds=seconds, sampling=sampling
            )
            for seed in Numbers(sweep.seeds):
                yield replace(asked, seed=seed)


def _schedule(wish: Schedule) -> str:
    """In one form, so that equal schedules are equal units."""
    given = wish.schedule if isinstance(wish.schedule, str) else json.dumps(wish.schedule)
    return json.dumps([list(row) for row in parse_schedule(given).texts], ensure_ascii=False)


def _edit(wish: EditWish) -> EditChoice:
    return EditChoice(**wish.model_dump())
