"""CARLA's driving score from counts of infractions, in its published versions: plain dicts in, arrays out.

    driving score of a route = route completion (%) * penalty        score of a set = mean over its routes

Score each route, then take the mean; the product of mean completion and mean penalty is another number. The versions
give different numbers for the same drives and never belong into one table:

- "1.0": a factor per infraction (pedestrian 0.5, vehicle 0.6, static 0.65, red light 0.7, stop sign 0.8) and
  1 - (share of the way outside the route's lanes).
- "2.0": also 0.7 per scenario time-out, 0.7 per emergency vehicle not yielded to, 1 - 0.3 (1 - p) per stretch of the
  route driven at the share p < 1 of the traffic's speed.
- "b2d" (Bench2Drive): 2.0 without that last term.
- "2.1": (1 - outside share) / (1 + sum of 1.0, 0.7, 0.6, 0.4, 0.25, 0.4, 0.4 per infraction and 0.4 (1 - p)).

The leaderboards round scores to 6 digits; nothing is rounded here.

Source: `leaderboard/utils/statistics_manager.py` of carla-simulator/leaderboard, branches leaderboard-1.0, -2.0 and
-2.1, and of Thinklab-SJTU/Bench2Drive; `MinimumSpeedRouteTest` of scenario_runner (stretches at or above 100 % are no event).
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRequest, UnknownName

Array = np.ndarray
INFRACTIONS = ("pedestrian", "vehicle", "static", "red_light", "stop", "scenario_timeout", "yield_emergency")
WITHOUT_COST = ("route_dev", "vehicle_blocked", "route_timeout")  # they end a route, which is cost enough
ROUTE_KEYS = ("counts", "route_completion", "outside_lanes_percent", "min_speed_percent", "length_m")
BENCH2DRIVE_ROUTES = 220
LEAST_KM = 0.001  # the leaderboards' guard against division by nothing driven


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """One published version of the penalty.

    Attributes:
        factors: Per kind of INFRACTIONS; for 'product' a factor, for 'sum' a term of 1 + sum in the denominator.
            Kinds that are not named cost nothing.
        rule: 'product' or 'sum'.
        speed_weight: Of the lack of speed beside the traffic, 1 - p; 0 where the version has no such term.
    """

    factors: Mapping[str, float]
    rule: str = "product"
    speed_weight: float = 0.0

    def of(self, counts: Mapping[str, float], outside_share: float, speed_shares: Sequence[float] = ()) -> float:
        """The penalty, 0 to 1.

        Args:
            counts: Infractions by kind.
            outside_share: Share of the way driven outside the lanes of the route.
            speed_shares: Own speed as a share of the traffic's, one per stretch that was judged; 1 and more costs nothing.
        """
        slow = [self.speed_weight * (1 - min(share, 1.0)) for share in speed_shares]
        known = [(self.factors[kind], count) for kind, count in counts.items() if kind in self.factors]
        if self.rule == "sum":
            return (1 - outside_share) / (1 + sum(slow) + sum(term * count for term, count in known))
        product = float(np.prod([factor**count for factor, count in known]))
        return product * (1 - outside_share) * float(np.prod([1 - lack for lack in slow]))


_FIRST = {"pedestrian": 0.5, "vehicle": 0.6, "static": 0.65, "red_light": 0.7, "stop": 0.8}
_SECOND = _FIRST | {"scenario_timeout": 0.7, "yield_emergency": 0.7}
PENALTIES: dict[str, Penalty] = {
    "1.0": Penalty(factors=_FIRST),
    "2.0": Penalty(factors=_SECOND, speed_weight=0.3),
    "2.1": Penalty(
        factors=dict(zip(INFRACTIONS, (1.0, 0.7, 0.6, 0.4, 0.25, 0.4, 0.4), strict=True)), rule="sum", speed_weight=0.4
    ),
    "b2d": Penalty(factors=_SECOND),
}


def penalty_of(version: str) -> Penalty:
    """The penalty of a version.

    Raises:
        UnknownName: for a version that does not exist.
    """
    if version not in PENALTIES:
        raise UnknownName("form of the driving score", version, PENALTIES)
    return PENALTIES[version]


def carla_driving_score(routes: Sequence[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """CARLA's driving score of a set of routes.

    Args:
        routes: Per route `counts` (by kind of INFRACTIONS or WITHOUT_COST; kinds left out are 0), `route_completion` (%),
            and, where known, `outside_lanes_percent` (0), `min_speed_percent` (own speed in % of the traffic's, one
            per stretch judged; may be empty) and `length_m`.
        version: "1.0", "2.0", "2.1" or "b2d".
    Returns:
        `penalty` and `driving_score` (0 to 100), float64 [n], and `mean_ds`, their mean over the routes given.
        (Bench2Drive's own table divides by 220 whatever was run: `bench2drive_table`.)
    Raises:
        UnknownName: for a version or an infraction that does not exist, or a key of a route that is nearly one of these
            (others are not looked at).
        BadRequest: without routes, or with numbers that make no sense.
    """
    rule, checked = penalty_of(version), _checked_routes(routes)
    penalty = np.array([rule.of(one.counts, one.outside_share, one.speed_shares) for one in checked], np.float64)
    score = np.maximum(np.array([one.completion_percent for one in checked], np.float64) * penalty, 0.0)
    return {"penalty": penalty, "driving_score": score, "mean_ds": float(score.mean())}


def carla_infractions_per_km(routes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Infractions per kilometre by kind: all infractions over all metres of route completed.

    Raises:
        UnknownName, BadRequest: as `carla_driving_score`; also where a route has no `length_m`.
    """
    checked = _checked_routes(routes)
    lengths = [one.length_m for one in checked]
    if None in lengths:
        raise BadRequest(
            f"route {lengths.index(None)} has no 'length_m'; infractions per km need it. Add it in metres."
        )
    metres = sum((one.length_m or 0.0) * one.completion_percent / 100 for one in checked)
    kilometres = max(metres / 1000, LEAST_KM)
    return {
        kind: sum(one.counts.get(kind, 0) for one in checked) / kilometres for kind in (*INFRACTIONS, *WITHOUT_COST)
    }


def bench2drive_table(routes: Sequence[Mapping[str, Any]], *, expected: int = BENCH2DRIVE_ROUTES) -> dict[str, float]:
    """Bench2Drive's two headline numbers, which divide by the benchmark's number of routes, whatever was run.

    Returns:
        `driving_score` (0 to 100) and `success_rate` (%; a route counts when it is completed without any infraction but
        that of minimum speed), both over `expected` routes; `routes` that were given.
    Raises:
        BadRequest: for more routes than expected; else as `carla_driving_score`.
    """
    if len(routes) > expected:
        raise BadRequest(f"{len(routes)} routes were given and {expected} are expected. Leave repetitions out.")
    checked, score = _checked_routes(routes), carla_driving_score(routes, "b2d")["driving_score"]
    success = [
        one.completion_percent >= 100 and not any(one.counts.values()) and one.outside_share == 0 for one in checked
    ]
    return {
        "driving_score": float(score.sum()) / expected,
        "success_rate": 100 * sum(success) / expected,
        "routes": float(len(routes)),
    }


@dataclass(frozen=True, kw_only=True)
class _Route:
    counts: dict[str, float]
    completion_percent: float
    outside_share: float
    speed_shares: tuple[float, ...]
    length_m: float | None


def _checked_routes(routes: Sequence[Mapping[str, Any]]) -> list[_Route]:
    if not len(routes):
        raise BadRequest("there are no routes to score; at least one is needed. Drive one.")
    return [_checked(number, route) for number, route in enumerate(routes)]


def _checked(number: int, route: Mapping[str, Any]) -> _Route:
    for key in route:
        if key not in ROUTE_KEYS and difflib.get_close_matches(key, ROUTE_KEYS):
            raise UnknownName(f"key of route {number}", key, ROUTE_KEYS)
    for key in ("counts", "route_completion"):
        if key not in route:
            raise BadRequest(f"route {number} has no '{key}'; every route needs it. Add it.")
    counts: dict[str, float] = {}
    for kind, count in route["counts"].items():
        if kind not in (*INFRACTIONS, *WITHOUT_COST):
            raise UnknownName(f"infraction of route {number}", kind, (*INFRACTIONS, *WITHOUT_COST))
        counts[kind] = _number(f"{kind} of route {number}", count, np.inf)
        if counts[kind] % 1:
            raise BadRequest(
                f"{kind} of route {number} is {count}; infractions are counted in whole numbers. Repair it."
            )
    speeds: Float[Array, " s"] = np.atleast_1d(np.asarray(route.get("min_speed_percent", ()), np.float64))
    length = route.get("length_m")
    return _Route(
        counts=counts,
        completion_percent=_number(f"route_completion of route {number}", route["route_completion"], 100),
        outside_share=_number(f"outside_lanes_percent of route {number}", route.get("outside_lanes_percent", 0), 100)
        / 100,
        speed_shares=tuple(_number(f"min_speed_percent of route {number}", one, np.inf) / 100 for one in speeds),
        length_m=None if length is None else _number(f"length_m of route {number}", length, np.inf),
    )


def _number(what: str, value: Any, most: float) -> float:
    found = float(value)
    if not (0 <= found <= most and np.isfinite(found)):
        limit = "finite" if np.isinf(most) else f"at most {most:g}"
        raise BadRequest(f"{what} is {value}; it must be from 0 on and {limit}. Repair the record.")
    return found
