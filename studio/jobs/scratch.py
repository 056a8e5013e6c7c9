"""A local folder for what is not finished, removed at the end and, after a kill, at the next beginning."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from studio.jobs.engines.engine import EngineChoice
from studio.jobs.storage import Storage
from studio.jobs.units import Shard
from worldmodel.errors import OutputExists

FOLDER = "scratch"


@contextmanager
def scratch_of(storage: Storage, shard: Shard, wanted: str, choice: EngineChoice) -> Iterator[str]:
    """The address of a folder of this driver alone, which must hold the shard's lock.

    With outputs on a disk it is OUT/scratch/NAME, on the same disk, so that finishing a unit moves nothing; whoever
    works on this shard next finds and removes what a killed driver left. Otherwise it is below `wanted` or the
    system's folder. On a cluster with outputs elsewhere it is '': every machine has its own.

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
        if storage.local is not None and place.parent == storage.local / FOLDER and shard.of == 1:
            with suppress(OSError):
                place.parent.rmdir()


def _made(storage: Storage, shard: Shard, wanted: str) -> Path:
    if wanted or storage.local is None:
        if wanted:
            Path(wanted).mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"detour-jobs-{shard.name}-", dir=wanted or None))
    place = storage.local / FOLDER / shard.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    return place
