"""The report of a grounding study: one HTML file that opens offline, and the same as Markdown with its figures beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy.planner import Planner
from studio.eligible import Verdict
from studio.html_report import Block, Figure, Note, Section, Table, write_report
from studio.study_config import StudyConfig
from studio.study_examples import examples
from studio.study_figures import driver_figure, reactions_figure, sweep_figure
from studio.study_tables import (
    comparisons_table,
    conditional_contrasts,
    conditional_table,
    contrasts_table,
    full_tables,
    goals_table,
    missing_table,
    moments_table,
    near_table,
    noise_table,
    oracle_table,
    size_table,
)
from studio.study_values import Values, values_of
from studio.study_words import lead, limits, methods

if TYPE_CHECKING:
    import pyarrow as pa

TITLE = "Does the driver look at the road?"
REACTIONS = "Mean reaction over 4 s with its 95 % interval over scenes, metres. Full dots: the object on the road; hollow: its twin in the sky."
SWEPT = {
    "distance": "Mean change of the path over 4 s (metres, up; the axis grows like the square root) against the object's distance "
    "(metres, across), with its 95 % interval; broken line: the town's own driver in the same scenes. Exploratory.",
    "size": "The same against the object's size, 12 m ahead (1 is its own). The town's driver knows it only in its own size.",
}
RULE = (
    "Best, median and worst are the scenes with the smallest, median and largest distance between the planner's and the town "
    "driver's change by the near object (in recordings: with the largest, median and smallest reaction). The newest front picture "
    "without, with the object, and with its twin in the sky; and the plans from above, forward to the right, a line each 10 m."
)


def write_study_report(
    folder: Path, config: StudyConfig, record: Mapping[str, Any], rows: "pa.Table", planners: Sequence[Planner],
    verdicts: Mapping[str, tuple[Verdict, ...]],
) -> None:  # fmt: skip
    """Write `report.html` and `report.md` of a finished study.

    Args:
        folder: Where they go.
        config: The study.
        record: The content of `study.json`.
        rows: All rows.
        planners: Asked once more for the plans that the examples show.
        verdicts: Of every scene.
    """
    summary, values = record["summary"], values_of(rows)
    names = record["planners"]
    shown = [names[asked] for asked in config.shown or config.planners[:1]]
    sections = [
        Section(heading="What is expected, and what came out", blocks=[goals_table(summary), *_figures(summary)]),
        Section(heading="Reactions", blocks=[*full_tables(summary), near_table(summary)]),
        Section(heading="Road against sky, and other contrasts", blocks=_contrasts(summary)),
        Section(heading="Where the near object slows a planner down", blocks=_conditional(summary)),
        Section(heading="Planner against planner", blocks=_table(comparisons_table(summary))),
        Section(heading="Against the town's own driver", blocks=_oracle(summary, values, shown)),
        Section(heading="Distance and size", blocks=[*_sweep(summary), *_table(size_table(summary))]),
        Section(heading="How much is noise", blocks=[noise_table(summary)]),
        Section(heading="Examples", blocks=[RULE, *examples(config, planners, values, verdicts, shown)]),
        Section(
            heading="Moments and missing answers", blocks=[moments_table(summary), *_table(missing_table(summary))]
        ),
        Section(heading="How it was done", blocks=[methods(config, summary)]),
        Section(heading="What it cannot tell", blocks=limits(config)),
    ]
    sections = [replace(section, blocks=_spread(section.blocks)) for section in sections if section.blocks]
    facts = {"commit": str(record["commit"]), **{name: _told(value) for name, value in record["request"].items()}}
    facts |= {name: str(value) for name, value in record["versions"].items()}
    write_report(folder / "report.html", TITLE, lead(config, summary), sections, facts)
    write_markdown(folder, lead(config, summary), sections)


def _spread(blocks: Sequence[Block]) -> list[Block]:
    """Captions as paragraphs, which wrap on a phone while tables are scrolled."""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Table) and block.caption:
            found += [block.caption, replace(block, caption="")]
        else:
            found.append(block)
    return found


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(" - ".join(one) if isinstance(one, list | tuple) else str(one) for one in value)
    return str(value)


def _table(table: Table) -> list[Block]:
    return [table] if table.rows else []


def _figures(summary: Mapping[str, Any]) -> list[Block]:
    if not summary["reactions"]:
        return [Note(text="No scene had an eligible moment that could be used.")]
    return [Figure(svg=reactions_figure(summary["reactions"], REACTIONS), caption=REACTIONS)]


def _contrasts(summary: Mapping[str, Any]) -> list[Block]:
    return [*_table(contrasts_table(summary, primary=True)), *_table(contrasts_table(summary, primary=False))]


def _conditional(summary: Mapping[str, Any]) -> list[Block]:
    return [*_table(conditional_table(summary)), *_table(conditional_contrasts(summary))]


def _oracle(summary: Mapping[str, Any], values: Values, shown: Sequence[str]) -> list[Block]:
    if not summary["oracle"]:
        return []
    blocks: list[Block] = [oracle_table(summary)]
    far = next((row for row in summary["oracle"] if row["variant"] == "far"), None)
    if far is not None:
        calm = far["scenes"] - far["driver_reacts"]
        blocks.append(
            f"About the far object the driver itself does nothing within 4 s (at most 0.5 m) in {calm} of {far['scenes']} scenes: there "
            "the right answer is none."
        )
    for name in shown:
        pairs = [
            (value.oracle_m, value.change_m)
            for value in values.get((name, "near"), {}).values()
            if value.oracle_m is not None
        ]
        if pairs:
            caption = (
                f"Change of the path by the near object, a dot per scene: the town's driver across, {name} up; both axes grow like "
                "the square root."
            )
            blocks.append(Figure(svg=driver_figure(pairs, name, caption), caption=caption))
    return blocks


def _sweep(summary: Mapping[str, Any]) -> list[Block]:
    there = {row["over"] for row in summary["sweep"]}
    return [
        Figure(svg=sweep_figure(summary["sweep"], over, caption), caption=caption)
        for over, caption in SWEPT.items()
        if over in there
    ]


def write_markdown(folder: Path, first: str, sections: Sequence[Section]) -> None:
    """`report.md`, with its figures as SVG files in `figures`."""
    (folder / "figures").mkdir()
    parts = [f"# {TITLE}", first]
    count = 0
    for section in sections:
        parts.append(f"## {section.heading}")
        for block in section.blocks:
            if isinstance(block, Figure):
                count += 1
                name = f"figures/{count:02d}.svg"
                (folder / name).write_text(block.svg, encoding="utf-8")
                parts.append(f"![{block.caption}]({name})\n\n{block.caption}")
            else:
                parts.append(_in_markdown(block))
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _in_markdown(block: Block) -> str:
    if isinstance(block, Table):
        head = f"| {' | '.join(block.head)} |\n|{'---|' * len(block.head)}"
        lines = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in block.rows)
        return f"{head}\n{lines}"
    return block.text if isinstance(block, Note) else str(block)
