"""The language of a dataset: everything that is said about its episodes, and what is decided at every frame.

    meta/language.parquet     one row per text: instructions, description, hints, notices, questions with answers
    meta/decisions.parquet    one row per frame: lateral and longitudinal decision over 1, 2 and 3 s

Both are absent where nothing is said; lerobot has no place for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isinf
from pathlib import Path
from typing import Any

from worldmodel.decisions import HORIZONS_S, LATERAL, LONGITUDINAL
from worldmodel.errors import BadDataset, BadTable
from worldmodel.plans import Decision

LANGUAGE_FILE = "meta/language.parquet"
DECISIONS_FILE = "meta/decisions.parquet"
TEXT_KINDS = ("instruction", "description", "hint", "notice", "question")
TEXT_COLUMNS = ("episode_index", "kind", "start_s", "end_s", "text", "answer", "topic", "tracks", "followed")
DECISION_COLUMNS = (
    "episode_index",
    "frame_index",
    *(f"{axis}_{h:g}s" for h in HORIZONS_S for axis in ("lateral", "longitudinal")),
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """Something that is said about a stretch of an episode, or asked about a moment of it.

    Attributes:
        kind: One of TEXT_KINDS.
        text: In words; for a question, the question.
        start_s, end_s: When it holds, start_s <= t < end_s; the same where it is about a moment; inf for to the end.
        answer: Of a question; '' otherwise.
        topic: Of a question, such as 'count' or 'color'; '' otherwise.
        tracks: The bodies that it is about, as in the boxes.
        followed: False for an instruction that the driver is right not to follow.
    """

    kind: str
    text: str
    start_s: float = 0.0
    end_s: float = inf
    answer: str = ""
    topic: str = ""
    tracks: tuple[str, ...] = ()
    followed: bool = True

    def __post_init__(self) -> None:
        if self.kind not in TEXT_KINDS:
            raise BadTable(f"a text is of kind '{self.kind}'; it must be one of {', '.join(TEXT_KINDS)}.")
        if not self.text.strip() or not 0 <= self.start_s <= self.end_s:
            raise BadTable(
                f"the {self.kind} {self.text!r} holds from {self.start_s} to {self.end_s} s; it needs words and an end "
                "that is not before its start."
            )


@dataclass(frozen=True, kw_only=True)
class Language:
    """What is said about an episode.

    Attributes:
        texts: In order of their kind, then of time.
        decisions: For every frame, over 1, 2 and 3 s; None where the episode ends before.
    """

    texts: tuple[Text, ...]
    decisions: tuple[tuple[Decision | None, ...], ...]

    def of(self, kind: str, at_s: float | None = None) -> tuple[Text, ...]:
        """The texts of a kind; only those that hold at a time, where one is given."""
        return tuple(
            text
            for text in self.texts
            if text.kind == kind and (at_s is None or text.start_s <= at_s < text.end_s or at_s == text.start_s)
        )

    @property
    def description(self) -> str:
        """What the first frame shows; '' where nobody says."""
        return next((text.text for text in self.of("description")), "")

    @property
    def to_be_followed(self) -> bool:
        """False where an instruction is misleading: the driver is right not to follow it."""
        return all(text.followed for text in self.texts)


def text_table(language: Language, episode: int) -> Any:
    """The rows of `meta/language.parquet` for one episode."""
    import pyarrow as pa

    rows = [
        {
            "episode_index": episode,
            "kind": text.kind,
            "start_s": text.start_s,
            "end_s": None if isinf(text.end_s) else text.end_s,
            "text": text.text,
            "answer": text.answer or None,
            "topic": text.topic or None,
            "tracks": list(text.tracks),
            "followed": text.followed,
        }
        for text in language.texts
    ]
    types = [pa.int64(), pa.string(), pa.float64(), pa.float64(), *[pa.string()] * 3, pa.list_(pa.string()), pa.bool_()]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(zip(TEXT_COLUMNS, types, strict=True))))


def decision_table(language: Language, episode: int) -> Any:
    """The rows of `meta/decisions.parquet` for one episode."""
    import pyarrow as pa

    rows = []
    for frame, made in enumerate(language.decisions):
        words = [word for d in made for word in ((None, None) if d is None else (d.lateral, d.longitudinal))]
        rows.append(dict(zip(DECISION_COLUMNS, (episode, frame, *words), strict=True)))
    types = [pa.int64()] * 2 + [pa.string()] * 2 * len(HORIZONS_S)
    return pa.Table.from_pylist(rows, schema=pa.schema(list(zip(DECISION_COLUMNS, types, strict=True))))


def read_language(folder: Path, episode: int) -> Language:
    """What is said about an episode; nothing where the dataset has no language.

    Raises:
        BadDataset: if a table cannot be read or holds impossible values.
    """
    texts = _rows(folder / LANGUAGE_FILE, TEXT_COLUMNS, episode)
    frames = _rows(folder / DECISIONS_FILE, DECISION_COLUMNS, episode)
    try:
        return Language(
            texts=tuple(_text(row) for row in texts),
            decisions=tuple(_decisions(row) for row in sorted(frames, key=lambda row: row["frame_index"])),
        )
    except BadTable as error:
        raise BadDataset(f"'{folder / LANGUAGE_FILE}': {error} Run `detour check`.") from error


def _rows(file: Path, columns: Sequence[str], episode: int) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.exists():
        return []
    try:
        rows: list[dict[str, Any]] = pq.read_table(
            file, columns=list(columns), filters=[("episode_index", "=", episode)]
        ).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise BadDataset(f"'{file}' cannot be read: {error}. Copy the dataset again.") from error
    return rows


def _text(row: dict[str, Any]) -> Text:
    return Text(
        kind=row["kind"],
        text=row["text"],
        start_s=row["start_s"],
        end_s=inf if row["end_s"] is None else row["end_s"],
        answer=row["answer"] or "",
        topic=row["topic"] or "",
        tracks=tuple(row["tracks"] or ()),
        followed=row["followed"],
    )


def _decisions(row: dict[str, Any]) -> tuple[Decision | None, ...]:
    made = [(row[f"lateral_{h:g}s"], row[f"longitudinal_{h:g}s"]) for h in HORIZONS_S]
    return tuple(Decision(lateral=a, longitudinal=b) if a in LATERAL and b in LONGITUDINAL else None for a, b in made)
