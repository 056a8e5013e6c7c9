"""What errors and drives of several planners amount to: means with intervals over scenes, and paired differences between planners."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eval_fid_fvd.driving_score import NO_FAULT, PEDESTRIAN, RED_LIGHT, STATIC, VEHICLE
from eval_fid_fvd.statistics import bootstrap_interval, wilcoxon_p
from eval_fid_fvd.strata import MAIN_M, stratified_errors
from studio.open_loop import ERRORS_AT_S, Errors
from worldmodel.decisions import HORIZONS_S
from worldmodel.geometry import Array

STRATA_M = (0.5, 1.0, 2.0, 3.0)  # thresholds of the ego-status gap
PARTS = ("direction", "speed", "both")
RESAMPLES_SEED = 0  # every interval is drawn anew from it
Summary = dict[str, Any]
# of one mix: the first minus the second; then of one kind: rich minus natural
WITHIN_A_MIX = (
    ("ik", "direct"), ("ik", "ik-current"), ("ik", "ik-pooled"), ("refiner", "direct"), ("direct", "ego-only"), ("ik", "ego-only"),
)  # fmt: skip
MIXES = ("rich", "natural")


def mean_of(values: Float[Array, " n"]) -> Summary | None:
    """`value`, its 95 % bootstrap `interval` (None for one scene) and `scenes`; None without a finite value."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    interval = bootstrap_interval(known, np.random.default_rng(RESAMPLES_SEED)) if len(known) > 1 else None
    return {"value": float(known.mean()), "interval": interval, "scenes": len(known)}


def difference_of(first: Float[Array, " n"], second: Float[Array, " n"]) -> Summary | None:
    """Mean of first minus second over the scenes that both have, with interval and the rank test's `p`; None without a pair."""
    both = np.isfinite(first) & np.isfinite(second)
    found = mean_of(first[both] - second[both])
    return None if found is None else found | {"p": wilcoxon_p(first[both], second[both])}


def open_loop_summary(errors: Errors, chosen: Bool[Array, " n"]) -> Summary:
    """Of the chosen moments: `ade_m` and `fde_m` by time, `hits` by time, `right` by time and part."""
    times = [f"{at_s:g} s" for at_s in ERRORS_AT_S]
    horizons = [f"{at_s:g} s" for at_s in HORIZONS_S]
    return {
        "ade_m": {at: mean_of(errors.ade_m[chosen, i]) for i, at in enumerate(times)},
        "fde_m": {at: mean_of(errors.fde_m[chosen, i]) for i, at in enumerate(times)},
        "hits": {at: mean_of(errors.hits[chosen, i]) for i, at in enumerate(horizons)},
        "right": {
            at: {part: mean_of(errors.right[chosen, i, k]) for k, part in enumerate(PARTS)}
            for i, at in enumerate(horizons)
        },
    }


def strata_summary(
    errors: Mapping[str, Errors], gaps_m: Float[Array, " n"], chosen: Bool[Array, " n"]
) -> dict[str, list[Summary]]:
    """ADE over 4 s, and collisions up to 3 s, on vision-critical and ego-dominated moments per threshold.

    Moments at which any of the planners failed are left out for all of them.
    """
    values = {
        "ade_m": {n: e.ade_m[:, -1] for n, e in errors.items()},
        "hits": {n: e.hits[:, -1] for n, e in errors.items()},
    }
    fine = chosen & np.isfinite([row for rows in values.values() for row in rows.values()]).all(axis=0)
    return {
        what: stratified_errors(
            {name: row[fine] for name, row in rows.items()},
            gaps_m[fine],
            np.random.default_rng(RESAMPLES_SEED),
            thresholds_m=STRATA_M,
        )
        for what, rows in values.items()
        if fine.sum() > 1
    }


def drives_summary(drives: Sequence[Mapping[str, Any]]) -> Summary:
    """Of the drives of one planner: score, completion, penalty, what went wrong as shares of drives, and NAVSIM's total."""

    def over(values: Sequence[float]) -> Summary | None:
        return mean_of(np.array(values, float))

    def share(*kinds: str) -> Summary | None:
        return over([any(one["kind"] in kinds for one in drive["infractions"]) for drive in drives])

    found = {name: over([drive[name] for drive in drives]) for name in ("driving_score", "route_completion", "penalty")}
    return found | {
        "collided": share(PEDESTRIAN, VEHICLE, STATIC),
        "touched": share(NO_FAULT),
        "red_light": share(RED_LIGHT),
        "off_road": over([drive["end"] in ("off_road", "off_route") for drive in drives]),
        "outside_share": over([drive["outside_share"] for drive in drives]),
        "epdms": over([drive["navsim"]["epdms"] for drive in drives]),
        "failures": sum(len(drive["failures"]) for drive in drives),
    }


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Which planners are compared, by names such as 'ik (rich)': within a mix, and a kind at both mixes; those that are there."""
    wanted = [(f"{a} ({mix})", f"{b} ({mix})") for mix in MIXES for a, b in WITHIN_A_MIX]
    kinds = dict.fromkeys(
        name.removesuffix(f" ({mix})") for name in names for mix in MIXES if name.endswith(f" ({mix})")
    )
    wanted += [(f"{kind} ({MIXES[0]})", f"{kind} ({MIXES[1]})") for kind in kinds]
    return [(a, b) for a, b in wanted if a in names and b in names]


def compared(
    errors: Mapping[str, Errors],
    gaps_m: Float[Array, " n"],
    kinds: Mapping[str, Bool[Array, " n"]],
    drives: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Summary]:
    """Paired differences, first minus second: ADE over 4 s (all, vision-critical, ego-dominated), collisions, decisions, driving score.

    Args:
        kinds: Which moments are of which kind; the first kind is what 'all' and the strata are of.
    """
    names = list(dict.fromkeys([*errors, *drives]))
    rows = []
    for first, second in pairs_of(names):
        row: Summary = {"first": first, "second": second}
        if first in errors and second in errors:
            row |= _differences(errors[first], errors[second], gaps_m, kinds)
        if first in drives and second in drives:
            scores = (np.array([drive["driving_score"] for drive in drives[name]]) for name in (first, second))
            row["driving_score"] = difference_of(*scores)
        rows.append(row)
    return rows


def _differences(one: Errors, other: Errors, gaps_m: Array, kinds: Mapping[str, Array]) -> Summary:
    main = next(iter(kinds.values()))
    critical = gaps_m > MAIN_M
    chosen = {"ade_m": main, "ade_critical_m": main & critical, "ade_dominated_m": main & ~critical}
    chosen |= {f"ade_{kind}_m": rows for kind, rows in list(kinds.items())[1:]}
    found: Summary = {name: difference_of(one.ade_m[rows, -1], other.ade_m[rows, -1]) for name, rows in chosen.items()}
    found["hits"] = difference_of(one.hits[main, -1], other.hits[main, -1])
    found["right"] = difference_of(one.right[main, 1, -1], other.right[main, 1, -1])
    return found
