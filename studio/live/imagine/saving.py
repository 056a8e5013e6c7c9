"""What was imagined, kept on disk until the visitor saves it: film, GIF, path, and the run folder of `detour imagine`."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from studio.demo import wish_of
from studio.guides import GuideChoice
from studio.imagine import ACTION_COLUMNS, ImagineRequest, memory_facts, write_future
from studio.live.imagine.pictures import Painter
from studio.live.imagine.recorded import Recorded
from studio.live.imagine.results import Made
from studio.live.imagine.wishes import ImagineWish
from studio.moments import find_moment
from studio.runs import new_folder
from studio.web import shown
from studio.web.shelf import Choice
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Trajectory
from worldmodel.io.rig_file import parse_rig, rig_content
from worldmodel.io.video import write_video
from worldmodel.rollout import Rollout
from worldmodel.sampling import Sampling

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

NOTICE = "Imagined by Detour. Research tool; no evidence of road safety."
KEPT, RUNS = "kept", "runs"  # folders of a visitor
MOST_GIF_FRAMES, GIF_WIDTH_PX = 120, 726
MOST_KEPT = 4
LARGE_TILE_PX, SMALL_TILE_PX = 320, 160
MOST_LARGE_FRAMES = 480  # of all rows of a film together; longer films have smaller pictures
FACTS = ("texts", "seed", "actions_given", "chunk_s", "frequency_hz", "timing", "telemetry", "warnings", "provenance")


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The files of a run.

    Attributes:
        film, gif: All futures above each other, below what was recorded; the past first.
        path: The imagined path as CSV with t, x, y, yaw, as `--actions` reads it; a zip of several for several futures.
        archive: The run folder of each future, and the commanded path, as a zip.
        runs: The run folders.
    """

    film: Path
    gif: Path
    path: Path
    archive: Path
    runs: tuple[Path, ...]


def keep(folder: Path, made: Made) -> str:
    """Write down what a run made, without the model's memory; returns its name for `kept`. Only the newest few stay.

    Args:
        folder: The visitor's own.
    """
    place = folder / KEPT
    place.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.stem) for path in place.glob("*.npz")), default=0)
    partial = place / f".{number}.partial"
    with partial.open("wb") as file:
        arrays: dict[str, Any] = _arrays(made)
        np.savez(file, facts=np.array(json.dumps(_facts(made))), **arrays)
    os.rename(partial, place / f"{number}.npz")
    for old in sorted(place.glob("*.npz"), key=lambda path: int(path.stem))[:-MOST_KEPT]:
        old.unlink(missing_ok=True)
    return str(number)


def _facts(made: Made) -> dict[str, Any]:
    return {
        "wish": asdict(made.wish),
        "told": made.told,
        "seconds": made.seconds,
        "rollouts": [
            {
                **{name: getattr(rollout, name) for name in FACTS},
                "memory_stats": memory_facts(rollout),
                "rig": rig_content(rollout.rig),
            }
            for rollout in made.rollouts
        ],
    }


def _arrays(made: Made) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for i, rollout in enumerate(made.rollouts):
        arrays |= {f"video{i}": rollout.video, f"poses{i}": rollout.trajectory.poses, f"times{i}": rollout.trajectory.times_s}  # fmt: skip
    if made.actions is not None:
        arrays |= {"poses": made.actions.poses, "times": made.actions.times_s}
    return arrays


def kept(folder: Path, name: str) -> Made:
    """What `keep` wrote.

    Raises:
        BadRequest: if it is no longer there.
    """
    path = folder / KEPT / f"{name}.npz"
    if not name.isdigit() or not path.is_file():
        raise BadRequest("this run is no longer kept; only the newest few are. Press Imagine once more, then save.")
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(str(file["facts"]))
        rollouts = [_rollout(file, i, row) for i, row in enumerate(facts["rollouts"])]
        actions = Trajectory(poses=file["poses"], times_s=file["times"]) if "poses" in file else None
    return Made(wish=_wish(facts["wish"]), told=facts["told"], rollouts=tuple(rollouts), actions=actions, seconds=facts["seconds"])  # fmt: skip


def _rollout(file: Any, i: int, row: dict[str, Any]) -> Rollout:
    rig = parse_rig(row.pop("rig"), "a kept run").rig
    lists: dict[str, Any] = {name: tuple(row.pop(name)) for name in ("texts", "telemetry", "warnings")}
    path = Trajectory(poses=file[f"poses{i}"], times_s=file[f"times{i}"])
    return Rollout(video=file[f"video{i}"], trajectory=path, rig=rig, **lists, **row)


def _wish(row: dict[str, Any]) -> ImagineWish:
    pairs: dict[str, Any] = {name: tuple(tuple(pair) for pair in row.pop(name)) for name in ("changes", "waypoints")}
    return ImagineWish(choice=Choice(**row.pop("choice")), sampling=Sampling(**row.pop("sampling")), **pairs, **row)


def save(made: Made, model: "WorldModel", folder: Path) -> Iterator[str | Saved]:
    """Write the files of a run, saying what is being written; the last item are the files.

    Args:
        made: The run.
        model: That imagined it.
        folder: The visitor's own; run folders go below RUNS and stay until the visitor leaves.
    """
    name = _free_name(folder / RUNS, made)
    yield "Writing the run folder …"
    runs = tuple(_write_runs(made, model, folder / RUNS, name))
    yield "Writing the film …"
    frames = film_frames(made, model)
    rate = made.rollouts[0].frequency_hz
    place = folder / "saved"
    place.mkdir(parents=True, exist_ok=True)
    film = place / f"{name}.mp4"
    write_video(film, shown.even(frames), rate, comment=NOTICE)
    yield "Writing the GIF …"
    gif = place / f"{name}.gif"
    gif.write_bytes(gif_bytes(frames, rate))
    yield "Packing …"
    yield Saved(
        film=film, gif=gif, path=_write_paths(made, place, name), archive=_packed(made, runs, place, name), runs=runs
    )


def _free_name(place: Path, made: Made) -> str:
    stem = f"imagined-{made.wish.choice.episode}-seed{made.wish.seed}"
    number = 1
    while list(place.glob(f"{stem}-{number}*")):
        number += 1
    return f"{stem}-{number}"


def _write_runs(made: Made, model: "WorldModel", place: Path, name: str) -> Iterator[Path]:
    wish = made.wish
    moment = find_moment(wish.choice.text, wish_of(model, wish.seconds))
    schedule = wish.schedule(made.told)
    for rollout in made.rollouts:
        request = ImagineRequest(
            clip=wish.choice.text,
            text=wish.text.strip() or None,
            guide=GuideChoice(schedule=schedule),
            actions=None if made.actions is None else Path("actions.csv"),
            seconds=wish.seconds,
            sampling=wish.sampling,
            seed=rollout.seed,
            model=str(model.config.preset),
        )
        out = place / (name if len(made.rollouts) == 1 else f"{name}-future{rollout.seed}")
        with new_folder(out) as partial:
            write_future(partial, request, moment, rollout, f"{model.config.preset}, weights {model.hash}")
            if made.actions is not None:
                (partial / "actions.csv").write_text(path_csv(made.actions), encoding="utf-8")
        yield out


def path_csv(path: Trajectory) -> str:
    """A path as a table that `--actions` reads to the same numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ACTION_COLUMNS)
    for time_s, pose in zip(path.times_s, path.poses, strict=True):
        writer.writerow([repr(float(value)) for value in (time_s, *pose)])
    return text.getvalue()


def _write_paths(made: Made, place: Path, name: str) -> Path:
    if len(made.rollouts) == 1:
        path = place / f"{name}.csv"
        path.write_text(path_csv(made.rollouts[0].trajectory), encoding="utf-8")
        return path
    folder = place / f"{name}-paths"
    folder.mkdir()
    for rollout in made.rollouts:
        (folder / f"seed-{rollout.seed}.csv").write_text(path_csv(rollout.trajectory), encoding="utf-8")
    return _zipped(folder)


def _packed(made: Made, runs: Sequence[Path], place: Path, name: str) -> Path:
    folder = place / name
    for run in runs:
        shutil.copytree(run, folder / run.name if len(made.rollouts) > 1 else folder)
    return _zipped(folder)


def _zipped(folder: Path) -> Path:
    """The folder as a zip that unpacks to a folder of this name; the folder itself goes."""
    archive = Path(shutil.make_archive(str(folder), "zip", folder.parent, folder.name))
    shutil.rmtree(folder)
    return archive


def film_frames(made: Made, model: "WorldModel") -> UInt8[Array, "n 3 height width"]:
    """The past, then the futures above each other and below them what was recorded; the way ahead is known to its end."""
    wish, size = made.wish, (model.config.width_px, model.config.height_px)
    recorded = Recorded.around(wish.choice.text, wish_of(model, wish.seconds), size)
    large = made.frames * (len(made.rollouts) + 1) <= MOST_LARGE_FRAMES
    painter = Painter.of(recorded.moment.clip.rig.scaled(*size), LARGE_TILE_PX if large else SMALL_TILE_PX)
    past, truth = recorded.past(painter), recorded.follows(0, made.frames)
    rows = []
    for rollout in made.rollouts:
        path = rollout.trajectory
        at = Trajectory(poses=path.poses[1:], times_s=path.times_s[1:])
        title = "imagined" if len(made.rollouts) == 1 else f"imagined, seed {rollout.seed}"
        rows.append(np.concatenate([past, painter.frames(rollout.video, title, at, path)]))
    if len(truth):
        rows.append(np.concatenate([past, recorded.pictures(painter, truth, 0)]))
    return shown.stacked(rows)


def gif_bytes(frames: UInt8[Array, "n 3 h w"], frequency_hz: float) -> bytes:
    """Frames as a GIF, smaller and at most MOST_GIF_FRAMES of them (every second or third then), in their own time."""
    from PIL import Image

    every = -(-len(frames) // MOST_GIF_FRAMES)
    width = min(GIF_WIDTH_PX, frames.shape[3])
    size = width, round(frames.shape[2] * width / frames.shape[3])
    pictures = [
        Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0))).resize(size, Image.Resampling.BICUBIC)
        for frame in frames[::every]
    ]
    palette = pictures[len(pictures) // 2].quantize(256, method=Image.Quantize.MEDIANCUT)
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=round(1000 * every / frequency_hz), loop=0)
    return buffer.getvalue()
