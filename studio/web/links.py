"""One small language for three things: the permalink of a run, the hand-over from page to page, and what an example says.

A link is a page and a few named texts, written as the query of an address: `tab=imagine&clip=0%401.9&seed=3`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from worldmodel.errors import BadRequest

PAGES = ("imagine", "what-if", "drive", "study", "scores", "jobs")
MOST_CHARACTERS = 8000
MOST_VALUES = 64
NONCE = "_"  # makes two hand-overs of the same link differ
TAB = "tab"  # 'page' is taken: Gradio reads it itself


@dataclass(frozen=True, kw_only=True)
class Link:
    """Where to go and with what.

    Attributes:
        page: One of PAGES.
        values: What the page's controls are set to; what is not named stays at its default.
    """

    page: str = PAGES[0]
    values: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.page not in PAGES:
            raise BadRequest(
                f"the link names page '{self.page[:40]}'; there are {', '.join(PAGES)}. Repair its 'tab='."
            )

    @staticmethod
    def parse(query: str | None) -> "Link":
        """A link from the query of an address; an empty one is the first page.

        Raises:
            BadRequest: if it is too long, or names a page that does not exist.
        """
        text = (query or "").lstrip("?")
        if len(text) > MOST_CHARACTERS:
            raise BadRequest(
                f"the link has {len(text)} characters; at most {MOST_CHARACTERS} are read. Open the page without it and set its controls."
            )
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_VALUES)
        except ValueError as error:
            raise BadRequest(
                f"the link names more than {MOST_VALUES} values. Open the page without it and set its controls."
            ) from error
        values = {name: value for name, value in pairs if name != NONCE}
        return Link(page=values.pop(TAB, PAGES[0]), values=values)

    @property
    def query(self) -> str:
        """The text after the '?'."""
        return urlencode({TAB: self.page, **self.values})

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A value as a number.

        Raises:
            BadRequest: if it is none, or out of range.
        """
        text = self.values.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise BadRequest(
                f"the link says {name}={text[:40]}; it must be a number from {low:g} to {high:g}. Repair it, or leave it out."
            )
        return value


def fresh(link: Link, count: int) -> str:
    """A query that differs from the last one even when the link does not, so that a second hand-over is noticed."""
    return f"{link.query}&{NONCE}={count}"
