"""Several runs of one command in a row: every clip with every seed, each with a folder of its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.live.study.studies import LONGEST_S, new_place
from studio.live.tasks.orders import Order, TaskView, Unit
from studio.study_config import VARIANTS
from studio.town_sprites import KINDS as THINGS
from studio.web.links import Link
from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    from studio.web.site import Site
    from worldmodel.io.lerobot import Dataset

MOST_UNITS = 24
MOST_SECONDS = {True: 60.0, False: 16.0}  # of a future, on a machine of one's own and on a shared one
CLIP = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?(?:@(\d+(?:\.\d*)?))?")
FIELDS = ("kind", "dataset", "clips", "seeds", "seconds", "text", "variant", "thing")  # of Batch
KINDS = {"imagine": "Imagine how it goes on", "stitch": "Put something in the way", "demo": "The whole story"}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the page asks for.

    Attributes:
        kind: Of KINDS; the command.
        dataset: As `Site.dataset` reads it.
        clips: Numbers of clips, as '0, 2-4, 5@2.5' (from 2.5 s on).
        seeds: As '0-3, 7'.
        seconds: Horizon, of 'imagine' and 'demo'.
        text: What the driver is told, of 'imagine'; '' for what the recording says.
        variant, thing: Where and what, of 'stitch'.
    """

    kind: str
    dataset: str = ""
    clips: str = "0"
    seeds: str = "0"
    seconds: float = 4.0
    text: str = ""
    variant: str = "near"
    thing: str = "car"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadRequest(f"'{self.kind}' is asked for; there are {', '.join(KINDS)}. Choose one of these.")


def batch_order(batch: Batch, site: "Site", session: str) -> Order:
    """The runs of a batch, in folders of the visitor.

    Raises:
        BadDataset: if the dataset is not there, or not open to the visitor.
        BadRequest: if clips, seeds or seconds are no numbers, out of range, or too many.
    """
    dataset = site.dataset(session, batch.dataset)
    most = MOST_SECONDS[site.any_folder]
    if not 0 < batch.seconds <= most:
        raise BadRequest(f"{batch.seconds:g} s are asked for; it must be 0.5 to {most:g}. Move 'Seconds'.")
    pairs = [(clip, seed) for clip in clips_in(batch.clips, dataset) for seed in seeds_in(batch.seeds)]
    if len(pairs) > MOST_UNITS:
        raise BadRequest(
            f"{len(pairs)} runs are asked for (clips times seeds); at most {MOST_UNITS} are done at once. Name fewer."
        )
    place = new_place(site.visitors.folder(session) / "runs")
    units = tuple(_unit(batch, site, f"{dataset.path.resolve()}:{clip}", clip, seed, place) for clip, seed in pairs)
    title = f"{KINDS[batch.kind]}, {len(units)} run{'s' * (len(units) != 1)}"
    place.mkdir(parents=True)
    return Order(kind=batch.kind, title=title, units=units, limit_s=LONGEST_S)


def _unit(batch: Batch, site: "Site", clip: str, short: str, seed: int, place: Path) -> Unit:
    out = place / f"{batch.kind}-clip-{short.replace('@', '-at-')}-seed-{seed}"
    common = (f"--out={out}", f"--seed={seed}", f"--model={site.model.folder.resolve()}")
    if batch.kind == "imagine":
        told = (f"--text={batch.text.strip()}",) if batch.text.strip() else ()
        words = ("imagine", *common, f"--seconds={batch.seconds:g}", *told, "--", clip)
    elif batch.kind == "stitch":
        words = ("stitch", *common, f"--variant={batch.variant}", f"--kind={batch.thing}", "--", clip)
    else:
        words = ("demo", *common, f"--seconds={batch.seconds:g}", f"--clip={clip}")
    return Unit(label=f"clip {short}, seed {seed}", words=words, out=out)


def score_order(run: Unit, site: "Site", session: str) -> Order:
    """Scores of a finished run that holds what really followed.

    Raises:
        BadRequest: if it has no folder.
    """
    if run.out is None:
        raise BadRequest("this task wrote no run. Choose a finished run.")
    place = new_place(site.visitors.folder(session) / "runs")
    place.mkdir(parents=True)
    out = place / "scores.json"
    words = ("score", f"--out={out}", f"--model={site.model.folder.resolve()}", "--", str(run.out))
    unit = Unit(label=run.label, words=words, out=out)
    return Order(kind="score", title=f"Scores of {run.label}", units=(unit,), limit_s=LONGEST_S)


def clips_in(text: str, dataset: "Dataset") -> list[str]:
    """Clips by number and moment: '0, 2-4, 5@2.5' is 0, 2, 3, 4 and 5@2.5.

    Raises:
        BadRequest: if something else is written, or a clip is not there.
    """
    found: list[str] = []
    for part in _parts("Clips", text, "0, 2-4, 5@2.5"):
        first, last, at = _matched("Clips", part, "0, 2-4, 5@2.5")
        if last >= dataset.episodes:
            raise BadRequest(
                f"clip {last} is asked for; '{dataset.name}' has clips 0 to {dataset.episodes - 1}. Name one of these."
            )
        found += [f"{clip}{at}" for clip in range(first, last + 1)]
    return list(dict.fromkeys(found))


def seeds_in(text: str) -> list[int]:
    """Seeds: '0-3, 7' is 0, 1, 2, 3 and 7.

    Raises:
        BadRequest: if something else is written.
    """
    found: list[int] = []
    for part in _parts("Seeds", text, "0-3, 7"):
        first, last, at = _matched("Seeds", part, "0-3, 7")
        if at:
            raise BadRequest(f"Seeds: '{part[:40]}' is no number. Write e.g. '0-3, 7'.")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def _parts(what: str, text: str | None, example: str) -> Sequence[str]:
    parts = [part.strip() for part in (text or "")[:1000].split(",") if part.strip()]
    if not parts:
        raise BadRequest(f"{what}: nothing is named. Write e.g. '{example}'.")
    return parts


def _matched(what: str, part: str, example: str) -> tuple[int, int, str]:
    """First, last and '@SECONDS' of one part."""
    found = CLIP.fullmatch(part.replace(" ", ""))
    first = int(found[1]) if found else 0
    last = int(found[2] or first) if found else -1
    if found is None or last < first or last - first >= MOST_UNITS:
        raise BadRequest(
            f"{what}: '{part[:40]}' cannot be read, or names more than {MOST_UNITS}. Write e.g. '{example}'."
        )
    return first, last, f"@{found[3]}" if found[3] else ""


def results_of(view: TaskView) -> list[tuple[str, str]]:
    """(label, number) of the units whose result can be opened."""
    return [
        (unit.unit.label, str(number))
        for number, unit in enumerate(view.units)
        if unit.state == "done" and unit.unit.out is not None and unit.unit.out.exists()
    ]


def batch_of(asked: Mapping[str, Any]) -> Batch:
    """What the controls say, by the names in FIELDS; an empty one is ''.

    Raises:
        BadRequest: as `Batch`, or when no number of seconds is set.
    """
    if not isinstance(asked["seconds"], int | float):
        raise BadRequest("no seconds are set. Move 'Seconds to imagine'.")
    texts: dict[str, Any] = {name: value or "" for name, value in asked.items() if name != "seconds"}
    return Batch(**texts, seconds=float(asked["seconds"]))


def link_of(batch: Batch) -> Link:
    """A batch as a link; what is at its default is left out."""
    default = Batch(kind="imagine")
    told = {name: getattr(batch, name) for name in FIELDS if getattr(batch, name) != getattr(default, name)}
    return Link(page="jobs", values={"kind": batch.kind, **{name: f"{v:g}" if name == "seconds" else v for name, v in told.items()}})  # fmt: skip


def asked_by(link: Link, most_s: float = MOST_SECONDS[True]) -> dict[str, Any]:
    """What a link says about each control; at most `most_s` seconds are imagined here.

    Raises:
        BadRequest: if it names what does not exist, or seconds out of range.
    """
    unknown = sorted(set(link.values) - set(FIELDS))
    if unknown:
        raise BadRequest(f"the link names '{unknown[0][:40]}', which no job has. Remove it.")
    default = Batch(kind=link.values.get("kind", "imagine"))
    asked = {name: link.values.get(name, getattr(default, name))[:500] for name in FIELDS if name != "seconds"}
    for name, known in (("variant", VARIANTS), ("thing", THINGS)):
        if asked[name] not in known:
            raise BadRequest(f"the link says {name}={asked[name][:40]}; there are {', '.join(known)}. Repair it.")
    return {**asked, "seconds": link.number("seconds", default.seconds, 0.5, most_s)}
