"""`detour drive`: a planner drives in the town, and what happened is shown and scored."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval_fid_fvd.driving_score import DEFAULT_FORM, NO_FAULT, summary
from eval_fid_fvd.navsim import mean_scores
from policy.baselines import PrivilegedExpert
from policy.driving import Drive, drive
from policy.foreign.planner import ForeignPlanner
from policy.learned import LearnedPlanner
from policy.planner import Planner
from policy.town_drive import WARMUP_S, Course
from studio.demo import DEFAULT_MODEL
from studio.html_report import Block, Section, Table, Video, write_report
from studio.overlays import COLORS, labelled, mosaic, with_path
from studio.planners import PLANNERS, USE_MODEL, check_planner, make_planner, model_for
from studio.runs import RunWriter, new_folder, refuse_existing
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Array, Rig, Trajectory, relative
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import SITUATIONS

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

EXPERT = "expert"
DRIVERS = (*PLANNERS, EXPERT)
MAX_SCENES = 10_000
TOWN_HZ, SEEN = 8.0, 16  # for a user's own policy
SHOWN = (224, 128)  # size of the pictures in the video, px
FLASH_S = 1.5  # how long an infraction stays on the screen


@dataclass(frozen=True, kw_only=True)
class DriveRequest:
    """What `detour drive` is asked for.

    Attributes:
        planner: One of DRIVERS, the checkpoint folder of a learned planner, or a policy of the user's own.
        situations: In turn; empty for all.
        seed: Of the first scene; the others follow. Also of the planner.
        scenes: How many.
        seconds: Time given to each, after two seconds of the town's expert.
        samples: Plans per answer of the joint planner.
        videos: How many of the scenes are filmed.
        model: Checkpoint folder of the joint planner.
        form: Of CARLA's driving score.
    """

    planner: str = "joint"
    situations: tuple[str, ...] = ()
    seed: int = 0
    scenes: int = 1
    seconds: float = 20.0
    samples: int = 8
    videos: int = 1
    model: str = DEFAULT_MODEL
    form: str = DEFAULT_FORM

    def __post_init__(self) -> None:
        check_planner(self.planner, also=[EXPERT])
        if not 1 <= self.scenes <= MAX_SCENES:
            raise BadRequest(
                f"{self.scenes} scenes are asked for; it must be 1 to {MAX_SCENES}. Choose a number in between."
            )
        if not 0 <= self.videos <= self.scenes:
            raise BadRequest(
                f"{self.videos} of {self.scenes} scenes are to be filmed; it must be 0 to {self.scenes}. Film fewer."
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Driver:
    """Who drives, and what it sees.

    Attributes:
        rig: Its cameras.
        history: Frames that it sees.
        ages: How many frames old those are that it looks at; None for all.
        frequency_hz: Its clock.
        about: In words, for the report.
    """

    who: Planner | PrivilegedExpert
    rig: Rig
    history: int = 2
    ages: tuple[int, ...] | None = None
    frequency_hz: float = 8.0
    about: str = "no model"


def make_driver(request: DriveRequest, model: "WorldModel | None" = None) -> Driver:
    """The driver by its name; those that look bring the cameras and the past that they were trained with.

    Raises:
        BadCheckpoint: if the model or planner cannot be loaded.
    """
    if request.planner == EXPERT:
        return Driver(who=PrivilegedExpert(), rig=town_rig(1, 32, 16))
    model = model or model_for([request.planner], request.model)
    who = make_planner(request.planner, model, request.samples)
    if isinstance(who, LearnedPlanner):
        return _learned_driver(who)
    if isinstance(who, ForeignPlanner):
        return _foreign_driver(who)
    if request.planner not in USE_MODEL:
        return Driver(who=who, rig=town_rig(1, 32, 16))
    assert model is not None
    config = model.config
    return Driver(
        who=who,
        rig=town_rig(config.cameras, config.width_px, config.height_px),
        history=config.history_chunks * config.network.frames_per_chunk,
        frequency_hz=config.frequency_hz,
        about=f"{config.preset}, weights {model.hash}",
    )


def _learned_driver(who: LearnedPlanner) -> Driver:
    config = who.config
    return Driver(
        who=who,
        rig=town_rig(config.cameras, *who.eyes.picture_size),
        history=who.eyes.frames_needed,
        ages=config.history_frames,
        frequency_hz=config.frequency_hz,
        about=f"{who.name}, weights {who.hash}",
    )


def _foreign_driver(who: ForeignPlanner) -> Driver:
    """The town's cameras that a user's own policy names; as many pictures as it wants, at the town's rate."""
    needs = who.declared.needs
    rig = _rig_with(needs.cameras)
    return Driver(
        who=who,
        rig=rig.scaled(needs.width_px or rig.width_px, needs.height_px or rig.height_px),
        history=who.frames_needed(TOWN_HZ, otherwise=SEEN),
        frequency_hz=TOWN_HZ,
        about=f"{who.name}, a policy of the user's",
    )


def _rig_with(names: tuple[str, ...] | None) -> Rig:
    """These cameras of the smallest of the town's rigs that has them all; without a wish the three that the town has.

    Raises:
        UnknownName: for a camera that the town lacks.
    """
    if not names:
        return town_rig(3)
    rigs = [town_rig(count) for count in (1, 3, 6)]
    rig = next((one for one in rigs if set(names) <= set(one.names)), rigs[-1])
    return Rig(cameras=tuple(rig.cameras[rig.index(name)] for name in names))


def courses_of(request: DriveRequest, driver: Driver) -> list[Course]:
    """The scenes to drive: the situations in turn, one seed after the other.

    Raises:
        UnknownName, BadRequest: if a situation does not exist or a scene cannot be that long.
    """
    names = request.situations or tuple(SITUATIONS)
    return [
        Course(
            situation=names[number % len(names)],
            seed=request.seed + number,
            seconds=request.seconds,
            warmup_s=max(WARMUP_S, driver.history / driver.frequency_hz),
            frequency_hz=driver.frequency_hz,
            form=request.form,
        )
        for number in range(request.scenes)
    ]


def run_drive(
    request: DriveRequest,
    out: Path,
    *,
    model: "WorldModel | None" = None,
    on_scene: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Drive, film, score, and write the run folder; returns `run.json` with one entry per scene in `drives`.

    Raises:
        BadInput: if the request or checkpoint cannot be used, or `out` exists.
    """
    refuse_existing(Path(out))
    for name in request.situations:
        if name not in SITUATIONS:
            raise UnknownName("situation", name, SITUATIONS)
    driver = make_driver(request, model)
    courses = courses_of(request, driver)
    started, drives = time.perf_counter(), []
    for number, course in enumerate(courses, start=1):
        drives.append(drive_one(driver, course, request.seed))
        on_scene(number, len(courses))
    drove = time.perf_counter()
    with new_folder(Path(out)) as folder:
        run = RunWriter(folder=folder, command="detour drive", request=asdict(request), seed=request.seed)
        films = [_film(run, one) for one in drives[: request.videos]]
        run.timings_s |= {"drive": drove - started, "film": time.perf_counter() - drove}
        for one in drives:
            run.paths[f"driven {one.scene.id}"] = one.scene.trajectory()
        record = run.finish(score_rows(drives), {"model": driver.about, "drives": [facts_of(one) for one in drives]})
        _report(folder / "report.html", request, record, drives, films)
    return record


def drive_one(driver: Driver, course: Course, seed: int) -> Drive:
    """One course, seen through the driver's cameras."""
    return drive(driver.who, course, rig=driver.rig, history=driver.history, ages=driver.ages, seed=seed)


def facts_of(one: Drive) -> dict[str, Any]:
    """One drive as plain data."""
    return {
        "scene": one.scene.id,
        "situation": one.course.situation,
        "seed": one.course.seed,
        "end": one.end,
        "seconds": (len(one.scene) - 1) / one.scene.frequency_hz,
        "progress_m": one.progress_m,
        "route_m": one.score.route_m,
        "driving_score": one.score.value,
        "route_completion": one.score.completion,
        "penalty": one.score.penalty,
        "outside_share": one.conduct.outside_share,
        "infractions": [asdict(infraction) for infraction in one.conduct.infractions],
        "navsim": asdict(one.navsim) | {"pdms": one.navsim.pdms, "epdms": one.epdms},
        "plans": len(one.plans),
        "failures": [{"at_s": at_s, "why": why} for at_s, why in one.failures],
    }


def score_rows(drives: list[Drive]) -> list[dict[str, Any]]:
    """Means over the scenes: CARLA's numbers and NAVSIM's, each with unit and n."""
    found = summary([one.score for one in drives], [one.conduct for one in drives])
    navsim = mean_scores([one.navsim for one in drives]) | {"epdms": float(np.mean([one.epdms for one in drives]))}
    form, n = drives[0].score.form, len(drives)
    rows = [
        {"metric": name, "value": value, "unit": _unit(name), "of": f"CARLA form {form}, {n} scenes"}
        for name, value in found.items()
        if np.isfinite(value)
    ]
    return rows + [
        {"metric": name, "value": value, "unit": "0 to 1", "of": f"NAVSIM in the town, {n} scenes"}
        for name, value in navsim.items()
    ]


def _unit(name: str) -> str:
    return "per km" if name.endswith("_per_km") else "0 to 100" if name == "driving_score" else "0 to 1"


def _film(run: RunWriter, one: Drive) -> Path:
    """The drive seen by three cameras, with the plans and what the driver was told."""
    from worldmodel.town.render import render

    rig = town_rig(3, *SHOWN)
    video = render(one.scene, rig).rgb
    front = rig.names.index("front")
    for frame, picture in enumerate(video[:, front]):
        path = _plan_at(one, frame)
        if path is not None:
            video[frame, front] = with_path(picture, rig.cameras[front], path, COLORS["before"])
    whole = mosaic(video, rig)
    captioned = [labelled(picture, caption(one, frame), bottom=True) for frame, picture in enumerate(whole)]
    return run.add_picture_row(
        one.scene.id.replace("+", "-"), np.stack(captioned), one.scene.frequency_hz, imagined=False
    )


def _plan_at(one: Drive, frame: int) -> Array | None:
    """The plan in force, in the ego frame of a frame: points ahead, [n, 2] metres; None without plans."""
    now = frame / one.scene.frequency_hz
    made = [(at_s, plan) for at_s, plan in one.plans if at_s <= now + 1e-6]
    if not made:
        return None
    at_s, plan = made[-1]
    then = one.scene.ego_poses[round(at_s * one.scene.frequency_hz)]
    world = Trajectory(poses=plan.trajectory.poses, times_s=plan.trajectory.times_s).seen_from(
        relative(then, one.scene.ego_poses[frame])
    )
    ahead = world.poses[plan.trajectory.times_s > now - at_s, :2]
    return np.asarray(ahead)


def caption(one: Drive, frame: int) -> str:
    """Who drives how fast, what it was told, and what has just gone wrong."""
    scene, now = one.scene, frame / one.scene.frequency_hz
    told = [text.text for text in scene.instructions if text.start_s <= now + 1e-6 < text.end_s]
    words = [one.driver, f"{scene.ego_speeds_mps[frame] * 3.6:.0f} km/h", *(f"'{text}'" for text in told[-1:])]
    words += [
        f"! {infraction.kind.replace('_', ' ')}"
        for infraction in one.conduct.infractions
        if infraction.time_s <= now + 1e-6 < infraction.time_s + FLASH_S
    ]
    return "  ".join(words)


def _report(path: Path, request: DriveRequest, record: dict[str, Any], drives: list[Drive], films: list[Path]) -> None:
    rows = [
        (
            one.scene.id,
            f"{one.score.value:.1f}",
            f"{one.score.completion:.0%}",
            f"{one.score.penalty:.2f}",
            one.end,
            f"{one.epdms:.2f}",
            "; ".join(f"{i.kind} {i.track} at {i.time_s:.1f} s" for i in one.conduct.infractions if i.kind != NO_FAULT),
        )
        for one in drives
    ]
    head = ("scene", "driving score", "route", "penalty", "ended by", "EPDMS", "infractions")
    means = score_rows(drives)
    blocks: list[Block] = [
        Video(path=film, alt=f"The drive {one.scene.id}.", caption=f"{one.scene.id}. Blue: the plan in force.")
        for film, one in zip(films, drives, strict=False)
    ]
    sections = [
        Section(heading="Drives", blocks=[*blocks, Table(head=head, rows=rows)]),
        Section(
            heading="Scores",
            blocks=[
                Table(
                    head=("score", "mean", "unit", "of"),
                    rows=[(r["metric"], f"{r['value']:.3g}", r["unit"], r["of"]) for r in means],
                )
            ],
        ),
    ]
    facts = {
        "command": "detour drive",
        "model": str(record["model"]),
        "seed": str(request.seed),
        "commit": str(record["commit"]),
    }
    lead = f"{drives[0].driver} drove {len(drives)} scenes of {request.seconds:g} s; the others reacted to it."
    if failed := sum(len(one.failures) for one in drives):
        made = sum(len(one.plans) for one in drives)
        lead += f" {failed} of {made} times it gave no usable plan; the car braked until the next one."
    write_report(path, f"Closed loop: {request.planner} in the town", lead, sections, facts)
