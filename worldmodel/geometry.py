"""Where things are: angles, planar poses, motion, trajectories, cameras and rigs.

Conventions (the only place that states them in code):

- Ego frame: x forward, y left, z up, metres; origin on the ground below the rear axle (ISO 8855).
- Yaw is counter-clockwise seen from above, in radians, in (-pi, pi].
- Camera frame: x right, y down, z forward (OpenCV). Pixel (0, 0) is the *centre* of the top left pixel.
- Matrices are `target_from_source`: `p_ego = ego_from_camera @ p_camera`.
- Pitch, roll and hills of the road are not represented.

Everything is float64 numpy. A planar pose is a row (x_m, y_m, yaw_rad).
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from worldmodel.errors import BadMotion, BadRig, UnknownName

Array = np.ndarray
ROTATION_TOLERANCE = 1e-4  # largest entry of |R R^T - I| that still counts as a rotation


def wrap_angle(angle_rad: Array | float) -> Array:
    """Wrap angles into (-pi, pi].

    >>> float(wrap_angle(-np.pi)) == np.pi
    True
    """
    wrapped = np.pi - np.mod(np.pi - np.asarray(angle_rad, dtype=np.float64), 2 * np.pi)
    return np.where(wrapped <= -np.pi, np.pi, wrapped)  # the remainder of a tiny negative number rounds to a whole turn


def mean_pose(poses: Array) -> Array:
    """Mean over the first axis of planar poses [k, ..., 3]: of the positions, and of the headings as directions.

    >>> float(mean_pose(np.array([[0.0, 0.0, 3.0], [0.0, 0.0, -3.0]]))[2]) == np.pi
    True
    """
    mean = poses.mean(axis=0)
    mean[..., 2] = wrap_angle(np.arctan2(np.sin(poses[..., 2]).mean(axis=0), np.cos(poses[..., 2]).mean(axis=0)))
    return np.asarray(mean)


def compose(world_from_a: Array, a_from_b: Array) -> Array:
    """Pose of b in the world, from the pose of a and the pose of b in a; shapes [..., 3] broadcast."""
    a, b = np.asarray(world_from_a, np.float64), np.asarray(a_from_b, np.float64)
    cos, sin = np.cos(a[..., 2]), np.sin(a[..., 2])
    x = a[..., 0] + cos * b[..., 0] - sin * b[..., 1]
    y = a[..., 1] + sin * b[..., 0] + cos * b[..., 1]
    return np.stack([x, y, wrap_angle(a[..., 2] + b[..., 2])], axis=-1)


def invert(world_from_a: Array) -> Array:
    """Pose of the world in a; shape [..., 3]."""
    a = np.asarray(world_from_a, np.float64)
    cos, sin = np.cos(a[..., 2]), np.sin(a[..., 2])
    x = -(cos * a[..., 0] + sin * a[..., 1])
    y = -(-sin * a[..., 0] + cos * a[..., 1])
    return np.stack([x, y, wrap_angle(-a[..., 2])], axis=-1)


def relative(world_from_a: Array, world_from_b: Array) -> Array:
    """Pose of b in the frame of a; shapes [..., 3] broadcast."""
    return compose(invert(world_from_a), world_from_b)


def matrix_from_pose(pose: Array, z_m: float = 0.0) -> Float[Array, "4 4"]:
    """The 4x4 matrix `world_from_body` of one planar pose at height `z_m`."""
    x, y, yaw = (float(value) for value in pose)
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z_m], [0, 0, 0, 1]], np.float64)


def _finite(owner: str, name: str, values: Array) -> None:
    if not np.isfinite(values).all():
        where = np.argwhere(~np.isfinite(values))[0].tolist()
        raise BadMotion(
            f"{owner}.{name} has a value that is not finite at index {where}. Repair or cut the recording there."
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Motion:
    """How the ego vehicle moved, frame by frame.

    Attributes:
        deltas: SE(2) steps, shape [time - 1, 3], float64: forward m, left m, yaw rad, each in the ego frame at
            the step's start; row i leads from frame i to frame i + 1.
        period_s: Seconds between frames, positive.
    """

    deltas: Float[Array, "steps 3"]
    period_s: float

    def __post_init__(self) -> None:
        deltas = np.asarray(self.deltas, np.float64)
        if deltas.ndim != 2 or deltas.shape[1] != 3:
            raise BadMotion(f"Motion.deltas has shape {deltas.shape}; it must be [time - 1, 3].")
        if not (np.isfinite(self.period_s) and self.period_s > 0):
            raise BadMotion(f"Motion.period_s is {self.period_s}; it must be a positive number of seconds.")
        _finite("Motion", "deltas", deltas)
        object.__setattr__(self, "deltas", deltas)

    def __len__(self) -> int:
        return len(self.deltas)

    def trajectory(self) -> "Trajectory":
        """Cumulative poses, starting at the identity at time 0; shape [time, 3]."""
        poses = np.zeros((len(self) + 1, 3))
        for i, delta in enumerate(self.deltas):
            poses[i + 1] = compose(poses[i], delta)
        return Trajectory(poses=poses, times_s=np.arange(len(self) + 1) * self.period_s)

    @property
    def speeds_mps(self) -> Float[Array, " steps"]:
        """Signed forward speed of each step, metres per second."""
        return np.hypot(self.deltas[:, 0], self.deltas[:, 1]) * np.where(self.deltas[:, 0] < 0, -1, 1) / self.period_s

    @property
    def yaw_rates_radps(self) -> Float[Array, " steps"]:
        """Yaw rate of each step, radians per second, positive to the left."""
        return wrap_angle(self.deltas[:, 2]) / self.period_s

    def __getitem__(self, steps: slice) -> "Motion":
        return replace(self, deltas=self.deltas[steps])

    def thinned(self, every: int) -> "Motion":
        """Every `every` steps as one; what is left over at the end goes."""
        poses = self.trajectory().poses[::every]
        return Motion(deltas=relative(poses[:-1], poses[1:]), period_s=self.period_s * every)


@dataclass(frozen=True, eq=False, kw_only=True)
class Trajectory:
    """Planar poses at explicit times.

    Attributes:
        poses: Shape [n, 3], float64: x m, y m, yaw rad in one fixed frame (usually the ego frame at time 0).
        times_s: Shape [n], float64, strictly increasing seconds.
    """

    poses: Float[Array, "n 3"]
    times_s: Float[Array, " n"]

    def __post_init__(self) -> None:
        poses, times = np.asarray(self.poses, np.float64), np.asarray(self.times_s, np.float64)
        if poses.ndim != 2 or poses.shape[1] != 3 or times.shape != poses.shape[:1] or not len(times):
            raise BadMotion(
                f"Trajectory has poses {poses.shape} and times {times.shape}; it needs [n, 3] and [n], n >= 1."
            )
        _finite("Trajectory", "poses", poses)
        _finite("Trajectory", "times_s", times)
        for i, (before, after) in enumerate(pairwise(times)):
            if after <= before:
                raise BadMotion(
                    f"Trajectory.times_s goes from {before} to {after} at index {i + 1}; times must increase."
                )
        object.__setattr__(self, "poses", poses)
        object.__setattr__(self, "times_s", times)

    def __len__(self) -> int:
        return len(self.poses)

    def resampled(self, times_s: Array) -> "Trajectory":
        """Poses at other times, linear in position and in (unwrapped) yaw.

        Raises:
            BadMotion: if a wanted time lies outside the trajectory; nothing is extrapolated.
        """
        wanted = np.asarray(times_s, np.float64)
        slack = 1e-6
        if len(wanted) and (wanted.min() < self.times_s[0] - slack or wanted.max() > self.times_s[-1] + slack):
            raise BadMotion(
                f"times {wanted.min():g} to {wanted.max():g} s are wanted, but the trajectory covers "
                f"{self.times_s[0]:g} to {self.times_s[-1]:g} s. Ask for times inside it."
            )
        columns = [self.poses[:, 0], self.poses[:, 1], np.unwrap(self.poses[:, 2])]
        x, y, yaw = (np.interp(wanted, self.times_s, column) for column in columns)
        return Trajectory(poses=np.stack([x, y, wrap_angle(yaw)], axis=-1), times_s=wanted)

    def motion(self) -> Motion:
        """The steps between poses; the inverse of `Motion.trajectory` up to the first pose.

        Raises:
            BadMotion: if the times are not evenly spaced to a microsecond; resample first.
        """
        gaps = np.diff(self.times_s)
        if not len(gaps) or np.ptp(gaps) > 1e-6:
            raise BadMotion(
                "a motion needs at least two evenly spaced times. Call `resampled` with an even time grid first."
            )
        return Motion(deltas=relative(self.poses[:-1], self.poses[1:]), period_s=float(gaps.mean()))

    def seen_from(self, pose: Array) -> "Trajectory":
        """The same trajectory expressed in the frame of `pose`."""
        return replace(self, poses=relative(np.asarray(pose), self.poses))

    @property
    def path_length_m(self) -> float:
        """Length of the polyline through the poses, metres."""
        return float(np.linalg.norm(np.diff(self.poses[:, :2], axis=0), axis=1).sum())


def bicycle_yaw_rates(speeds_mps: Array, steering_rad: Array, wheelbase_m: float) -> Array:
    """Yaw rate of the kinematic bicycle whose reference point is the rear axle: v tan(steering) / wheelbase."""
    return np.asarray(speeds_mps, np.float64) * np.tan(np.asarray(steering_rad, np.float64)) / wheelbase_m


def integrate_rates(speeds_mps: Array, yaw_rates_radps: Array, times_s: Array) -> Trajectory:
    """Drive along constant-rate arcs: row i's speed and yaw rate hold from times_s[i] to times_s[i + 1]."""
    times = np.asarray(times_s, np.float64)
    poses = np.zeros((len(times), 3))
    for i, seconds in enumerate(np.diff(times)):
        length, turn = speeds_mps[i] * seconds, yaw_rates_radps[i] * seconds
        forward = length * np.sinc(turn / np.pi)
        left = length * np.sinc(turn / 2 / np.pi) * np.sin(turn / 2)
        poses[i + 1] = compose(poses[i], np.array([forward, left, turn]))
    return Trajectory(poses=poses, times_s=times)


@dataclass(frozen=True, eq=False, kw_only=True)
class Camera:
    """One calibrated pinhole camera without distortion.

    Attributes:
        name: Unique in its rig.
        intrinsics: Shape [3, 3], float64, pixels: [[fx, skew, cx], [0, fy, cy], [0, 0, 1]].
        ego_from_camera: Shape [4, 4], float64, metres.
        width_px, height_px: Size of the pictures that the intrinsics belong to.
    """

    name: str
    intrinsics: Float[Array, "3 3"]
    ego_from_camera: Float[Array, "4 4"]
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        intrinsics = np.asarray(self.intrinsics, np.float64)
        pose = np.asarray(self.ego_from_camera, np.float64)
        if intrinsics.shape != (3, 3) or pose.shape != (4, 4):
            raise BadRig(
                f"camera '{self.name}': intrinsics {intrinsics.shape}, pose {pose.shape}; need [3, 3] and [4, 4]."
            )
        if not (np.isfinite(intrinsics).all() and np.isfinite(pose).all()):
            raise BadRig(f"camera '{self.name}' has a calibration value that is not finite. Check the rig file.")
        if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
            raise BadRig(
                f"camera '{self.name}' has focal lengths {intrinsics[0, 0]:g}, {intrinsics[1, 1]:g} px; both must be positive."
            )
        rotation = pose[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
            raise BadRig(
                f"camera '{self.name}': the rotation of ego_from_camera is not a rotation (orthonormal, determinant 1). "
                "Check for swapped axes or a transposed or scaled matrix."
            )
        if self.width_px < 1 or self.height_px < 1:
            raise BadRig(f"camera '{self.name}' has size {self.width_px}x{self.height_px}; both must be positive.")
        object.__setattr__(self, "intrinsics", intrinsics)
        object.__setattr__(self, "ego_from_camera", pose)

    def scaled(self, width_px: int, height_px: int) -> "Camera":
        """The same camera for pictures resized to another size (pixel centres stay pixel centres)."""
        sx, sy = width_px / self.width_px, height_px / self.height_px
        k = self.intrinsics.copy()
        k[0, :2] *= sx
        k[1, 1] *= sy
        k[0, 2] = (k[0, 2] + 0.5) * sx - 0.5
        k[1, 2] = (k[1, 2] + 0.5) * sy - 0.5
        return replace(self, intrinsics=k, width_px=width_px, height_px=height_px)

    def project(
        self, points_ego: Float[Array, "n 3"]
    ) -> tuple[Float[Array, "n 2"], Float[Array, " n"], Bool[Array, " n"]]:
        """Pixels [n, 2], depth along the optical axis [n] in metres, and whether each point is in front and inside."""
        points = np.asarray(points_ego, np.float64)
        camera_from_ego = np.linalg.inv(self.ego_from_camera)
        in_camera = points @ camera_from_ego[:3, :3].T + camera_from_ego[:3, 3]
        depth = in_camera[:, 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        pixels = (in_camera / safe[:, None]) @ self.intrinsics.T
        pixels = pixels[:, :2]
        inside = (
            (pixels > -0.5).all(axis=1) & (pixels[:, 0] < self.width_px - 0.5) & (pixels[:, 1] < self.height_px - 0.5)
        )
        return pixels, depth, inside & (depth > 1e-6)

    def rays(self) -> tuple[Float[Array, " 3"], Float[Array, "h w 3"]]:
        """Origin [3] and unit directions [height, width, 3] of all pixel centres, in the ego frame."""
        u, v = np.meshgrid(np.arange(self.width_px), np.arange(self.height_px))
        pixels = np.stack([u, v, np.ones_like(u)], axis=-1).astype(np.float64)
        directions = pixels @ np.linalg.inv(self.intrinsics).T @ self.ego_from_camera[:3, :3].T
        return self.ego_from_camera[:3, 3], directions / np.linalg.norm(directions, axis=-1, keepdims=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class Rig:
    """The cameras of a vehicle, in the order in which videos hold them.

    Attributes:
        cameras: At least one; unique names; all pictures of one size.
        nominal: True when no calibration was given and a plausible one is assumed.
    """

    cameras: tuple[Camera, ...]
    nominal: bool = False

    def __post_init__(self) -> None:
        if not self.cameras:
            raise BadRig("a rig needs at least one camera; this one has none.")
        if len(set(self.names)) != len(self.names):
            raise BadRig(f"camera names must differ; got {', '.join(self.names)}.")
        sizes = {(camera.width_px, camera.height_px) for camera in self.cameras}
        if len(sizes) > 1:
            raise BadRig(
                f"all cameras of a clip share one size; got {sorted(sizes)}. Call `scaled` on each camera first."
            )

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def names(self) -> tuple[str, ...]:
        """Camera names in video order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def width_px(self) -> int:
        """Width of every picture."""
        return self.cameras[0].width_px

    @property
    def height_px(self) -> int:
        """Height of every picture."""
        return self.cameras[0].height_px

    def index(self, name: str) -> int:
        """Position of a camera in the video.

        Raises:
            UnknownName: if the rig has no such camera; the closest name is offered.
        """
        if name not in self.names:
            raise UnknownName("camera", name, self.names)
        return self.names.index(name)

    def scaled(self, width_px: int, height_px: int) -> "Rig":
        """The same rig for pictures resized to another size."""
        return replace(self, cameras=tuple(camera.scaled(width_px, height_px) for camera in self.cameras))

    def project(
        self, points_ego: Float[Array, "n 3"]
    ) -> tuple[Float[Array, "cameras n 2"], Float[Array, "cameras n"], Bool[Array, "cameras n"]]:
        """`Camera.project` for all cameras, stacked on the first axis."""
        pixels, depth, visible = zip(*(camera.project(points_ego) for camera in self.cameras), strict=True)
        return np.stack(pixels), np.stack(depth), np.stack(visible)

    def rays(self) -> tuple[Float[Array, "cameras 3"], Float[Array, "cameras h w 3"]]:
        """`Camera.rays` for all cameras, stacked on the first axis."""
        origins, directions = zip(*(camera.rays() for camera in self.cameras), strict=True)
        return np.stack(origins), np.stack(directions)


def look_along(yaw_rad: float, position_m: Array, pitch_down_rad: float = 0.0) -> Float[Array, "4 4"]:
    """`ego_from_camera` of a camera at `position_m` that looks along `yaw_rad`, tilted down by `pitch_down_rad`."""
    forward = np.array(
        [np.cos(yaw_rad) * np.cos(pitch_down_rad), np.sin(yaw_rad) * np.cos(pitch_down_rad), -np.sin(pitch_down_rad)]
    )
    right = np.array([np.sin(yaw_rad), -np.cos(yaw_rad), 0.0])
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, down, forward], axis=1)
    pose[:3, 3] = position_m
    return pose
