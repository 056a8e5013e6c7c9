"""Units that could not be done: one small file each, until they are done or forgotten."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from studio.jobs.folder.storage import Storage
from studio.jobs.units import Outcome

FOLDER = "failures"
KEPT = 10  # earlier messages of a unit


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A unit that could not be done.

    Attributes:
        key, number: Of the unit.
        kind, message, again, worker: Of the last attempt, as in its Outcome.
        attempts: How many failed.
        at: When the last one did, by the driver's clock; to read.
        earlier: Kinds and messages of attempts before, newest first.
    """

    key: str
    number: int
    kind: str
    message: str
    again: bool
    worker: str = ""
    attempts: int = 1
    at: str = ""
    earlier: tuple[tuple[str, str], ...] = ()


def add_failure(storage: Storage, outcome: Outcome) -> Failure:
    """Note one more attempt that failed."""
    before = read_failure(storage, outcome.key)
    earlier = () if before is None else ((before.kind, before.message), *before.earlier)[:KEPT]
    failure = Failure(
        key=outcome.key,
        number=outcome.number,
        kind=outcome.kind,
        message=outcome.message,
        again=outcome.again,
        worker=outcome.worker,
        attempts=1 if before is None else before.attempts + 1,
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        earlier=earlier,
    )
    storage.write(f"{FOLDER}/{outcome.key}.json", (json.dumps(asdict(failure), indent=1) + "\n").encode())
    return failure


def read_failure(storage: Storage, key: str) -> Failure | None:
    """What is noted of a unit; None if nothing is, or it cannot be read."""
    try:
        found = json.loads(storage.read(f"{FOLDER}/{key}.json"))
        return _failure(found)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def failed_keys(storage: Storage) -> set[str]:
    """Keys of units of which something is noted."""
    return {name.removesuffix(".json") for name in storage.names(FOLDER) if name.endswith(".json")}


def forget(storage: Storage, keys: Iterable[str]) -> None:
    """Forget what is noted of these units."""
    for key in keys:
        storage.remove(f"{FOLDER}/{key}.json")


def _failure(found: Mapping[str, Any]) -> Failure:
    return Failure(**{**found, "earlier": tuple((str(kind), str(message)) for kind, message in found["earlier"])})
