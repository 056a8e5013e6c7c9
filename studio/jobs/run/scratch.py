"""A local folder for what is not finished, removed at the end and, after a kill, at the next beginning."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from studio.jobs.engines.engine import EngineChoice
from studio.jobs.folder.storage import Storage
from studio.jobs.units import Shard, digest_of
from worldmodel.errors import OutputExists

FOLDER = "scratch"


@contextmanager
def scratch_of(storage: Storage, shard: Shard, wanted: str, choice: EngineChoice) -> Iterator[str]:
    """The address of a folder of this driver alone, which must hold the shard's lock.

    With outputs on a disk it is OUT/scratch/NAME, on the same disk, so that finishing a unit moves nothing. Otherwise
    it is in `wanted` or the system's folder. Whoever works on this shard next removes what a killed driver left. On a
    cluster with outputs elsewhere it is `wanted` itself: every machine has its own.

    Raises:
        OutputExists: if it cannot be made.
    """
    if storage.local is None and choice.address:
        yield wanted
        return
    try:
        place = _made(storage, shard, wanted)
    except OSError as error:
        raise OutputExists(
            f"no scratch folder can be made: {error}. Name one you may write to with --scratch."
        ) from error
    try:
        yield str(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if storage.local is not None and place.parent == storage.local / FOLDER:
            with suppress(OSError):  # other shards' are in it
                place.parent.rmdir()


def _made(storage: Storage, shard: Shard, wanted: str) -> Path:
    if wanted or storage.local is None:
        return _elsewhere(Path(wanted or tempfile.gettempdir()), digest_of([storage.address, shard.name])[:12])
    place = storage.local / FOLDER / shard.name
    shutil.rmtree(place, ignore_errors=True)
    while not place.is_dir():
        with suppress(FileNotFoundError):  # another shard's driver has just removed the folder around it
            place.mkdir(parents=True, exist_ok=True)
    return place


def _elsewhere(base: Path, name: str) -> Path:
    """A folder that is found again by the next driver of the shard; another one if somebody else's has its name."""
    base.mkdir(parents=True, exist_ok=True)
    place = base / f"detour-jobs-{name}"
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        return Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=base))
    return place
