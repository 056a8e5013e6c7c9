"""Many drivers on the same courses in the town. Each drive is kept as it is made: a stopped run goes on, and more courses can follow."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy.town_drive import Course
from studio.drive import Driver, DriveRequest, drive_one, facts_of, make_driver
from worldmodel.errors import BadDataset
from worldmodel.town.mixes import scene_list

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

SEED = 31  # where in the range of test seeds the courses begin
PLANNER_SEED = 0
SECONDS = 10.0
WARMUP_S = 2.0  # of the town's expert: as much past as the world model reads
RATE_HZ = 8.0
Progress = Callable[[int, int], None]


def held_out_courses(count: int, *, seconds: float = SECONDS, seed: int = SEED) -> list[Course]:
    """Courses of the test seeds, the situations in turn; the first ones are the same however many are asked for.

    Raises:
        BadRequest: for a number of courses, seconds or a seed out of range.
    """
    return [
        Course(situation=situation, seed=one, seconds=seconds, warmup_s=WARMUP_S, frequency_hz=RATE_HZ)
        for situation, one in scene_list(count, seed, split="test")
    ]


def drives_of(
    name: str,
    courses: Sequence[Course],
    folder: Path,
    *,
    model: "WorldModel | None" = None,
    samples: int = 8,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """What became of each course with one driver, as `studio.drive.facts_of` says it.

    Args:
        name: As `detour drive --planner`.
        folder: Where drives are kept, by who drove with which weights; those that are there are not driven again.
        model: What planners that need a world model or its tokenizer use.
        samples: Plans per answer, by those that draw.
    Raises:
        BadInput: if the driver cannot be made.
        BadDataset: if a file in the folder is no drive.
    """
    driver = make_driver(DriveRequest(planner=name, samples=samples), model)
    kept = folder / _slug(f"{driver.who.name} {driver.about}")
    kept.mkdir(parents=True, exist_ok=True)
    found = []
    for number, course in enumerate(courses, start=1):
        path = kept / f"{course.situation}-{course.seed}-{course.seconds:g}s-{samples}.json"
        if not path.exists():
            _write(path, driver, course)
            if progress is not None:
                progress(number, len(courses))
        found.append(_read(path))
    return found


def _write(path: Path, driver: Driver, course: Course) -> None:
    facts = facts_of(drive_one(driver, course, PLANNER_SEED)) | {"driver": driver.who.name}
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    temporary.write_text(json.dumps(facts))
    os.replace(temporary, path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadDataset(f"'{path}' is no drive ({error}). Delete it; it is driven again.") from error
    if not isinstance(found, dict) or not {"driving_score", "end", "driver"} <= found.keys():
        raise BadDataset(f"'{path}' is no drive: it lacks its score. Delete it; it is driven again.")
    return found


def _slug(text: str) -> str:
    """A text as the name of a folder."""
    words = "".join(letter if letter.isalnum() or letter in "-." else " " for letter in text).split()
    return "-".join(words)[:120]
