"""The form every model has on disk: `config.json`, safetensors in shards, and a model card; never a pickle.

save_folder(folder, tensors, config, card)      # a folder that is either whole or not there
config, tensors = load_folder(folder, expected)  # checked: names, shapes, finite values, file format
content_hash(tensors)                            # the same before and after saving
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldmodel.errors import BadCheckpoint, OutputExists

SHARD_BYTES = 15_500_000
"""Payload of one shard; with its header a shard stays under 16 MB."""

INDEX = "model.safetensors.index.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_PATTERNS = ["*.json", "*.safetensors", "*.md"]
_SHARD_NAME = re.compile(r"model-\d{5}-of-(\d{5})\.safetensors")
_MAX_JSON_BYTES = 50_000_000
_NAMES_SHOWN = 6


def save_folder(
    folder: Path | str,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    card: str,
    *,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model as a folder; a crash at any moment leaves no half-written one.

    Args:
        folder: Where; must not exist (or be empty) unless `overwrite`.
        tensors: By name; shared storage is written once per name.
        config: What the class needs to build itself again; plain JSON values.
        card: The model card in Markdown (data, steps, device, minutes, scores, limits); becomes `README.md`.
        dtype: Floating point tensors are stored in this type; None keeps each tensor's own.
        extra: Further files by name, such as pictures that the card shows.
    A tensor that alone is larger than `SHARD_BYTES` gets a shard of its own, which is then larger than 16 MB.

    Raises:
        OutputExists: the folder exists already or cannot be written.
    """
    stored = {name: _for_disk(value, dtype) for name, value in tensors.items()}
    shards = _split(stored)
    with replace_folder(Path(folder), overwrite=overwrite) as partial:
        write_json(partial / "config.json", config)
        for name, content in {"README.md": card.encode(), **(extra or {})}.items():
            write_bytes(partial / name, content)
        weight_map: dict[str, str] = {}
        for number, names in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            write_tensors(partial / file, {name: stored[name] for name in names})
            weight_map |= dict.fromkeys(names, file)
        total = sum(value.nbytes for value in stored.values())
        write_json(partial / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})
    return Path(folder)


def load_folder(
    folder: Path | str, expected: Mapping[str, Sequence[int]] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a model folder, or download one from the hub, and check all of it.

    Args:
        folder: A folder, or a hub id `organisation/name` when no such folder exists.
        expected: Shape of every tensor the model has; None skips the check of names and shapes.

    Returns:
        The config, and the tensors on the CPU in the type they are stored in.

    Raises:
        BadCheckpoint: the folder, its config or a shard is missing; a file is truncated, a pickle or otherwise no
            safetensors; tensors are missing, extra, of another shape, doubled or not finite. All are named.
    """
    root = local_folder(folder)
    config = read_json(root / "config.json")
    tensors: dict[str, Tensor] = {}
    for file in _shard_files(root):
        part = read_tensors(file)
        if twice := sorted(part.keys() & tensors.keys()):
            raise BadCheckpoint(f"'{file}' repeats tensors of another shard: {_some(twice)}. {_GET_WHOLE}")
        tensors |= part
    check_tensors(tensors, expected, where=str(root))
    return config, tensors


def content_hash(source: Path | str | Mapping[str, Tensor]) -> str:
    """Name the weights: 16 hexadecimal digits that depend on names, shapes, types and bytes, not on sharding."""
    tensors = source if isinstance(source, Mapping) else load_folder(source)[1]
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{value.dtype}\0{list(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def with_later(tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The tensors, and the module's own values of those that came later than they and say nothing before they are trained.

    A module names the beginnings of their names in its `may_lack`.
    """
    later: tuple[str, ...] = getattr(module, "may_lack", ())
    own = {name: tensor for name, tensor in module.state_dict().items() if name.startswith(later)}
    return {**own, **tensors}


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]] | None, *, where: str) -> None:
    """Compare names and shapes with `expected` (when given) and look for values that are not finite.

    Raises:
        BadCheckpoint: one message that names everything that is wrong.
    """
    wrong = _not_finite(tensors)
    if expected is not None:
        wrong = _misfits(tensors, expected) + wrong
    if wrong:
        raise BadCheckpoint(
            f"checkpoint '{where}' does not fit: {'; '.join(wrong)}. We need exactly the tensors of the model that its "
            f"config describes, all finite. Use the checkpoint of this model and version, or train it again."
        )


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read one safetensors file.

    Raises:
        BadCheckpoint: it is missing, truncated, a pickle under another name, or otherwise no safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise BadCheckpoint(f"'{file}' is missing. {_GET_WHOLE}")
    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"'{file}' {_what_it_is(file)} ({error}). {_GET_WHOLE}") from error


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one safetensors file and wait until it is on the disk; tensors may share storage."""
    from safetensors.torch import save

    write_bytes(file, save({name: _for_disk(value, None) for name, value in tensors.items()}))


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BadCheckpoint: the file is missing, too large or not a JSON object.
    """
    if not file.is_file():
        pickles = sorted(p.name for p in file.parent.glob("*") if p.suffix in {".pt", ".pth", ".bin", ".ckpt", ".pkl"})
        found = f"; only pickles lie there ({_some(pickles)}), and we never open those" if pickles else ""
        raise BadCheckpoint(f"'{file}' is missing{found}. {_GET_WHOLE}")
    if file.stat().st_size > _MAX_JSON_BYTES:
        raise BadCheckpoint(f"'{file}' has {file.stat().st_size} bytes; no config is that large. {_GET_WHOLE}")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadCheckpoint(f"'{file}' is not JSON ({error}). {_GET_WHOLE}") from error
    if not isinstance(value, dict):
        raise BadCheckpoint(f"'{file}' holds a {type(value).__name__}, but a JSON object is needed. {_GET_WHOLE}")
    return value


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object and wait until it is on the disk."""
    write_bytes(file, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def replace_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder that becomes `folder` when the block ends well, and vanishes when it does not.

    While an old folder is replaced there is a moment when it is called `NAME.previous` and the new one is not yet in
    place; `folder_or_previous` reads through that moment. One writer at a time.

    Raises:
        OutputExists: the folder exists and is not empty (without `overwrite`), or the disk refuses.
    """
    if not overwrite and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputExists(f"'{folder}' exists already, and a new folder is needed. Remove it or name another one.")
    partial, previous = folder.with_name(f"{folder.name}.partial"), _previous(folder)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        _sync_folder(partial)
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)
            folder.rename(previous)
        partial.rename(folder)
        _sync_folder(folder.parent)
        shutil.rmtree(previous, ignore_errors=True)
    except OSError as error:
        raise OutputExists(
            f"'{folder}' cannot be written: {error}. A folder with enough space and the right to write is needed. "
            f"Free some space or name another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if previous.exists() and not folder.exists():
            previous.rename(folder)


def folder_or_previous(folder: Path) -> Path | None:
    """Find `folder`, or the version before it when a crash fell into the moment of replacing; None without either."""
    return next((path for path in (folder, _previous(folder)) if path.is_dir()), None)


_GET_WHOLE = "Copy or download the whole checkpoint folder again (config.json, *.safetensors, README.md)."


def _previous(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.previous")


def _for_disk(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Detached, on the CPU, with storage of its own (safetensors refuses shared storage)."""
    wanted = dtype if dtype is not None and value.is_floating_point() else value.dtype
    return value.detach().to(device="cpu", dtype=wanted, copy=True).contiguous()


def _split(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Names per shard, in the given order; at least one shard."""
    shards: list[list[str]] = [[]]
    used = 0
    for name, value in tensors.items():
        # A header entry takes about a hundred bytes and the name.
        size = value.nbytes + 120 + len(name)
        if shards[-1] and used + size > SHARD_BYTES:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    return shards


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders; its renames are written through
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def local_folder(folder: Path | str) -> Path:
    """The folder itself, or the one that a model of the hub was downloaded to.

    Raises:
        BadCheckpoint: if there is neither.
    """
    root = Path(folder)
    if root.is_dir():
        return root
    if root.exists():
        raise BadCheckpoint(f"'{folder}' is a file, but a checkpoint is a folder. Name the folder it lies in.")
    # 'runs/missing' beside an existing 'runs' is a slip of the pen, not a model on the hub.
    if _HUB_ID.fullmatch(str(folder)) and not root.parent.is_dir():
        return _download(str(folder))
    raise BadCheckpoint(
        f"checkpoint folder '{folder}' does not exist. A folder with config.json and *.safetensors is needed. "
        f"Check the path, or give a hub id such as 'organisation/name'."
    )


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_PATTERNS))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise BadCheckpoint(
            f"'{hub_id}' is neither a folder here nor a model we can get from the hub ({type(error).__name__}: {error}). "
            f"A checkpoint folder or a reachable hub id is needed. Check the name and the connection, or copy the folder here."
        ) from error


def _shard_files(root: Path) -> list[Path]:
    if (root / INDEX).is_file():
        return _indexed_files(root)
    files = sorted(root.glob("model*.safetensors"))
    if not files:
        raise BadCheckpoint(f"'{root}' has a config but no model*.safetensors. {_GET_WHOLE}")
    if (match := _SHARD_NAME.fullmatch(files[0].name)) and int(match[1]) != len(files):
        raise BadCheckpoint(f"'{root}' has {len(files)} of {int(match[1])} shards. {_GET_WHOLE}")
    return files


def _indexed_files(root: Path) -> list[Path]:
    weight_map = read_json(root / INDEX).get("weight_map")
    names = set(weight_map.values()) if isinstance(weight_map, dict) else {None}
    # Names come from outside: nothing but a plain file name of this folder is opened.
    if not all(isinstance(name, str) and re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
        raise BadCheckpoint(f"'{root / INDEX}' does not map tensors to safetensors files of its folder. {_GET_WHOLE}")
    return [root / str(name) for name in sorted(names, key=str)]


def _misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]]) -> list[str]:
    missing = sorted(expected.keys() - tensors.keys())
    extra = sorted(tensors.keys() - expected.keys())
    shapes = [
        f"{name} is {list(tensors[name].shape)} and should be {list(expected[name])}"
        for name in sorted(expected.keys() & tensors.keys())
        if list(tensors[name].shape) != list(expected[name])
    ]
    kinds = (("missing", missing), ("extra", extra), ("of another shape", shapes))
    return [f"{len(names)} {what} ({_some(names)})" for what, names in kinds if names]


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    names = sorted(n for n, v in tensors.items() if v.is_floating_point() and not bool(torch.isfinite(v).all()))
    return [f"{len(names)} with values that are not finite ({_some(names)})"] if names else []


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _what_it_is(file: Path) -> str:
    """Say what a file that is no safetensors seems to be."""
    with file.open("rb") as stream:
        head = stream.read(64)
    if not head:
        return "is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights; run 'git lfs pull'"
    # torch.save writes a zip with a pickle inside; plain pickles start with 0x80 and their protocol.
    if head.startswith(b"PK\x03\x04") or (head[0] == 0x80 and len(head) > 1 and head[1] <= 5):
        return "is a pickle renamed to .safetensors; pickles can run code when opened, so we never do"
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" or length + 8 > file.stat().st_size:
        return f"is truncated or damaged: it has {file.stat().st_size} bytes and its header promises others"
    return "is not a safetensors file"
