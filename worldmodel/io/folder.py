"""Import raw recordings: a folder with `CLIP.CAMERA.mp4` and, where they exist, `CLIP.ego.csv`, `CLIP.cameras.json` or
one `rig.yaml`, and `CLIP.objects.csv`. Everything small is read and checked before the first picture is decoded.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from worldmodel.clips import Box, Clip
from worldmodel.errors import BadDataset, BadRequest, ClipTooShort, UnknownName
from worldmodel.geometry import Array, Motion, Rig, Trajectory
from worldmodel.io.camera_poses import ego_boxes
from worldmodel.io.lerobot import Dataset, write_dataset
from worldmodel.io.lerobot_writer import check_free
from worldmodel.io.pictures import PictureSize, fit_camera, read_fitted, undistort
from worldmodel.io.recording import ASSUMED_VEHICLE, Recording, Source, camera_files, read_recording
from worldmodel.io.rig_file import NOMINAL_FOV_DEG, Vehicle

Progress = Callable[[int, int, str], None]


def import_folder(
    src: Path | str,
    out: Path | str,
    *,
    frequency_hz: float | None = None,
    width_px: int | None = None,
    height_px: int | None = None,
    letterbox: bool = False,
    clips: Sequence[str] | None = None,
    wheelbase_m: float | None = None,
    steering_lock_rad: float | None = None,
    fov_deg: float = NOMINAL_FOV_DEG,
    crf: int = 18,
    on_clip: Progress | None = None,
) -> Dataset:
    """Import a folder of raw recordings as a dataset; what was assumed or estimated is in the dataset's `notes`.

    All cameras are resampled to one whole-number rate by their recorded times (nearest frame), undistorted, scaled to
    one size; calibration follows. Motion comes from poses, else speed and yaw rate, else positions, else speed and
    steering, else there is none (`ego_log.ego_trajectory`).

    Args:
        src: The folder. `out`: a folder that does not exist yet.
        frequency_hz: Frames per second, a whole number; the nearest to the recordings' own rate when None.
        width_px, height_px: Even picture size; the first camera's when None.
        letterbox: Keep proportions with black bars instead of stretching.
        clips: Ids to import; all when None.
        wheelbase_m, steering_lock_rad: For motion from steering; else from the rig file, else assumed and noted.
        fov_deg: Horizontal opening angle of cameras without calibration.
        crf: Quality of the videos written.
        on_clip: Called with (number done, number of all, id) after each clip.
    Raises:
        BadDataset: if there is no recording, or motion exists for some and not for others.
        BadTable, BadVideo, BadRig: naming file, row and camera.
        UnknownName: if a clip of `clips` does not exist.
        OutputExists: if `out` exists or cannot be written.
    """
    src, out = Path(src), Path(out)
    check_free(out)
    files = _chosen(src, camera_files(src), clips)
    vehicle = _vehicle(wheelbase_m, steering_lock_rad)
    recordings = [read_recording(src, name, cameras, vehicle, fov_deg) for name, cameras in files.items()]
    _check_motion_of_all(recordings)
    rate = _rate(frequency_hz, recordings)
    size = _size(width_px, height_px, letterbox, recordings[0])
    grids = [_grid(recording, rate) for recording in recordings]
    notes = [note for recording in recordings for note in recording.notes]
    for recording, grid in zip(recordings, grids, strict=True):
        notes += _offset_notes(recording, grid, rate)
    notes += _size_notes(recordings, size)

    def made() -> Iterator[Clip]:
        for number, (recording, grid) in enumerate(zip(recordings, grids, strict=True), 1):
            yield _clip(recording, grid, rate, size, f"imported from folder '{src.name}'")
            if on_clip is not None:
                on_clip(number, len(recordings), recording.id)

    used = next((recording.vehicle for recording in recordings if recording.vehicle is not None), None)
    return write_dataset(made(), out, name=src.name, crf=crf, vehicle=used, notes=list(dict.fromkeys(notes)))


def _chosen(src: Path, files: dict[str, dict[str, Path]], clips: Sequence[str] | None) -> dict[str, dict[str, Path]]:
    for name in clips or ():
        if name not in files:
            raise UnknownName(f"clip of '{src}'", name, files)
    return files if clips is None else {name: files[name] for name in clips}


def _vehicle(wheelbase_m: float | None, steering_lock_rad: float | None) -> Vehicle | None:
    if wheelbase_m is None and steering_lock_rad is None:
        return None
    wheelbase = ASSUMED_VEHICLE.wheelbase_m if wheelbase_m is None else wheelbase_m
    lock = ASSUMED_VEHICLE.steering_lock_rad if steering_lock_rad is None else steering_lock_rad
    if not (0.5 < wheelbase < 20 and 0 < lock < 1.5):
        raise BadRequest(
            f"wheelbase {wheelbase} m and steering lock {lock} rad are given; need 0.5 to 20 m and up to 1.5 rad."
        )
    return Vehicle(wheelbase_m=wheelbase, steering_lock_rad=lock)


def _check_motion_of_all(recordings: Sequence[Recording]) -> None:
    moving = [r.id for r in recordings if r.trajectory is not None]
    still = [r.id for r in recordings if r.trajectory is None]
    if moving and still:
        raise BadDataset(
            f"clip '{moving[0]}' has ego motion and '{still[0]}' has none, but a dataset has motion for all or for none. "
            "Import them apart with --clips."
        )


def _rate(frequency_hz: float | None, recordings: Sequence[Recording]) -> int:
    if frequency_hz is None:
        own = [
            (len(s.times_s) - 1) / (s.times_s[-1] - s.times_s[0])
            for r in recordings
            for s in r.sources
            if len(s.times_s) > 1
        ]
        return max(1, round(float(np.median(own)))) if own else 1
    if not (1 <= frequency_hz <= 120 and abs(frequency_hz - round(frequency_hz)) < 1e-9):
        raise BadRequest(f"a rate of {frequency_hz} Hz is asked for; a dataset needs a whole number from 1 to 120.")
    return round(frequency_hz)


def _size(width_px: int | None, height_px: int | None, letterbox: bool, first: Recording) -> PictureSize:
    camera = first.sources[0].camera
    if width_px is None and height_px is None:
        width, height = camera.width_px // 2 * 2, camera.height_px // 2 * 2
    else:
        height = height_px or 2 * round((width_px or 0) * camera.height_px / camera.width_px / 2)
        width = width_px or 2 * round(height * camera.width_px / camera.height_px / 2)
    return PictureSize(width_px=width, height_px=height, letterbox=letterbox)


def _size_notes(recordings: Sequence[Recording], size: PictureSize) -> list[str]:
    sources = {
        (s.camera.name, s.info.width_px, s.info.height_px)
        for r in recordings
        for s in r.sources
        if (s.info.width_px, s.info.height_px) != (size.width_px, size.height_px)
    }
    how = "letterboxed" if size.letterbox else "scaled"
    return [f"camera '{c}': {w}x{h} {how} to {size.width_px}x{size.height_px}" for c, w, h in sorted(sources)]


def _nearest(times_s: Array, wanted_s: Array) -> Int[Array, " n"]:
    """Number of the nearest time for each wanted one (the earlier of two equally near)."""
    after = np.clip(np.searchsorted(times_s, wanted_s), 1, max(1, len(times_s) - 1))
    before = after - 1
    after = np.minimum(after, len(times_s) - 1)
    return np.where(wanted_s - times_s[before] <= times_s[after] - wanted_s + 1e-9, before, after)


def _grid(recording: Recording, rate: int) -> Float[Array, " n"]:
    """The wanted times: every 1 / rate s while every camera has a frame within half a period.

    Raises:
        ClipTooShort: if the cameras never overlap.
    """
    clock = recording.log_times_s if len(recording.log_times_s) else recording.sources[0].times_s
    grid = clock[0] + np.arange(int((clock[-1] - clock[0]) * rate + 1e-6) + 1) / rate
    covered = np.ones(len(grid), bool)
    for source in recording.sources:
        period = float(np.median(np.diff(source.times_s))) if len(source.times_s) > 1 else 0.0
        slack = max(period, 1 / rate) / 2 + 1e-3
        covered &= (grid >= source.times_s[0] - slack) & (grid <= source.times_s[-1] + slack)
    kept = grid[covered]
    if not len(kept):
        raise ClipTooShort(
            f"clip '{recording.id}': its cameras have no common time. Check the times in its tables and calibration."
        )
    return kept


def _offset_notes(recording: Recording, grid: Array, rate: int) -> list[str]:
    notes = []
    for source in recording.sources:
        offsets = np.abs(source.times_s[_nearest(source.times_s, grid)] - grid)
        late = int((offsets > 0.5 / rate + 1e-3).sum())
        if late:
            notes.append(
                f"clip '{recording.id}', camera '{source.camera.name}': {late} of {len(grid)} frames lie more than half a "
                f"frame from their time (worst {offsets.max() * 1000:.0f} ms)"
            )
    return notes


def _clip(recording: Recording, grid: Array, rate: int, size: PictureSize, source: str) -> Clip:
    cameras = tuple(fit_camera(s.camera, size) for s in recording.sources)
    return Clip(
        id=recording.id,
        video=np.stack([_pictures(s, grid, size) for s in recording.sources], axis=1),
        rig=Rig(cameras=cameras, nominal=recording.nominal),
        motion=_motion(recording.trajectory, grid, rate),
        motion_origin=recording.motion_origin,
        frequency_hz=float(rate),
        boxes=_boxes(recording, grid),
        source=source,
    )


def _pictures(source: Source, grid: Array, size: PictureSize) -> Array:
    camera, lens = source.camera, source.distortion
    numbers = _nearest(source.times_s, grid)
    return read_fitted(
        source.file, numbers, size, lambda frames: frames if lens is None else undistort(frames, camera, lens)
    )


def _motion(trajectory: Trajectory | None, grid: Array, rate: int) -> Motion | None:
    if trajectory is None:
        return None
    if len(grid) < 2:
        return Motion(deltas=np.zeros((0, 3)), period_s=1 / rate)
    deltas = trajectory.resampled(np.clip(grid, trajectory.times_s[0], trajectory.times_s[-1])).motion().deltas
    return Motion(deltas=deltas, period_s=1 / rate)


def _boxes(recording: Recording, grid: Array) -> tuple[tuple[Box, ...], ...] | None:
    if recording.boxes is None or recording.trajectory is None:
        return None
    own = recording.trajectory.resampled(grid)
    world = Trajectory(poses=own.poses + np.array([*recording.origin_xy, 0.0]), times_s=grid)
    ground = np.interp(grid, recording.log_times_s, recording.ground_m)
    return ego_boxes(recording.boxes, recording.log_times_s, world, ground)
