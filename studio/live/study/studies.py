"""Grounding studies as the studio offers them: where to begin, what a visitor may ask for, finished ones to look at."""

import base64
import json
import math
import re
import shlex
import shutil
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy.foreign.sources import is_foreign, source_of
from studio.commands.options import default_model
from studio.live.tasks.orders import Order, Unit
from studio.planners import PLANNERS, check_planner, shipped_names
from studio.study_config import StudyConfig, read_study, study_yaml
from worldmodel.errors import BadRequest, BadTable, UnknownName

if TYPE_CHECKING:
    from studio.web.site import Site

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "docs" / "studies" / "town"
MOST_BYTES = 50_000_000  # of a study.json, report or figure that is opened
MOST_EXAMPLES = 12
OPEN = (*PLANNERS, *shipped_names())  # planners that anybody may name
OF_VISITORS = {
    "scenes": 100,
    "samples": 16,
    "width_px": 256,
    "height_px": 128,
    "frequency_hz": 16,
    "history_s": 4,
}  # where others can reach the studio
MOST_OF_LIST = 32
LONGEST_S = 3600.0  # there
CHECK_S = 300.0
WRITTEN = ("report.*", "rows.parquet", "moments.json", "study.json", "figures/*.svg")  # by `detour study`
FIGURE = re.compile(r"^!\[(?P<caption>.*)\]\((?P<file>figures/\d+\.svg)\)$", re.MULTILINE)


def quick() -> StudyConfig:
    """About ten eligible scenes, four planners: an answer in about two minutes on a laptop."""
    return StudyConfig(
        planners=("rich/ik", "rich/direct", "natural/ik", "constant-velocity"),
        comparisons=(("rich/ik", "natural/ik"),),
        shown=("rich/ik",),
        scenes=24,
        seed=40961,
        samples=4,
        distances_m=(8.0, 20.0),
        sweep_every=2,
    )


def whole() -> StudyConfig:
    """The study that ships, as it was asked for; without the file that says so, `quick` with more scenes."""
    path = ROOT / "examples" / "studies" / "town.yaml"
    if path.is_file():
        return read_study(path)
    return replace(quick(), scenes=480, samples=8, sweep_every=5)


PRESETS = {"Quick: 24 scenes, about 2 minutes": quick, "As shipped: 480 scenes, about half an hour": whole}


def allowed(config: StudyConfig, site: "Site", session: str) -> StudyConfig:
    """The study as it will run for this visitor: with the folders that names stand for.

    Raises:
        BadDataset: if the dataset is not there, or not open to the visitor.
        UnknownName: for a planner that does not exist.
        BadRequest: if it asks for more than visitors from elsewhere may, or would run their code.
    """
    for name in config.planners:
        if site.any_folder:
            check_planner(name)
        elif name not in OPEN:
            _refuse(name)
    if not site.any_folder:
        _check_size(config)
    if config.dataset:
        config = replace(config, dataset=str(site.dataset(session, config.dataset).path))
    if not (config.model and site.any_folder):
        own = site.model.folder.resolve()
        config = replace(config, model="" if own == Path(default_model()).resolve() else str(own))
    return config


def _refuse(name: str) -> None:
    """Say why a planner cannot be used where others can reach the studio."""
    if not is_foreign(name):
        raise UnknownName("planner", name[:80], OPEN)
    raise BadRequest(
        f"planner '{name[:80]}' is a policy of your own, which means running your code. This studio can be reached from other machines "
        "and runs none; open it on your own machine."
    )


def _check_size(config: StudyConfig) -> None:
    lists = {name: len(getattr(config, name)) for name in ("moments_s", "distances_m", "sizes", "situations")}
    asked = {**lists, **{name: getattr(config, name) for name in OF_VISITORS}}
    for name, value in asked.items():
        most = OF_VISITORS.get(name, MOST_OF_LIST)
        if value > most:
            raise BadRequest(
                f"{name} {'has' if name in lists else 'is'} {value:g}; this studio is shared, and {most} is the most here. Choose less, "
                "or run the study on your own machine."
            )


def study_order(config: StudyConfig, site: "Site", session: str, *, keep: str = "", workers: int = 1) -> Order:
    """What runs the study in the background, in the visitor's folder or, where that is open, in one that stays.

    Args:
        config: As the visitor asked.
        keep: A folder that does not exist yet; the study stays there when the tab is closed. '' for none.
        workers: Processes side by side.
    Raises:
        As `allowed`; BadRequest if `keep` is not open to the visitor, or exists.
    """
    ready = allowed(config, site, session)
    place = new_place(site.visitors.folder(session) / "studies")
    out = place / "study"
    if keep.strip():
        out = kept_folder(keep, site)
    place.mkdir(parents=True)
    (place / "study.yaml").write_text(study_yaml(ready), encoding="utf-8")
    words = ("study", f"--out={out}", f"--workers={workers}", "--", str(place / "study.yaml"))
    count = len(config.planners)
    title = (
        f"Study of {config.scenes} {'stretches' if config.dataset else 'scenes'}, {count} planner{'s' * (count != 1)}"
    )
    unit = Unit(label="study", words=words, out=out)
    return Order(
        kind="study",
        title=title,
        units=(unit,),
        keeps=bool(keep.strip()),
        limit_s=math.inf if site.any_folder else LONGEST_S,
    )


def check_order(spec: str | None, site: "Site") -> Order:
    """What examines a policy of the visitor's own, as `detour check-policy`.

    Raises:
        BadPolicy: if that is no policy.
        BadRequest: if others can reach the studio, because it runs the visitor's code.
    """
    name = (spec or "").strip()
    source_of(name)
    if not site.any_folder:
        _refuse(name)
    unit = Unit(label="check", words=("check-policy", "--json", f"--clips={site.clips.resolve()}", "--", name))
    return Order(kind="check", title=f"Check of {name}", units=(unit,), limit_s=CHECK_S)


def new_place(folder: Path) -> Path:
    """`folder/N` with the first N that is free."""
    number = 1
    while (folder / str(number)).exists():
        number += 1
    return folder / str(number)


def kept_folder(keep: str, site: "Site") -> Path:
    """Where results stay when the tab is closed.

    Raises:
        BadRequest: if folders of this machine are not open to visitors, or there is something at that place.
    """
    if not site.any_folder:
        raise BadRequest(
            "a folder on the studio's machine is named, and this studio can be reached from other machines. Leave it empty and "
            "download the results."
        )
    out = Path(keep.strip()).expanduser().absolute()
    if out.exists():
        raise BadRequest(f"'{out}' is there already. Open it under 'Look at', or name a folder that does not exist.")
    return out


def command(keep: str = "", workers: int = 1) -> str:
    """The same on the command line; the YAML is saved from the page."""
    more = f" --workers {workers}" if workers > 1 else ""
    return f"# study.yaml: 'Save YAML'\ndetour study study.yaml --out {shlex.quote(keep.strip() or 'my-study')}{more}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """A finished study.

    Attributes:
        folder: Of the study.
        label: What it is called.
        record: The content of `study.json`.
        examples: Captions and SVG texts.
    """

    folder: Path
    label: str
    record: Mapping[str, Any]
    examples: Sequence[tuple[str, str]] = ()

    @property
    def summary(self) -> Mapping[str, Any]:
        """What the report shows, as numbers."""
        found: Mapping[str, Any] = self.record["summary"]
        return found

    @property
    def planners(self) -> list[str]:
        """What the planners call themselves, in order."""
        return list(dict.fromkeys(row["planner"] for row in self.summary["reactions"]))

    @property
    def rows(self) -> Path | None:
        """Every single answer; None where that file is not there."""
        path = self.folder / "rows.parquet"
        return path if path.is_file() else None


def open_study(folder: Path, label: str) -> Study:
    """A finished study from its folder.

    Raises:
        BadTable: if there is none.
    """
    path = Path(folder) / "study.json"
    try:
        record = json.loads(_text(path))
        missing = {"request", "planners", "summary"} - set(record)
        if missing or not {"frames", "reactions", "contrasts", "goals", "oracle", "sweep"} <= set(record["summary"]):
            raise ValueError("it is another kind of file")
    except (OSError, ValueError, TypeError) as error:
        raise BadTable(
            f"'{folder}' holds no finished study ({error}). Name a folder that `detour study` wrote; an unfinished one goes on when it is "
            "started again."
        ) from error
    return Study(folder=Path(folder), label=label, record=record, examples=_examples(Path(folder)))


def shipped_study() -> Study | None:
    """The study of the town that ships with the source; None in a package that lacks its documents."""
    return open_study(SHIPPED, "shipped") if (SHIPPED / "study.json").is_file() else None


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def _examples(folder: Path) -> list[tuple[str, str]]:
    """What stands under 'Examples' in the report for repositories."""
    try:
        part = _text(folder / "report.md").partition("\n## Examples\n")[2].partition("\n## ")[0]
        return [(one["caption"], _text(folder / one["file"])) for one in FIGURE.finditer(part)][:MOST_EXAMPLES]
    except (OSError, ValueError):
        return []


def as_picture(svg: str) -> str:
    """An SVG as the address of a picture, in which no script runs."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def exported(study: Study, into: Path) -> dict[str, Path]:
    """Copies for download: 'report' and 'rows' where they exist, and 'all' as a zip.

    Args:
        study: Finished.
        into: The visitor's folder; what was exported there before is replaced.
    """
    place = into / "exports" / re.sub(r"[^A-Za-z0-9_-]+", "-", study.label)[:60]
    if (place / "study.zip").is_file():
        found = {"report": place / "report.html", "rows": place / "rows.parquet", "all": place / "study.zip"}
        return {name: path for name, path in found.items() if path.is_file()}
    place.mkdir(parents=True, exist_ok=True)
    copies = {}
    for name, file in (("report", "report.html"), ("rows", "rows.parquet")):
        if (study.folder / file).is_file():
            copies[name] = Path(shutil.copy(study.folder / file, place / file))
    temporary = place / f".{uuid.uuid4().hex}.zip"  # two events may ask at once
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for pattern in WRITTEN:
            for path in sorted(study.folder.glob(pattern)):
                archive.write(path, path.relative_to(study.folder))
    return {**copies, "all": temporary.replace(place / "study.zip")}
