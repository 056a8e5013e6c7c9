"""The plan of a batch as files: what it is about (batch.json), the job (job.yaml), and its units (units.parquet)."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from studio.jobs.folder.storage import Storage, protocol_of
from studio.jobs.units import Batch, Setup, Unit, UnitRequest, Work
from worldmodel.errors import BadDataset, BadRequest, OutputExists

FORMAT = 1
FACTS, JOB, UNITS = "batch.json", "job.yaml", "units.parquet"
BEGUN = frozenset({"locks", JOB, UNITS})  # what a beginning that was interrupted leaves
MAX_DRIVERS = 100  # in the history
_KINDS = {"digest": str, "setup": dict, "job": dict, "drivers": list}  # what batch.json cannot do without


def read_facts(storage: Storage) -> dict[str, Any]:
    """Content of batch.json.

    Raises:
        BadDataset: if there is none, or it is damaged.
        BadRequest: if another version wrote it.
    """
    try:
        found = json.loads(storage.read(FACTS))
    except FileNotFoundError as error:
        raise BadDataset(
            f"'{storage.address}' is not a batch's folder: it has no {FACTS}. Name the folder that "
            "`detour jobs run JOBS.yaml --out` was given."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(storage, str(error)) from error
    if not isinstance(found, dict) or "format" not in found:
        raise _damaged(storage, "it is not what was written")
    if found["format"] != FORMAT:
        raise BadRequest(
            f"'{storage.address}' is a batch of format {found['format']!r:.40}; this version reads format {FORMAT}. "
            "Use the version of Detour that wrote it."
        )
    lost = _KINDS.keys() - {name for name, kind in _KINDS.items() if isinstance(found.get(name), kind)}
    if lost:
        raise _damaged(storage, f"it lacks {', '.join(sorted(lost))}")
    return found


def _damaged(storage: Storage, why: str) -> BadDataset:
    return BadDataset(f"'{storage.address}/{FACTS}' is damaged ({why}). Run the job file again; what is done is kept.")


def write_facts(storage: Storage, facts: Mapping[str, Any]) -> None:
    """Let batch.json say this."""
    storage.write(FACTS, (json.dumps(facts, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


@cache
def made_with() -> dict[str, Any]:
    """Versions and commit of this process."""
    from studio.runs import commit, versions

    return {"versions": versions(), "commit": commit()}


def write_plan(storage: Storage, batch: Batch, drivers: list[Any]) -> dict[str, Any]:
    """Write all three files, batch.json last; returns its content."""
    import yaml

    text = yaml.safe_dump(json.loads(json.dumps(batch.job)), sort_keys=False, allow_unicode=True, width=120)
    storage.write(UNITS, _table(batch))
    storage.write(JOB, text.encode())
    facts = {
        "format": FORMAT,
        "digest": batch.digest,
        "units": len(batch.units),
        "works": len(batch.works),
        "setup": asdict(batch.setup),
        **made_with(),
        "job": batch.job,
        "drivers": drivers[-MAX_DRIVERS:],
    }
    write_facts(storage, facts)
    return facts


def read_plan(storage: Storage, facts: Mapping[str, Any]) -> Batch:
    """The batch that `write_plan` wrote.

    Raises:
        BadDataset: if its units are missing, damaged or of another plan.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(storage.read(UNITS)))
        setup = Setup(**facts["setup"])
        batch = Batch(setup=setup, works=_works(table.to_pylist()), job=facts["job"])
    except (FileNotFoundError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadDataset(
            f"'{storage.address}/{UNITS}' is missing or damaged ({error}). Run the job file again; what is done is kept."
        ) from error
    if batch.digest != facts["digest"]:
        raise BadDataset(
            f"'{storage.address}/{UNITS}' belongs to another plan than its {FACTS}. Run the job file again; what is done is kept."
        )
    return batch


def same_plan(storage: Storage, batch: Batch) -> dict[str, Any] | None:
    """Content of batch.json if the folder holds exactly this plan and job, else None."""
    try:
        facts = read_facts(storage)
        if facts["digest"] != batch.digest or facts["job"] != json.loads(json.dumps(batch.job)):
            return None
        read_plan(storage, facts)
    except BadDataset:
        return None
    return facts


def refuse_other_content(storage: Storage) -> None:
    """Batches are written to folders of their own.

    Raises:
        OutputExists: if the folder holds something else.
    """
    if storage.local is not None and os.path.lexists(storage.local) and not storage.local.is_dir():
        raise OutputExists(f"'{storage.address}' is a file; a batch needs a folder. Choose another --out.")
    names = {name for name in storage.names() if not name.startswith(".")}
    begun = names <= BEGUN and (not names or "locks" in names)
    if FACTS not in names and not begun and not names >= {JOB, UNITS}:  # a batch may have lost its facts alone
        raise OutputExists(
            f"'{storage.address}' holds other things ({', '.join(sorted(names)[:3])}), and no batch. "
            "A batch needs a folder of its own; choose another --out."
        )


def refuse_inputs(address: str, batch: Batch) -> None:
    """Nothing is written into what is read, and nothing is read out of what is written.

    Raises:
        OutputExists: if the folder is one of the datasets or the model, inside one, or around one.
    """
    out = _place(address)
    inputs = {unit.request.clip.dataset: "the dataset" for unit in batch.units} | {batch.setup.model: "the model"}
    for name, what in inputs.items():
        place = _place(name)
        if place == out or place.startswith(f"{out.rstrip('/')}/") or out.startswith(f"{place.rstrip('/')}/"):
            raise OutputExists(
                f"'{address}' is {what} '{name}' itself, inside it, or around it. Outputs need a place of their own; "
                "choose another --out."
            )


def _place(address: str) -> str:
    """The same text for the same place."""
    if protocol_of(address) == "file":
        return os.path.realpath(address.removeprefix("file://"))
    kind, _, rest = address.partition("://")
    return f"{ {'s3a': 's3', 'gcs': 'gs'}.get(kind.lower(), kind.lower()) }://{'/'.join(part for part in rest.split('/') if part)}"


def _table(batch: Batch) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(work, place, unit) for work in batch.works for place, unit in enumerate(work.units)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), buffer, compression="zstd")
    return buffer.getvalue()


def _schema() -> Any:
    import pyarrow as pa

    texts, numbers = (
        ("key", "dataset", "clip", "text", "actions", "request"),
        ("number", "work", "place", "episode", "seed"),
    )
    kinds = [(name, pa.string()) for name in texts] + [(name, pa.int64()) for name in numbers]
    return pa.schema([*kinds, ("at_s", pa.float64()), ("seconds", pa.float64())])


def _row(work: Work, place: int, unit: Unit) -> dict[str, Any]:
    asked = unit.request
    return {
        "key": unit.key,
        "dataset": asked.clip.dataset,
        "clip": asked.clip.id,
        "text": asked.text,
        "actions": asked.actions.name or asked.actions.kind,
        "request": json.dumps(asked.to_json(), ensure_ascii=False),
        "number": unit.number,
        "work": work.number,
        "place": place,
        "episode": asked.clip.episode,
        "seed": asked.seed,
        "at_s": asked.clip.at_s,
        "seconds": asked.seconds,
    }


def _works(rows: list[dict[str, Any]]) -> tuple[Work, ...]:
    groups: dict[int, list[Unit]] = {}
    for row in rows:  # in the order of works and places
        request = UnitRequest.of(json.loads(row["request"]))
        groups.setdefault(row["work"], []).append(Unit(number=row["number"], key=row["key"], request=request))
    return tuple(Work(number=number, units=tuple(units)) for number, units in groups.items())
