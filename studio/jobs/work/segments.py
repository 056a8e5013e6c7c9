"""What is kept of a long rollout under way: finished parts of its outputs, and the past from which it goes on.

PARTIAL/00012/0-mosaic.mp4       what segment 12 added to an output of sample 0
PARTIAL/00012/segment.json       that it is whole: its files with SHA-256, its telemetry; written last
PARTIAL/past-00012.safetensors   from here segment 13 goes on; those of the two newest segments are kept

Whoever is interrupted finds here what he needs; what is missing or damaged is computed again.
"""

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from studio.jobs.folder.storage import Storage
from studio.jobs.units import FileFact, digest_of
from worldmodel.errors import BadCheckpoint
from worldmodel.loaded import LoadedModel
from worldmodel.past import Past
from worldmodel.past_file import load_past, save_past
from worldmodel.requests import RolloutRequest

RECORD = "segment.json"
PASTS_KEPT = 2
Telemetry = tuple[dict[str, float], ...]  # of one sample, per chunk


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One finished segment.

    Attributes:
        number: From 0.
        what: Digest of what is imagined; another one makes this worthless.
        telemetry: Of its chunks, per sample.
        files: Of its outputs, by names inside its folder.
        past: Of the past at its end.
    """

    number: int
    what: str
    telemetry: tuple[Telemetry, ...]
    files: tuple[FileFact, ...]
    past: FileFact

    def to_json(self) -> bytes:
        """Plain data; `of` reads it back."""
        return json.dumps(asdict(self), separators=(",", ":"), allow_nan=False).encode()

    @staticmethod
    def of(data: bytes) -> "Segment":
        """What `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: if it is something else.
        """
        known: dict[str, Any] = json.loads(data)
        return Segment(
            number=int(known["number"]),
            what=str(known["what"]),
            telemetry=tuple(tuple(chunks) for chunks in known["telemetry"]),
            files=tuple(FileFact(**file) for file in known["files"]),
            past=FileFact(**known["past"]),
        )


class Segments:
    """The segments of one rollout in a storage of their own.

    Args:
        partial: Where; nobody else writes there.
        what: Digest of what is imagined.
        wanted: Names of the files that every segment must have.
    """

    def __init__(self, partial: Storage, what: str, wanted: Sequence[str]) -> None:
        self._partial, self.what, self._wanted = partial, what, frozenset(wanted)

    def newest(self, model: LoadedModel, scratch: Path) -> tuple[tuple[Segment, ...], Past] | None:
        """All segments up to the newest from which the rollout can go on, and the past there; None to begin anew."""
        found = self._sound()
        while found:
            try:
                return tuple(found), self._past(found[-1], model, scratch)
            except (BadCheckpoint, FileNotFoundError):
                found.pop()
        forget(self._partial)
        return None

    def keep(self, segment: Segment, files: Mapping[str, Path], past: Path) -> None:
        """Store a segment that is finished; its record last, then older pasts go once the newer one is there as it should."""
        folder = _folder(segment.number)
        for name, file in files.items():
            self._partial.put(file, posixpath.join(folder, name))
        self._partial.put(past, segment.past.name)
        self._partial.write(posixpath.join(folder, RECORD), segment.to_json())
        if self._partial.digest(segment.past.name) == segment.past.sha256:
            for name in sorted(name for name in self._partial.names() if _PAST.fullmatch(name))[:-PASTS_KEPT]:
                self._partial.remove(name)

    def part(self, number: int, name: str, scratch: Path) -> Path:
        """One file of a segment as a path: where it lies, or a copy in `scratch`."""
        where = posixpath.join(_folder(number), name)
        if self._partial.local is not None:
            return self._partial.local / where
        copy = scratch / _folder(number) / name
        copy.parent.mkdir(exist_ok=True)
        self._partial.get(where, copy)
        return copy

    def _sound(self) -> list[Segment]:
        """All segments from the first on without a gap, their files as they were written."""
        sizes, found = self._partial.sizes(), list[Segment]()
        while (segment := self._record(len(found), sizes)) is not None:
            found.append(segment)
        return found

    def _record(self, number: int, sizes: Mapping[str, int]) -> Segment | None:
        folder = _folder(number)
        if posixpath.join(folder, RECORD) not in sizes:
            return None
        try:
            segment = Segment.of(self._partial.read(posixpath.join(folder, RECORD)))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        whole = segment.number == number and segment.what == self.what
        there = whole and self._wanted <= {file.name for file in segment.files}
        return segment if there and all(self._as_written(folder, file, sizes) for file in segment.files) else None

    def _as_written(self, folder: str, file: FileFact, sizes: Mapping[str, int]) -> bool:
        where = posixpath.join(folder, file.name)
        if file.name not in self._wanted:  # of a sample that is finished meanwhile
            return True
        return sizes.get(where) == file.bytes and self._partial.digest(where) == file.sha256

    def _past(self, segment: Segment, model: LoadedModel, scratch: Path) -> Past:
        copy = scratch / "past.safetensors"
        self._partial.get(segment.past.name, copy)
        return load_past(copy, model)


_PAST = re.compile(r"past-\d{5}\.safetensors")


def what_of(model: LoadedModel, begin: Past, asked: RolloutRequest, segment_chunks: int) -> str:
    """Digest of what is imagined, as far as values tell it; guides are code and answered for by the caller."""
    seen = sha256()
    for observation in begin.newest:
        seen.update(observation.video.tobytes())
    for path in asked.actions or ():
        seen.update(path.poses.tobytes() + path.times_s.tobytes())
    facts = [model.hash, begin.frames, begin.instructions, asked.frames, asked.seeds, segment_chunks]
    return digest_of([*facts, asked.sampling.to_json(), seen.hexdigest()])


def forget(partial: Storage) -> None:
    """Remove all that is kept of a rollout: once its outputs are stored, or when they will never be."""
    for name in partial.names():
        partial.remove(name)


def write_past(past: Past, number: int, scratch: Path, model: LoadedModel) -> tuple[Path, FileFact]:
    """The past at the end of a segment as a file, and its facts under the name that it gets."""
    file = scratch / "past.safetensors"
    save_past(past, file, model)
    return file, FileFact.of(file, f"past-{number:05d}.safetensors")


def _folder(number: int) -> str:
    return f"{number:05d}"
