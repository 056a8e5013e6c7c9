"""How a user names a policy of their own, and what such a name stands for.

python:package.module:Class     a class with plan(observation, seed), imported
path/to/file.py:Class           the same, from a file
process:COMMAND WORDS           a program that speaks JSON lines and declares itself when it is greeted
path/to/policy.yaml             either of them, with its declaration (`command: [...]` or `python: file.py:Class`)
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.errors import BadPolicy

FILES = (".yaml", ".yml", ".json")
MAX_BYTES = 1_000_000
HOST = (sys.executable, "-c", "from policy.foreign.host import main; main()")
OUR_PYTHON = "{python}"  # in a command: the Python that runs us
FORMS = "python:package.module:Class, path/to/file.py:Class, process:COMMAND, or path/to/policy.yaml"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a policy comes from.

    Attributes:
        label: Its name where it says none.
        command: Program and words.
        cwd: Folder in which it runs.
        declared: What the user's file declares; empty without a file.
        hosted: Whether it is a Python class.
    """

    label: str
    command: tuple[str, ...]
    cwd: Path
    declared: Mapping[str, Any]
    hosted: bool = False


def is_foreign(spec: str) -> bool:
    """Whether a planner's name is that of a foreign policy."""
    return bool(
        spec.startswith(("python:", "process:")) or Path(spec).suffix in FILES or re.search(r"\.py:[A-Za-z_]\w*$", spec)
    )


def source_of(spec: str) -> Source:
    """What a spec names, without starting it.

    Raises:
        BadPolicy: if it is none of FORMS, or a file cannot be read.
    """
    if spec.startswith("process:"):
        try:
            words = tuple(shlex.split(spec.removeprefix("process:")))
        except ValueError as error:
            raise BadPolicy(f"'{spec}' cannot be split into words ({error}). Close its quotes.") from error
        if not words:
            raise BadPolicy("'process:' names no command. Write process:COMMAND WORDS.")
        return Source(label=Path(words[-1]).stem, command=_words(words), cwd=Path.cwd(), declared={})
    if Path(spec).suffix in FILES:
        return _from_file(Path(spec))
    if is_foreign(spec):
        return _class_at(spec.removeprefix("python:"), Path.cwd(), {})
    raise BadPolicy(f"'{spec}' names no policy. Use {FORMS}.")


def _class_at(place: str, cwd: Path, declared: Mapping[str, Any]) -> Source:
    module, _, name = place.rpartition(":")
    if not module or not name.isidentifier():
        raise BadPolicy(f"'{place}' names no class. Write package.module:Class or path/to/file.py:Class.")
    if module.endswith(".py") and not (cwd / module).is_file():
        raise BadPolicy(f"'{place}': there is no file '{module}'. Name one relative to '{cwd}'.")
    return Source(label=name, command=(*HOST, place), cwd=cwd, declared=declared, hosted=True)


def _from_file(path: Path) -> Source:
    content = _content(path)
    command, python = content.pop("command", None), content.pop("python", None)
    if (command is None) == (python is None):
        raise BadPolicy(
            f"'{path}' names {'both' if command is not None else 'neither'} of `command` and `python`; one of them is needed. Write "
            "`command: [program, word]` or `python: file.py:Class`."
        )
    folder = path.resolve().parent
    if python is not None:
        return _class_at(str(python), folder, content)
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise BadPolicy(
            f"'{path}': `command` is {command!r}; it must be a list of words, as [python, policy.py]. Split it."
        )
    return Source(label=path.stem, command=_words(command), cwd=folder, declared=content)


def _words(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sys.executable if word == OUR_PYTHON else word for word in words)


def _content(path: Path) -> dict[str, Any]:
    import yaml

    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadPolicy(
                f"'{path}' has {path.stat().st_size} bytes; a declaration has at most {MAX_BYTES}. Shorten it."
            )
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadPolicy(f"'{path}' cannot be read as YAML ({error}). Write `field: value` lines.") from error
    if not isinstance(content, dict):
        raise BadPolicy(f"'{path}' must hold `field: value` lines; it holds {type(content).__name__}.")
    return {str(name): value for name, value in content.items()}
