"""What connects the pages: the link that a page is opened with, the one it leaves behind, and whose visit it is."""

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from studio.web.links import Link, fresh
from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    import gradio

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}  # of small events
RUN: dict[str, Any] = {
    "show_progress": "hidden",
    "concurrency_limit": None,
    "api_visibility": "private",
}  # of long ones
_number = count()


@dataclass(frozen=True, kw_only=True)
class Wires:
    """Two hidden texts that connect the pages.

    Attributes:
        address: The query that the studio was opened with, or that another page hands over; pages listen to it.
        here: The link of what was started last; a page writes it, the browser's address follows.
    """

    address: "gradio.Textbox"
    here: "gradio.Textbox"


def hand_over(link: Link) -> str:
    """What a page writes into `address` to open another page with values."""
    return fresh(link, next(_number))


def values_for(page: str, query: str | None) -> Link | None:
    """The link in `query` if it is for this page and says anything; else None. A broken link is the frame's to tell."""
    try:
        link = Link.parse(query)
    except BadRequest:
        return None
    return link if link.page == page and link.values else None


def session_of(request: Any) -> str:
    """The visitor's session; 'unknown' for none, which owns nothing."""
    return str(getattr(request, "session_hash", None) or "unknown")
