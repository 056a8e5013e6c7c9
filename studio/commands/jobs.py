"""Commands of batches: what a job file asks for, doing it, how it stands, and what to make of the results."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.commands.options import Json, with_fields
from studio.console import Commands, counter, emit, say
from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    from studio.jobs.engines.engine import EngineChoice
    from studio.jobs.run.summary import Summary
    from studio.jobs.units import Batch, Unit

jobs = typer.Typer(
    cls=Commands, name="jobs", help="Batches of rollouts: plan, run, watch, export.", no_args_is_help=True
)

JobFile = Annotated[Path, typer.Argument(metavar="JOBS.yaml", help="The job file; `detour jobs schema` describes it.")]
Folder = Annotated[str, typer.Argument(metavar="OUT", help="Folder or address of the batch, as given to --out.")]
Where = Annotated[str, typer.Option("--out", help="Folder or address (s3://...) of the batch; run again to go on.")]
EngineName = Annotated[str, typer.Option(help="local: processes of this machine. ray: Ray's actors (extra `ray`).")]
Workers = Annotated[int, typer.Option(help="Side by side, each with a model; the results do not depend on it.")]
Address = Annotated[str, typer.Option(help="Of a Ray cluster that runs already: auto, or HOST:PORT.")]
Gpus = Annotated[float, typer.Option(help="GPUs of each of Ray's workers; 0.5 lets two share one.")]
Grouped = Annotated[
    int | None, typer.Option("--batch", help="Units through the network together; default: the file's.")
]
Threads = Annotated[int | None, typer.Option(help="Of the processor, of each worker; default: the file's.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; default: the file's.")]
OtherModel = Annotated[str | None, typer.Option(help="Checkpoint folder; default: the file's, or the one that ships.")]
Part = Annotated[str, typer.Option("--shard", help="I/N: only this part, for drivers that know nothing of each other.")]
Check = Annotated[str, typer.Option(help="How outputs that are there are checked: checksum, size or none.")]
Prometheus = Annotated[Path | None, typer.Option(help="Keep this text file for Prometheus' node exporter up to date.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder for clips that are fetched; default: the user's cache folder.")
]
Scratch = Annotated[str, typer.Option(help="Folder for what is not finished; default: in OUT if that is on a disk.")]
Storage = Annotated[
    str, typer.Option(help='JSON object of fsspec options for OUT and clips, e.g. \'{"endpoint_url": "..."}\'.')
]

OnlyText = Annotated[str, typer.Option(help="Only units whose text holds this.")]
OnlyEpisodes = Annotated[str, typer.Option(help="Only units of these recordings: names, numbers, or ranges as 0-3.")]
OnlyScores = Annotated[
    list[str] | None, typer.Option(help="Only units whose own score is so: psnr>=20, ade<1.5; may be given again.")
]


@jobs.callback()
def _jobs() -> None:
    """Batches of rollouts: plan, run, watch, export."""


@jobs.command("schema")
def schema() -> None:
    """The JSON schema of job files, for editors and checks."""
    from studio.jobs.plan.job_file import job_schema

    typer.echo(json.dumps(job_schema(), indent=2))


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What stands in for what a job file says; None keeps it."""

    batch: Grouped = None
    threads: Threads = None
    device: Device = None
    model: OtherModel = None


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where clips and outputs from elsewhere are found and kept."""

    cache: Cache = None
    storage: Storage = ""

    @property
    def options(self) -> dict[str, Any] | None:
        """Of the storage."""
        return _options(self.storage)


@dataclass(frozen=True, kw_only=True)
class Driving:
    """Who does the works of a batch, which of them, and what is told of it."""

    engine: EngineName = "local"
    workers: Workers = 1
    address: Address = ""
    gpus_per_worker: Gpus = 0.0
    shard: Part = "1/1"
    check: Check = "checksum"
    prometheus: Prometheus = None
    scratch: Scratch = ""


@dataclass(frozen=True, kw_only=True)
class DrivingAgain(Driving):
    """The same where all that is there was checked by the run before."""

    check: Check = "size"


@jobs.command("plan")
@with_fields("chosen", Chosen)
@with_fields("places", Places)
def plan(
    file: JobFile,
    chosen: Chosen,
    places: Places,
    out: Annotated[str, typer.Option(help="The batch's folder, if it was begun: what is done is not counted.")] = "",
    workers: Workers = 1,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time the model here first, for a better estimate.")
    ] = False,
    units: Annotated[int, typer.Option(min=0, help="How many units are listed.")] = 10,
    as_json: Json = False,
) -> None:
    """What a job file expands to, and what it will cost in time, memory and bytes; nothing is run."""
    from studio.jobs.engines.engine import EngineChoice
    from studio.jobs.folder.batch_folder import BatchFolder
    from studio.jobs.plan.estimates import estimate
    from studio.jobs.run.progress import counted

    workers = EngineChoice(workers=workers).workers  # as `run` takes them
    expanded = _expanded(file, chosen, places, out)
    folder = BatchFolder.open(out, places.options) if out else None
    found = estimate(expanded, workers, folder=folder, measure=measure)
    content = {
        "units": len(expanded.units),
        "works": len(expanded.works),
        "digest": expanded.digest,
        "setup": expanded.setup.mattering(),
        "estimate": found.to_json(),
        "listed": [_unit_row(unit) for unit in expanded.units[:units]],
    }
    lines = [f"{counted(len(expanded.units), 'unit')} in {counted(len(expanded.works), 'work')}", *found.lines()]
    lines += [f"  {_unit_line(unit)}" for unit in expanded.units[:units]]
    if len(expanded.units) > units:
        lines.append(f"  ... and {len(expanded.units) - units} more; --units shows more of them.")
    emit(content, as_json, "\n".join(lines))


@jobs.command("run")
@with_fields("driving", Driving)
@with_fields("chosen", Chosen)
@with_fields("places", Places)
def run(file: JobFile, out: Where, driving: Driving, chosen: Chosen, places: Places, as_json: Json = False) -> None:
    """Do what a job file asks for. Interrupted, killed or changed, run it again: what is done is never done twice."""
    choice = _choice(driving)
    summary = _run(_expanded(file, chosen, places, out), out, choice, driving, places)
    _end(summary, out, as_json)


@jobs.command("retry")
@with_fields("driving", DrivingAgain)
@with_fields("places", Places)
def retry(out: Folder, driving: DrivingAgain, places: Places, as_json: Json = False) -> None:
    """Try the units again that failed for good, and those that are missing."""
    from studio.jobs.folder.batch_folder import BatchFolder

    choice = _choice(driving)
    summary = _run(BatchFolder.open(out, places.options).batch, out, choice, driving, places, retry_failed=True)
    _end(summary, out, as_json)


@jobs.command("status")
def status(out: Folder, storage: Storage = "", check: Check = "none", as_json: Json = False) -> None:
    """How a batch stands: done, missing, damaged, failed, and who is at work."""
    from studio.jobs.folder.batch_folder import BatchFolder
    from studio.jobs.run.summary import standing_lines, standing_of

    found = standing_of(BatchFolder.open(out, _options(storage)), check=check)
    emit(found, as_json, "\n".join(standing_lines(found)))


@jobs.command("failures")
def failures(out: Folder, storage: Storage = "", as_json: Json = False) -> None:
    """Which units failed, how often and why."""
    from studio.jobs.folder.batch_folder import BatchFolder

    found = BatchFolder.open(out, _options(storage)).failures()
    lines = [f"{row.key[:12]}  {row.kind}, {row.attempts} attempts: {row.message}" for row in found]
    emit({"failures": [asdict(row) for row in found]}, as_json, "\n".join(lines or ["no unit has failed"]))


@jobs.command("index")
def index(out: Folder, storage: Storage = "", as_json: Json = False) -> None:
    """Write index.html and the contact sheets anew, as the batch stands now; a whole run does so at its end."""
    from studio.jobs.folder.batch_folder import BatchFolder
    from studio.jobs.run.driver import show

    show(BatchFolder.open(out, _options(storage)))
    emit({"index": f"{out}/index.html"}, as_json, f"{out}/index.html")


@jobs.command("export")
def export(
    out: Folder,
    to: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    form: Annotated[str, typer.Option("--format", help="lerobot: one dataset. webdataset: tar shards.")] = "lerobot",
    shard_mb: Annotated[int, typer.Option(help="Of webdataset: bytes of a tar shard, MB.")] = 256,
    text: OnlyText = "",
    episodes: OnlyEpisodes = "",
    where: OnlyScores = None,
    storage: Storage = "",
    as_json: Json = False,
) -> None:
    """The generated clips as a set for training other models, marked as imagined."""
    from studio.jobs.exports import export_batch
    from studio.jobs.exports.selection import Selection

    found = export_batch(
        out,
        to,
        form,
        selection=Selection.parse(text, episodes, where or ()),
        shard_mb=shard_mb,
        options=_options(storage),
        on_unit=counter("units"),
    )
    emit(found.to_json(), as_json, "\n".join(found.lines()))


@jobs.command("score")
def score(
    out: Folder,
    metrics: Annotated[str, typer.Option(help="Comma separated, as of `detour score`.")] = "psnr,ssim,fid,fvd",
    features: Annotated[str, typer.Option(help="town, tokenizer, or a folder.")] = "town",
    weights: Annotated[list[Path] | None, typer.Option(help="Published weights, known by their hash.")] = None,
    by: Annotated[
        str, typer.Option(help="Also for each value of: text, actions, edit, memory, guidance, seconds, steps.")
    ] = "",
    seconds: Annotated[float | None, typer.Option(help="Compare only the first seconds of each future.")] = None,
    text: OnlyText = "",
    episodes: OnlyEpisodes = "",
    where: OnlyScores = None,
    cache: Cache = None,
    storage: Storage = "",
    as_json: Json = False,
) -> None:
    """Scores of the whole batch against what followed in the recordings, with metric cards."""
    from studio.jobs.exports.selection import Selection
    from studio.jobs.results.scores import score_batch

    found = score_batch(
        out,
        metrics=tuple(name.strip() for name in metrics.split(",") if name.strip()),
        features=features,
        weights=tuple(weights or ()),
        by=by,
        selection=Selection.parse(text, episodes, where or ()),
        seconds=seconds,
        cache=cache,
        options=_options(storage),
        on_clip=counter("clips"),
    )
    emit(found.to_json(), as_json, "\n".join(found.lines()))


def _expanded(file: Path, chosen: Chosen, places: Places, out: str) -> "Batch":
    from studio.jobs.plan.expansion import expand
    from studio.jobs.plan.job_file import read_job

    return expand(
        read_job(file),
        model=chosen.model,
        batch=chosen.batch,
        threads=chosen.threads,
        device=chosen.device,
        cache=places.cache,
        options=places.options,
        out=out,
        on_clip=counter("recordings looked at"),
    )


def _options(storage: str) -> dict[str, Any] | None:
    """Options of the storage.

    Raises:
        BadRequest: if the text is not a JSON object.
    """
    if not storage:
        return None
    try:
        found = json.loads(storage)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f'--storage is no JSON ({error}). Write an object, such as {{"anon": true}}.') from error
    if not isinstance(found, dict):
        raise BadRequest(f'--storage holds {type(found).__name__}; it must be a JSON object, such as {{"anon": true}}.')
    return found


def _choice(driving: Driving) -> "EngineChoice":
    from studio.jobs.engines.engine import EngineChoice

    return EngineChoice(
        name=driving.engine,
        workers=driving.workers,
        address=driving.address,
        gpus_per_worker=driving.gpus_per_worker,
    )


def _run(
    batch: "Batch", out: str, choice: "EngineChoice", driving: Driving, places: Places, *, retry_failed: bool = False
) -> "Summary":
    from studio.jobs.run.driver import run_batch
    from studio.jobs.units import Shard

    return run_batch(
        batch,
        out,
        choice,
        shard=Shard.parse(driving.shard),
        check=driving.check,
        retry_failed=retry_failed,
        prometheus=driving.prometheus,
        scratch=driving.scratch,
        cache=None if places.cache is None else str(places.cache),
        options=places.options,
        on_progress=say,
    )


def _end(summary: "Summary", out: str, as_json: bool) -> None:
    whole = summary.exit_code == 0 and summary.shard == "all"
    seen = [f"{out.rstrip('/')}/index.html shows the results."] if whole else []
    emit(summary.to_json(), as_json, "\n".join([*summary.lines(), *seen]))
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def _unit_row(unit: "Unit") -> dict[str, Any]:
    return {"number": unit.number, "key": unit.key, "request": unit.request.to_json()}


def _unit_line(unit: "Unit") -> str:
    from studio.jobs.unit_words import unit_words

    return f"{unit.key[:12]}  {unit_words(unit.request)}"
