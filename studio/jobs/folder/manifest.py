"""The manifest: one row per finished unit, in Parquet files that DuckDB, pandas and Arrow read.

It repeats what the units' own records say, so a lost row is written again from its record; records decide.
"""

import io
import json
import posixpath
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studio.jobs.folder.storage import Storage
from studio.jobs.units import Unit

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "manifest"
PAUSE_S = 5.0  # between two writings of a part
SHARE = 20.0  # of the time is left for other things: a part that takes 1 s to write is written every 20 s


def place_of(key: str) -> str:
    """A unit's folder, from the batch's."""
    return f"units/{key[:2]}/{key}"


def schema() -> "pa.Schema":
    """Columns of the manifest."""
    import pyarrow as pa

    numbers = pa.map_(pa.string(), pa.float64())
    file = pa.struct([("name", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string())])
    kinds = {
        "key": pa.string(),
        "number": pa.int64(),
        "folder": pa.string(),
        "dataset": pa.string(),
        "episode": pa.int64(),
        "clip": pa.string(),
        "at_s": pa.float64(),
        "text": pa.string(),  # what was asked for; null: the recording's own instruction
        "schedule": pa.string(),
        "actions": pa.string(),
        "edit": pa.string(),  # null: none
        "memory": pa.string(),
        "steps": pa.int64(),
        "guidance_text": pa.float64(),
        "guidance_motion": pa.float64(),
        "guidance_history": pa.float64(),
        "seconds": pa.float64(),
        "seed": pa.int64(),
        "imagined": pa.bool_(),
        "frames": pa.int64(),
        "frequency_hz": pa.float64(),
        "bytes": pa.int64(),
        "peak_bytes": pa.int64(),
        "scores": numbers,
        "timings_s": numbers,
        "warnings": pa.list_(pa.string()),
        "files": pa.list_(file),
        "request": pa.string(),  # JSON, all of it
        "commit": pa.string(),
    }
    return pa.schema(list(kinds.items()))


def row_of(unit: Unit, record: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a finished unit.

    Args:
        unit: As the plan has it.
        record: Content of its unit.json.
    """
    asked, files = unit.request, list(record["files"])
    how = asked.sampling
    return {
        "key": unit.key,
        "number": unit.number,
        "folder": place_of(unit.key),
        "dataset": asked.clip.dataset,
        "episode": asked.clip.episode,
        "clip": asked.clip.id,
        "at_s": asked.clip.at_s,
        "text": asked.text,
        "schedule": asked.schedule,
        "actions": asked.actions.name or asked.actions.kind,
        "edit": None if asked.edit is None else f"{asked.edit.variant} {asked.edit.kind}",
        "memory": how.memory,
        "steps": how.steps,
        "guidance_text": how.guidance_text,
        "guidance_motion": how.guidance_motion,
        "guidance_history": how.guidance_history,
        "seconds": asked.seconds,
        "seed": asked.seed,
        "imagined": bool(record.get("imagined", True)),
        "frames": int(record.get("frames") or 0),
        "frequency_hz": record.get("frequency_hz"),
        "bytes": sum(int(file["bytes"]) for file in files),
        "peak_bytes": int(record.get("peak_bytes") or 0),
        "scores": _numbers(record.get("scores")),
        "timings_s": _numbers(record.get("timings_s")),
        "warnings": [str(text) for text in record.get("warnings") or ()],
        "files": files,
        "request": json.dumps(asked.to_json()),
        "commit": str((record.get("made") or {}).get("commit", "")),
    }


def table_of(rows: Sequence[Mapping[str, Any]]) -> "pa.Table":
    """Rows as a table."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=schema())


def read_parts(storage: Storage, names: Sequence[str] | None = None) -> "pa.Table":
    """All rows of some parts, or of all; a part that cannot be read counts as empty, its rows are found again.

    The same unit may be in two parts after a crash; see `without_doubles`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [table_of([])]
    for name in part_names(storage) if names is None else names:
        try:
            found = pq.read_table(io.BytesIO(storage.read(f"{FOLDER}/{name}.parquet")))
            tables.append(found.select(schema().names).cast(schema()))
        except (FileNotFoundError, pa.ArrowException, OSError, KeyError):  # damaged, or of another version
            continue
    return pa.concat_tables(tables)


def part_names(storage: Storage) -> list[str]:
    """Names of all parts."""
    return [posixpath.splitext(name)[0] for name in storage.names(FOLDER) if name.endswith(".parquet")]


def write_part(storage: Storage, name: str, table: "pa.Table") -> None:
    """Let a part appear, or take the place of the one before, in order of its units' numbers."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table.sort_by("number"), buffer, compression="zstd")
    storage.write(f"{FOLDER}/{name}.parquet", buffer.getvalue())


def planned(table: "pa.Table", numbers: Mapping[str, int]) -> "pa.Table":
    """Rows of a plan's units with the plan's numbers, each once.

    Args:
        table: Of any rows.
        numbers: Of the units, by key.
    """
    import pyarrow as pa

    first: dict[str, int] = {}
    for place, key in enumerate(table["key"].to_pylist()):
        if key in numbers:
            first.setdefault(key, place)
    kept = table.take(pa.array(list(first.values()), pa.int64()))
    return kept.set_column(
        kept.schema.get_field_index("number"), "number", pa.array([numbers[key] for key in first], pa.int64())
    )


def rows_of(table: "pa.Table") -> Iterator[dict[str, Any]]:
    """Rows as plain data, in order of their units' numbers."""
    for batch in table.sort_by("number").to_batches(1000):
        yield from batch.to_pylist(maps_as_pydicts="strict")


class Part:
    """The rows that one driver writes: read once, added to, and written now and then.

    Args:
        storage: The batch's folder.
        name: Of the part.
        numbers: Of its units, by key; rows of others are left out.
    """

    def __init__(self, storage: Storage, name: str, numbers: Mapping[str, int]) -> None:
        self._storage, self._name = storage, name
        stored = read_parts(storage, [name])
        self.table = planned(stored, numbers)
        self._fresh: list[Mapping[str, Any]] = []
        self._behind = not self.table.equals(stored) or name not in part_names(storage)
        self._pause_s, self._written = PAUSE_S, time.monotonic()

    def add(self, row: Mapping[str, Any]) -> None:
        """One more row."""
        self._fresh.append(row)

    def drop(self, keys: frozenset[str]) -> None:
        """Without the rows of these units."""
        if keys:
            import pyarrow as pa

            self.table = self._all().filter(
                pa.array([key not in keys for key in self._all()["key"].to_pylist()], pa.bool_())
            )
            self._fresh, self._behind = [], True

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._written >= self._pause_s

    def postpone(self) -> None:
        """Wait again before the next writing."""
        self._written = time.monotonic()

    def flush(self) -> None:
        """Write what was added."""
        begun = time.monotonic()
        if self._fresh or self._behind:
            self.table = self._all()
            write_part(self._storage, self._name, self.table)
            self._fresh, self._behind = [], False
        self._written = time.monotonic()
        self._pause_s = max(PAUSE_S, SHARE * (self._written - begun))

    def _all(self) -> "pa.Table":
        import pyarrow as pa

        return pa.concat_tables([self.table, table_of(self._fresh)]) if self._fresh else self.table


def _numbers(found: object) -> dict[str, float]:
    """Numbers by name; what is no number is left out."""
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {str(name): float(value) for name, value in pairs if isinstance(value, int | float)}
