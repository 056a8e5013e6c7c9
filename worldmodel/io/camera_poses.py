"""Calibration given as one camera pose per frame, and boxes given in the world: `CLIP.cameras.json`, `CLIP.objects.csv`.

The rig is made constant: each camera's pose in the ego frame is averaged over the frames, and the residual is told.
The ego frame has no pitch, roll or height, so the ground is laid under the vehicle from the boxes that stand near it.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.clips import Box
from worldmodel.errors import BadRig, BadTable, DetourError
from worldmodel.geometry import Array, Camera, Trajectory, matrix_from_pose, relative, wrap_angle
from worldmodel.io.rig_file import NOMINAL_HEIGHT_M

GROUND_RADIUS_M = 20.0  # boxes nearer than this tell where the ground under the vehicle is
VELOCITY_WINDOW = 2  # box speeds come from positions this many frames before and after


@dataclass(frozen=True, eq=False, kw_only=True)
class PosedCamera:
    """One camera with a pose for every frame.

    Attributes:
        intrinsics: Shape [3, 3], pixels.
        times_s: Shape [n], on the clock of the ego log.
        world_from_camera: Shape [n, 4, 4], metres.
    """

    intrinsics: Float[Array, "3 3"]
    times_s: Float[Array, " n"]
    world_from_camera: Float[Array, "n 4 4"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CameraPoses:
    """A `CLIP.cameras.json` with poses per frame.

    Attributes:
        width_px, height_px: Picture size of the intrinsics.
        origin_xy: World position that the ego log has subtracted, metres.
        cameras: By name.
    """

    width_px: int
    height_px: int
    origin_xy: Float[Array, " 2"]
    cameras: Mapping[str, PosedCamera]

    def heights_m(self) -> Float[Array, " n"]:
        """Mean height of all cameras in the world, per frame."""
        return np.mean([camera.world_from_camera[:, 2, 3] for camera in self.cameras.values()], axis=0)


@dataclass(frozen=True, eq=False, kw_only=True)
class WorldBoxes:
    """Boxes in the world, one row each.

    Attributes:
        frames: Shape [n], int.
        tracks, kinds: One text per row.
        values: Shape [n, 7]: centre x, y, z, length, width, height (m), heading (rad).
    """

    frames: Array
    tracks: Sequence[str]
    kinds: Sequence[str]
    values: Float[Array, "n 7"]


def read_camera_poses(path: Path, content: Mapping[str, Any]) -> CameraPoses:
    """Check the loaded content of `CLIP.cameras.json` that has `camera_to_world`.

    Raises:
        BadRig: naming the camera and the frame.
    """
    try:
        width, height = (int(side) for side in content["image_size"])
        intrinsics = content["intrinsics_scaled"] if "intrinsics_scaled" in content else content["intrinsics"]
        cameras = {
            str(name): _posed_camera(f"'{path}', camera '{name}'", intrinsics[name], poses)
            for name, poses in content["camera_to_world"].items()
        }
        origin = np.array(content.get("clip_start_xy", (0.0, 0.0)), np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRig(
            f"'{path}': {type(error).__name__} {error}. It needs image_size, intrinsics (fx, fy, cx, cy) and camera_to_world "
            "(p, q_wxyz, t for each frame) for every camera."
        ) from error
    if not cameras or len({len(camera.times_s) for camera in cameras.values()}) > 1 or origin.shape != (2,):
        raise BadRig(f"'{path}': every camera needs a pose for the same number of frames. Complete the file.")
    return CameraPoses(width_px=width, height_px=height, origin_xy=origin, cameras=cameras)


def load_json(path: Path) -> Any:
    """The content of a JSON calibration file.

    Raises:
        BadRig: if it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRig(f"the calibration '{path}' cannot be read: {error}. Write valid JSON.") from error


def _posed_camera(where: str, intrinsics: Mapping[str, float], poses: Sequence[Mapping[str, Any]]) -> PosedCamera:
    fx, fy, cx, cy = (float(intrinsics[key]) for key in ("fx", "fy", "cx", "cy"))
    matrices = []
    for frame, pose in enumerate(poses):
        w, x, y, z = quaternion = np.array(pose["q_wxyz"], np.float64)
        if abs(np.linalg.norm(quaternion) - 1) > 1e-3:
            raise BadRig(f"{where}, frame {frame}: the quaternion {quaternion.tolist()} is no rotation (length 1).")
        matrix = np.eye(4)
        matrix[:3, :3] = _rotation(np.array([w, x, y, z]) / np.linalg.norm(quaternion))
        matrix[:3, 3] = pose["p"]
        matrices.append(matrix)
    times = np.array([float(pose["t"]) for pose in poses])
    if not np.isfinite(np.array(matrices)).all() or (np.diff(times) <= 0).any():
        raise BadRig(f"{where}: poses must be finite and their times must increase. Repair the file.")
    return PosedCamera(
        intrinsics=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), times_s=times, world_from_camera=np.array(matrices)
    )


def _rotation(quaternion: Array) -> Array:
    w, (x, y, z) = quaternion[0], quaternion[1:]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def ground_heights(
    poses: CameraPoses, trajectory: Trajectory, boxes: WorldBoxes | None
) -> tuple[Float[Array, " n"], str]:
    """Height of the ground under the vehicle in the world, per frame, and how it was found (for the notes).

    The cameras keep their height over the ground; that height is the median over all boxes near the vehicle.
    """
    cameras = poses.heights_m()
    if boxes is not None and len(boxes.frames):
        ego = trajectory.poses[boxes.frames, :2] + poses.origin_xy
        near = np.linalg.norm(boxes.values[:, :2] - ego, axis=1) < GROUND_RADIUS_M
        if near.any():
            bottoms = boxes.values[near, 2] - boxes.values[near, 5] / 2
            height = float(np.median(cameras[boxes.frames[near]] - bottoms))
            return cameras - height, f"ground from {int(near.sum())} boxes near the vehicle"
    lowest = min(float(camera.world_from_camera[:, 2, 3].mean()) for camera in poses.cameras.values())
    note = f"ground unknown: the lowest camera is taken to be {NOMINAL_HEIGHT_M} m above it"
    return cameras - (float(cameras.mean()) - lowest + NOMINAL_HEIGHT_M), note


def fit_rig(
    poses: CameraPoses, trajectory: Trajectory, ground_m: Float[Array, " n"], names: Sequence[str]
) -> tuple[tuple[Camera, ...], list[str]]:
    """The constant cameras that fit all frames best, and the residual of each in words."""
    cameras, notes = [], []
    for name in names:
        camera, note = _fit_camera(name, poses, trajectory, ground_m)
        cameras.append(camera)
        notes.append(note)
    return tuple(cameras), notes


def _fit_camera(name: str, poses: CameraPoses, trajectory: Trajectory, ground_m: Array) -> tuple[Camera, str]:
    posed = poses.cameras[name]
    inside = (posed.times_s >= trajectory.times_s[0]) & (posed.times_s <= trajectory.times_s[-1])
    if not inside.any():
        raise BadRig(
            f"camera '{name}' has poses from {posed.times_s[0]:g} to {posed.times_s[-1]:g} s, but the ego log covers "
            f"{trajectory.times_s[0]:g} to {trajectory.times_s[-1]:g} s. Both need the same clock."
        )
    ego = trajectory.resampled(posed.times_s[inside]).poses + np.array([*poses.origin_xy, 0.0])
    heights = np.interp(posed.times_s[inside], trajectory.times_s, ground_m)
    each = np.array(
        [
            np.linalg.inv(matrix_from_pose(pose, z_m=height)) @ matrix
            for pose, height, matrix in zip(ego, heights, posed.world_from_camera[inside], strict=True)
        ]
    )
    mean = np.eye(4)
    left, _, right = np.linalg.svd(each[:, :3, :3].mean(axis=0))
    mean[:3, :3] = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    mean[:3, 3] = each[:, :3, 3].mean(axis=0)
    shift = np.linalg.norm(each[:, :3, 3] - mean[:3, 3], axis=1).max()
    cosines = (np.einsum("nij,ij->n", each[:, :3, :3], mean[:3, :3]) - 1) / 2
    turn = np.degrees(np.arccos(np.clip(cosines, -1, 1))).max()
    try:
        camera = Camera(
            name=name,
            intrinsics=posed.intrinsics,
            ego_from_camera=mean,
            width_px=poses.width_px,
            height_px=poses.height_px,
        )
    except DetourError as error:
        raise BadRig(f"camera '{name}': {error}") from error
    return camera, f"camera '{name}': constant pose fits its frames to {shift:.3f} m and {turn:.2f} degrees"


def read_objects(path: Path, frames: int) -> WorldBoxes:
    """Read `CLIP.objects.csv`: frame, uuid, label, x, y, z, yaw and either length, width, height (yaw is the heading) or
    dx (width), dy (length), dz (height) as PandaSet has them (the heading is yaw + 90 degrees).

    Raises:
        BadTable: with file and line.
    """
    rows: list[tuple[int, str, str, list[float]]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            heading = "length" in (reader.fieldnames or ())
            keys = ("length", "width", "height") if heading else ("dy", "dx", "dz")
            rows.extend(_object(path, reader.line_num, row, keys, frames) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadTable(f"'{path}' cannot be read as a CSV table: {error}. Save it as UTF-8 text.") from error
    values = np.array([row[3] for row in rows], np.float64).reshape(-1, 7)
    if not heading:
        values[:, 6] += np.pi / 2
    return WorldBoxes(
        frames=np.array([row[0] for row in rows], np.int64),
        tracks=[row[1] for row in rows],
        kinds=[row[2] for row in rows],
        values=values,
    )


def _object(
    path: Path, line: int, row: Mapping[str, str], keys: Sequence[str], frames: int
) -> tuple[int, str, str, list[float]]:
    try:
        frame = int(row["frame"])
        numbers = [float(row[key]) for key in ("x", "y", "z", *keys, "yaw")]
        track, kind = row["uuid"], row["label"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadTable(
            f"'{path}', line {line}: {type(error).__name__} {error}. A box needs frame, uuid, label, x, y, z, yaw and its three sizes."
        ) from error
    if not np.isfinite(numbers).all() or min(numbers[3:6]) <= 0 or not 0 <= frame < frames:
        raise BadTable(
            f"'{path}', line {line}: frame {frame} (of {frames}), numbers {numbers}; all must be finite, sizes positive."
        )
    return frame, track, kind, numbers


def ego_boxes(
    boxes: WorldBoxes, log_times_s: Float[Array, " n"], world_poses: Trajectory, ground_m: Float[Array, " m"]
) -> tuple[tuple[Box, ...], ...]:
    """The boxes at each wanted time in the ego frame of that time.

    The labels of the nearest frame are taken and moved with their own velocity, which comes from the tracks.

    Args:
        boxes: The labels; their frames count the rows of the ego log.
        log_times_s: Time of each of these rows.
        world_poses: The ego pose in the world at the wanted times.
        ground_m: Height of the ground there.
    """
    velocities = _velocities(boxes, log_times_s)
    result = []
    for time, pose, ground in zip(world_poses.times_s, world_poses.poses, ground_m, strict=True):
        frame = int(np.abs(log_times_s - time).argmin())
        rows = np.flatnonzero(boxes.frames == frame).tolist()
        late = float(time - log_times_s[frame])
        result.append(tuple(_ego_box(boxes, row, velocities[row], late, pose, ground) for row in rows))
    return tuple(result)


def _ego_box(boxes: WorldBoxes, row: int, velocity: Array, late_s: float, ego: Array, ground_m: float) -> Box:
    x, y, z, length, width, height, heading = boxes.values[row]
    known = bool(np.isfinite(velocity).all())
    shift = velocity * late_s if known else np.zeros(2)
    pose = relative(ego, np.array([x + shift[0], y + shift[1], heading]))
    over_ground = relative(np.array([0.0, 0.0, ego[2]]), np.array([*velocity, 0.0]))[:2]
    return Box(
        track=boxes.tracks[row],
        kind=boxes.kinds[row],
        center=np.array([pose[0], pose[1], z - ground_m]),
        size=np.array([length, width, height]),
        yaw_rad=float(wrap_angle(pose[2])),
        velocity_mps=over_ground if known else None,
    )


def _velocities(boxes: WorldBoxes, times_s: Array) -> Float[Array, "n 2"]:
    """World velocity of every row from its track's positions around it; NaN where the track is too short."""
    result = np.full((len(boxes.frames), 2), np.nan)
    tracks = np.array(boxes.tracks)
    for track in dict.fromkeys(boxes.tracks):
        rows = np.flatnonzero(tracks == track)
        rows = rows[np.argsort(boxes.frames[rows])]
        before = rows[np.maximum(np.arange(len(rows)) - VELOCITY_WINDOW, 0)]
        after = rows[np.minimum(np.arange(len(rows)) + VELOCITY_WINDOW, len(rows) - 1)]
        seconds = times_s[boxes.frames[after]] - times_s[boxes.frames[before]]
        known = seconds > 0
        shift = boxes.values[after, :2] - boxes.values[before, :2]
        result[rows[known]] = shift[known] / seconds[known, None]
    return result
