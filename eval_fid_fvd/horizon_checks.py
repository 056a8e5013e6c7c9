"""The thresholds on a model's long futures."""

from dataclasses import dataclass

from eval_fid_fvd.horizon import REAL, Horizon, Interval
from eval_fid_fvd.windows import MOTION


@dataclass(frozen=True, kw_only=True)
class Check:
    """One threshold: a ratio with its interval, and where it has to lie."""

    name: str
    value: float
    interval: Interval | None
    at_least: float
    at_most: float

    @property
    def met(self) -> bool:
        """Whether the value lies there (the interval may reach beyond)."""
        return self.at_least <= self.value <= self.at_most


def horizon_checks(horizon: Horizon, side: str, *, floor: str, repeat: str) -> list[Check]:
    """The thresholds on a model's long futures, each as a ratio.

    Args:
        side: The model's.
        floor: The tokenizer's reconstruction.
        repeat: The last frame repeated.
    """
    last = len(horizon.ends_s) - 1
    wanted = [
        ("fid", "first window over the tokenizer's floor", (side, 0), (floor, 0), 0.0, 2.0),
        ("fid", "last window over first", (side, last), (side, 0), 0.0, 1.5),
        ("fvd", "last window over first", (side, last), (side, 0), 0.0, 1.5),
        ("fvd", "last window over the last frame repeated", (side, last), (repeat, last), 0.0, 1.0),
        (MOTION, "last window over real", (side, last), (REAL, last), 0.5, 2.0),
    ]
    checks = []
    for metric, words, over, under, at_least, at_most in wanted:
        value, interval = horizon.ratio(metric, over, under)
        name = f"{horizon.name(metric)}: {words}"
        checks.append(Check(name=name, value=value, interval=interval, at_least=at_least, at_most=at_most))
    return checks
