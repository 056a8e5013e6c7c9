"""Long work that survives being killed: finished pieces wait in 'OUT.partial' until all are there.

OUT.partial/request.json     what is being made; only the same request goes on with it
OUT.partial/scenes.json      which scenes that means
OUT.partial/000012/          a finished piece; unfinished ones have other names and are thrown away
OUT.partial/whole/           the output while it is put together; then it becomes OUT in one step
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from worldmodel.errors import OutputExists

CHOICE = "scenes.json"  # which scenes the pieces are


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The pieces of an output that is not whole yet.

    Attributes:
        out: Where the output will be.
        count: How many pieces it has.
    """

    out: Path
    count: int

    @property
    def folder(self) -> Path:
        """Where pieces wait."""
        return self.out.with_name(f"{self.out.name}.partial")

    def place(self, number: int) -> Path:
        """The folder of a finished piece."""
        return self.folder / f"{number:06d}"

    def missing(self) -> list[int]:
        """Numbers of the pieces that are not finished."""
        return [number for number in range(self.count) if not self.place(number).is_dir()]

    def finish(self, whole: Path) -> None:
        """Let a complete output appear, and drop the pieces."""
        os.rename(whole, self.out)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def open_shelf(out: Path, request: Mapping[str, Any], count: int) -> Iterator[Shelf]:
    """The shelf of an output, with what an earlier run of the same request left on it.

    It stays when the block fails, unless nothing is on it.

    Raises:
        OutputExists: if `out` exists or cannot be written; if the shelf belongs to another request, or another process
            is at work on it.
    """
    shelf = Shelf(out=out, count=count)
    if os.path.lexists(out):
        raise OutputExists(f"'{out}' exists already. Choose another place, or remove it first.")
    try:
        shelf.folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(shelf.folder)
    except OSError as error:
        raise OutputExists(f"cannot write '{out}': {error}. Choose a folder you may write to.") from error
    with lock:
        try:
            yield _ready(shelf, json.loads(json.dumps(request)))
        except OSError as error:
            raise OutputExists(
                f"cannot write '{out}': {error}. {count - len(shelf.missing())} of {count} scenes are kept in "
                f"'{shelf.folder}'; free some space and run the same command again."
            ) from error
        finally:
            if len(shelf.missing()) == count:
                shutil.rmtree(shelf.folder, ignore_errors=True)


@contextmanager
def new_piece(shelf: Shelf, number: int) -> Iterator[Path]:
    """A temporary folder that becomes a finished piece when the block ends well, and vanishes when it does not."""
    temporary = shelf.folder / f".{number:06d}.{os.getpid()}"
    try:
        temporary.mkdir()
        yield temporary
        if not shelf.place(number).is_dir():  # else another worker finished the same piece, with the same bytes
            os.rename(temporary, shelf.place(number))
    except OutputExists as error:  # a video that could not be written
        raise OSError(str(error.__cause__ or error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _ready(shelf: Shelf, request: dict[str, Any]) -> Shelf:
    """The shelf without anything that was never finished.

    Raises:
        OutputExists: if its pieces belong to another request.
    """
    file, empty = shelf.folder / "request.json", len(shelf.missing()) == shelf.count
    if not empty and (before := _read(file)) != request:
        raise OutputExists(_other_request(shelf, before, request))
    for leftover in shelf.folder.iterdir():
        if leftover.is_dir() and not leftover.name.isdigit():
            shutil.rmtree(leftover, ignore_errors=True)
        elif empty and leftover.name == CHOICE:
            leftover.unlink()
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(request, indent=1) + "\n")
    os.replace(temporary, file)
    return shelf


def _locked(folder: Path) -> IO[str]:
    """Keep other processes out for as long as the returned file is open; a killed process lets go of it."""
    lock = (folder / "lock").open("w")
    try:
        import fcntl
    except ModuleNotFoundError:  # no such locks on this system
        return lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise OutputExists(
            f"another process is writing to '{folder}'. Wait until it is done, or choose another place."
        ) from error
    return lock


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _other_request(shelf: Shelf, known: dict[str, Any], request: dict[str, Any]) -> str:
    keys = sorted(key for key in {*known, *request} if known.get(key) != request.get(key))
    if keys == ["town"]:
        return (
            f"'{shelf.folder}' was begun with another version of the town ({known['town']}, now {request['town']}), whose "
            "scenes may look different. Remove the folder to start again, or go on with that version."
        )
    changes = ", ".join(f"{key} was {_short(known.get(key))} and is {_short(request.get(key))}" for key in keys)
    return (
        f"'{shelf.folder}' holds a part of another request: {changes}. Run that command again to complete it, choose "
        "another place, or remove the folder."
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
