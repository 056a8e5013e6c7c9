"""OUT/index.html: every finished unit with its poster, what failed and why, what was slow, and scores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studio.html_report import Block, Note, Section, Table
from studio.jobs.results.contact_sheets import FOLDER as SHEETS
from studio.jobs.results.index_page import Card, IndexContent, render_index
from studio.jobs.unit_words import BY, unit_words, value_words
from studio.jobs.units import Batch, Unit
from studio.runs import commit, versions

if TYPE_CHECKING:
    from studio.jobs.folder.batch_folder import BatchFolder
    from studio.jobs.folder.failed import Failure

INDEX = "index.html"
SLOWEST, MOST_FAILURES, MOST_LEFT_OUT = 10, 500, 100
MOST_LISTED = 50_000  # units: a page of 5 MB, which opens in under a second
MOST_VALUES = 30  # rows per table of a sweep
MB = 1e6


def write_index(folder: "BatchFolder") -> None:
    """Write the page of a batch, as it stands now, into its folder.

    Raises:
        OutputExists, Unreachable: if the folder cannot be written.
        BadDataset: if it is no batch.
    """
    folder.storage.write(INDEX, render_index(index_content(folder)).encode())


def index_content(folder: "BatchFolder") -> IndexContent:
    """What the page shows."""
    batch, failures = folder.batch, folder.failures()
    units = {unit.key: unit for unit in batch.units}
    cards = [_card(units[row["key"]], row) for row in folder.rows()]
    sections = [*_scores(folder), *_means(cards), *_failed(failures, units), *_slowest(cards)]
    sheets = [f"{SHEETS}/{name}" for name in folder.storage.names(SHEETS) if name.endswith(".jpg")]
    return IndexContent(
        title=str(batch.job.get("name") or f"Batch {batch.digest[:12]}"),
        lead=_lead(batch, cards, len(failures)),
        cards=cards[:MOST_LISTED],
        sections=sections,
        sheets=sheets,
        facts=_facts(batch),
    )


def _card(unit: Unit, row: Mapping[str, Any]) -> Card:
    """What the page needs of a row of the manifest; the rest of it is let go."""
    return Card(
        unit=unit,
        files=tuple(sorted(file["name"] for file in row["files"])),
        scores=row["scores"],
        timings_s=row["timings_s"],
        warnings=len(row["warnings"]),
        imagined_s=row["frames"] / row["frequency_hz"] if row["frequency_hz"] else 0.0,
        bytes=row["bytes"],
    )


def _lead(batch: Batch, cards: Sequence[Card], failed: int) -> str:
    seconds, size = sum(card.imagined_s for card in cards), sum(card.bytes for card in cards) / MB
    open_units = len(batch.units) - len(cards) - failed
    states = [f"{len(cards)} of {len(batch.units)} units are done"]
    states += [f"{failed} failed"] if failed else []
    states += [f"{open_units} not done yet"] if open_units > 0 else []
    listed = f" The first {MOST_LISTED:,} are listed; the manifest has all." if len(cards) > MOST_LISTED else ""
    return f"{', '.join(states)}. {seconds:,.0f} s were imagined; {size:,.1f} MB.{listed}"


def _facts(batch: Batch) -> dict[str, str]:
    setup, made = batch.setup, versions()
    return {
        "batch": batch.digest,
        "model": f"{setup.model} ({setup.model_digest[:12]})",
        "together, threads, device": f"{setup.batch}, {setup.threads}, {setup.device}",
        "sources": setup.sources_digest or "unknown",
        "libraries": ", ".join(f"{name} {version}" for name, version in setup.libraries.items()) or "unknown",
        "this page": f"Detour {made['detour']}, commit {commit()}",
    }


def _failed(failures: "Sequence[Failure]", units: Mapping[str, Unit]) -> Iterator[Section]:
    if not failures:
        return
    rows = [
        (f"unit {row.number}: {unit_words(units[row.key].request)}", f"{row.attempts}", row.kind, row.message)
        for row in failures[:MOST_FAILURES]
    ]
    blocks: list[Block] = [Table(head=("unit", "tries", "kind", "why it failed"), rows=rows)]
    if len(failures) > MOST_FAILURES:
        blocks.append(Note(text=f"{len(failures) - MOST_FAILURES} more: `detour jobs failures` lists all."))
    blocks.append("They are in no score. `detour jobs retry` tries them again.")
    yield Section(heading="Failures", blocks=blocks)


def _slowest(cards: Sequence[Card]) -> Iterator[Section]:
    some = sorted(cards, key=lambda card: -card.computed_s)[:SLOWEST]
    if not some:
        return
    rows = [
        (f"unit {card.unit.number}", f"{card.computed_s:.2f} s", _parts(card.timings_s), unit_words(card.unit.request))
        for card in some
    ]
    yield Section(heading="Slowest", blocks=[Table(head=("unit", "seconds", "of these", "asked for"), rows=rows)])


def _parts(timings_s: Mapping[str, float]) -> str:
    """Where the time went, most first; 'load' is the model's, which the worker's first unit waited for."""
    return ", ".join(
        f"{part} {value:.2f}" for part, value in sorted(timings_s.items(), key=lambda one: -one[1]) if value >= 0.005
    )


def _means(cards: Sequence[Card]) -> Iterator[Section]:
    """Means of the units' own scores, by each value that units differ in."""
    names = sorted({name for card in cards for name in card.scores})
    if not names:
        return
    tables: list[Block] = [_mean_table("all", {"all units": cards}, names)]
    for by in BY:
        values: dict[str, list[Card]] = {}
        for card in cards:
            values.setdefault(value_words(card.unit.request, by), []).append(card)
        if 1 < len(values) <= MOST_VALUES:
            tables.append(_mean_table(by, values, names))
    tables.append(
        "Means over units that could be compared with what followed; their number is in brackets. Failed units are in none."
    )
    yield Section(heading="Scores of units", blocks=tables)


def _mean_table(by: str, values: Mapping[str, Sequence[Card]], names: Sequence[str]) -> Table:
    rows = [(value, str(len(some)), *(_mean(some, name) for name in names)) for value, some in values.items()]
    return Table(head=(by, "units", *names), rows=rows)


def _mean(cards: Sequence[Card], name: str) -> str:
    found = [card.scores[name] for card in cards if name in card.scores]
    return f"{sum(found) / len(found):.4g} ({len(found)})" if found else "-"


def _scores(folder: "BatchFolder") -> Iterator[Section]:
    """What `detour jobs score` found, if it was called for this batch."""
    from studio.jobs.results.scores import FILE

    try:
        found = json.loads(folder.storage.read(FILE))
    except (FileNotFoundError, ValueError):
        return
    blocks: list[Block] = [_score_table(found["groups"])]
    if found["batch"] != folder.batch.digest:
        blocks.insert(0, Note(text="The job has changed since; score it again."))
    blocks += [
        Note(text=f"{_title(group)}: no {name}: {why}")
        for group in found["groups"]
        for name, why in group["lacks"].items()
    ]
    blocks.append(_cards_table(found["groups"]))
    if found["left_out"]:
        rows = [(f"unit {one['number']}", one["why"]) for one in found["left_out"][:MOST_LEFT_OUT]]
        caption = f"{len(found['left_out'])} units are in no score" + (
            f"; the first {len(rows)}:" if len(rows) < len(found["left_out"]) else ":"
        )
        blocks.append(Table(head=("unit", "why"), rows=rows, caption=caption))
    yield Section(heading="Scores against what followed", blocks=blocks)


def _score_table(groups: Sequence[Mapping[str, Any]]) -> Table:
    """A row per group, a column per score."""
    found = [
        (group, {score["name"]: score for score in (group["scores"] or {"scores": ()})["scores"]}) for group in groups
    ]
    names = list(dict.fromkeys(name for _, scores in found for name in scores))
    rows = [
        (_title(group), f"{group['units']} of {group['moments']}", *(_value(scores.get(name)) for name in names))
        for group, scores in found
    ]
    caption = "Value (95 % interval; real against real where moments do not repeat)"
    return Table(head=("units", "units of moments", *names), rows=rows, caption=caption)


def _value(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    interval = "" if score["interval"] is None else f"{score['interval'][0]:.4g} to {score['interval'][1]:.4g}"
    level = "" if score["floor"] is None else f"real {score['floor']:.4g}"
    told = "; ".join(part for part in (interval, level) if part)
    return f"{score['value']:.4g}{f' ({told})' if told else ''}"


def _cards_table(groups: Sequence[Mapping[str, Any]]) -> Table:
    """The metric cards of the whole batch, line by line; lines that say nothing are left out."""
    rows = [
        (
            score["name"],
            "; ".join(
                f"{line}: {_plain(value)}"
                for line, value in score["card"].items()
                if value not in (None, "", "none", [])
            ),
        )
        for group in groups[:1]
        for score in (group["scores"] or {"scores": ()})["scores"]
    ]
    return Table(head=("score", "card"), rows=rows, caption="How the numbers of all units were made:")


def _title(group: Mapping[str, Any]) -> str:
    return f"{group['by']}: {group['value']}" if group["by"] else "all units"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
