"""A batch's units as WebDataset: tar shards whose neighbouring members with one stem are one sample.

TO/00000.tar ...     KEY.mp4 (all cameras), KEY.CAMERA.mp4, KEY.jpg, KEY.json, KEY.parquet, KEY.safetensors, KEY.scores.json
TO/index.json        shards with bytes, samples and SHA-256; what was exported, from what, and that it is imagined

Samples come in the order of their keys, members in that of their endings; nothing in a shard depends on when or where it
was written, so that the same units are the same bytes.

Source: https://github.com/webdataset/webdataset (README, "The WebDataset Format"); written with Python's tarfile.
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from studio.jobs.exports.finished import Finished
from studio.jobs.folder.unit_folder import PASSING
from studio.runs import write_json

INDEX, SAMPLE_RECORD = "index.json", "json"
ENDINGS = {
    "mosaic.mp4": "mp4",
    "poster.jpg": "jpg",
    "trajectory.parquet": "parquet",
    "latents.safetensors": "safetensors",
    "scores.json": "scores.json",
}


@dataclass(frozen=True, kw_only=True)
class TarShard:
    """One finished tar file: its name, samples, bytes and SHA-256."""

    name: str
    samples: int
    bytes: int
    sha256: str


def write_shards(units: Iterable[Finished], folder: Path, *, shard_bytes: int) -> tuple[TarShard, ...]:
    """Write units, in the order of their keys, into an existing folder as tar shards of at most `shard_bytes` each.

    A sample is never split: one that is larger than a shard has a shard of its own.

    Raises:
        BadDataset: if a unit's file is missing or damaged.
        OSError: if the folder cannot be written.
    """
    writer = _Writer(folder=folder, shard_bytes=shard_bytes)
    scratch = folder / ".sample"
    try:
        for unit in units:
            scratch.mkdir()
            writer.add(_members(unit, scratch))
            shutil.rmtree(scratch)
        writer.end_shard()
    finally:
        writer.close()
        shutil.rmtree(scratch, ignore_errors=True)
    return tuple(writer.shards)


def write_index_file(folder: Path, shards: Sequence[TarShard], facts: Mapping[str, Any]) -> None:
    """What the shards are, beside them."""
    content = {"format": 1, "kind": "webdataset", **facts, "shards": [asdict(shard) for shard in shards]}
    write_json(folder / INDEX, content)


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: str
    content: Path | bytes

    @property
    def bytes(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def room(self) -> int:
        """In a tar file: a header, and the content in whole blocks."""
        return tarfile.BLOCKSIZE * (1 + -(-self.bytes // tarfile.BLOCKSIZE))


def _members(unit: Finished, scratch: Path) -> list[_Member]:
    endings = member_endings([fact.name for fact in unit.files])
    found = [
        _Member(name=f"{unit.key}.{ending}", content=unit.fetch(name, scratch / ending))
        for name, ending in endings.items()
    ]
    record = {name: value for name, value in unit.record.items() if name not in PASSING}
    record["request"] = _request_without_folders(unit.record["request"])
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    found.append(_Member(name=f"{unit.key}.{SAMPLE_RECORD}", content=f"{text}\n".encode()))
    return sorted(found, key=lambda member: member.name)


def _request_without_folders(request: Mapping[str, Any]) -> dict[str, Any]:
    """The same words wherever the recordings lie; where that is concerns nobody who is given the shards."""
    clip = request["clip"]
    return {**request, "clip": {**clip, "dataset": clip["dataset"].rstrip("/").rpartition("/")[2]}}


def member_endings(names: Iterable[str]) -> dict[str, str]:
    """How each file of a unit ends in a shard: small letters, digits, '-' and '_' only, no two alike.

    >>> member_endings(["mosaic.mp4", "cameras/Front left.mp4", "cameras/front_left.mp4"])
    {'cameras/Front left.mp4': 'front_left.mp4', 'cameras/front_left.mp4': 'front_left-2.mp4', 'mosaic.mp4': 'mp4'}
    """
    found: dict[str, str] = {}
    taken = {SAMPLE_RECORD, *ENDINGS.values()}
    for name in sorted(names):
        if name in ENDINGS:
            found[name] = ENDINGS[name]
            continue
        stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
        plain, end = _plain(stem if dot else suffix), f".{_plain(suffix)}" if dot else ""
        ending, number = f"{plain}{end}", 1
        while ending in taken:
            number += 1
            ending = f"{plain}-{number}{end}"
        taken.add(ending)
        found[name] = ending
    return found


def _plain(text: str) -> str:
    return "".join(one if one.isascii() and (one.isalnum() or one in "-_") else "_" for one in text.lower()) or "_"


@dataclass(kw_only=True)
class _Writer:
    """The shard that is being written, and those before it."""

    folder: Path
    shard_bytes: int
    shards: list[TarShard] = field(default_factory=list)
    _tar: tarfile.TarFile | None = None
    _samples: int = 0
    _room: int = 0

    def add(self, members: Sequence[_Member]) -> None:
        """One sample: into this shard if it fits, else into the next."""
        room = sum(member.room for member in members)
        if self._tar is not None and self._room + room > self.shard_bytes:
            self.end_shard()
        if self._tar is None:
            self._tar = tarfile.open(self._path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (open across samples)
            self._room = 2 * tarfile.BLOCKSIZE + tarfile.RECORDSIZE  # how a tar file ends, at most
        for member in members:
            _add(self._tar, member)
        self._room += room
        self._samples += 1

    def end_shard(self) -> None:
        """Finish the present shard."""
        if self._tar is None:
            return
        self._tar.close()
        self._tar = None
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self._path.stat().st_size
        self.shards.append(TarShard(name=self._path.name, samples=self._samples, bytes=size, sha256=digest))
        self._samples = 0

    def close(self) -> None:
        """Close what is open; after an error the folder goes anyway."""
        if self._tar is not None:
            self._tar.close()

    @property
    def _path(self) -> Path:
        return self.folder / f"{len(self.shards):05d}.tar"


def _add(tar: tarfile.TarFile, member: _Member) -> None:
    info = tarfile.TarInfo(member.name)  # time, owner and mode are the same always
    info.size = member.bytes
    if isinstance(member.content, bytes):
        tar.addfile(info, BytesIO(member.content))
    else:
        with member.content.open("rb") as file:
            tar.addfile(info, file)
