"""YAML that people write, read safely: bounded in size, depth and what its anchors expand to; every value knows its line.

Only plain data comes out: mappings with text as keys, lists, text, finite numbers, true, false, null. Dates stay text, and
`1e6` is a number, as YAML 1.2 has it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from worldmodel.errors import BadTable

MAX_BYTES = 1_000_000
MAX_VALUES = 100_000  # with everything that anchors stand for
MAX_DEPTH = 30
MAX_DIGITS = 100
_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
_SCIENTIFIC = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
Place = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class YamlText:
    """What a YAML text holds.

    Attributes:
        content: Plain data.
        lines: The line, from 1, of every value by its place, such as `("clips", 0, "dataset")`.
    """

    content: Any
    lines: Mapping[Place, int]

    def line(self, place: Sequence[str | int]) -> int:
        """The line of a value, or of what would hold it where it is missing."""
        found = tuple(place)
        while found and found not in self.lines:
            found = found[:-1]
        return self.lines.get(found, 1)


def read_yaml(path: Path, what: str) -> YamlText:
    """What a YAML file holds; `what` names its kind in messages, such as 'a study'.

    Raises:
        BadTable: if it cannot be read, is larger than MAX_BYTES, or as `yaml_of`.
    """
    try:
        with path.open("rb") as file:  # what is no file has no size, and may never end
            data = file.read(MAX_BYTES + 1)
        text = "" if len(data) > MAX_BYTES else data.decode("utf-8")
    except (OSError, ValueError) as error:
        raise BadTable(f"'{path}' cannot be read as YAML ({error}). Write {what} as text in UTF-8.") from error
    if len(data) > MAX_BYTES:
        raise BadTable(f"'{path}' has more than {MAX_BYTES} bytes, the most that {what} may have. Shorten it.")
    return yaml_of(text, str(path), what)


def yaml_of(text: str, where: str, what: str) -> YamlText:
    """What a YAML text holds; `where` is what messages call it.

    Raises:
        BadTable: naming the line, if it is no YAML, too large or too deep, repeats a name, or holds what is no plain data.
    """
    import yaml

    if len(text) > MAX_BYTES:
        raise BadTable(f"'{where}' has {len(text)} characters; {what} has at most {MAX_BYTES}. Shorten it.")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(text, Loader=loader), where)
        reading = loader(text)
        try:
            node = reading.get_single_node()
            if node is None:
                return YamlText(content=None, lines={})
            walk = _Walk(where)
            walk.visit(node, (), 1)
            return YamlText(content=reading.construct_document(node), lines=walk.lines)
        finally:
            reading.dispose()
    except (yaml.YAMLError, ValueError) as error:
        raise BadTable(
            f"'{where}' cannot be read as YAML ({_said(error)}). Write `field: value` lines, indented with spaces."
        ) from error


def _said(error: Exception) -> str:
    """One line that names the place."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return " ".join(str(problem).split()) + (
        "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
    )


def _check_events(events: Any, where: str) -> None:
    """Refuse what is too deep or too much before anything is built of it."""
    depth = 0
    for number, event in enumerate(events):
        kind = type(event).__name__
        depth += kind in ("MappingStartEvent", "SequenceStartEvent")
        depth -= kind in ("MappingEndEvent", "SequenceEndEvent")
        if depth > MAX_DEPTH:
            _refuse(where, event, f"more than {MAX_DEPTH} levels are nested", "Flatten it")
        if number > 2 * MAX_VALUES:
            _refuse(where, event, f"it holds more than {MAX_VALUES} values", "Shorten it")


def _refuse(where: str, found: Any, problem: str, advice: str) -> NoReturn:
    raise BadTable(f"'{where}', line {found.start_mark.line + 1}: {problem}. {advice}.")


class _Walk:
    """Goes through all nodes as often as they are used, so that what anchors multiply is counted before it is built."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.lines: dict[Place, int] = {}

    def visit(self, node: Any, place: Place, depth: int) -> None:
        """Check a node and everything below it, and note their lines."""
        self.lines[place] = node.start_mark.line + 1
        if len(self.lines) > MAX_VALUES:
            _refuse(
                self.where,
                node,
                f"it holds more than {MAX_VALUES} values, counting what anchors stand for",
                "Shorten it",
            )
        if depth > MAX_DEPTH:
            _refuse(
                self.where, node, f"its anchors nest more than {MAX_DEPTH} levels", "Do not let them name themselves"
            )
        if node.tag == f"{_TAG}timestamp":
            node.tag = f"{_TAG}str"
        if node.tag not in _PLAIN:
            _refuse(self.where, node, f"the tag '{node.tag}' is not read", "Use plain values")
        if node.id == "scalar":
            self._scalar(node)
        elif node.id == "sequence":
            for number, item in enumerate(node.value):
                self.visit(item, (*place, number), depth + 1)
        else:
            self._mapping(node, place, depth)

    def _mapping(self, node: Any, place: Place, depth: int) -> None:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                for merged in value.value if value.id == "sequence" else [value]:
                    self.visit(merged, (*place, f"<<{len(self.lines)}"), depth + 1)
                continue
            if key.tag != f"{_TAG}str" or key.id != "scalar":
                _refuse(
                    self.where, key, f"a name must be text; it is {getattr(key, 'value', '')!r:.60}", "Put it in quotes"
                )
            self._scalar(key)
            if key.value in seen:
                _refuse(
                    self.where, key, f"'{key.value:.80}' is there twice, first in line {seen[key.value]}", "Keep one"
                )
            seen[key.value] = key.start_mark.line + 1
            self.visit(value, (*place, key.value), depth + 1)
            self.lines[(*place, key.value)] = key.start_mark.line + 1

    def _scalar(self, node: Any) -> None:
        kind = node.tag.removeprefix(_TAG)
        if kind in ("int", "float") and ":" in node.value:  # 1:30 is 90 in YAML 1.1, which nobody expects
            node.tag, kind = f"{_TAG}str", "str"
        if kind == "str" and not node.style and _SCIENTIFIC.fullmatch(node.value):
            node.tag, kind = f"{_TAG}float", "float"
        if kind in ("int", "float") and len(node.value) > MAX_DIGITS:
            _refuse(self.where, node, f"a number has {len(node.value)} characters", "Write a shorter one")
        if kind == "float" and not math.isfinite(_number(node.value)):
            _refuse(self.where, node, f"'{node.value}' is not a finite number", "Write one")
        if kind == "str" and not _sound(node.value):
            _refuse(self.where, node, "a text holds characters that are none", "Write plain text")


def _number(text: str) -> float:
    try:
        return float(text.replace("_", ""))
    except ValueError:  # .inf, .nan
        return math.nan


def _sound(text: str) -> bool:
    return "\0" not in text and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)
