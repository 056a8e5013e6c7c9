"""`detour imagine`: one future of one clip, as a run folder."""

import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.demo import DEFAULT_MODEL, frame_scores, wish_of
from studio.demo_report import facts_of, timings_table
from studio.guides import GuideChoice, texts_by_time
from studio.html_report import Block, Figure, Section, Table, Video, write_report
from studio.moments import Moment, find_moment
from studio.overlays import COLORS, PathLayer, birds_eye_svg
from studio.runs import RunWriter, new_folder, refuse_existing
from worldmodel.clips import check_instruction
from worldmodel.errors import BadTable
from worldmodel.geometry import Trajectory
from worldmodel.pictures import resize_video
from worldmodel.sampling import Sampling

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.rollout import Rollout

ACTION_COLUMNS = ("t", "x", "y", "yaw")
MAX_ACTION_ROWS = 100_000


@dataclass(frozen=True, kw_only=True)
class ImagineRequest:
    """What `detour imagine` is asked for.

    Attributes:
        clip: DATASET[:EPISODE[@SECONDS]].
        text: What the driver is told; None for the clip's own instruction.
        guide: What steers each chunk; by default what the driver is told.
        actions: CSV file with columns t, x, y, yaw: the path to drive; None lets the model imagine the motion.
        seconds: Horizon.
        sampling: Steps, sampler, guidance scales, memory and its sizes.
        seed: Of all noise.
        model: Checkpoint folder.
    """

    clip: str
    text: str | None = None
    actions: Path | None = None
    seconds: float = 4.0
    guide: GuideChoice = field(default_factory=GuideChoice)
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    model: str = DEFAULT_MODEL


def read_actions(path: Path) -> Trajectory:
    """A path to drive from a CSV with a header `t,x,y,yaw`: seconds from now, metres and radians in the ego frame of now.

    Raises:
        BadTable: naming file and row, if a column is missing or a value is not a finite number, or times do not increase.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in ACTION_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise BadTable(
                    f"'{path}' has columns {', '.join(reader.fieldnames or ()) or 'none'}; it needs t, x, y, yaw. "
                    f"Add {', '.join(missing)} to the header."
                )
            rows = [_numbers(path, i, row) for i, row in enumerate(reader, start=2) if _bounded(path, i)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadTable(f"'{path}' cannot be read as CSV: {error}. Give a text file with header t,x,y,yaw.") from error
    if not rows:
        raise BadTable(f"'{path}' has no rows below its header; at least one pose after now is needed.")
    if rows[0][0] > 0:
        rows.insert(0, [0.0, 0.0, 0.0, 0.0])
    values = np.array(rows)
    backwards = np.flatnonzero(np.diff(values[:, 0]) <= 0)
    if len(backwards):
        raise BadTable(
            f"'{path}': t goes from {values[backwards[0], 0]:g} to {values[backwards[0] + 1, 0]:g}; times must increase. "
            "Sort the rows and remove repeats."
        )
    return Trajectory(poses=values[:, 1:], times_s=values[:, 0])


def _bounded(path: Path, line: int) -> bool:
    if line > MAX_ACTION_ROWS:
        raise BadTable(f"'{path}' has more than {MAX_ACTION_ROWS} rows; give the path at a lower rate.")
    return True


def _numbers(path: Path, line: int, row: dict[str, Any]) -> list[float]:
    numbers = []
    for name in ACTION_COLUMNS:
        try:
            number = float(row[name])
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise BadTable(
                f"'{path}' line {line}: {name} is {row[name]!r}; it must be a finite number. Repair that row."
            )
        numbers.append(number)
    return numbers


def run_imagine(
    request: ImagineRequest,
    out: Path,
    *,
    model: "WorldModel | None" = None,
    on_chunk: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Imagine one future and write its run folder; returns the content of `run.json`.

    Raises:
        BadInput: if the request, the clip or the checkpoint cannot be used, or `out` exists.
        Diverged: if the model produced values that are not finite.
    """
    from worldmodel.model import WorldModel, check_horizon

    refuse_existing(Path(out))
    check_horizon(request.seconds)
    if request.text is not None:
        check_instruction(request.text)
    actions = None if request.actions is None else read_actions(request.actions)
    started = time.perf_counter()
    world = model or WorldModel.from_pretrained(request.model)
    loaded = time.perf_counter() - started
    moment = find_moment(request.clip, wish_of(world, request.seconds))
    observation = moment.observation()
    text = observation.instruction if request.text is None else request.text
    observation = replace(observation, instruction=text)
    guide = request.guide.make(moment, text, request.seconds)
    with new_folder(Path(out)) as folder:
        rollout = world.imagine(
            observation,
            seconds=request.seconds,
            seed=request.seed,
            actions=actions,
            guide=guide,
            sampling=request.sampling,
            on_chunk=lambda chunk, chunks, _: on_chunk(chunk + 1, chunks),
        )
        rollout = replace(rollout, timing={"load_s": loaded, **rollout.timing})
        return write_future(folder, request, moment, rollout, f"{world.config.preset}, weights {world.hash}")


def _timings(timing: Mapping[str, float]) -> dict[str, float]:
    spent = sum(value for name, value in timing.items() if name.endswith("_s") and name != "load_s")
    return {"load the model": timing.get("load_s", 0.0), "imagine": spent}


def _plain(request: Any) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(request).items()}


def write_future(
    folder: Path, request: ImagineRequest, moment: Moment, rollout: "Rollout", model: str
) -> dict[str, Any]:
    """Write one future as a run folder; returns the content of `run.json`.

    Args:
        folder: An empty one, as `new_folder` gives it.
        request: What was asked for.
        moment: What was seen, and what followed as far as that is recorded.
        rollout: What was imagined.
        model: Preset and weights, for the report.
    """
    rollout = replace(rollout, warnings=tuple(dict.fromkeys((*moment.notes, *rollout.warnings))))
    run = RunWriter(folder=folder, command="detour imagine", request=_plain(request), seed=request.seed)
    run.timings_s |= _timings(rollout.timing)
    text, clip = moment.observation().instruction if request.text is None else request.text, moment.clip
    seen = run.add_video("seen", clip.video[: moment.now + 1], clip.rig, clip.frequency_hz, imagined=False)
    imagined = run.add_video("imagined", rollout.video, rollout.rig, rollout.frequency_hz, imagined=True)
    if len(clip) > moment.now + 1:
        run.add_video("followed", clip.video[moment.now + 1 :], clip.rig, clip.frequency_hz, imagined=False)
    layers = [PathLayer(label="imagined", points_m=rollout.trajectory.poses[:, :2], color=COLORS["before"])]
    run.paths["imagined"] = rollout.trajectory
    driven = moment.driven()
    if driven is not None:
        run.paths["driven"] = driven
        layers.append(
            PathLayer(label="driven (recorded)", points_m=driven.poses[:, :2], color=COLORS["truth"], dashed=True)
        )
    scores = _scores(moment, rollout)
    facts = {
        "texts": list(rollout.texts),
        "provenance": rollout.provenance,
        "telemetry": list(rollout.telemetry),
        "warnings": list(rollout.warnings),
        "memory": memory_facts(rollout),
    }
    record = run.finish(scores, facts)
    blocks: list[Block] = [
        Video(path=seen, alt="The frames the model saw.", caption="Seen (recorded)."),
        Video(path=imagined, alt="The imagined future.", caption=f"Told: {text or 'nothing'}", imagined=True),
        Figure(svg=birds_eye_svg(layers, title="Paths from above"), caption="From above; a line each 10 m."),
    ]
    rows = [(row["of"], row["metric"], f"{row['value']:.3f} {row['unit']}".strip(), str(row["n"])) for row in scores]
    sections = [Section(heading="Seen and imagined", blocks=blocks)]
    steered = texts_by_time(rollout)
    if [spoken for _, _, spoken in steered] != [text]:
        said = [(f"{start:g} to {end:g} s", spoken or "nothing") for start, end, spoken in steered]
        sections.append(Section(heading="What steered it", blocks=[Table(head=("time", "text"), rows=said)]))
    if rows:
        table = Table(head=("video", "score", "value", "pictures"), rows=rows)
        sections.append(Section(heading="Against what happened", blocks=[table]))
    if rollout.warnings:
        told = Table(head=("before you trust it",), rows=[(text,) for text in rollout.warnings])
        sections.append(Section(heading="Warnings", blocks=[told]))
    sections.append(Section(heading="Time spent", blocks=[timings_table(run.timings_s)]))
    write_report(
        run.folder / "report.html",
        f"An imagined future of clip {clip.id}",
        f"{len(rollout.video) / rollout.frequency_hz:.1f} s, imagined from {moment.history_s:.1f} s of recording.",
        sections,
        facts_of(record, clip, model),
    )
    return record


def memory_facts(rollout: "Rollout") -> dict[str, Any]:
    """How much was kept of the past at the end, and of each chunk what and why."""
    from worldmodel.memory.kept import kept_cells

    kept = [] if rollout.past is None else kept_cells(rollout.past.memory).by_chunk()
    return {"kept": kept, **rollout.memory_stats}


def _scores(moment: Moment, rollout: "Rollout") -> list[dict[str, Any]]:
    frames = min(len(moment.clip) - moment.now - 1, len(rollout.video))
    if not frames:
        return []
    size = rollout.rig.width_px, rollout.rig.height_px
    both = resize_video(moment.clip.video[moment.now : moment.now + 1 + frames], *size)
    repeat = np.broadcast_to(both[0], both[1:].shape)
    return [
        *frame_scores("imagined", rollout.video, both[1:]),
        *frame_scores("repeat the last frame", repeat, both[1:]),
    ]
