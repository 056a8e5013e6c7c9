"""What a foreign policy's numbers mean, and the same in ours: metres, x forward, y left, the rear axle, 0.5 ... 4.0 s.

Nothing is guessed: everything that public code disagrees on has a field.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadPolicy
from worldmodel.geometry import Array, Trajectory, wrap_angle
from worldmodel.plans import PLAN_TIMES_S

FRAMES: dict[str, Array] = {  # ours_from_theirs
    "x-forward-y-left": np.array([[1.0, 0.0], [0.0, 1.0]]),
    "x-right-y-forward": np.array([[0.0, 1.0], [-1.0, 0.0]]),
    "x-forward-y-right": np.array([[1.0, 0.0], [0.0, -1.0]]),
}
UNITS_M = {"m": 1.0, "cm": 0.01, "ft": 0.3048}
HEADINGS = ("derived", "x-to-y", "forward-to-left", "forward-to-right")
ANGLES_RAD = {"rad": 1.0, "deg": np.pi / 180}
RELATIVE_TO = ("ego-now", "previous-point")
BEYOND = ("refused", "straight-on")
LONGEST_S, MOST_POINTS = 60.0, 1000
MOST_AHEAD_M = 5.0  # of a point of a car
STANDING_M = 0.02  # a shorter step has no direction
FOLLOWED_S = 0.05  # step in which the rear axle follows another point of the car


@dataclass(frozen=True, kw_only=True)
class Convention:
    """What the numbers of an answer mean.

    Attributes:
        frame: One of FRAMES: the axes, at the car's present heading.
        units: One of UNITS_M.
        times_s: When the points are reached, seconds from now, increasing, the first one 0 or later.
        heading: One of HEADINGS: 'derived' where points have no third number (the path's direction is taken), else from where to
            where the angle grows.
        angles: One of ANGLES_RAD.
        relative_to: 'ego-now' where points are places as seen from the car now; 'previous-point' where they are steps (in the axes of now).
        ahead_of_rear_axle_m: Which point of the car drives along the path, and is the origin; 0 for the rear axle.
        beyond: What happens after the last point up to 4 s: 'refused', or 'straight-on' with the last speed.
    Raises:
        BadPolicy: for values that do not exist or make no sense.
    """

    frame: str
    units: str
    times_s: tuple[float, ...]
    heading: str
    relative_to: str
    ahead_of_rear_axle_m: float
    angles: str = "rad"
    beyond: str = "refused"

    def __post_init__(self) -> None:
        for name, known in (
            ("frame", tuple(FRAMES)),
            ("units", tuple(UNITS_M)),
            ("heading", HEADINGS),
            ("angles", tuple(ANGLES_RAD)),
            ("relative_to", RELATIVE_TO),
            ("beyond", BEYOND),
        ):
            if getattr(self, name) not in known:
                raise BadPolicy(
                    f"{name} is declared as '{getattr(self, name)}', which is not known. Choose one of {', '.join(known)}."
                )
        if not 0 <= self.ahead_of_rear_axle_m <= MOST_AHEAD_M:
            raise BadPolicy(
                f"ahead_of_rear_axle_m is declared as {self.ahead_of_rear_axle_m:g}; it must be 0 to {MOST_AHEAD_M:g} m. "
                "Measure it from the rear axle, forward."
            )
        self._check_times()

    def _check_times(self) -> None:
        times = np.array(self.times_s, np.float64)
        good = 1 <= len(times) <= MOST_POINTS and np.isfinite(times).all() and (np.diff(times) > 0).all()
        if not (good and times[0] >= 0 and 0 < times[-1] <= LONGEST_S):
            raise BadPolicy(
                f"the times of the points are declared as {_some(self.times_s)} s; they must increase from now on, to at most "
                f"{LONGEST_S:g} s. Write `rate_hz` and `steps`, or `times_s`."
            )
        if self.horizon_s < PLAN_TIMES_S[-1] - 1e-6 and self.beyond == "refused":
            raise BadPolicy(
                f"the declared points end at {self.horizon_s:g} s, and plans are compared over {PLAN_TIMES_S[-1]:g} s. Let the policy "
                "say more points, or declare `beyond: straight-on` (it drives straight on with its last speed, and every table says so)."
            )

    @property
    def horizon_s(self) -> float:
        """When the last point is reached."""
        return float(self.times_s[-1])

    @property
    def columns(self) -> int:
        """Numbers per point: 2, or 3 with the heading."""
        return 2 if self.heading == "derived" else 3

    def to_ours(self, values: Float[Array, "n columns"]) -> Trajectory:
        """An answer's points as poses of our ego frame, at the declared times from now on, the present pose in front.

        Args:
            values: Finite numbers, one row per declared time.
        """
        places = np.asarray(values, np.float64)[:, :2] @ FRAMES[self.frame].T * UNITS_M[self.units]
        if self.relative_to == "previous-point":
            places = np.cumsum(places, axis=0)
        times = np.array(self.times_s, np.float64)
        headings = None if self.heading == "derived" else self._our_headings(np.asarray(values, np.float64)[:, 2])
        if times[0] > 0:
            times, places = np.concatenate([[0.0], times]), np.concatenate([np.zeros((1, 2)), places])
            headings = None if headings is None else np.concatenate([[0.0], headings])
        ahead = self.ahead_of_rear_axle_m
        if headings is None and ahead:
            return Trajectory(poses=_followed(places, times, ahead), times_s=times)
        if headings is None:
            headings = derived_headings(places)
        back = ahead * (1 - np.cos(headings)), -ahead * np.sin(headings)
        poses = np.column_stack([places[:, 0] + back[0], places[:, 1] + back[1], wrap_angle(headings)])
        return Trajectory(poses=poses, times_s=times)

    def plan_poses(self, values: Float[Array, "n columns"]) -> Float[Array, "8 3"]:
        """An answer's points as poses at 0.5, 1.0, ... 4.0 s: linear between its times, and `beyond` its last one."""
        path = self.to_ours(values)
        if path.times_s[-1] < PLAN_TIMES_S[-1] - 1e-6:
            path = _straight_on(path, float(PLAN_TIMES_S[-1]))
        return path.resampled(PLAN_TIMES_S).poses

    def from_ours(self, poses: Float[Array, "n 3"]) -> Float[Array, "n columns"]:
        """Poses of our ego frame as the policy would write them (as places, not steps); with its heading where it has one."""
        heading, ahead = poses[:, 2], self.ahead_of_rear_axle_m
        moved = poses[:, :2] + ahead * np.column_stack([np.cos(heading) - 1, np.sin(heading)])
        places = moved @ FRAMES[self.frame] / UNITS_M[self.units]
        if self.heading == "derived":
            return places
        return np.column_stack([places, self._their_headings(heading)])

    def camera_from_ours(self, ego_from_camera: Float[Array, "4 4"]) -> Float[Array, "4 4"]:
        """Where a camera is, in the policy's frame and units; its z axis makes the frame right-handed."""
        plane = FRAMES[self.frame].T
        axes = np.eye(4)
        axes[:2, :2], axes[2, 2] = plane, np.linalg.det(plane)
        moved = ego_from_camera.copy()
        moved[0, 3] -= self.ahead_of_rear_axle_m
        moved = axes @ moved
        moved[:3, 3] /= UNITS_M[self.units]
        return moved

    def _our_headings(self, values: Float[Array, " n"]) -> Float[Array, " n"]:
        angles = values * ANGLES_RAD[self.angles]
        if self.heading != "x-to-y":
            return angles if self.heading == "forward-to-left" else -angles
        x, y = FRAMES[self.frame] @ np.stack([np.cos(angles), np.sin(angles)])
        return np.arctan2(y, x)

    def _their_headings(self, ours: Float[Array, " n"]) -> Float[Array, " n"]:
        if self.heading != "x-to-y":
            angles = ours if self.heading == "forward-to-left" else -ours
        else:
            x, y = FRAMES[self.frame].T @ np.stack([np.cos(ours), np.sin(ours)])
            angles = np.arctan2(y, x)
        return angles / ANGLES_RAD[self.angles]


OURS = Convention(
    frame="x-forward-y-left",
    units="m",
    times_s=tuple(float(time) for time in PLAN_TIMES_S),
    heading="x-to-y",
    relative_to="ego-now",
    ahead_of_rear_axle_m=0.0,
)


def derived_headings(places: Float[Array, "n 2"]) -> Float[Array, " n"]:
    """Headings along a path that begins straight ahead, exact on circles with even steps; a car that backs up keeps its heading.

    A step shorter than STANDING_M has the heading of the one before.
    """
    steps, chords, before = np.diff(places, axis=0), [], 0.0
    for step in steps:
        if np.hypot(*step) > STANDING_M:
            turned = float(wrap_angle(np.arctan2(step[1], step[0]) - before))
            if abs(turned) > np.pi / 2:  # backwards
                turned = float(wrap_angle(turned + np.pi))
            before += turned
        chords.append(before)
    if not chords:
        return np.zeros(len(places))
    middle = np.array(chords)
    inner = (middle[:-1] + middle[1:]) / 2
    last = middle[-1] + (middle[-1] - inner[-1] if len(inner) else middle[-1])
    return np.concatenate([[0.0], inner, [last]])


def _followed(places: Float[Array, "n 2"], times_s: Float[Array, " n"], ahead_m: float) -> Float[Array, "n 3"]:
    """Poses of the rear axle when a point `ahead_m` of it is pulled along a path (a tractrix, as a bicycle without slip)."""
    fine = np.unique(np.concatenate([np.arange(times_s[0], times_s[-1], FOLLOWED_S), times_s]))
    pulled = np.column_stack([np.interp(fine, times_s, places[:, axis]) + (ahead_m, 0.0)[axis] for axis in (0, 1)])
    rear, poses = np.zeros(2), []
    for point in pulled:
        way = point - rear
        rear = point - ahead_m * way / max(float(np.hypot(*way)), 1e-9)
        poses.append([*rear, np.arctan2(way[1], way[0])])
    return np.array(poses)[np.searchsorted(fine, times_s)]


def _straight_on(path: Trajectory, until_s: float) -> Trajectory:
    """The path with one more pose: straight on with the speed of its last step."""
    gap = path.times_s[-1] - path.times_s[-2]
    speed = (path.poses[-1, :2] - path.poses[-2, :2]) / gap
    heading = path.poses[-1, 2]
    forward = float(speed @ (np.cos(heading), np.sin(heading)))
    length = np.copysign(np.hypot(*speed), forward) * (until_s - path.times_s[-1])
    end = path.poses[-1] + [length * np.cos(heading), length * np.sin(heading), 0.0]
    return Trajectory(poses=np.vstack([path.poses, end]), times_s=np.append(path.times_s, until_s))


def _some(times_s: tuple[float, ...]) -> str:
    shown = [f"{time:g}" for time in times_s[:4]]
    return ", ".join(shown + ["..."] * (len(times_s) > 4)) or "none"
