"""Import a LeRobot v3.0 dataset that others wrote: one picture size, one rate, a rig (nominal where none is given)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from worldmodel.clips import Box, Clip
from worldmodel.errors import BadDataset, BadRequest, UnknownName
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.io.folder import Progress
from worldmodel.io.lerobot import Dataset, clip_without_video, open_with_any_sizes, write_dataset
from worldmodel.io.lerobot_writer import check_free
from worldmodel.io.pictures import PictureSize, fit_camera, read_fitted
from worldmodel.io.rig_file import NOMINAL_FOV_DEG, read_rig


def import_lerobot(
    src: Path | str,
    out: Path | str,
    *,
    frequency_hz: float | None = None,
    width_px: int | None = None,
    height_px: int | None = None,
    letterbox: bool = False,
    clips: Sequence[str] | None = None,
    rig_file: Path | str | None = None,
    fov_deg: float = NOMINAL_FOV_DEG,
    crf: int = 18,
    on_clip: Progress | None = None,
) -> Dataset:
    """Write a LeRobot dataset again in our form.

    Args:
        src: A LeRobot v3 dataset with videos. `out`: a folder that does not exist yet.
        frequency_hz: Whole-number rate, at most the source's; its own when None.
        width_px, height_px: Even picture size; the first camera's when None.
        letterbox: Keep proportions with black bars instead of stretching.
        clips: Ids or 'episode_000012' names; all when None.
        rig_file: A `rig.yaml` or `rig.json` with the cameras' calibration.
        fov_deg: Horizontal opening angle of cameras without calibration.
        crf: Quality of the videos written.
        on_clip: Called with (number done, number of all, id) after each clip.
    Raises:
        BadDataset, BadVideo, BadRig: if the source cannot be read.
        UnknownName: if a clip or a calibrated camera does not exist.
        OutputExists: if `out` exists or cannot be written.
    """
    src, out = Path(src), Path(out)
    check_free(out)
    source, sizes = open_with_any_sizes(src, fov_deg)
    cameras = source.rig.cameras
    notes = list(source.notes)
    nominal = source.rig.nominal
    if rig_file is not None:
        given = read_rig(Path(rig_file))
        if given.distortions:
            raise BadRequest(
                f"'{rig_file}' names a distortion; straighten the videos first, or import with --format folder."
            )
        cameras = tuple(given.rig.cameras[given.rig.index(name)] for name in source.rig.names)
        nominal, notes = given.rig.nominal, []
    width, height = sizes[0]
    if width_px or height_px:
        height_px = height_px or 2 * round((width_px or 0) * height / width / 2)
        width_px = width_px or 2 * round(height_px * width / height / 2)
    size = PictureSize(width_px=width_px or width // 2 * 2, height_px=height_px or height // 2 * 2, letterbox=letterbox)
    fitted = [fit_camera(camera.scaled(*own), size) for camera, own in zip(cameras, sizes, strict=True)]
    rig = Rig(cameras=tuple(fitted), nominal=nominal)
    rate = _rate(source, frequency_hz)
    chosen = _chosen(source, clips)
    if not source.has_motion:
        notes.append("no columns forward_m, left_m, yaw_rad in 'action': no motion (video only)")

    def made() -> Iterator[Clip]:
        for number, episode in enumerate(chosen, 1):
            yield _clip(source, episode, rig, size, rate)
            if on_clip is not None:
                on_clip(number, len(chosen), source.ids[episode])

    return write_dataset(made(), out, name=source.name, crf=crf, vehicle=source.vehicle, notes=notes)


def _rate(source: Dataset, frequency_hz: float | None) -> int:
    wanted = source.frequency_hz if frequency_hz is None else frequency_hz
    if not (1 <= wanted <= source.frequency_hz and abs(wanted - round(wanted)) < 1e-9):
        raise BadRequest(
            f"a rate of {wanted} Hz is asked for; need a whole number from 1 to the source's {source.frequency_hz:g} Hz."
        )
    return round(wanted)


def _chosen(source: Dataset, clips: Sequence[str] | None) -> list[int]:
    for name in clips or ():
        if name not in source.ids:
            raise UnknownName(f"clip of '{source.path}'", name, source.ids)
    return list(range(source.episodes)) if clips is None else [source.ids.index(name) for name in clips]


def _clip(source: Dataset, episode: int, rig: Rig, size: PictureSize, rate: int) -> Clip:
    record = source.record(episode)
    times = np.arange(int((record.length - 1) * rate / source.frequency_hz + 1e-6) + 1) / rate
    frames = np.round(times * source.frequency_hz).astype(np.int64)
    pictures = [read_fitted(file, first + frames, size) for file, first in record.videos]
    if len({len(one) for one in pictures}) > 1:
        raise BadDataset(f"the cameras of clip '{record.id}' have different lengths. Run `detour check`.")
    facts = clip_without_video(source, episode)
    return Clip(
        id=record.id,
        video=np.stack(pictures, axis=1),
        rig=rig,
        motion=_motion(facts.motion, times),
        motion_origin=record.motion_origin,
        frequency_hz=float(rate),
        instructions=facts.instructions,
        boxes=_boxes(facts.boxes, frames),
        source=record.source,
    )


def _motion(motion: Motion | None, times: Array) -> Motion | None:
    if motion is None or len(times) < 2:
        return None if motion is None else replace(motion, deltas=np.zeros((0, 3)))
    whole = motion.trajectory()
    wanted = np.clip(times, 0.0, whole.times_s[-1])
    return replace(whole.resampled(wanted).motion(), period_s=float(times[1] - times[0]))


def _boxes(boxes: tuple[tuple[Box, ...], ...] | None, frames: Array) -> tuple[tuple[Box, ...], ...] | None:
    return None if boxes is None else tuple(boxes[frame] for frame in frames)
