"""Is the ride comfortable? NAVSIM's (nuPlan's) limits on smoothed accelerations, jerks and yaw rates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRequest
from worldmodel.geometry import Array

LONGEST_S = 4.1  # NAVSIM smooths over its whole window of 41 states at 10 Hz
SHORT_S = 0.8
LIMITS: dict[str, tuple[float, float]] = {
    "lon_acceleration": (-4.05, 2.40),
    "lat_acceleration": (-4.89, 4.89),
    "jerk": (-8.37, 8.37),
    "lon_jerk": (-4.13, 4.13),
    "yaw_acceleration": (-1.93, 1.93),
    "yaw_rate": (-0.95, 0.95),
}  # m/s2, m/s2, m/s3, m/s3, rad/s2, rad/s
APART: dict[str, float] = {"acceleration": 0.7, "jerk": 0.5, "yaw_rate": 0.1, "yaw_acceleration": 0.1}


@dataclass(frozen=True, eq=False, kw_only=True)
class Ride:
    """Smoothed accelerations, jerks and yaw rates of a drive, all of shape [time]; names as in LIMITS and APART."""

    lon_acceleration: Float[Array, " time"]
    lat_acceleration: Float[Array, " time"]
    acceleration: Float[Array, " time"]
    jerk: Float[Array, " time"]
    lon_jerk: Float[Array, " time"]
    yaw_rate: Float[Array, " time"]
    yaw_acceleration: Float[Array, " time"]

    @classmethod
    def of(cls, yaws_rad: Float[Array, " time"], speeds_mps: Float[Array, " time"], frequency_hz: float) -> "Ride":
        """From heading and speed at an even rate.

        NAVSIM reads accelerations from its simulated bicycle and smooths with Savitzky-Golay filters over its 4 s window.
        Here accelerations are differences of the state, and a longer drive is smoothed with a window of 4.1 s, so that each stretch
        is judged as NAVSIM would judge it alone.

        Raises:
            BadRequest: for fewer than 5 states; nothing can be said about the jerk of less.
        """
        if len(speeds_mps) < 5 or len(yaws_rad) != len(speeds_mps):
            raise BadRequest(
                f"{len(yaws_rad)} headings and {len(speeds_mps)} speeds were given; comfort needs at least 5 of both. "
                "Drive on for longer, or leave comfort out."
            )
        yaw = np.unwrap(np.asarray(yaws_rad, np.float64))
        speed = np.asarray(speeds_mps, np.float64)
        lon = np.gradient(speed) * frequency_hz
        lat = speed * np.gradient(yaw) * frequency_hz
        whole = np.hypot(lon, lat)
        long, short = (_window(seconds, frequency_hz, len(speed)) for seconds in (LONGEST_S, SHORT_S))
        step = 1 / frequency_hz
        return cls(
            lon_acceleration=_smooth(lon, long, 2),
            lat_acceleration=_smooth(lat, long, 2),
            acceleration=_smooth(whole, short, 2),
            jerk=_smooth(_smooth(whole, short, 2), long, 2, 1, step),
            lon_jerk=_smooth(_smooth(lon, short, 2), long, 2, 1, step),
            yaw_rate=_smooth(yaw, long, 2, 1, step),
            yaw_acceleration=_smooth(yaw, long, 3, 2, step),
        )

    @property
    def comfortable(self) -> bool:
        """Whether every limit of LIMITS is kept at all times."""
        return all(
            bool(((getattr(self, name) > low) & (getattr(self, name) < high)).all())
            for name, (low, high) in LIMITS.items()
        )


def _window(seconds: float, frequency_hz: float, time: int) -> int:
    """Odd number of samples that covers `seconds`, at least 5 and at most all."""
    wanted = max(5, round(seconds * frequency_hz) // 2 * 2 + 1)
    return min(wanted, (time - 1) // 2 * 2 + 1)


def _smooth(values: Array, window: int, order: int, derivative: int = 0, step_s: float = 1.0) -> Array:
    from scipy.signal import savgol_filter

    return np.asarray(savgol_filter(values, window, order, deriv=derivative, delta=step_s))


def plans_agree(earlier: Ride, later: Ride, shift: int) -> bool:
    """NAVSIM's extended comfort: whether a plan goes on as the plan before it said, by the magnitudes of its accelerations.

    Args:
        earlier, later: What the two plans would feel like.
        shift: Number of states by which the later one starts later.
    Returns:
        True where the root mean square of each difference over the common time stays within APART.
    Raises:
        BadRequest: if they have no time in common.
    """
    both = min(len(earlier.jerk) - shift, len(later.jerk))
    if shift < 0 or both < 1:
        raise BadRequest(
            f"a shift of {shift} states leaves plans of {len(earlier.jerk)} states no common time. Shift less."
        )
    return all(
        float(np.sqrt(np.mean((getattr(earlier, name)[shift : shift + both] - getattr(later, name)[:both]) ** 2)))
        <= most
        for name, most in APART.items()
    )
