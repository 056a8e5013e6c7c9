"""Values that stand in a job file: addresses, ranges of numbers, sizes; and what makes messages about them good."""

import difflib
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from studio.jobs.folder.storage import protocol_of
from worldmodel.errors import DetourError

MAGIC = re.compile(r"[*?\[]")
MAX_NAME_BYTES = 255
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+)")
_RANGE = re.compile(r"(\d{1,15})(?:\s*-\s*(\d{1,15}))?")
_BYTES = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kMGT]?)B")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_Value = TypeVar("_Value")


class Strict(BaseModel):
    """A part of a job file: frozen, no unknown names, no text for numbers, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _names_are_known(cls, data: Any) -> Any:
        for name in data if isinstance(data, dict) else ():
            if name not in cls.model_fields:
                close = difflib.get_close_matches(name, cls.model_fields, n=1, cutoff=0.4)
                hint = f"Did you mean '{close[0]}'? " if close else ""
                said = f"unknown name '{name:.80}'. {hint}Known: {', '.join(cls.model_fields)}"
                raise PydanticCustomError("unknown_name", "{said}", {"said": said, "name": name})
        return data


def wrong(message: str) -> PydanticCustomError:
    """What a validator raises; our sentence, untouched."""
    return PydanticCustomError("wrong", "{said}", {"said": message})


def checked(check: Callable[[_Value], object]) -> Callable[[_Value], _Value]:
    """A validator that keeps the value if a check of ours raises nothing."""

    def validator(value: _Value) -> _Value:
        try:
            check(value)
        except DetourError as error:
            raise wrong(str(error)) from error
        return value

    return validator


def folder_of(info: ValidationInfo) -> Path:
    """The job file's folder."""
    return Path((info.context or {}).get("folder", "."))


def place(text: str, info: ValidationInfo) -> str:
    """A path as an absolute one, seen from the job file's folder; an address as it is, if it is one we can open."""
    return absolute(text, folder_of(info))


def absolute(text: str, folder: Path) -> str:
    """A path seen from a folder, or an address.

    Raises:
        PydanticCustomError: if it is empty, or an address of another kind or with a password in it.
    """
    if not text.strip():
        raise wrong("a path is empty; name a folder, a file or an address such as s3://bucket/folder")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in text.split("/")):
        raise wrong(f"'{text[:40]}...' is longer than the name of a file can be. Check it")
    found = _ADDRESS.fullmatch(text)
    if found is None:
        base = str(folder) if not MAGIC.search(text) or (folder / text).exists() else glob.escape(str(folder))
        return os.path.abspath(Path(base, _climbs_first(text)))
    checked(protocol_of)(text)
    protocol, rest = found[1].lower(), found[2]
    if "@" in rest.split("/")[0]:
        raise wrong("an address holds a user or a password. Leave it out; the storage's own configuration knows it")
    if ".." in rest.split("/"):
        raise wrong(f"the address '{text:.200}' holds '..'. Name the folder itself")
    return os.path.abspath("/" + rest.lstrip("/")) if protocol == "file" else f"{protocol}://{rest.rstrip('/')}"


def _climbs_first(text: str) -> str:
    parts = Path(text).parts
    first = next((number for number, part in enumerate(parts) if MAGIC.search(part)), len(parts))
    if ".." in parts[first:]:
        raise wrong(f"'{text:.200}' holds '..' after its first wildcard. Name the folder itself")
    return text


def ranges(text: str) -> tuple[range, ...]:
    """What '0-7, 12' names; nothing is written out, so '0-999999999' costs nothing.

    Raises:
        PydanticCustomError: if it is not made of numbers and ranges.
    """
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise wrong(f"'{text:.80}' is not made of numbers and ranges. Write it as in '0-7, 12'")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise wrong(f"the range '{part.strip()}' ends before it starts. Turn it around")
        found.append(range(first, last + 1))
    return tuple(found)


class Numbers:
    """Whole numbers, some of them named as ranges; counted without being written out."""

    def __init__(self, given: int | str | Iterable[int | str]) -> None:
        parts = [given] if isinstance(given, int | str) else list(given)
        self.ranges = tuple(chain.from_iterable(_as_ranges(part) for part in parts))

    def __len__(self) -> int:
        return sum(len(part) for part in self.ranges)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.ranges)


def _as_ranges(part: int | str) -> tuple[range, ...]:
    return ranges(part) if isinstance(part, str) else (range(part, part + 1),)


def bytes_of(text: str) -> int:
    """How much '50 GB' is.

    Raises:
        PydanticCustomError: if it is no size.
    """
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        raise wrong(f"'{text:.40}' is no size. Write bytes, or text such as '50 GB'")
    return round(float(found[1]) * _UNITS[found[2]])


def _as_bytes(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return bytes_of(value) if isinstance(value, str) else value


def _form(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return "mapping" if isinstance(value, dict | BaseModel) else "list" if isinstance(value, list | tuple) else "number"


Size = Annotated[int, BeforeValidator(_as_bytes, json_schema_input_type=int | str), Field(gt=0)]
"""Bytes: a number, or text such as '50 GB'."""

BY_FORM = Discriminator(_form)
"""Tells forms of a value apart by their tags 'text', 'number', 'list', 'mapping', so that messages speak of one alone."""
