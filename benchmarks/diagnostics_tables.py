"""The tables of `planner_diagnostics.py`, as Markdown."""

from collections.abc import Iterator
from typing import Any

THRESHOLDS_M = (0.5, 1.0, 2.0)
MAIN_M = 1.0


def markdown(found: dict[str, Any]) -> str:
    """All tables."""
    parts = (gap_lines, strata_lines, gain_lines, loss_lines, hang_lines, diversity_lines, state_lines, link_lines)
    lines = [line for part in (*parts, group_lines, extreme_lines) for line in (*part(found), "")]
    if "surprises" in found:
        lines += ["# Surprises: just before the driver notices something that stands in the lane, or beside it", ""]
        lines += [line for part in DRIVING for line in (*part(found["surprises"]), "")]
    return "\n".join(lines)


def gap_lines(found: dict[str, Any]) -> Iterator[str]:
    """Ego-status gaps and shares of vision-critical moments."""
    sets = {"test scenes": found["gaps"]} | found["data"]
    yield "## How much needs eyes: the ego-status gap"
    yield ""
    thresholds = [row["threshold_m"] for row in found["gaps"]["shares"]]
    yield f"| data | moments | mean m | median | 90 % | {' | '.join(f'> {t:g} m' for t in thresholds)} |"
    yield "|" + "---|" * (5 + len(thresholds))
    for name, facts in sets.items():
        one = facts["summary"]
        shares = " | ".join(percent(row["share"], row["interval"]) for row in facts["shares"])
        yield f"| {name} | {one['moments']} | {one['mean_m']:.2f} | {one['median_m']:.2f} | {one['p90_m']:.2f} | {shares} |"


def strata_lines(found: dict[str, Any]) -> Iterator[str]:
    """ADE by stratum."""
    yield f"## ADE over 4 s by stratum, m ({len(found['scenes'])} scenes of the test seeds, one moment each)"
    for threshold in THRESHOLDS_M:
        rows = [row for row in found["strata"]["rows"] if row["threshold_m"] == threshold]
        counts = {name: rows[0][name]["moments"] if rows[0][name] else 0 for name in ("critical", "dominated")}
        yield ""
        yield f"| gap > {threshold:g} m | all | vision-critical ({counts['critical']}) | ego-dominated ({counts['dominated']}) | ratio |"
        yield "|---|---|---|---|---|"
        for row in sorted(rows, key=lambda row: row["all"]["value"]):
            yield (
                f"| {row['planner']} | "
                + " | ".join(cell(row[name]) for name in ("all", "critical", "dominated", "ratio"))
                + " |"
            )


def gain_lines(found: dict[str, Any]) -> Iterator[str]:
    """Paired differences of ADE."""
    yield "## Paired differences of ADE, m (positive: the second planner is better)"
    yield ""
    yield "| first | second | all | vision-critical | ego-dominated | concentration | p (Holm) |"
    yield "|---|---|---|---|---|---|---|"
    for row in found["gains"]:
        cells = " | ".join(cell(row[name]) for name in ("all", "critical", "dominated", "concentration"))
        yield f"| {row['first']} | {row['second']} | {cells} | {p_value(row['p_holm'])} |"


def loss_lines(found: dict[str, Any]) -> Iterator[str]:
    """Where the loss comes from."""
    yield f"## Where the loss comes from (threshold {MAIN_M:g} m; squared error in m2, mean over eight positions)"
    yield ""
    yield "| planner | share of own loss from ego-dominated | stratum | loss | = blind | + visual | + cross | earned by looking |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, facts in found["losses"].items():
        row = next(row for row in facts["own"] if row["threshold_m"] == MAIN_M)
        share = "–" if row["dominated_loss"] is None else f"{row['dominated_loss']:.0%}"
        for stratum, parts in facts["parts"].items():
            values = " | ".join(f"{parts[part]['value']:.2f}" for part in ("loss", "blind", "visual", "cross"))
            yield f"| {name} | {share} | {stratum} | {values} | {cell(parts['earned'])} |"


def hang_lines(found: dict[str, Any]) -> Iterator[str]:
    """What plans hang on."""
    yield "## What the plan hangs on: ADE, m"
    yield ""
    yield table_head(
        "planner", "as it is", "other scene's pictures", "plan moves by", "its states drawn and seen again", "true next states",
        "present state",
    )  # fmt: skip
    names = ("own_m", "other_pictures_m", "moved_m", "redrawn_m", "true_states_m", "present_states_m")
    for name, row in found["hangs_on"].items():
        yield f"| {name} | " + " | ".join(cell(row.get(key)) for key in names) + " |"


def diversity_lines(found: dict[str, Any]) -> Iterator[str]:
    """Diversity of next states."""
    yield "## Diversity of the next visual state, per element of the normalised latents"
    yield ""
    yield "| data | given | ahead | moments | groups | total | given it | unbiased | between | explained |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    rows = [("test scenes", told, row) for told, rows in found["diversity"].items() for row in rows]
    rows += [(name, "command", row) for name, facts in found["data"].items() for row in facts["diversity"]]
    for data, told, row in rows:
        values = " | ".join(f"{row[key]:.3f}" for key in ("total", "given", "given_unbiased", "between"))
        yield f"| {data} | {told} | {row['at_s']:g} s | {row['moments']} | {len(row['counts'])} | {values} | {row['explained']:.1%} |"


def state_lines(found: dict[str, Any]) -> Iterator[str]:
    """Errors of the predicted states beside floors and baselines."""
    yield "## Next states: mean squared error per element"
    yield ""
    yield "| who | 1 s | 2 s | 3 s |"
    yield "|---|---|---|---|"
    for told, rows in found["diversity"].items():
        yield f"| *floor given {told}* | " + " | ".join(f"{row['given_unbiased']:.3f}" for row in rows) + " |"
    for name, values in found["baselines"].items():
        yield f"| *{name}* | " + " | ".join(f"{value:.3f}" for value in values) + " |"
    for name, facts in found["states"].items():
        yield f"| {name} | " + " | ".join(f"{row['error']:.3f}" for row in facts["horizons"]) + " |"
        yield (
            f"| {name}, other scene's pictures | "
            + " | ".join(f"{row['other_pictures']:.3f}" for row in facts["horizons"])
            + " |"
        )
    yield ""
    yield table_head(
        "planner", "ahead", "cosine", "error / floor given command", "quarters, best to worst", "skill over mean", "over blind linear",
        "over copy", "better than copy",
    )  # fmt: skip
    for name, facts in found["states"].items():
        for row in facts["horizons"]:
            floor, gains = row["floors"]["command"], row["skill"]
            quarters = ", ".join(f"{value:.2f}" for value in floor["quartiles"].values())
            skills = " | ".join(f"{gains[key]['value']:+.0%}" for key in ("mean", "blind linear", "copy"))
            better = f"{gains['copy']['better']:.0%} (p {p_value(gains['copy']['p'])})"
            yield f"| {name} | {row['at_s']:g} s | {row['cosine']:.2f} | {floor['ratio']:.2f} | {quarters} | {skills} | {better} |"


def link_lines(found: dict[str, Any]) -> Iterator[str]:
    """Next-state error against plan error."""
    yield "## Next-state error against plan error, moment by moment"
    yield ""
    yield table_head(
        "planner", "state error", "plan error at", "Pearson", "Spearman", "Spearman given the gap",
        "plan error by quarter of state error, best to worst, m",
    )  # fmt: skip
    for name, facts in found["links"].items():
        for at, row in facts["by_error"].items():
            quarters = ", ".join(f"{one['plan_m']:.2f}" for one in row["quartiles"])
            cells = " | ".join(correlation(row[key]) for key in ("pearson", "spearman", "partial"))
            yield f"| {name} | {facts['error']:.3f} | {at} | {cells} | {quarters} |"


def group_lines(found: dict[str, Any]) -> Iterator[str]:
    """Plan error by kind of scene: effect sizes."""
    yield "## Plan error (ADE) by kind of scene: effect size (p after Holm)"
    yield ""
    names = [row["characteristic"] for row in next(iter(found["groups"].values()))]
    yield f"| planner | {' | '.join(names)} |"
    yield "|" + "---|" * (1 + len(names))
    for name, rows in found["groups"].items():
        by = {row["characteristic"]: row for row in rows}
        cells = [f"{by[key]['effect']:.2f} ({p_value(by[key]['p_holm'])})" if key in by else "–" for key in names]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield "Effect: epsilon squared of Kruskal and Wallis; for two groups (no, yes) the rank-biserial correlation, negative where 'yes' is harder."


def extreme_lines(found: dict[str, Any]) -> Iterator[str]:
    """Where one planner beats another."""
    yield "## Where one planner beats another: the quarters of the moments at either end of their difference at 3 s"
    yield ""
    yield "| first | second | characteristic | first better | second better | effect | p (Holm) |"
    yield "|---|---|---|---|---|---|---|"
    for pair in found["extremes"]:
        for row in pair["rows"]:
            ends = " | ".join(f"{row[key]['mean']:.3g}" for key in ("first_better", "second_better"))
            effect = f"{row['effect']:+.2f} | {p_value(row['p_holm'])}"
            yield f"| {pair['first']} | {pair['second']} | {row['characteristic']} | {ends} | {effect} |"


DRIVING = (strata_lines, gain_lines, loss_lines, hang_lines)


def table_head(*names: str) -> str:
    """The first two lines of a table."""
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def cell(one: dict[str, Any] | None) -> str:
    """A value with its interval."""
    if one is None:
        return "–"
    low, high = one["interval"]
    return f"{one['value']:.2f} ({low:.2f}–{high:.2f})"


def percent(share: float, interval: tuple[float, float] | None) -> str:
    """A share with its interval."""
    return f"{share:.0%}" if interval is None else f"{share:.0%} ({interval[0]:.0%}–{interval[1]:.0%})"


def correlation(one: dict[str, float] | None) -> str:
    """A correlation with its p value."""
    return "–" if one is None else f"{one['r']:+.2f} ({p_value(one['p'])})"


def p_value(p: float) -> str:
    """A p value, short."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
