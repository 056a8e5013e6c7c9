"""Guides by name, as on the command line: fixed, schedule, decision, town, vlm:MODEL."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.moments import Moment
from studio.town_answer import recorded_scene
from worldmodel.errors import BadRequest, UnknownName

if TYPE_CHECKING:
    from studio.jobs.work.streaming import StreamedRollout
    from worldmodel.guidance import Guide
    from worldmodel.rollout import Rollout

NAMES = ("fixed", "schedule", "decision", "town", "vlm:MODEL")
MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class GuideChoice:
    """Which guide steers a future; checked when made, so that a mistyped name fails before anything slow begins.

    Attributes:
        name: One of NAMES; '' for 'schedule' where a schedule is given, else 'fixed'.
        schedule: Texts with their start in seconds, as `worldmodel.guidance.parse_schedule` reads them, or a file
            '*.json' that holds them; '' for none.
    """

    name: str = ""
    schedule: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", "schedule" if self.schedule else "fixed")
        if self.name not in NAMES[:-1] and not (self.name.startswith("vlm:") and len(self.name) > len("vlm:")):
            raise UnknownName("guide", self.name, NAMES)
        if (self.name == "schedule") != bool(self.schedule):
            raise BadRequest(
                f"the guide is '{self.name}' and {'a' if self.schedule else 'no'} schedule was given; the two go together. "
                "Use --guide schedule --schedule '0:follow the road;2:turn left', or neither."
            )
        if self.schedule:
            self._scheduled()

    def make(self, moment: Moment, text: str, seconds: float) -> "Guide":
        """The guide itself.

        Args:
            moment: Now, in its recording; 'town' looks up its scene.
            text: What the driver is told; all that 'fixed' says.
            seconds: How far the future goes.
        Raises:
            BadCheckpoint: if there is no such vision-language model.
            BadRequest: if the clip is no town scene and the guide is 'town'.
        """
        from worldmodel.guidance import DecisionGuide, FixedGuide

        if self.name == "schedule":
            return self._scheduled()
        if self.name == "decision":
            return DecisionGuide()
        if self.name == "town":
            return _town_guide(moment, seconds)
        if self.name.startswith("vlm:"):
            from worldmodel.vlm_guide import VlmGuide

            return VlmGuide(self.name.removeprefix("vlm:"))
        return FixedGuide(text=text)

    def _scheduled(self) -> "Guide":
        from worldmodel.guidance import parse_schedule

        return parse_schedule(_content(Path(self.schedule)) if self.schedule.endswith(".json") else self.schedule)


def _content(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadRequest(f"the schedule '{path}' is larger than {MAX_FILE_BYTES} bytes. Give fewer texts.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(
            f"the schedule '{path}' cannot be read ({error}). Name a JSON file in UTF-8, or write the texts out."
        ) from error


def _town_guide(moment: Moment, seconds: float) -> "Guide":
    from worldmodel.town.dataset import SOURCE
    from worldmodel.town.guide import TownGuide

    if moment.clip.source != SOURCE:
        raise BadRequest(
            f"clip '{moment.clip.id}' was not made by the town, so the town cannot say what its driver does. "
            "Use --guide fixed, schedule, decision or vlm:MODEL."
        )
    return TownGuide(recorded_scene(moment, seconds), moment.start_s + moment.at_s)


def texts_by_time(rollout: "Rollout | StreamedRollout") -> list[tuple[float, float, str]]:
    """What steered a rollout: start and end in seconds from now, and the text, one row as long as it stays the same."""
    first = float(rollout.trajectory.times_s[0])
    rows: list[tuple[float, float, str]] = []
    for chunk, text in enumerate(rollout.texts):
        start = first + chunk * rollout.chunk_s
        if rows and rows[-1][2] == text:
            start = rows.pop()[0]
        rows.append((start, first + (chunk + 1) * rollout.chunk_s, text))
    return rows
