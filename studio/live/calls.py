"""What programs may ask the studio: imagine, stitch and plan, with plain values in and plain facts and files out.

The same functions as the commands of these names, with the bounds of the pages, in the visitor's own folder, a turn at the model
for each chunk and each plan.
"""

import csv
import json
import math
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from studio.live.polite import polite
from studio.runs import new_folder
from studio.web.site import MINE, Site
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.sampling import Sampling

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

FOLDER, MOST_KEPT = "calls", 6  # answers kept per visitor; older ones are removed
MOST_OF_ALL = (
    80  # answers kept in all: more than may be waited for at a time, and programs need not say when they leave
)
MAX_SECONDS, MAX_STEPS, MAX_SAMPLES, MAX_ACTIONS = 60.0, 50, 32, 2000
MAX_SEED, MAX_CHARACTERS = 2**53, 1000
MAX_PLANNERS = 8
Rows = Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a call gave.

    Attributes:
        facts: Plain data for JSON.
        files: By name, in the visitor's folder.
    """

    facts: dict[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks: a visitor of a site."""

    site: Site
    session: str

    def folder(self) -> Path:
        """A new place for an answer; the oldest one goes when the visitor has MOST_KEPT, or all together MOST_OF_ALL."""
        root = self.site.visitors.folder(self.session) / FOLDER
        root.mkdir(exist_ok=True)
        _keep_newest(root.iterdir(), MOST_KEPT - 1)
        _keep_newest(self.site.visitors.root.glob(f"*/{FOLDER}/call-*"), MOST_OF_ALL - 1)
        return root / f"call-{secrets.token_hex(8)}"

    def model(self) -> "WorldModel":
        """The shared model, taken a chunk or a plan at a time, until the visitor leaves."""
        signal = self.site.visitors.signal(self.session)
        return polite(self.site.model.get(), self.site.turns, self.session, signal.is_set)

    def clip(self, name: str) -> str:
        """DATASET:EPISODE[@SECONDS] of what the caller names: EPISODE[@SECONDS] of the clips that ship, mine/NAME:EPISODE of
        an upload, or a folder of this machine where these are open.

        Raises:
            BadRequest: if it is no text.
            BadDataset: if the dataset is not there or not open.
        """
        text = _text("clip", name)
        inside = text.startswith(MINE) or ":" in text or "/" in text
        dataset, _, rest = text.rpartition(":") if ":" in text else ((text, "", "") if inside else ("", "", text))
        return f"{self.site.dataset(self.session, dataset).path}:{rest or '0'}"

    def planners(self, names: Sequence[str]) -> tuple[str, ...]:
        """Planners by name; folders only where these are open, and never a program: a call must not start any.

        Raises:
            UnknownName: for another name.
            BadRequest: if it is no list of names, or names a policy of one's own.
        """
        from policy.foreign.sources import is_foreign
        from studio.planners import PLANNERS, check_planner, shipped_names

        if isinstance(names, str) or not all(isinstance(name, str) for name in names) or len(names) > MAX_PLANNERS:
            raise BadRequest(f"planners are {names!r}; a list of 1 to {MAX_PLANNERS} names is needed.")
        for name in names:
            if is_foreign(name):
                raise BadRequest(
                    f"planner '{name[:100]}' is a program; calls start none. Ask it with `detour plan --planner`, or on the page Study."
                )
            if not self.site.any_folder and name not in (*PLANNERS, *shipped_names()):
                raise UnknownName("planner", name[:100], (*PLANNERS, *shipped_names()))
            check_planner(name)
        return tuple(names) or ("joint",)


def imagine(
    caller: Caller,
    *,
    clip: str,
    text: str | None,
    actions: Rows | None,
    seconds: float,
    seed: int,
    steps: int,
    guidance_text: float,
    memory: str,
) -> Answer:
    """One future as `detour imagine` writes it; the facts have the path driven, scores, texts and warnings.

    Raises:
        DetourError: if anything cannot be used.
        Stopped: when the visitor has left.
    """
    from studio.imagine import ImagineRequest, run_imagine

    place = caller.clip(clip)
    horizon = _number("seconds", seconds, 0.1, MAX_SECONDS)
    told = None if text is None else _text("text", text)
    sampling = Sampling(
        steps=_whole("steps", steps, 1, MAX_STEPS),
        guidance_text=_number("guidance_text", guidance_text, 0, 20),
        memory=_text("memory", memory),
    )
    number = _whole("seed", seed, 0, MAX_SEED)
    started = perf_counter()
    out = caller.folder()
    with new_folder(out) as folder:
        request = ImagineRequest(
            clip=place,
            text=told,
            actions=None if actions is None else _written(actions, folder / "actions.csv"),
            seconds=horizon,
            sampling=sampling,
            seed=number,
            model=str(caller.site.model.folder),
        )
        record = run_imagine(request, folder / "run", model=caller.model())
    facts = {
        "clip": clip,
        "seed": number,
        "seconds": horizon,
        "texts": record["texts"],
        "trajectory": _path(out / "run" / "trajectory.parquet", "imagined"),
        "scores": _scores(out / "run"),
        "warnings": record["warnings"],
        "took_s": round(perf_counter() - started, 3),
        "notice": record["notice"],
    }
    return Answer(facts=facts, files={"film": out / "run/videos/imagined/mosaic.mp4", "run": _zipped(out)})


def stitch(
    caller: Caller,
    *,
    clip: str,
    variant: str,
    kind: str,
    x_m: float | None,
    y_m: float | None,
    yaw_deg: float,
    speed_mps: float,
    planners: Sequence[str],
    samples: int,
    seed: int,
) -> Answer:
    """An object put into a clip, planned with and without it, as `detour stitch` writes it; the facts have the responses.

    Raises:
        DetourError: if anything cannot be used, or no camera sees the object.
        Stopped: when the visitor has left.
    """
    from studio.stitching import StitchRequest, run_stitch

    request = StitchRequest(
        clip=caller.clip(clip),
        variant=_text("variant", variant),
        kind=_text("kind", kind),
        x_m=None if x_m is None else _number("x_m", x_m, -200, 200),
        y_m=None if y_m is None else _number("y_m", y_m, -200, 200),
        yaw_deg=_number("yaw_deg", yaw_deg, -360, 360),
        speed_mps=_number("speed_mps", speed_mps, 0, 60),
        planners=caller.planners(planners),
        samples=_whole("samples", samples, 1, MAX_SAMPLES),
        seed=_whole("seed", seed, 0, MAX_SEED),
        model=str(caller.site.model.folder),
    )
    started = perf_counter()
    out = caller.folder()
    with new_folder(out) as folder:
        record = run_stitch(request, folder / "run", model=caller.model())
    facts = {
        "clip": clip,
        "seed": request.seed,
        "variant": request.variant,
        "kind": request.kind,
        "responses": record["responses"],
        "stitch": record["stitch"],
        "town": record["town"],
        "skipped": record["skipped"],
        "took_s": round(perf_counter() - started, 3),
        "notice": record["notice"],
    }
    return Answer(facts=facts, files={"film": out / "run/videos/stitched/mosaic.mp4", "run": _zipped(out)})


def plan(caller: Caller, *, clip: str, planners: Sequence[str], samples: int, seed: int) -> Answer:
    """What planners would drive at a moment, as `detour plan` prints it; no files.

    Raises:
        DetourError: if anything cannot be used.
        Stopped: when the visitor has left.
    """
    from studio.planning import PlanRequest, run_plan

    request = PlanRequest(
        clip=caller.clip(clip),
        planners=caller.planners(planners),
        samples=_whole("samples", samples, 1, MAX_SAMPLES),
        seed=_whole("seed", seed, 0, MAX_SEED),
        model=str(caller.site.model.folder),
    )
    started = perf_counter()
    found = run_plan(request, model=caller.model())
    return Answer(facts={**found, "clip": clip, "took_s": round(perf_counter() - started, 3)})


def _keep_newest(folders: Iterable[Path], count: int) -> None:
    """Remove all but the newest; others may be removing, too."""
    ages: list[tuple[float, Path]] = []
    for folder in folders:
        with suppress(FileNotFoundError):
            ages.append((folder.stat().st_mtime, folder))
    for _, folder in sorted(ages)[: max(0, len(ages) - count)]:
        shutil.rmtree(folder, ignore_errors=True)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        raise BadRequest(f"'{name}' must be a text of at most {MAX_CHARACTERS} characters. Send a shorter text.")
    return value.strip()


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadRequest(f"'{name}' is {str(value)[:40]}; it must be a number from {low:g} to {high:g}.")
    return float(value)


def _whole(name: str, value: object, low: int, high: int) -> int:
    if _number(name, value, low, high) != int(_number(name, value, low, high)):
        raise BadRequest(f"'{name}' is {value}; it must be a whole number from {low} to {high}.")
    return int(_number(name, value, low, high))


def _written(actions: Rows, path: Path) -> Path:
    """Rows of t, x, y, yaw as the CSV that `detour imagine --actions` reads; times and values are checked there."""
    good = isinstance(actions, Sequence) and 0 < len(actions) <= MAX_ACTIONS and all(map(_is_pose, actions))
    if not good:
        raise BadRequest(
            f"'actions' must be 1 to {MAX_ACTIONS} rows [t, x, y, yaw] of finite numbers: seconds from now, metres ahead and to "
            "the left, radians. Repair the rows, or leave them out and the model drives."
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["t", "x", "y", "yaw"], *actions])
    return path


def _is_pose(row: object) -> bool:
    return (
        isinstance(row, Sequence)
        and len(row) == 4
        and all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in row)
    )


def _path(table: Path, name: str) -> list[dict[str, float]]:
    import pyarrow.parquet as pq

    rows = pq.read_table(table).to_pylist()
    return [{key: row[key] for key in ("t_s", "x_m", "y_m", "yaw_rad")} for row in rows if row["name"] == name]


def _scores(run: Path) -> Any:
    return json.loads((run / "scores.json").read_text(encoding="utf-8"))


def _zipped(out: Path) -> Path:
    """The whole run folder as one file."""
    return Path(shutil.make_archive(str(out / "run"), "zip", out, "run"))
