"""What can be said of a training clip from chunk to chunk: what the driver is told, what it does and why, what is seen."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.clips import Instruction
from worldmodel.errors import BadDataset

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

FILE = "words.json"  # in a store's folder
Spoken = tuple[tuple[float, str], ...]  # each text with the second from which it holds, until the next one does


@dataclass(frozen=True, kw_only=True)
class Words:
    """All that is said of one clip. Seconds count from its first frame; '' is silence.

    Attributes:
        instruction: What the driver is told.
        hint: What it does next, and why; one per half second, repeats left out.
        description: Where it is, and in which weather and light.
    """

    instruction: Spoken
    hint: Spoken = ()
    description: Spoken = ()

    def at(self, sort: str, time_s: float) -> str:
        """The text of a sort ('instruction', 'hint' or 'description') that holds at a time; '' for none."""
        spoken: Spoken = getattr(self, sort)
        return next((text for start, text in reversed(spoken) if start <= time_s + 1e-9), "")

    def has(self, sort: str) -> bool:
        """Whether anything of a sort is said."""
        return bool(getattr(self, sort))

    def texts(self) -> set[str]:
        """Every text that is said."""
        return {text for item in fields(self) for _, text in getattr(self, item.name)}


def spoken_of(instructions: Sequence[Instruction], offset_s: float = 0.0) -> Spoken:
    """Instructions as texts that hold until the next one; silence in between; of several at once the last one counts.

    Args:
        offset_s: Where in their clip second 0 is.
    """
    spans = [(one.start_s - offset_s, one.end_s - offset_s, one.text) for one in instructions]
    changes = sorted({max(0.0, time_s) for start, end, _ in spans for time_s in (start, end) if not isinf(time_s)})
    rows: list[tuple[float, str]] = []
    for time_s in changes:
        text = next((said for start, end, said in reversed(spans) if start <= time_s < end), "")
        if text != (rows[-1][1] if rows else ""):
            rows.append((time_s, text))
    return tuple(rows)


def town_words(scene: "Scene") -> Words:
    """What the town says of one of its scenes."""
    from worldmodel.town.words.descriptions import describe
    from worldmodel.town.words.hints import hints

    place = describe(scene).partition(". ")[0].rstrip(".") + "."
    return Words(
        instruction=spoken_of(scene.instructions),
        hint=spoken_of(hints(scene)),
        description=((0.0, place),),
    )


def write_words(folder: Path, clips: Sequence[Words]) -> None:
    """Write the words of a store's clips beside its arrays."""
    rows = [{item.name: getattr(one, item.name) for item in fields(one)} for one in clips]
    temporary = folder / (FILE + ".tmp")
    temporary.write_text(json.dumps(rows), encoding="utf-8")
    os.replace(temporary, folder / FILE)


def read_words(folder: Path, clips: int) -> tuple[Words, ...] | None:
    """The words of a store's clips; None for a store that has one text per clip only.

    Raises:
        BadDataset: if they cannot be read or are not those of so many clips.
    """
    if not (folder / FILE).exists():
        return None
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
        found = tuple(Words(**{name: _spoken(rows) for name, rows in one.items()}) for one in data)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadDataset(
            f"'{folder / FILE}' cannot be read ({error}). Delete it; `add_words` makes it again."
        ) from error
    if len(found) != clips:
        raise BadDataset(
            f"'{folder / FILE}' has words for {len(found)} clips; the store has {clips}. Delete it; `add_words` makes it again."
        )
    return found


def _spoken(rows: Any) -> Spoken:
    return tuple((float(start), str(text)) for start, text in rows)
