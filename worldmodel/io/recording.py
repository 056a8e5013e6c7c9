"""What a folder of raw recordings holds, read and checked before the first picture is decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadDataset, BadRig, BadVideo
from worldmodel.geometry import Array, Camera, Trajectory
from worldmodel.io.camera_poses import (
    CameraPoses,
    WorldBoxes,
    fit_rig,
    ground_heights,
    load_json,
    read_camera_poses,
    read_objects,
)
from worldmodel.io.ego_log import EgoLog, ego_trajectory, motion_source, read_ego_log
from worldmodel.io.rig_file import Distortion, RigFile, Vehicle, nominal_rig, parse_rig, read_rig
from worldmodel.io.video import VideoInfo, frame_times, probe

ASSUMED_VEHICLE = Vehicle(wheelbase_m=2.7, steering_lock_rad=float(np.radians(25)))
ASPECT_TOLERANCE = 0.01  # between a calibration's picture size and the video's
CAMERA_ORDER = (
    "front_left", "left_front", "front", "center", "centre", "middle", "front_right", "left", "right", "side_left", "side_right",
    "back_left", "rear_left", "back", "rear", "back_right", "rear_right",
)  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """One camera of one recording.

    Attributes:
        file, info: Its video.
        times_s: Shape [frames], on the recording's clock.
        camera: For the video's own size.
        distortion: The lens, where it bends lines.
    """

    file: Path
    info: VideoInfo
    times_s: Float[Array, " frames"]
    camera: Camera
    distortion: Distortion | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """One clip before its pictures are decoded.

    Attributes:
        id: The clip's name.
        sources: Its cameras, in video order.
        nominal: Whether the calibration is assumed.
        trajectory: Ego poses at the rows of the ego log; None without motion.
        motion_origin: As in `Clip`.
        boxes: Labels in the world; None where nobody labelled, or nothing places them.
        log_times_s: Shape [n], times of the ego log; empty without one.
        ground_m: Shape [n], height of the ground in the world; empty without camera poses.
        origin_xy: World position that the ego log has subtracted.
        vehicle: Numbers behind an estimated motion.
        notes: What was assumed, estimated or left out.
    """

    id: str
    sources: tuple[Source, ...]
    nominal: bool
    trajectory: Trajectory | None
    motion_origin: str
    boxes: WorldBoxes | None
    log_times_s: Float[Array, " n"]
    ground_m: Float[Array, " n"]
    origin_xy: Float[Array, " 2"]
    vehicle: Vehicle | None
    notes: tuple[str, ...]


def camera_files(src: Path) -> dict[str, dict[str, Path]]:
    """Video files by clip and camera; 'CLIP.mp4' is a single camera 'front'.

    Raises:
        BadDataset: if there are none.
    """
    if not src.is_dir():
        raise BadDataset(f"'{src}' is not a folder. Give the folder that holds CLIP.CAMERA.mp4 files.")
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(src.glob("*.mp4")):
        clip, dot, camera = path.stem.rpartition(".")
        files.setdefault(clip if dot else camera, {})[camera if dot else "front"] = path
    if not files:
        raise BadDataset(f"'{src}' has no CLIP.CAMERA.mp4 file. See docs/own-recordings.md for the form of a folder.")
    return files


def read_recording(
    src: Path, name: str, files: Mapping[str, Path], vehicle: Vehicle | None, fov_deg: float
) -> Recording:
    """Everything about one clip but its pictures.

    Raises:
        BadTable, BadVideo, BadRig: naming file, row and camera.
    """
    infos = {camera: probe(file) for camera, file in files.items()}
    path = src / f"{name}.ego.csv"
    log = read_ego_log(path) if path.exists() else None
    _check_lengths(name, files, infos, log)
    calibration = _calibration(src, name)
    notes: list[str] = []
    vehicle = _estimation_vehicle(log, vehicle, calibration, notes)
    trajectory, origin = (None, "none") if log is None else ego_trajectory(log, vehicle)
    notes.append(f"clip '{name}': " + _motion_note(log, origin))
    objects = src / f"{name}.objects.csv"
    boxes = read_objects(objects, len(log)) if log is not None and objects.exists() else None
    ground = np.zeros(0)
    posed_times: dict[str, Array] = {}
    if isinstance(calibration, CameraPoses):
        if trajectory is None or origin != "poses":
            raise BadRig(
                f"'{src / name}.cameras.json' has camera poses in the world, so '{path.name}' needs x, y, yaw."
            )
        ground, ground_note = ground_heights(calibration, trajectory, boxes)
        cameras, fit_notes = fit_rig(calibration, trajectory, ground, _ordered(list(calibration.cameras)))
        notes += [f"clip '{name}': {note}" for note in (ground_note, *fit_notes)]
        posed_times = {camera: posed.times_s for camera, posed in calibration.cameras.items()}
    elif calibration is not None:
        cameras = calibration.rig.cameras
    else:
        cameras = _nominal_cameras(infos, fov_deg, notes)
    if boxes is not None and not isinstance(calibration, CameraPoses):
        notes.append(f"clip '{name}': boxes are left out, because nothing says where the cameras are in their world")
    cameras = _with_video(name, cameras, infos)
    log_times = np.zeros(0) if log is None else log.times_s
    distortions: Mapping[str, Distortion] = calibration.distortions if isinstance(calibration, RigFile) else {}
    return Recording(
        id=name,
        sources=tuple(
            Source(
                file=files[camera.name],
                info=infos[camera.name],
                times_s=_times(files[camera.name], infos[camera.name], posed_times.get(camera.name), log_times),
                camera=camera,
                distortion=distortions.get(camera.name),
            )
            for camera in cameras
        ),
        nominal=calibration is None or (isinstance(calibration, RigFile) and calibration.rig.nominal),
        trajectory=trajectory,
        motion_origin=origin,
        boxes=boxes if isinstance(calibration, CameraPoses) else None,
        log_times_s=log_times,
        ground_m=ground,
        origin_xy=calibration.origin_xy if isinstance(calibration, CameraPoses) else np.zeros(2),
        vehicle=vehicle,
        notes=tuple(notes),
    )


def _estimation_vehicle(
    log: EgoLog | None, given: Vehicle | None, calibration: RigFile | CameraPoses | None, notes: list[str]
) -> Vehicle | None:
    """The vehicle that motion from steering is computed with; None where nothing is estimated from steering."""
    if log is None or motion_source(log) != "steering":
        return None
    known = given or (calibration.vehicle if isinstance(calibration, RigFile) else None)
    if known is None:
        notes.append(
            f"wheelbase {ASSUMED_VEHICLE.wheelbase_m} m and steering lock {np.degrees(ASSUMED_VEHICLE.steering_lock_rad):.0f} "
            "degrees are assumed for motion from steering; give the true ones (wheelbase, steering lock)"
        )
    return known or ASSUMED_VEHICLE


def _motion_note(log: EgoLog | None, origin: str) -> str:
    if log is None:
        return "no ego.csv, so the times are those of the videos and there is no motion (video only)"
    return "no motion (video only)" if origin == "none" else f"motion from {origin}"


def _check_lengths(name: str, files: Mapping[str, Path], infos: Mapping[str, VideoInfo], log: EgoLog | None) -> None:
    """With a table, row i belongs to frame i of every camera."""
    for camera, info in infos.items():
        if log is not None and info.frames != len(log):
            raise BadVideo(
                f"'{files[camera]}' has {info.frames} frames, but '{log.path.name}' has {len(log)} rows; every camera of "
                f"clip '{name}' needs one frame per row. Cut them to the same length, or remove the camera."
            )


def _calibration(src: Path, name: str) -> RigFile | CameraPoses | None:
    path = src / f"{name}.cameras.json"
    if path.exists():
        content = load_json(path)
        posed = isinstance(content, Mapping) and "camera_to_world" in content
        return read_camera_poses(path, content) if posed else parse_rig(content, str(path))
    shared = [src / file for file in ("rig.yaml", "rig.yml", "rig.json") if (src / file).exists()]
    return read_rig(shared[0]) if shared else None


def _nominal_cameras(infos: Mapping[str, VideoInfo], fov_deg: float, notes: list[str]) -> tuple[Camera, ...]:
    names = _ordered(list(infos))
    notes.append(f"no calibration: a nominal rig is assumed ({', '.join(names)}; {fov_deg:g} degrees wide, 1.5 m high)")
    sizes = [(infos[name].width_px, infos[name].height_px) for name in names]
    return tuple(nominal_rig(names, *size, fov_deg).cameras[i] for i, size in enumerate(sizes))


def _ordered(names: Sequence[str]) -> list[str]:
    """Cameras from left to right where they all look ahead, else front first, then round the car."""
    ahead = {"left": 0, "center": 1, "centre": 1, "middle": 1, "front": 1, "right": 2}
    if set(names) <= set(ahead):
        return sorted(names, key=lambda name: ahead[name])
    known = {name: place for place, name in enumerate(CAMERA_ORDER)}
    return sorted(names, key=lambda name: (known.get(name, len(known)), name))


def _with_video(name: str, cameras: Sequence[Camera], infos: Mapping[str, VideoInfo]) -> tuple[Camera, ...]:
    """The calibrated cameras that have a video, each for its video's size."""
    known = [camera.name for camera in cameras]
    for missing in [camera for camera in infos if camera not in known]:
        raise BadRig(
            f"clip '{name}' has a video of camera '{missing}', but its calibration only knows {', '.join(known)}. "
            "Calibrate it, rename it, or move the video away."
        )
    return tuple(_sized(name, camera, infos[camera.name]) for camera in cameras if camera.name in infos)


def _sized(name: str, camera: Camera, info: VideoInfo) -> Camera:
    wide, high = info.width_px / camera.width_px, info.height_px / camera.height_px
    if abs(wide / high - 1) > ASPECT_TOLERANCE:
        raise BadRig(
            f"clip '{name}', camera '{camera.name}': the calibration is for {camera.width_px}x{camera.height_px} px, the "
            f"video has {info.width_px}x{info.height_px}, which is another shape. Give the calibration of this video."
        )
    return camera.scaled(info.width_px, info.height_px)


def _times(file: Path, info: VideoInfo, posed: Array | None, log_times: Array) -> Array:
    """When each frame was taken: by the calibration, else the ego log, else the video."""
    if posed is None:
        return log_times if len(log_times) else frame_times(file)
    if len(posed) != info.frames:
        raise BadVideo(f"'{file}' has {info.frames} frames, but its calibration has {len(posed)} poses. Complete it.")
    return posed
