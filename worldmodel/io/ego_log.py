"""The table beside a raw recording, `CLIP.ego.csv`: frame times and what is known of the vehicle's motion."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadTable
from worldmodel.geometry import Array, Trajectory, integrate_rates, wrap_angle
from worldmodel.io.rig_file import Vehicle

KNOWN_COLUMNS = ("frame", "t", "speed", "yaw_rate", "x", "y", "yaw", "steering", "throttle", "brake")
GAP_FACTOR = 5.0  # frames further apart than this many usual periods are a gap
MAX_ROWS = 400_000
SMOOTHING_S = 2.0  # of positions, where the heading must be read from them; city GPS is good to about 1 m a second
MOVING_MPS = 1.0  # slower than this, the direction of travel says nothing
YAW_TOLERANCE_RAD = np.radians(45)  # between a recorded yaw and the direction of travel, median


@dataclass(frozen=True, eq=False, kw_only=True)
class EgoLog:
    """One row per frame.

    Attributes:
        path: The file.
        times_s: Shape [n], strictly increasing.
        columns: The known columns that exist, each [n] float64; units as in docs/own-recordings.md.
    """

    path: Path
    times_s: Float[Array, " n"]
    columns: Mapping[str, Float[Array, " n"]]

    def __len__(self) -> int:
        return len(self.times_s)

    def has(self, *names: str) -> bool:
        """Whether all these columns exist."""
        return all(name in self.columns for name in names)


def read_ego_log(path: Path) -> EgoLog:
    """Read and check `CLIP.ego.csv`.

    Raises:
        BadTable: with file and line, for text, empty cells, values that are not finite, times that do not increase,
            gaps, frame numbers out of order, missing `t`, or no rows.
    """
    columns, lines = _numbers(path)
    if "t" not in columns:
        raise BadTable(f"'{path}' has no column 't' (seconds of each frame). Add it, or remove the file.")
    times = columns["t"]
    steps = np.diff(times)
    for i in np.flatnonzero(steps <= 0)[:1]:
        raise BadTable(
            f"'{path}', line {lines[i + 1]}: time goes from {times[i]} to {times[i + 1]} s. Times must increase; sort or repair them."
        )
    for i in np.flatnonzero(steps > GAP_FACTOR * np.median(steps))[:1] if len(steps) else ():
        raise BadTable(
            f"'{path}', line {lines[i + 1]}: a gap of {steps[i]:.3f} s, where frames usually come every "
            f"{np.median(steps):.3f} s. Cut the recording there into two clips."
        )
    _check_frame_numbers(path, columns, lines)
    return EgoLog(path=path, times_s=times, columns=columns)


def _check_frame_numbers(path: Path, columns: Mapping[str, Array], lines: list[int]) -> None:
    frames = columns.get("frame", np.arange(len(lines)))
    for i in np.flatnonzero(frames != np.arange(len(lines)))[:1]:
        raise BadTable(
            f"'{path}', line {lines[i]}: frame {frames[i]:g}, but row {i} belongs to frame {i}. Frames are counted from 0 without holes."
        )


def _numbers(path: Path) -> tuple[dict[str, Array], list[int]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name for name in reader.fieldnames or () if name in KNOWN_COLUMNS]
            rows: list[list[float]] = []
            lines: list[int] = []
            for row in reader:
                rows.append([_number(path, reader.line_num, name, row[name]) for name in names])
                lines.append(reader.line_num)
                if len(rows) > MAX_ROWS:
                    raise BadTable(f"'{path}' has more than {MAX_ROWS} rows. Cut the recording into shorter clips.")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadTable(f"'{path}' cannot be read as a CSV table: {error}. Save it as UTF-8 text.") from error
    if not rows:
        raise BadTable(f"'{path}' has no rows. It needs one for each frame, with the columns frame and t at least.")
    return dict(zip(names, np.array(rows, np.float64).T, strict=True)), lines


def _number(path: Path, line: int, column: str, cell: str | None) -> float:
    try:
        value = float(cell or "")
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise BadTable(
            f"'{path}', line {line}, column '{column}': '{cell or ''}' is not a finite number. Repair it, cut the recording "
            "there, or leave the whole column out when it is unknown."
        )
    return value


def motion_source(log: EgoLog) -> str:
    """Which columns the motion will come from: 'poses', 'yaw_rate', 'positions', 'steering' or 'none'."""
    if log.has("x", "y", "yaw"):
        return "poses"
    if log.has("speed", "yaw_rate"):
        return "yaw_rate"
    if log.has("x", "y"):
        return "positions"
    return "steering" if log.has("speed", "steering") else "none"


def ego_trajectory(log: EgoLog, vehicle: Vehicle | None) -> tuple[Trajectory | None, str]:
    """Where the vehicle was at each frame, and where that is known from (the `motion_origin` of the clip).

    In this order: poses; speed and yaw rate; positions alone (heading read from the smoothed direction of travel);
    speed and steering (kinematic bicycle, needs `vehicle`; steering is positive to the right, 1 is full lock). The
    frame is the log's own for poses and positions, else that of the first frame. Speed alone gives no motion.
    """
    source = motion_source(log)
    if source == "poses":
        return _from_poses(log), "poses"
    if source == "yaw_rate":
        return _from_rates(log, log.columns["yaw_rate"]), "yaw_rate"
    if source == "positions":
        return _from_positions(log), "positions (heading estimated)"
    if source == "steering" and vehicle is not None:
        return _from_rates(log, _bicycle_yaw_rate(log, vehicle)), "steering (estimated)"
    return None, "none"


def _from_poses(log: EgoLog) -> Trajectory:
    poses = np.stack([log.columns["x"], log.columns["y"], wrap_angle(log.columns["yaw"])], axis=1)
    steps = np.diff(poses[:, :2], axis=0)
    moving = np.linalg.norm(steps, axis=1) > MOVING_MPS * np.diff(log.times_s)
    travel = np.arctan2(steps[:, 1], steps[:, 0])[moving]
    difference = wrap_angle(travel - poses[:-1, 2][moving])
    forwards_or_back = np.minimum(np.abs(difference), np.pi - np.abs(difference))
    if len(difference) and np.median(forwards_or_back) > YAW_TOLERANCE_RAD:
        raise BadTable(
            f"'{log.path}': yaw and the direction of travel differ by {np.degrees(np.median(np.abs(difference))):.0f} degrees "
            "(median), so x, y and yaw are not in one frame. Yaw is counter-clockwise from x, in radians; correct it, or "
            "leave the column out and the heading is read from the positions."
        )
    return Trajectory(poses=poses, times_s=log.times_s)


def _from_rates(log: EgoLog, yaw_rates: Array) -> Trajectory:
    """Each step uses the mean of the rates at its two ends."""
    between = [np.append((rates[:-1] + rates[1:]) / 2, 0.0) for rates in (log.columns["speed"], yaw_rates)]
    return integrate_rates(between[0], between[1], log.times_s)


def _bicycle_yaw_rate(log: EgoLog, vehicle: Vehicle) -> Array:
    steering = log.columns["steering"]
    if np.abs(steering).max() > 1 + 1e-6:
        raise BadTable(
            f"'{log.path}': steering reaches {np.abs(steering).max():g}; it must lie between -1 and 1 (full lock, positive "
            "to the right). Divide it by the largest angle and name that angle as the steering lock."
        )
    return log.columns["speed"] * np.tan(-steering * vehicle.steering_lock_rad) / vehicle.wheelbase_m


def _from_positions(log: EgoLog) -> Trajectory:
    heading = _travel_heading(log)
    poses = np.stack([log.columns["x"], log.columns["y"], heading], axis=1)
    if not log.has("speed"):
        return Trajectory(poses=poses, times_s=log.times_s)
    turns = np.gradient(np.unwrap(heading), log.times_s) if len(log) > 1 else np.zeros(len(log))
    # the recorded speed is smoother than differences of coarse positions
    return _from_rates(log, turns)


def _travel_heading(log: EgoLog) -> Array:
    """Direction of travel of the smoothed positions, held while standing; [n] radians."""
    from scipy.ndimage import gaussian_filter1d

    times = log.times_s
    if len(times) < 3:
        return np.zeros(len(times))
    period = float(np.median(np.diff(times)))
    even = np.arange(times[0], times[-1] + period / 2, period)
    pad, sigma = min(len(even) - 1, round(4 * SMOOTHING_S / period)), SMOOTHING_S / period
    velocity = []
    for name in ("x", "y"):
        values = np.pad(np.interp(even, times, log.columns[name]), pad, mode="reflect", reflect_type="odd")
        velocity.append(np.gradient(gaussian_filter1d(values, sigma), period)[pad : pad + len(even)])
    moving = np.hypot(*velocity) > MOVING_MPS
    if not moving.any():
        return np.zeros(len(times))
    heading = np.unwrap(np.arctan2(velocity[1], velocity[0])[moving])
    return np.asarray(wrap_angle(np.interp(times, even[moving], heading)))
