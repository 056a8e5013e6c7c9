"""A folder in an object store, through fsspec; an object appears when all of it has arrived."""

import errno
import hashlib
import importlib
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from studio.jobs.folder.disk import FULL, unfinished
from studio.jobs.folder.patience import Patience
from studio.jobs.folder.storage import BLOCK_BYTES, EXTRAS, Storage, safe_name
from worldmodel.errors import BadRequest, DetourError, DiskFull, OutputExists, Unreachable

T = TypeVar("T")

FAILURES = {  # of a store's client, besides OSError
    "s3": ("botocore.exceptions.BotoCoreError", "botocore.exceptions.ClientError", "aiohttp.ClientError"),
    "gs": ("gcsfs.retry.HttpError", "google.auth.exceptions.GoogleAuthError", "aiohttp.ClientError"),
}
TAGS = ("ETag", "etag", "md5Hash", "LastModified", "updated", "created")  # the first one that a store gives
OWN_TRIES = 2  # of the client, per try of ours, which wait longer


def open_store(kind: str, address: str, options: Mapping[str, Any], patience: Patience) -> "ObjectStore":
    """The folder at an address.

    Raises:
        BadRequest: if the package for it is not installed, or it refuses the options.
    """
    import fsspec  # type: ignore[import-untyped]

    try:
        if kind in EXTRAS:
            importlib.import_module(EXTRAS[kind][0])
        settings: dict[str, Any] = {**options, "use_listings_cache": False} if kind in EXTRAS else {**options}
        if kind == "s3":
            settings["config_kwargs"] = {"retries": {"total_max_attempts": 1}, **settings.get("config_kwargs", {})}
        files = fsspec.filesystem(kind, skip_instance_cache=kind in EXTRAS, **settings)
        if kind == "s3":
            files.connect()  # nothing is sent; wrong options are found
            files.retries = OWN_TRIES
    except ImportError as error:
        raise BadRequest(
            f"'{address}' needs the package '{EXTRAS[kind][0]}', which is not installed. "
            f"Install it with: pip install 'detour[{EXTRAS[kind][1]}]'."
        ) from error
    except (TypeError, ValueError) as error:
        raise BadRequest(
            f"the options of '{address}' cannot be used: {error}. "
            f"They must be those of fsspec's '{kind}', such as endpoint_url; correct them."
        ) from error
    root = str(files._strip_protocol(address)).rstrip("/")  # the only way fsspec has to read an address
    if any(part in (".", "..") for part in root.split("/")) or not root.strip("/"):
        raise BadRequest(
            f"'{address}' names no folder of a store. Use an address without '..', such as {kind}://bucket/folder."
        )
    return ObjectStore(files, root, address.rstrip("/"), patience, _kinds(kind))


class ObjectStore(Storage):
    """A folder in an object store.

    Attributes:
        files: The file system of fsspec.
        root: The folder's path in it.
    """

    def __init__(
        self, files: Any, root: str, address: str, patience: Patience, kinds: tuple[type[Exception], ...]
    ) -> None:
        self.files, self.root, self.address = files, root, address
        self.patience, self.kinds = patience, kinds

    def sub(self, name: str) -> "ObjectStore":
        """A folder inside; nothing is made yet."""
        inside = f"{self.address}/{safe_name(name)}"
        return ObjectStore(self.files, self.path(name), inside, self.patience, self.kinds)

    def path(self, name: str) -> str:
        """Where an object is."""
        return f"{self.root}/{safe_name(name)}"

    def folder(self, under: str) -> str:
        """Where a folder is; '' for this one."""
        return self.path(under) if under else self.root

    def read(self, name: str) -> bytes:
        """Content of an object."""
        return bytes(self._try("read", name, lambda: self.files.cat_file(self.path(name))))

    def write(self, name: str, data: bytes) -> None:
        """Let an object appear, or take the place of the one before, whole or not at all."""
        self._try("write", name, lambda: self.files.pipe_file(self.path(name), data))

    def create(self, name: str, data: bytes) -> bool:
        """Let an object appear unless there is one of that name; whether it did. Stores that cannot tell overwrite it."""
        try:
            self._try("write", name, lambda: self.files.pipe_file(self.path(name), data, mode="create"))
        except FileExistsError:
            return False
        return True

    def put(self, file: Path, name: str) -> None:
        """Copy a local file here, whole or not at all."""
        self._try("write", name, lambda: self.files.put_file(str(file), self.path(name)))

    def get(self, name: str, file: Path) -> None:
        """Copy an object to a local path, whole or not at all; its length is compared."""
        size, new = self.size(name), unfinished(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._try("copy", name, lambda: self._fetch(name, new, size))
            os.replace(new, file)
        finally:
            new.unlink(missing_ok=True)

    def size(self, name: str) -> int:
        """Bytes of an object."""
        facts = self._try("look at", name, lambda: self.files.info(self.path(name)))
        if facts["type"] != "file":
            raise FileNotFoundError(errno.ENOENT, "a folder, not a file", f"{self.address}/{name}")
        return int(facts["size"])

    def sizes(self, under: str = "") -> dict[str, int]:
        """Bytes of all objects in a folder and below, by name from here."""
        try:
            found = self._try("look at", under, lambda: self.files.find(self.folder(under), detail=True))
        except FileNotFoundError:
            return {}
        return {
            self._name(path): int(facts["size"]) for path, facts in sorted(found.items()) if path != self.folder(under)
        }

    def tags(self) -> dict[str, str]:
        """What the store says that changes with each object's content, by name; '' where it says nothing."""
        try:
            found = self._try("look at", "", lambda: self.files.find(self.root, detail=True))
        except FileNotFoundError:
            return {}
        return {
            self._name(path): next((str(facts[name]) for name in TAGS if facts.get(name)), "")
            for path, facts in sorted(found.items())
            if path != self.root
        }

    def names(self, under: str = "") -> list[str]:
        """Names of the objects and folders directly in a folder, sorted; none if it is not there."""
        try:
            found = self._try("look at", under, lambda: self.files.ls(self.folder(under), detail=False))
        except FileNotFoundError:
            return []
        return sorted(
            {posixpath.basename(path.rstrip("/")) for path in found if path.rstrip("/") != self.folder(under)}
        )

    def remove(self, name: str) -> None:
        """Remove an object, or a folder with all in it; harmless if it is not there."""
        self._remove(name)
        for inside in self.sizes(name):
            self._remove(inside)

    def move(self, name: str, to: str) -> None:
        """Copy an object or folder within the store, then remove it; half of it may be left if that fails."""
        inside = {old: f"{to}{old[len(name) :]}" for old in self.sizes(name)} or {name: to}
        for old, new in inside.items():
            self._try("write", new, lambda old=old, new=new: self.files.cp_file(self.path(old), self.path(new)))  # type: ignore[misc]
        for old in inside:
            self._remove(old)

    def digest(self, name: str) -> str:
        """SHA-256 of an object's bytes, as they are stored."""
        return self._try("read", name, lambda: self._digest(name))

    def _digest(self, name: str) -> str:
        size, found, start = int(self.files.info(self.path(name))["size"]), hashlib.sha256(), 0
        while start < size:
            part = self.files.cat_file(self.path(name), start=start, end=min(size, start + BLOCK_BYTES))
            found.update(part)
            if len(part) != min(BLOCK_BYTES, size - start):
                raise ConnectionError(f"{len(part)} bytes came of {min(BLOCK_BYTES, size - start)}")
            start += len(part)
        return found.hexdigest()

    def _fetch(self, name: str, file: Path, size: int) -> None:
        self.files.get_file(self.path(name), str(file))
        if file.stat().st_size != size:
            raise ConnectionError(f"{file.stat().st_size} bytes came of {size}")

    def _remove(self, name: str) -> None:
        try:
            self._try("remove", name, lambda: self.files.rm_file(self.path(name)))
        except FileNotFoundError:
            return

    def _name(self, path: str) -> str:
        return path[len(self.root) :].lstrip("/")

    def _try(self, verb: str, name: str, action: Callable[[], T]) -> T:
        where = f"{self.address}/{name}" if name else self.address
        with _told(where, self.kinds, writing=verb == "write"):
            return self.patience.call(f"{verb} '{where}'", action, self.kinds)


def _kinds(kind: str) -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = [OSError]
    for name in FAILURES.get(kind, ()):
        module, _, last = name.rpartition(".")
        found.append(getattr(importlib.import_module(module), last))
    return tuple(found)


@contextmanager
def _told(where: str, kinds: tuple[type[Exception], ...], writing: bool) -> Iterator[None]:
    """Turn what the store refuses into sentences."""
    try:
        yield
    except FileNotFoundError as error:
        if not writing:
            raise
        raise OutputExists(
            f"cannot write '{where}': {error}. The bucket must exist; make it, or choose another."
        ) from error
    except (FileExistsError, Unreachable):
        raise
    except kinds as error:
        raise _sentence(where, error) from error


def _sentence(where: str, error: Exception) -> DetourError:
    if isinstance(error, OSError) and error.errno in FULL:
        return DiskFull(f"'{where}' is full ({error}). More space is needed; free some and run the same command again.")
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"):
        return BadRequest(
            f"'{where}' cannot be used: no credentials were found. The store's usual ones are needed; "
            "set them, such as AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    return OutputExists(
        f"'{where}' cannot be used: {type(error).__name__}: {error}. It must be a place that you may read and write; "
        "check its name, the region and your rights."
    )
