"""Tables of planners in Markdown, from the plain data that `benchmarks/planners.py` writes."""

from collections.abc import Mapping, Sequence
from typing import Any

Summary = Mapping[str, Any]
TIMES = ("1 s", "2 s", "3 s", "4 s")


def tables(content: Mapping[str, Any]) -> str:
    """All tables of one result, each with the words to read it by."""
    parts = []
    if content.get("open_loop"):
        parts += [errors_table(content), decisions_table(content), strata_table(content)]
    if content.get("closed_loop"):
        parts.append(drives_table(content))
    if content.get("differences"):
        parts.append(differences_table(content["differences"]))
    return "\n\n".join(parts)


def errors_table(content: Mapping[str, Any]) -> str:
    """ADE and FDE by time, ADE by kind of moment, and collisions."""
    about = content["about"]
    head = ["planner", "ADE 1 / 2 / 3 s", "ADE 4 s", "FDE 1 / 2 / 3 s", "FDE 4 s", "ADE 4 s, surprises", "collides by 1 / 2 / 3 s",
            "failed"]  # fmt: skip
    rows = []
    for name, found in content["open_loop"].items():
        drive, surprise = found["drive"], found.get("surprise")
        rows.append(
            [
                name,
                several(drive["ade_m"], TIMES[:3]),
                spread(drive["ade_m"]["4 s"]),
                several(drive["fde_m"], TIMES[:3]),
                spread(drive["fde_m"]["4 s"]),
                spread(surprise["ade_m"]["4 s"]) if surprise else "–",
                f"{several(drive['hits'], TIMES[:3], percent=True)} %",
                str(found["failed"]),
            ]
        )
    lead = (
        f"**Plans**: {about['drives']} moments of test scenes (one each; {share(about['critical'])} vision-critical: ego-status gap over "
        f"{about['critical_m']:g} m) and {about['surprises']} surprises. Metres; ADE is the mean up to a time (L2 as ST-P3 and VAD "
        "say it), FDE the error at it (as UniAD says it); 95 % bootstrap intervals over scenes. Collisions: boxes that turn, everybody "
        f"on the road counts; the driven path gets {share(about['driven_hits'])}."
    )
    return f"{lead}\n\n{markdown(head, rows)}"


def decisions_table(content: Mapping[str, Any]) -> str:
    """How often the driver's decision is met."""
    rows = [
        [name, *(several({p: found["drive"]["right"][at][p] for p in PARTS}, PARTS, percent=True) for at in TIMES[:3]),
         "said" if found["says_decisions"] else "read off the plan"]
        for name, found in content["open_loop"].items()
    ]  # fmt: skip
    majority = content["about"]["majority_right"]
    rows.append(["always the commonest", *(" / ".join(f"{100 * x:.0f}" for x in row) for row in majority), "–"])
    head = ["planner", "at 1 s", "at 2 s", "at 3 s", "decisions are"]
    return f"**Decisions** that are the driver's, %: direction / speed / both.\n\n{markdown(head, rows)}"


PARTS = ("direction", "speed", "both")


def strata_table(content: Mapping[str, Any]) -> str:
    """ADE where eyes are needed and where not, per threshold; and collisions there."""
    strata = content["strata"]
    if not strata:
        return ""
    thresholds = list(dict.fromkeys(row["threshold_m"] for row in strata["ade_m"]))
    by_name = {(row["planner"], row["threshold_m"]): row for row in strata["ade_m"]}
    hits = {(row["planner"], row["threshold_m"]): row for row in strata["hits"]}
    main = content["about"]["critical_m"]
    rows = []
    for name in dict.fromkeys(row["planner"] for row in strata["ade_m"]):
        cells = [" / ".join(short(by_name[name, at][part]) for part in ("critical", "dominated")) for at in thresholds]
        there = [spread(by_name[name, main][part]) for part in ("critical", "dominated")]
        met = " / ".join(short(hits[name, main][part], percent=True) for part in ("critical", "dominated"))
        rows.append([name, *there, *cells, f"{met} %"])
    counts = [f"{_count(by_name, at, 'critical')} / {_count(by_name, at, 'dominated')}" for at in thresholds]
    head = [
        "planner",
        f"critical, {main:g} m",
        f"dominated, {main:g} m",
        *(f"{at:g} m" for at in thresholds),
        "collides by 3 s",
    ]
    rows.insert(0, ["*moments*", "", "", *counts, ""])
    lead = "**Strata**: ADE over 4 s, metres, on vision-critical / ego-dominated moments by threshold of the ego-status gap."
    return f"{lead}\n\n{markdown(head, rows)}"


def _count(rows: Mapping[Any, Summary], at: float, part: str) -> str:
    row = next(row for (_, threshold), row in rows.items() if threshold == at)
    return "–" if row[part] is None else str(row[part]["moments"])


def drives_table(content: Mapping[str, Any]) -> str:
    """Closed loop."""
    about = content["about"]
    head = [
        "planner",
        "driving score",
        "route %",
        "penalty",
        "collides %",
        "off road %",
        "red light %",
        "outside %",
        "EPDMS",
        "failed",
    ]
    rows = [
        [
            name,
            spread(found["driving_score"], digits=1),
            short(found["route_completion"], percent=True),
            short(found["penalty"]),
            *(spread(found[part], percent=True) for part in ("collided", "off_road")),
            *(short(found[part], percent=True) for part in ("red_light", "outside_share")),
            short(found["epdms"]),
            str(found["failures"]),
        ]
        for name, found in content["closed_loop"].items()
    ]
    lead = (
        f"**Closed loop**: {about['courses']} courses of test seeds, {about['course_s']:g} s each after 2 s of the expert, a plan every half "
        "second, the others react; CARLA's driving score (form 1.0, 0 to 100), 95 % bootstrap intervals over courses. Shares are of drives."
    )
    return f"{lead}\n\n{markdown(head, rows)}"


def differences_table(rows: Sequence[Summary]) -> str:
    """Paired differences."""
    columns = {
        "ade_m": "ADE 4 s", "ade_critical_m": "vision-critical", "ade_dominated_m": "ego-dominated", "ade_surprise_m": "surprises",
        "hits": "collides by 3 s, points", "right": "both decisions at 2 s, points", "driving_score": "driving score",
    }  # fmt: skip
    lines = [
        [f"{row['first']} − {row['second']}",
         *(spread(row.get(key), percent=key in ("hits", "right"), digits=1 if key == "driving_score" else 2) for key in columns)]
        for row in rows
    ]  # fmt: skip
    lead = (
        "**Paired differences** over the same scenes, first minus second (of errors and collisions less is better), 95 % bootstrap "
        "intervals; exploratory, not corrected for how many there are."
    )
    return f"{lead}\n\n{markdown(['', *columns.values()], lines)}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(found: Summary | None, *, percent: bool = False, digits: int = 2) -> str:
    """A mean and its interval; a dash without."""
    if found is None:
        return "–"
    digits, factor = (0, 100) if percent else (digits, 1)
    if found["interval"] is None:
        return f"{factor * found['value']:.{digits}f}"
    low, high = (f"{factor * end:.{digits}f}" for end in found["interval"])
    return f"{factor * found['value']:.{digits}f} ({low} to {high})"


def short(found: Summary | None, *, percent: bool = False) -> str:
    """A mean."""
    return "–" if found is None else f"{100 * found['value']:.0f}" if percent else f"{found['value']:.2f}"


def several(found: Mapping[str, Summary | None], keys: Sequence[str], *, percent: bool = False) -> str:
    """Means, one after the other."""
    return " / ".join(short(found[key], percent=percent) for key in keys)


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{value:.0%}"
