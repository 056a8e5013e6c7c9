"""Scene states alone, in one Parquet file: small, exact, and all that rendering, language and measures need.

One row per scene, one column per field of `Scene`; nested types become structs and lists, arrays keep their shape
beside their values. Floats are stored as they are, so a scene comes back bit for bit and renders to the same bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from worldmodel.errors import BadDataset, BadRequest
from worldmodel.town.dataset import Progress, fill, identity, scenes_on
from worldmodel.town.records.request import TownRequest
from worldmodel.town.records.shelf import Shelf, new_piece, open_shelf
from worldmodel.town.records.workers import check_workers
from worldmodel.town.scene import Scene

TRACKS_FILE = "tracks.parquet"
VERSION = "1"
ROWS_PER_GROUP = 8  # scenes that are read together


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """An opened file of tracks: a sequence of scenes, read when they are asked for.

    Attributes:
        path: The file.
        ids: Of the scenes, in order.
    """

    path: Path
    ids: tuple[str, ...]

    @staticmethod
    def open(path: Path | str) -> "Tracks":
        """Open a file of tracks, or the folder that `detour town --tracks` wrote.

        Raises:
            BadDataset: if it is no such file, or of another version of the town.
        """
        path = Path(path)
        file = path / TRACKS_FILE if path.is_dir() else path
        return Tracks(path=file, ids=_checked_ids(file))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, number: int) -> Scene:
        """One scene.

        Raises:
            BadRequest: if there is no such scene.
            BadDataset: if the file is broken.
        """
        if not 0 <= number < len(self.ids):
            raise BadRequest(
                f"scene {number} of '{self.path}' is wanted, but it has scenes 0 to {len(self) - 1}. Choose one of these."
            )
        group, row = divmod(number, ROWS_PER_GROUP)
        return _restored(self.path, _group(self.path, group)[row])

    def __iter__(self) -> Iterator[Scene]:
        return (self[number] for number in range(len(self)))


def write_tracks(out: Path, request: TownRequest, *, workers: int = 1, progress: Progress | None = None) -> Tracks:
    """Write the states of scenes, without rendering; resumable as `write_town`.

    Args:
        out: A folder that does not exist yet; it gets `tracks.parquet`, `README.md` and `meta/town.json`.
        workers: Processes that simulate side by side; the result does not depend on it.
        progress: Called with (scenes done, scenes in all).
    Raises:
        OutputExists: if `out` exists or cannot be written, or 'OUT.partial' belongs to another request.
        UnknownName, BadRequest: as `mixed_scenes` and `simulate`.
    """
    request.check()
    check_workers(workers)
    with open_shelf(Path(out), identity(request, {"made": "tracks"}), request.scenes) as shelf:
        pairs = scenes_on(shelf, request, workers)
        fill(shelf, partial(_track_piece, shelf=shelf, request=request), pairs, workers, progress)
        shelf.finish(_whole_tracks(shelf, request))
    return Tracks.open(out)


def _track_piece(job: tuple[int, tuple[str, int]], *, shelf: Shelf, request: TownRequest) -> None:
    from worldmodel.town.records.card import save_facts, scene_facts

    number, pair = job
    with new_piece(shelf, number) as folder:
        scene = request.scene(pair)
        save_scenes([scene], folder / TRACKS_FILE)
        save_facts(scene_facts(scene), folder)


def _whole_tracks(shelf: Shelf, request: TownRequest) -> Path:
    import pyarrow.parquet as pq

    from worldmodel.town.records.card import load_facts, write_card

    whole = shelf.folder / "whole"
    whole.mkdir()
    places = [shelf.place(number) for number in range(shelf.count)]
    with _writer(whole / TRACKS_FILE) as writer:
        for first in range(0, len(places), ROWS_PER_GROUP):
            some = places[first : first + ROWS_PER_GROUP]
            writer.write_table(_joined([pq.read_table(place / TRACKS_FILE) for place in some]))
    write_card(whole, request, [load_facts(place) for place in places], rig=None)
    return whole


def _joined(tables: list[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(tables).combine_chunks()


def save_scenes(scenes: list[Scene], file: Path) -> None:
    """Write scenes as a file of tracks; edited ones too."""
    import pyarrow as pa

    with _writer(file) as writer:
        for first in range(0, len(scenes), ROWS_PER_GROUP):
            rows = [_plain(scene) for scene in scenes[first : first + ROWS_PER_GROUP]]
            writer.write_table(pa.Table.from_pylist(rows, schema=_schema()))


def _writer(file: Path) -> Any:
    import pyarrow.parquet as pq

    leaves = [leaf for field in _schema() for leaf in _leaves(field.name, field.type)]
    return pq.ParquetWriter(
        file,
        _schema(),
        compression="zstd",
        compression_level=9,
        use_dictionary=[name for name, is_float in leaves if not is_float],
        use_byte_stream_split=[name for name, is_float in leaves if is_float],  # a quarter smaller
        write_statistics=False,
    )


def _leaves(name: str, kind: Any) -> Iterator[tuple[str, bool]]:
    """(path, whether it holds floats) of every column that Parquet stores for a field."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{name}.{field.name}", field.type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{name}.list.element", kind.value_type)
    else:
        yield name, pa.types.is_floating(kind)


# -- any dataclass as an Arrow type and back --------------------------------------------------------------------


@cache
def _schema() -> Any:
    import pyarrow as pa

    columns = [(name, _arrow_type(hint)) for name, hint in _hints(Scene).items()]
    return pa.schema(columns, metadata={"detour.tracks": VERSION})


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    known = get_type_hints(kind)
    return {field.name: known[field.name] for field in fields(kind)}


def _arrow_type(hint: Any) -> Any:
    """The Arrow type of a field: of a number, text, dataclass, tuple of one kind, or array."""
    import pyarrow as pa

    simple = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    if hint in simple:
        return simple[hint]
    if _is_array(hint):
        return pa.struct([("shape", pa.list_(pa.int32())), ("values", pa.list_(pa.from_numpy_dtype(_dtype(hint))))])
    if isinstance(hint, type) and is_dataclass(hint):
        return pa.struct([(name, _arrow_type(inner)) for name, inner in _hints(hint).items()])
    if get_origin(hint) is tuple:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    raise TypeError(f"{hint} has no form in a file of tracks")


def _is_array(hint: Any) -> bool:
    return hasattr(hint, "dim_str")  # a jaxtyping annotation


def _dtype(hint: Any) -> np.dtype[Any]:
    """Of what an array in a scene is made: the flavours of `Float`, `Int8` and `Bool`."""
    return np.dtype({"Float": "float64", "Bool": "bool"}.get(hint.dtype.__name__, hint.dtype.__name__.lower()))


def _plain(value: Any) -> Any:
    """A value as plain data for Arrow."""
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "values": value.reshape(-1)}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _value(hint: Any, plain: Any) -> Any:
    """The inverse of `_plain`."""
    if _is_array(hint):
        return np.array(plain["values"], _dtype(hint)).reshape(plain["shape"])
    if isinstance(hint, type) and is_dataclass(hint):
        return hint(**{name: _value(inner, plain[name]) for name, inner in _hints(hint).items()})
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], item) for item in plain)
    return plain


# -- reading ----------------------------------------------------------------------------------------------------


def _checked_ids(file: Path) -> tuple[str, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
        if not schema.equals(_schema()):
            raise BadDataset(
                f"'{file}' holds no tracks of this version of the town. Make them again with `detour town --tracks`, or "
                "read them with the version of Detour that made them."
            )
        return tuple(pq.read_table(file, columns=["id"])["id"].to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise BadDataset(
            f"'{file}' cannot be read: {error}. Give a folder that `detour town --tracks` wrote."
        ) from error


def _group(file: Path, group: int) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.ParquetFile(file).read_row_group(group).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise BadDataset(f"'{file}' cannot be read: {error}. Copy it again.") from error
    return rows


def _restored(file: Path, row: dict[str, Any]) -> Scene:
    try:
        scene: Scene = _value(Scene, row)
    except (TypeError, ValueError) as error:
        raise BadDataset(f"'{file}': scene '{row.get('id')}' is broken ({error}). Copy it again.") from error
    return scene
