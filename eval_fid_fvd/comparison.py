"""Two sets of scores beside each other: number by number, and only where both were made in the same way."""

from dataclasses import dataclass
from typing import Any

from eval_fid_fvd.cards import Score, check_comparable
from eval_fid_fvd.results import Scores
from worldmodel.errors import BadRequest


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One number of both.

    Attributes:
        name: Of the score.
        ours, theirs: The two.
    """

    name: str
    ours: Score
    theirs: Score

    @property
    def difference(self) -> float:
        """Ours minus theirs."""
        return self.ours.value - self.theirs.value

    @property
    def apart(self) -> bool | None:
        """Whether the intervals do not touch; None where one has none."""
        if self.ours.interval is None or self.theirs.interval is None:
            return None
        return self.ours.interval[0] > self.theirs.interval[1] or self.theirs.interval[0] > self.ours.interval[1]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        values = {"here": self.ours.value, "there": self.theirs.value, "difference": self.difference}
        return {"name": self.name, **values, "intervals_apart": self.apart}


def compare(ours: Scores, theirs: Scores) -> tuple[Comparison, ...]:
    """Every score that both have.

    Raises:
        BadRequest: if they share no score, or a shared one was made differently: every line that differs is named.
    """
    by_name = {score.name: score for score in theirs.scores}
    shared = [(score, by_name[score.name]) for score in ours.scores if score.name in by_name]
    if not shared:
        raise BadRequest(
            f"the scores are {', '.join(score.name for score in ours.scores)} here and {', '.join(by_name) or 'none'} "
            "there; at least one must be in both. Score both with the same metrics and networks."
        )
    for pair in shared:
        check_comparable(*pair)
    return tuple(Comparison(name=a.name, ours=a, theirs=b) for a, b in shared)


def comparison_table(rows: tuple[Comparison, ...]) -> str:
    """Lines to print: name, both values with their intervals, difference, whether the intervals are apart."""
    words = {True: "intervals apart", False: "intervals overlap", None: "no interval"}
    cells = [("score", "here", "there", "difference", "")]
    cells += [
        (row.name, _number(row.ours), _number(row.theirs), f"{row.difference:+.4g}", words[row.apart]) for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _number(score: Score) -> str:
    if score.interval is None:
        return f"{score.value:.4g}"
    return f"{score.value:.4g} ({score.interval[0]:.4g} .. {score.interval[1]:.4g})"
