"""Reports: one HTML file that holds its videos and plots, loads nothing, and opens offline."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from studio.runs import NOTICE
from worldmodel.io.video import probe


@dataclass(frozen=True, kw_only=True)
class Video:
    """A playing mp4 (H.264) inside the file.

    Attributes:
        path: Read when the report is written.
        alt: What it shows, for those who cannot see it.
        caption: Below it.
        imagined: Adds a badge.
    """

    path: Path
    alt: str
    caption: str = ""
    imagined: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Inline SVG that we made ourselves (never a user's), with a caption."""

    svg: str
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text; a row's first cell names it.

    Attributes:
        head: Column titles, with units.
        rows: As many cells as `head`.
        caption: Above it.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something that could not be done, or must be kept in mind."""

    text: str


Block = str | Video | Figure | Table | Note


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it; plain strings are paragraphs. Neighbouring videos and figures share a row."""

    heading: str
    blocks: Sequence[Block]


def render_report(title: str, lead: str, sections: Sequence[Section], facts: Mapping[str, str]) -> str:
    """The whole page. Every text is escaped; nothing is loaded from anywhere.

    Args:
        title: Of the page.
        lead: One or two sentences below it.
        sections: In order.
        facts: Seed, versions, commit and so on; a table at the end.
    """
    made_of = Table(head=("", ""), rows=list(facts.items()))
    body = "".join(
        render_section(section) for section in (*sections, Section(heading="How it was made", blocks=[made_of]))
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>'
        f'<p class="notice" role="note">{escape(NOTICE)}</p></header><main>{body}</main></body></html>\n'
    )


def write_report(path: Path, title: str, lead: str, sections: Sequence[Section], facts: Mapping[str, str]) -> None:
    """`render_report` into a file."""
    path.write_text(render_report(title, lead, sections, facts), encoding="utf-8")


def render_section(section: Section) -> str:
    """A section as HTML, every text escaped."""
    parts: list[str] = []
    row: list[str] = []
    for block in section.blocks:
        if isinstance(block, Video | Figure):
            row.append(_block(block))
            continue
        parts += _row(row)
        row = []
        parts.append(_block(block))
    parts += _row(row)
    return f"<section><h2>{escape(section.heading)}</h2>{''.join(parts)}</section>"


def _row(media: list[str]) -> list[str]:
    return [f'<div class="row">{"".join(media)}</div>'] if media else []


def _block(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    if isinstance(block, Note):
        return f'<p class="note" role="note">{escape(block.text)}</p>'
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Figure):
        caption = f"<p class=caption>{escape(block.caption)}</p>" if block.caption else ""
        return f'<div class="plot">{block.svg}{caption}</div>'
    return _video(block)


def _video(video: Video) -> str:
    data = base64.b64encode(video.path.read_bytes()).decode("ascii")
    info = probe(video.path)
    shape = "video wide" if info.width_px > 2.2 * info.height_px else "video"
    badge = '<span class="badge">imagined</span> ' if video.imagined else ""
    return (
        f'<figure class="{shape}"><video src="data:video/mp4;base64,{data}" controls autoplay loop muted playsinline '
        f'aria-label="{escape(video.alt)}" title="{escape(video.alt)}"></video>'
        f"<figcaption>{badge}{escape(video.caption or video.alt)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in table.rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if any(table.head) else ""
    return f'<div class="scroll"><table>{caption}{top}<tbody>{rows}</tbody></table></div>'


POLICY = "default-src 'none'; media-src data:; img-src data:; style-src 'unsafe-inline'"
CSS = """
:root{color-scheme:light dark;--ink:#1c2026;--soft:#5b6470;--paper:#fbfbf9;--card:#fff;--line:#dcdfe3;--warn:#8a4b08;--warnbg:#fff4e2;--badge:#7a3fb5}
@media(prefers-color-scheme:dark){:root{--ink:#e7e9ec;--soft:#a3abb5;--paper:#15181c;--card:#1d2127;--line:#343a42;--warn:#f0c489;--warnbg:#33281a;--badge:#b58be0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
header,main{max-width:1180px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .4rem}
h2{font-size:1.2rem;margin:0 0 .6rem}
p{margin:.3rem 0 .8rem;max-width:75ch}
.lead{font-size:1.05rem;color:var(--soft)}
.notice,.note{border-left:4px solid var(--warn);background:var(--warnbg);color:var(--warn);padding:.5rem .8rem;border-radius:4px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:18px 0}
.row{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start;margin:.4rem 0 .8rem}
.row>*{flex:1 1 320px;min-width:0;margin:0}
.row>.wide{flex-basis:100%}
video{display:block;width:100%;height:auto;border-radius:6px;background:#000}
figcaption,.caption{color:var(--soft);font-size:.9rem;margin:.35rem 0 0}
.plot{max-width:520px}
.plot:has(.photo){max-width:none;flex-basis:100%}
.photo{display:block;width:100%;height:auto;border-radius:6px}
.birdseye{margin:0}
.birdseye svg{display:block;width:100%;max-height:460px;border:1px solid var(--line);border-radius:6px;background:var(--paper)}
.grid{stroke:var(--line);stroke-width:.12}
.tick{fill:var(--soft);font-size:1.5px}
.box{fill:none;stroke:var(--soft);stroke-width:.18}
.obstacle{stroke:#c2262e;stroke-width:.6;fill:none}
.badge{background:var(--badge);color:#fff;border-radius:4px;padding:0 .4em;font-size:.8rem}
@media(prefers-color-scheme:dark){.badge{color:#15181c}}
.scroll{overflow-x:auto;margin:.4rem 0 .8rem}
table{border-collapse:collapse;font-size:.93rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:.2rem 0}
th,td{text-align:left;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td{white-space:nowrap}
td:only-of-type{white-space:normal;overflow-wrap:anywhere}
tbody th{font-weight:600;min-width:9em}
@media(max-width:480px){header,main{padding:0 12px}section{padding:14px 12px}h1{font-size:1.4rem}}
""".strip().replace("\n", "")
