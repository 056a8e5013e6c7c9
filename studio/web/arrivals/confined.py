"""Import recordings in a process of its own, with little memory, little time and no secrets.

Readers of videos and tables are large and written in C. What a stranger sent is decoded where a crash, an endless loop
or a reserved terabyte ends that process alone. The work is the one of `detour import`.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldmodel import errors
from worldmodel.errors import BadDataset, BadVideo, DetourError

POLL_S = 0.1
TELL_S = 0.5
SECRETS = ("DETOUR_AUTH", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
PACKAGES = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Work:
    """One import.

    Attributes:
        src, out: Folders, as in `detour import`; `out` does not exist.
        form: 'folder' or 'lerobot'.
        frequency_hz, width_px, height_px: What every clip becomes.
        most_clips, most_frames, most_seconds, most_pixels: Limits of a clip, checked before a picture is decoded.
        most_memory, most_bytes: Of the process, and of a file that it writes.
        most_work_s: How long it may take.
    """

    src: str
    out: str
    form: str
    frequency_hz: float
    width_px: int
    height_px: int
    most_clips: int
    most_frames: int
    most_seconds: float
    most_pixels: int
    most_memory: int
    most_bytes: int
    most_work_s: float


def imported(work: Work, stopped: Callable[[], bool]) -> Iterator[tuple[int, int]]:
    """Do the work in a process of its own; yields (clips done, of all) now and then, also while nothing changes.

    The process ends with this generator, whatever the reason.

    Args:
        work: What to do.
        stopped: Asked several times a second; True ends the work at once.
    Raises:
        BadInput: as `detour import`; also when it was stopped, took too long, or its process died.
    """
    with _process(work) as (process, lines):
        ends, done, told = time.monotonic() + work.most_work_s, (0, 0), 0.0
        while True:
            try:
                line = lines.get(timeout=POLL_S)
            except queue.Empty:
                line = {}
            if stopped():
                raise BadDataset("the upload was stopped; nothing of it is kept. Send it again when you want it.")
            if time.monotonic() > ends:
                raise BadVideo(_too_long(work))
            if line is None:
                _check_ended(process, work)
                return
            _raise_problem(line)
            done = (line["done"], line["of"]) if "done" in line else done
            if "done" in line or time.monotonic() > told + TELL_S:
                told = time.monotonic()
                yield done


@contextlib.contextmanager
def _process(work: Work) -> Iterator[tuple["subprocess.Popen[str]", "queue.Queue[dict[str, Any] | None]"]]:
    environment = {key: value for key, value in os.environ.items() if key not in SECRETS}
    paths = [str(PACKAGES), *filter(None, [environment.get("PYTHONPATH")])]
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "studio.web.arrivals.confined"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines), name="read-import", daemon=True)
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(asdict(work)))
        reader.start()
        yield process, lines
    finally:
        process.kill()
        process.wait()
        if reader.ident is not None:
            reader.join()
        assert process.stdout is not None
        process.stdout.close()


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[dict[str, Any] | None]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            lines.put(json.loads(line))
    lines.put(None)


def _raise_problem(line: dict[str, Any]) -> None:
    if "problem" in line:
        kind = getattr(errors, str(line["problem"]), BadDataset)
        raise kind(line["message"]) if kind is not errors.UnknownName else BadDataset(line["message"])


def _check_ended(process: "subprocess.Popen[str]", work: Work) -> None:
    if (code := process.wait()) == 0 and Path(work.out).is_dir():
        return
    why = f"signal {-code}" if code < 0 else f"code {code}"
    raise BadVideo(
        f"reading it failed within {work.most_memory / 1e9:.0f} GB of memory and {work.most_work_s:.0f} s ({why}): a file is "
        "damaged or too large. Convert the videos with ffmpeg, scale them down, or cut them."
    )


def _too_long(work: Work) -> str:
    return (
        f"reading it took more than {work.most_work_s:.0f} s, which is all an upload gets. Scale the videos down, cut them, "
        "or use `detour import` on the command line, which has no limit."
    )


def main() -> int:
    """The process: the work as JSON on standard input, one JSON object per line on standard output."""
    work = Work(**json.loads(sys.stdin.read()))
    _confine(work)
    try:
        do(work, lambda done, of: _say({"done": done, "of": of}))
    except DetourError as error:
        _say({"problem": type(error).__name__, "message": str(error)})
        return 2
    except (MemoryError, RecursionError) as error:
        message = (
            f"reading it needs more than {work.most_memory / 1e9:.0f} GB of memory ({type(error).__name__}). Send less."
        )
        _say({"problem": "BadDataset", "message": message})
        return 2
    return 0


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _confine(work: Work) -> None:
    try:
        import resource
    except ImportError:
        return  # Windows: only the time is limited, by the parent
    seconds = int(work.most_work_s) + 1
    wanted = {
        resource.RLIMIT_AS: work.most_memory,
        resource.RLIMIT_CPU: 2 * seconds,
        resource.RLIMIT_FSIZE: work.most_bytes,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in wanted.items():
        hard = resource.getrlimit(limit)[1]
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(
                limit, (value, hard) if hard in (-1, resource.RLIM_INFINITY) or hard > value else (hard, hard)
            )


def _check_videos(work: Work) -> None:
    """Every video by its packets: size, number of frames, length; no picture is decoded."""
    from worldmodel.io.video import frame_times, probe

    for file in sorted(Path(work.src).rglob("*.mp4")):
        info = probe(file)
        if info.width_px * info.height_px > work.most_pixels:
            raise BadVideo(
                f"'{file}' has pictures of {info.width_px}x{info.height_px} px; at most {work.most_pixels:,} pixels are taken. "
                "Scale it down, for example with `ffmpeg -i IN -vf scale=1280:-2 OUT.mp4`."
            )
        seconds = float(frame_times(file)[-1])
        if info.frames > work.most_frames or seconds > work.most_seconds:
            raise BadVideo(
                f"'{file}' has {info.frames:,} frames and lasts {seconds:,.0f} s; at most {work.most_frames:,} frames and "
                f"{work.most_seconds:g} s are taken. Cut it, for example with `ffmpeg -i IN -t {work.most_seconds:g} OUT.mp4`."
            )


def do(work: Work, on_clip: Callable[[int, int], None]) -> None:
    """Do the work in this process; calls `on_clip` with (clips done, of all).

    Raises:
        BadInput: as `detour import`, or beyond the limits.
    """
    from studio.importing import run_import

    _check_videos(work)
    src = Path(work.src)
    clips = _clips(src, work.form)
    if clips > work.most_clips:
        raise BadDataset(f"it holds {clips} clips; at most {work.most_clips} are taken. Send fewer at a time.")
    on_clip(0, clips)
    run_import(
        src, Path(work.out), form=work.form, frequency_hz=_rate(work), width_px=work.width_px, height_px=work.height_px,
        on_clip=lambda done, of, _: on_clip(done, of),
    )  # fmt: skip


def _clips(src: Path, form: str) -> int:
    if form == "folder":
        from worldmodel.io.recording import camera_files

        return len(camera_files(src))
    from worldmodel.io.lerobot import open_with_any_sizes
    from worldmodel.io.rig_file import NOMINAL_FOV_DEG

    return open_with_any_sizes(src, NOMINAL_FOV_DEG)[0].episodes


def _rate(work: Work) -> float:
    """The wanted rate, or what a slower dataset has."""
    if work.form == "folder":
        return work.frequency_hz
    from worldmodel.io.lerobot_meta import checked_info

    return min(work.frequency_hz, float(checked_info(Path(work.src))["fps"]))


if __name__ == "__main__":
    sys.exit(main())
