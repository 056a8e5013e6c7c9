"""Commands that write and check datasets, and show what the town looks like."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from studio.commands.options import Json, NewFolder, Seed
from studio.console import counter, emit, say
from worldmodel.errors import BadRequest


def town(
    out: NewFolder,
    scenes: Annotated[int, typer.Option(help="How many scenes.")] = 20,
    seed: Seed = 0,
    seconds: Annotated[float, typer.Option(help="Length of each scene.")] = 8.0,
    frequency: Annotated[float, typer.Option(help="Frames per second.")] = 8.0,
    rig: Annotated[str, typer.Option(help="front, three, six or nuscenes.")] = "three",
    width: Annotated[int, typer.Option(help="Of the pictures, px.")] = 128,
    height: Annotated[int, typer.Option(help="Of the pictures, px.")] = 64,
    situation: Annotated[
        list[str] | None, typer.Option(help="Only these; may be repeated. Default: all in turn.")
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="natural (at most 15 % vision-critical moments) or rich (at least 50 %).")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test: their seeds never meet.")] = "train",
    tracks: Annotated[bool, typer.Option("--tracks", help="Scene states alone, without pictures.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that work side by side.")] = 1,
    as_json: Json = False,
) -> None:
    """Write a dataset of the embedded town; run it again to go on where it was stopped."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from worldmodel.town.dataset import write_town
    from worldmodel.town.records.request import TownRequest
    from worldmodel.town.rigs import rig_named
    from worldmodel.town.tracks import write_tracks

    cameras = rig_named(rig, *_picture_size(width, height))
    request = TownRequest(
        scenes=scenes,
        seed=seed,
        seconds=seconds,
        frequency_hz=frequency,
        situations=tuple(situation) if situation else None,
        mix=mix,
        split=split,
    )
    count = counter("scenes")
    with _kept(out):
        if tracks:
            made = len(write_tracks(out, request, workers=workers, progress=count))
            emit({"tracks": out, "scenes": made}, as_json, f"tracks: {out} ({made} scenes)")
            return
        dataset = write_town(out, request, rig=cameras, rig_name=rig, workers=workers, progress=count)
    emit({"dataset": out, "episodes": dataset.episodes}, as_json, f"dataset: {out} ({dataset.episodes} episodes)")


@contextlib.contextmanager
def _kept(out: Path) -> Iterator[None]:
    """Say where the finished scenes are when the work is stopped."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if (partial := out.with_name(f"{out.name}.partial")).exists():
            say(f"the finished scenes are kept in '{partial}'; run the same command again to go on.")
        raise


def _picture_size(width: int, height: int) -> tuple[int, int]:
    if not (16 <= width <= 4096 and 16 <= height <= 2304) or width % 2 or height % 2:
        raise BadRequest(f"pictures of {width}x{height} px are asked for; need even sides, 16x16 to 4096x2304.")
    return width, height


def import_(
    src: Annotated[Path, typer.Argument(help="The recordings.")],
    out: NewFolder,
    form: Annotated[str, typer.Option("--format", help="folder or lerobot.")] = "folder",
    frequency: Annotated[float | None, typer.Option(help="Frames per second; default: the recordings' own.")] = None,
    width: Annotated[int | None, typer.Option(help="Of the pictures, px; default: as recorded.")] = None,
    height: Annotated[int | None, typer.Option(help="Of the pictures, px; default: as recorded.")] = None,
    letterbox: Annotated[bool, typer.Option(help="Keep proportions with black bars.")] = False,
    clips: Annotated[list[str] | None, typer.Option("--clip", help="Only this one; may be repeated.")] = None,
    fov: Annotated[float | None, typer.Option(help="Degrees, of cameras without calibration; default 70.")] = None,
    wheelbase: Annotated[float | None, typer.Option(help="Metres, where motion comes from steering.")] = None,
    steering_lock: Annotated[float | None, typer.Option(help="Radians at full lock, likewise.")] = None,
    as_json: Json = False,
) -> None:
    """Turn recordings into a dataset, checked."""
    from studio.importing import run_import
    from studio.runs import refuse_existing

    refuse_existing(out)
    count = counter("clips")
    dataset = run_import(
        src,
        out,
        form=form,
        frequency_hz=frequency,
        width_px=width,
        height_px=height,
        letterbox=letterbox,
        clips=clips or None,
        fov_deg=fov,
        vehicle={k: v for k, v in (("wheelbase_m", wheelbase), ("steering_lock_rad", steering_lock)) if v is not None},
        on_clip=lambda done, total, _: count(done, total),
    )
    notes = [f"  note: {note}" for note in dataset.notes]
    content = {
        "dataset": out,
        "episodes": dataset.episodes,
        "cameras": dataset.rig.names,
        "frequency_hz": dataset.frequency_hz,
        "motion": sorted({record.motion_origin for record in dataset.records}),
        "notes": dataset.notes,
    }
    emit(content, as_json, "\n".join([f"dataset: {out} ({dataset.episodes} episodes)", *notes]))


def check(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    as_json: Json = False,
) -> None:
    """List every problem of a dataset with its file and row; exit code 1 when there is one."""
    from worldmodel.io.check import check_dataset

    problems = check_dataset(dataset)
    rows = [{"path": str(p.path), "row": p.row, "message": p.message} for p in problems]
    lines = [str(problem) for problem in problems]
    emit({"dataset": dataset, "problems": rows}, as_json, "\n".join(lines) or "no problems found")
    if problems:
        raise typer.Exit(1)


def gallery(
    out: NewFolder = Path("gallery"),
    rows: Annotated[int, typer.Option(help="Scenes on the sheet of a situation.")] = 3,
    columns: Annotated[int, typer.Option(help="Moments of each.")] = 4,
    as_json: Json = False,
) -> None:
    """Contact sheets of the town: every situation, weather and rig."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.gallery import write_gallery

    sheets = write_gallery(out, rows=rows, columns=columns, progress=counter("sheets"))
    page = out / "README.md"
    emit({"page": page, "sheets": [sheet.name for sheet in sheets]}, as_json, f"gallery: {page} ({len(sheets)} sheets)")
