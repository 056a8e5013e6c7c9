"""One folder anywhere: on a disk, in an object store, or in memory. Files in it are there whole or not at all.

Disks are used through the operating system, which can rename and lock; everything else through fsspec.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.jobs.folder.patience import Patience
from worldmodel.errors import BadRequest, UnknownName

EXTRAS = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}  # package and extra of Detour, by what addresses begin with
BLOCK_BYTES = 8 * 2**20


class Storage(ABC):
    """A folder with files by name; names are relative, with '/' between parts, and never lead out of it.

    Everything that fails for a while is tried again; see `studio.jobs.folder.patience.Patience`.

    Attributes:
        address: Where it is, as people write it.
        local: Its path if it is on a disk, else None.

    Raises:
        BadRequest: by every method, if a name is empty, absolute or leads out of the folder.
        FileNotFoundError: by methods that read, if there is no such file.
        OutputExists: by methods that write, if that is not allowed.
        DiskFull: by methods that write, if nothing more fits.
        Unreachable: by every method, if the storage does not answer again and again.
    """

    address: str
    local: Path | None = None

    @staticmethod
    def at(
        address: str | Path, options: Mapping[str, Any] | None = None, patience: Patience | None = None
    ) -> "Storage":
        """The folder at a path or address; nothing is read or written yet.

        Args:
            address: A path, or file://, s3://bucket/folder, gs://bucket/folder, memory://folder (of this process alone).
            options: Of the object store as fsspec names them, such as `{"endpoint_url": ...}`.
            patience: How long to try.

        Raises:
            BadRequest: if the address is empty or chained, or the package for it is not installed.
            UnknownName: if nothing stores at such addresses.
        """
        text, patience = os.fspath(address), patience or Patience()
        kind = protocol_of(text)
        if kind == "file":
            from studio.jobs.folder.disk import Disk

            return Disk(Path(text.removeprefix("file://")), patience)
        from studio.jobs.folder.object_store import open_store

        return open_store(kind, text, options or {}, patience)

    @abstractmethod
    def sub(self, name: str) -> "Storage":
        """A folder inside; nothing is made yet."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Content of a file."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Let a file appear, or take the place of the one before, whole or not at all."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Let a file appear unless there is one of that name; whether it did. Stores that cannot tell overwrite it."""

    @abstractmethod
    def put(self, file: Path, name: str) -> None:
        """Copy a local file here, whole or not at all."""

    @abstractmethod
    def get(self, name: str, file: Path) -> None:
        """Copy a file to a local path, whole or not at all."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of a file."""

    @abstractmethod
    def sizes(self, under: str = "") -> dict[str, int]:
        """Bytes of all files in a folder and below, by name from here; unfinished ones are left out."""

    @abstractmethod
    def names(self, under: str = "") -> list[str]:
        """Names of the files and folders directly in a folder, sorted; none if it is not there."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; harmless if it is not there."""

    @abstractmethod
    def move(self, name: str, to: str) -> None:
        """Move a file or folder to a name that is free."""

    @abstractmethod
    def digest(self, name: str) -> str:
        """SHA-256 of a file's bytes, as they are stored."""

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        try:
            self.size(name)
        except FileNotFoundError:
            return False
        return True


def protocol_of(address: str) -> str:
    """'file', 's3', 'gs' or 'memory': what stores at an address.

    Raises:
        BadRequest: if it is empty, has control characters, or chains several.
        UnknownName: if it is something else.
    """
    if not address.strip() or any(ord(letter) < 32 for letter in address):
        raise BadRequest(
            f"the folder is {address!r}; it must be a path or an address. Use a path, or s3://bucket/folder."
        )
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)(::|://)", address)
    if found is None:
        return "file"
    if "::" in address:
        raise BadRequest(
            f"'{address}' chains several addresses; one is needed. Use the last one, such as s3://bucket/folder."
        )
    kind = {"s3a": "s3", "gcs": "gs"}.get(found[1].lower(), found[1].lower())
    if kind not in ("file", "memory", *EXTRAS):
        raise UnknownName("kind of storage", f"{kind}://", [f"{name}://" for name in ("file", "memory", *EXTRAS)])
    return kind


def safe_name(name: str) -> str:
    """A name that stays inside its folder.

    Raises:
        BadRequest: if it does not.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(ord(letter) < 32 for letter in name) or "\\" in name:
        raise BadRequest(
            f"'{name}' does not name a file inside the folder; names are relative, without '..', '\\' or empty parts. "
            "Use a name such as 'units/a.json'."
        )
    return name
