"""The page of a batch as one HTML file with relative links: opens from a disk, offline, and loads nothing from elsewhere."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from studio.html_report import CSS, Section, Table, render_section
from studio.jobs.results.contact_sheets import PER_SHEET
from studio.jobs.run.tally import seconds_of
from studio.jobs.unit_words import clip_words, more_words, told_words
from studio.jobs.units import Unit
from studio.runs import NOTICE

HERE = Path(__file__).parent
MORE_CSS, SCRIPT = ((HERE / f"index_page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
SCRIPT_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = (
    "default-src 'none'; img-src 'self' file:; media-src 'self' file:; style-src 'unsafe-inline'; "
    f"script-src 'sha256-{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Card:
    """A finished unit on the page.

    Attributes:
        unit: Its request.
        files: Names of its files.
        scores: Its own numbers.
        timings_s: Seconds by part, as in its Outcome.
        warnings: How many.
        imagined_s: Seconds of its future.
        bytes: Of its files.
    """

    unit: Unit
    files: tuple[str, ...]
    scores: Mapping[str, float]
    timings_s: Mapping[str, float] = field(default_factory=dict)
    warnings: int = 0
    imagined_s: float = 0.0
    bytes: int = 0

    @property
    def computed_s(self) -> float:
        """How long it took, without loading the model."""
        return seconds_of(self.timings_s)


@dataclass(frozen=True, eq=False, kw_only=True)
class IndexContent:
    """What the page shows.

    Attributes:
        title, lead: Heading, and a few sentences below it.
        cards: Finished units, in order.
        sections: Below them; headings are links at the top.
        sheets: Addresses of contact sheets, from the page.
        facts: How it was made.
    """

    title: str
    lead: str
    cards: Sequence[Card]
    sections: Sequence[Section]
    sheets: Sequence[str]
    facts: Mapping[str, str]


def render_index(content: IndexContent) -> str:
    """The whole page. Every text is escaped."""
    made = Section(heading="How it was made", blocks=[Table(head=("", ""), rows=list(content.facts.items()))])
    sections = [*content.sections, made]
    headings = ["Units", *(["Contact sheets"] if content.sheets else []), *(section.heading for section in sections)]
    links = "".join(f'<a href="#{_anchor(heading)}">{escape(heading)}</a>' for heading in headings)
    body = "".join(f'<div id="{_anchor(one.heading)}">{render_section(one)}</div>' for one in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(content.title)}</title><style>{CSS}\n{MORE_CSS}</style></head><body>"
        f'<header><h1>{escape(content.title)}</h1><p class="lead">{escape(content.lead)}</p>'
        f'<p class="notice" role="note">{escape(NOTICE)}</p><nav aria-label="Parts of this page">{links}</nav></header>'
        f"<main>{_units(content)}{_sheets(content)}{body}</main>"
        f'<script type="application/json" id="units-data">{_data(content.cards)}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _units(content: IndexContent) -> str:
    scores = sorted({name for card in content.cards for name in card.scores})
    orders = [("number", "number"), ("computed:down", "longest first")]
    for name in scores:
        orders += [(f"{name}:down", f"{name}, largest first"), (name, f"{name}, smallest first")]
    options = "".join(f'<option value="{escape(value)}">{escape(words)}</option>' for value, words in orders)
    empty = "" if content.cards else '<p class="note">No unit is finished yet.</p>'
    return (
        f'<section id="units"><h2>Units</h2>{empty}<noscript><p class="note">Scripts are off, so units cannot be listed '
        "here. Each is a folder in <code>units/</code>; the contact sheets below show them all.</p></noscript>"
        '<div id="browse" hidden><form role="search"><label>Filter by clip, text, edit or key; also seed=3, unit=12, seconds=4'
        '<input type="search" id="filter" autocomplete="off"></label>'
        f'<label>Order<select id="order">{options}</select></label></form>'
        '<p id="told" role="status"></p><ol id="list"></ol><div id="pager" role="group" aria-label="Pages"></div>'
        "</div></section>"
    )


def _sheets(content: IndexContent) -> str:
    if not content.sheets:
        return ""
    links = " ".join(f'<a href="{escape(name)}">{number}</a>' for number, name in enumerate(content.sheets, start=1))
    shown = len(content.sheets) * PER_SHEET
    which = "all units" if shown >= len(content.cards) else f"the first {shown:,} units"
    return f'<section id="contact-sheets"><h2>Contact sheets</h2><p>Posters of {which}, on pages: {links}</p></section>'


def _data(cards: Sequence[Card]) -> str:
    """All cards as JSON that cannot end its element; texts that repeat are said once."""
    told: dict[str, dict[Any, int]] = {name: {} for name in ("clips", "texts", "mores", "files")}

    def number(kind: str, value: Any) -> int:
        return told[kind].setdefault(value, len(told[kind]))

    rows = [
        [
            card.unit.number,
            card.unit.key,
            number("clips", clip_words(card.unit.request)),
            number("texts", told_words(card.unit.request)),
            card.unit.request.seed,
            number("mores", more_words(card.unit.request)),
            number("files", card.files),
            dict(card.scores),
            card.unit.request.seconds,
            round(card.computed_s, 2),
            card.warnings,
        ]
        for card in cards
    ]
    content = {"units": rows, **{kind: list(values) for kind, values in told.items()}}
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")
