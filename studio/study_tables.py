"""The tables of a grounding study's report."""

from collections.abc import Mapping, Sequence
from typing import Any

from studio.html_report import Table
from studio.study_summary import GOALS, REACTION_M, SIDEWAYS_M, STRONG_M

Summary = Mapping[str, Any]


def value(number: Mapping[str, Any], form: str = ".2f") -> str:
    """A mean with its interval."""
    text = format(number["mean"], form)
    return text if number["low"] is None else f"{text} [{number['low']:{form}}, {number['high']:{form}}]"


def p_value(p: float) -> str:
    """Two digits, or that it is tiny."""
    return "< 1e-6" if p < 1e-6 else f"{p:.2g}"


def words(variant: str) -> str:
    """A variant for people."""
    return variant.replace("_", " ")


def goals_table(summary: Summary) -> Table:
    """What is expected of a planner that looks at the road."""

    def cell(text: str, met: bool) -> str:
        return f"{text} {'yes' if met else 'no'}"

    rows = [
        (row["planner"], *(cell(f"{row[name]:.0%}", row["met"][name]) for name in ("near", "sky_near", "sky_far")),
         cell(f"{row['far_minus_sky_far_m']:+.2f} m, p {p_value(row['p'])};", row["met"]["far_minus_sky_far"]),
         "" if row["near_minus_lookalike_m"] is None
         else cell(f"{row['near_minus_lookalike_m']:+.2f} m", row["met"]["near_minus_lookalike"]))
        for row in summary["goals"]
    ]  # fmt: skip
    head = (
        "planner",
        f"near over {REACTION_M:g} m, at least {GOALS['near']:.0%}",
        f"sky near, at most {GOALS['sky_near']:.0%}",
        f"sky far, at most {GOALS['sky_far']:.0%}",
        f"far - sky far above 0, p < {GOALS['p']:g}",
        "near - lookalike above 0",
    )
    return Table(head=head, rows=rows, caption="What is expected of a planner that looks at the road, fixed before.")


def pivot(summary: Summary, field: str, form: str, caption: str) -> Table:
    """One number per planner and variant."""
    variants = list(dict.fromkeys(row["variant"] for row in summary["reactions"]))
    planners = dict.fromkeys(row["planner"] for row in summary["reactions"])
    cells = {
        (row["planner"], row["variant"]): format(
            row[field]["mean"] if isinstance(row[field], dict) else row[field], form
        )
        for row in summary["reactions"]
    }
    rows = [(name, *(cells.get((name, variant), "") for variant in variants)) for name in planners]
    return Table(head=("planner", *map(words, variants)), rows=rows, caption=caption)


def near_table(summary: Summary) -> Table:
    """How planners answer the near object: slower, faster, sideways, and when."""
    rows = [
        (row["planner"], str(row["scenes"]), value(row["change_m"], "+.2f"), f"{row['median_m']:.2f}", f"{row['brakes']:.0%}",
         f"{row['speeds_up']:.0%}", f"{row['evades']:.0%}", "" if row["onset_s"] is None else f"{row['onset_s']:.1f} s")
        for row in summary["reactions"]
        if row["variant"] == "near"
    ]  # fmt: skip
    head = (
        "planner", "scenes", "change, m", "median reaction, m", "brakes", "speeds up", f"evades (over {SIDEWAYS_M:g} m)", "onset",
    )  # fmt: skip
    caption = (
        f"The near object. Brakes, speeds up: the path over 4 s is more than {REACTION_M:g} m shorter, longer. Evades: it moves "
        "sideways, braking or not. Onset: when it is 0.5 m/s slower, median over the scenes with braking."
    )
    return Table(head=head, rows=rows, caption=caption)


def contrasts_table(summary: Summary, *, primary: bool) -> Table:
    """Paired differences between variants."""
    rows = [
        (row["planner"], f"{words(row['larger'])} - {words(row['smaller'])}", str(row["scenes"]),
         value(row["difference_m"], "+.2f"), f"{row['share_larger']:.0%}", p_value(row["p"]),
         *((p_value(row["p_holm"]),) if primary else ()))
        for row in summary["contrasts"]
        if row["primary"] == primary
    ]  # fmt: skip
    head = ("planner", "contrast", "scenes", "difference of reactions, m", "larger in", "p")
    if not primary:
        return Table(head=head, rows=rows, caption="Exploratory.")
    return Table(
        head=(*head, "p (Holm)"), rows=rows, caption="Primary, named before; Holm over planners times contrasts."
    )


def conditional_table(summary: Summary) -> Table:
    """What the other variants do where the near object slows a planner down."""
    variants = list(dict.fromkeys(name for row in summary["given_strong"] for name in row["quiet"]))
    rows = [
        (row["planner"], f"{row['slower_by_m']:g} m", str(row["scenes"]),
         *(f"{row['quiet'][name]:.0%}" if name in row["quiet"] else "" for name in variants))
        for row in summary["given_strong"]
    ]  # fmt: skip
    caption = (
        f"Share of those scenes in which the planner hardly reacts (below {REACTION_M:g} m) to each other variant."
    )
    return Table(head=("planner", "near slows it by", "scenes", *map(words, variants)), rows=rows, caption=caption)


def conditional_contrasts(summary: Summary) -> Table:
    """Paired differences in those scenes."""
    rows = [
        (row["planner"], f"{row['slower_by_m']:g} m", f"{words(one['larger'])} - {words(one['smaller'])}", str(one["scenes"]),
         value(one["difference_m"], "+.2f"), f"{one['share_larger']:.0%}", p_value(one["p"]))
        for row in summary["given_strong"]
        for one in row["contrasts"]
    ]  # fmt: skip
    head = ("planner", "near slows it by", "contrast", "scenes", "difference of reactions, m", "larger in", "p")
    return Table(head=head, rows=rows, caption="Road against sky in those scenes, exploratory.")


def size_table(summary: Summary) -> Table:
    """Reaction against visible size."""

    def cell(row: Mapping[str, Any], where: str) -> str:
        return f"{row[where]['spearman']:+.2f} ({row[where]['points']})" if where in row else ""

    rows = [(row["planner"], cell(row, "road"), cell(row, "sky")) for row in summary["size_relation"]]
    return Table(
        head=("planner", "on the road", "in the sky"),
        rows=rows,
        caption="Rank correlation (Spearman) of reaction and pixels of the object, over scenes and distances (points). "
        "A reaction to size alone grows in the sky as well.",
    )


def comparisons_table(summary: Summary) -> Table:
    """Planner against planner."""
    rows = [
        (f"{row['one']} - {row['other']}", row["measure"], str(row["scenes"]), f"{row['one_mean']:.2f}, {row['other_mean']:.2f}",
         value(row["difference"], "+.2f"), p_value(row["p"]), p_value(row["p_holm"]))
        for row in summary["comparisons"]
    ]  # fmt: skip
    head = ("planners", "measure", "scenes", "means", "paired difference", "p", "p (Holm)")
    return Table(head=head, rows=rows, caption="Reported whichever way it falls; Holm over all rows of this table.")


def oracle_table(summary: Summary) -> Table:
    """Against the town's own driver."""

    def share(number: float | None) -> str:
        return "" if number is None else f"{number:.0%}"

    rows = [
        (row["planner"], words(row["variant"]), f"{row['driver_reacts']} of {row['scenes']}", f"{row['driver_m']:+.2f}",
         value(row["less_braking_m"], "+.2f"), value(row["distance_m"]), share(row["both_brake"]), share(row["false_alarm"]),
         share(row["same_sign"]), "" if row["spearman"] is None else f"{row['spearman']:+.2f} (p {p_value(row['p'])})")
        for row in summary["oracle"]
    ]  # fmt: skip
    head = (
        "planner", "object", "scenes in which the driver reacts", "driver's change, m", "planner's minus driver's, m", "distance, m",
        "brakes too", "brakes though the driver does not", "same sign", "rank correlation",
    )  # fmt: skip
    return Table(head=head, rows=rows, caption="The town's driver meets the same object for real.")


def noise_table(summary: Summary) -> Table:
    """What nothing at all does, and what another seed does."""
    empty = {row["planner"]: row for row in summary["reactions"] if row["variant"] == "empty"}
    rows = [
        (row["planner"], f"{empty[row['planner']]['reaction_m']['mean']:g}" if row["planner"] in empty else "",
         value(row["reaction_m"]), f"{row['high_m']:.2f}", f"{row['over_half_m']['mean']:.0%}")
        for row in summary["noise"]
    ]  # fmt: skip
    head = ("planner", "empty edit, m", "other seed, m", "95 % of scenes below, m", f"over {REACTION_M:g} m")
    caption = (
        "Empty edit: the same code runs and nothing is put anywhere. Other seed: two answers to the same pictures with different "
        "noise; the pairs of the study share theirs, so this is the most that sampling could do."
    )
    return Table(head=head, rows=rows, caption=caption)


def moments_table(summary: Summary) -> Table:
    """Which moments could be used."""
    rows = [(reason, str(count)) for reason, count in summary["frames"]["moments"].items()]
    caption = "Moments that were judged, in order, up to the first eligible one of a scene."
    return Table(head=("moments", "count"), rows=rows, caption=caption)


def missing_table(summary: Summary) -> Table:
    """Answers that are missing; they are no zeros."""
    rows = [(row["planner"], words(row["variant"]), row["why"], str(row["count"])) for row in summary["failed"]]
    caption = "Answers that are missing; they are counted here and nowhere else."
    return Table(head=("planner", "variant", "why", "scenes"), rows=rows, caption=caption)


def full_tables(summary: Summary) -> Sequence[Table]:
    """Reactions at a glance: means, and shares over both thresholds."""
    return (
        pivot(summary, "reaction_m", ".2f", "Mean reaction, m."),
        pivot(summary, "over_half_m", ".0%", f"Share of scenes with a reaction over {REACTION_M:g} m."),
        pivot(summary, "over_two_m", ".0%", f"Share of scenes with a reaction over {STRONG_M:g} m."),
    )
