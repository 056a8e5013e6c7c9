"""What a page shows: pictures that carry their data and their description, status lines, tables."""

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import UInt8

from studio.web.films import jpeg_of
from worldmodel.geometry import Array


def picture(frame: UInt8[Array, "3 h w"], alt: str) -> str:
    """One picture as HTML (JPEG inside)."""
    data = base64.b64encode(jpeg_of(frame)).decode()
    return f'<img class="mosaic" alt="{escape(alt)}" src="data:image/jpeg;base64,{data}">'


def status(text: str, share: float | None = None) -> str:
    """A line that says what happens, with a bar when the share done (0 to 1) is known."""
    bar = "" if share is None else f'<progress max="1" value="{share:.3f}" aria-label="share done"></progress>'
    return f'<p class="status" role="status">{escape(text)}</p>{bar}'


def problem(text: str) -> str:
    """A sentence about what went wrong, where the visitor looks."""
    return f'<p class="status problem" role="alert">{escape(text)}</p>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A small table; the first cell of each row names it."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="numbers"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def stacked(rows: Sequence[UInt8[Array, "n 3 h w"]], gap_px: int = 4) -> UInt8[Array, "n 3 height w"]:
    """Videos of equal width above each other; shorter ones go dark when they end."""
    length = max(len(row) for row in rows)
    parts = []
    for i, row in enumerate(rows):
        dark = np.full((length - len(row), *row.shape[1:]), 24, np.uint8)
        parts += [np.full((length, 3, gap_px, row.shape[3]), 24, np.uint8)] if i else []
        parts.append(np.concatenate([row, dark]))
    return np.concatenate(parts, axis=2)


def even(frames: UInt8[Array, "n 3 h w"]) -> UInt8[Array, "n 3 h w"]:
    """Frames with even sides, as H.264 wants them: at most one row and one column less."""
    return frames[..., : frames.shape[2] // 2 * 2, : frames.shape[3] // 2 * 2]
