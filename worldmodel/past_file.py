"""A past in a file: all that the next chunk depends on, bit for bit, so that another process goes on where one stopped.

One safetensors file. Tensors and arrays are its tensors; what they belong to stands as JSON in its header: a tree of our own
data types, of which `_kinds` lists all. Nothing in a file can name code, and what does not fit exactly is refused.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.checkpoints import write_bytes
from worldmodel.errors import BadCheckpoint
from worldmodel.loaded import LoadedModel
from worldmodel.past import Past

FORMAT = "detour-past-1"
MAX_DEPTH = 16
_AGAIN = "Remove it and begin again from the recording, or take an older one."


def save_past(past: Past, file: Path, model: LoadedModel) -> None:
    """Write a past and wait until it is on the disk; a file that is there is replaced.

    Args:
        past: Of any memory and batch.
        file: Where to; its folder must exist. Whoever may be interrupted writes elsewhere and renames.
        model: Which made it; the file works with this one alone.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_plain(past, tensors), separators=(",", ":"), allow_nan=False)
    facts = {"format": FORMAT, "model": model.hash, "tree": tree}
    write_bytes(Path(file), save(tensors, {**facts, "sha256": _digest(facts, tensors)}))


def load_past(file: Path, model: LoadedModel) -> Past:
    """Read what `save_past` wrote, onto the model's device.

    Raises:
        BadCheckpoint: if it is missing, cut off, damaged, made by another model, or no past at all.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as opened:
            facts = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"'{file}' is not a whole file of a past ({error}). {_AGAIN}") from error
    if facts.get("format") != FORMAT:
        raise BadCheckpoint(f"'{file}' has the format {facts.get('format')!r}; we need '{FORMAT}'. {_AGAIN}")
    if facts.pop("sha256", None) != _digest(facts, tensors):
        raise BadCheckpoint(f"'{file}' is damaged: its content does not have the checksum that it names. {_AGAIN}")
    if facts["model"] != model.hash:
        raise BadCheckpoint(
            f"'{file}' was made by the model {facts['model']}, but this is {model.hash}. A past goes on with its own "
            "model alone. Load that one."
        )
    try:
        past = _Tree(tensors, model.device).whole(json.loads(facts["tree"]))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadCheckpoint(
            f"'{file}' does not hold a past as we know it ({type(error).__name__}: {error}). {_AGAIN}"
        ) from error
    if not isinstance(past, Past):
        raise BadCheckpoint(f"'{file}' holds a {type(past).__name__}; a past is needed. {_AGAIN}")
    return past


def _digest(facts: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(facts.items())).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}\0{value.dtype}\0{list(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _kinds() -> dict[str, type]:
    """Every data type that a past consists of, by name."""
    from worldmodel.attention import Cells
    from worldmodel.backbones.autoencoder import CodecState
    from worldmodel.geometry import Camera, Motion, Rig
    from worldmodel.memory import ChunkEntry, Full, Selective, Window
    from worldmodel.memory.pool import Pool
    from worldmodel.plans import Observation

    known = (Past, Full, Window, Selective, ChunkEntry, Pool, Cells, Observation, Rig, Camera, Motion, CodecState)
    return {kind.__name__: kind for kind in known}


# -- writing ----------------------------------------------------------------------------------------------------------


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON; its tensors go into `tensors` and leave their names."""
    if isinstance(value, Tensor | np.ndarray):
        return _kept(value, tensors)
    if isinstance(value, tuple):
        return [_plain(one, tensors) for one in value]
    if is_dataclass(value):
        name = type(value).__name__
        assert _kinds().get(name) is type(value), f"{name} is no part of a past"
        return {"kind": name, "of": {one.name: _plain(getattr(value, one.name), tensors) for one in fields(value)}}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    assert value is None or type(value) in (bool, int, float, str) or isinstance(value, IntEnum), f"{value!r}"
    return value


def _kept(value: "Tensor | np.ndarray", tensors: dict[str, Tensor]) -> dict[str, Any]:
    name = f"{len(tensors):05d}"
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(np.array(value, order="C"))
        return {"array": name}
    tensors[name] = value.detach().to(device="cpu", copy=True).contiguous()
    # How a tensor lies in memory may choose the kernels that read it, and so the last bits of what follows.
    usual = torch.empty(value.shape, device="meta").stride()
    return {"tensor": name} if value.stride() == usual else {"tensor": name, "strides": list(value.stride())}


# -- reading ----------------------------------------------------------------------------------------------------------


class _Tree:
    """Builds the values of a file again; every tensor is used exactly once."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        self._left, self._device, self._kinds = dict(tensors), device, _kinds()

    def whole(self, tree: Any) -> Any:
        """The value of the whole tree.

        Raises:
            ValueError, KeyError, TypeError: if anything does not fit.
        """
        value = self._value(tree, 0)
        if self._left:
            raise ValueError(f"{len(self._left)} tensors belong to nothing")
        return value

    def _value(self, node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        if isinstance(node, list):
            return tuple(self._value(one, depth + 1) for one in node)
        if not isinstance(node, dict):
            return node
        if "kind" in node:
            return self._made(self._kinds[node["kind"]], node["of"], depth + 1)
        if "float" in node:
            return float(node["float"])
        if "array" in node:
            return self._left.pop(node["array"]).numpy().copy()
        return self._tensor(self._left.pop(node["tensor"]), node.get("strides"))

    def _tensor(self, value: Tensor, strides: list[int] | None) -> Tensor:
        if strides is None:
            return value.to(self._device, copy=True)  # what safetensors gives is a view of the file
        if len(strides) != value.ndim or min(strides, default=0) < 0:
            raise ValueError(f"strides {strides} for {list(value.shape)}")
        once = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in strides)  # 0: samples share one past
        sizes = tuple(value[once].shape)
        placed = torch.empty_strided(sizes, tuple(strides), dtype=value.dtype, device=self._device).copy_(value[once])
        return placed.as_strided(tuple(value.shape), tuple(strides))

    def _made(self, kind: type, parts: dict[str, Any], depth: int) -> Any:
        names = {one.name for one in fields(kind)}
        if parts.keys() != names:
            raise ValueError(f"{kind.__name__} has {sorted(parts.keys() ^ names)} too many or too few")
        values = {name: self._value(part, depth) for name, part in parts.items()}
        if isinstance(stream := values.get("stream"), int):
            from worldmodel.attention import Stream

            values["stream"] = Stream(stream)
        return kind(**values)
