"""What a training run needs to go on exactly where it was, as a folder without pickles.

    OUT/state/model.safetensors      the weights
              ema.safetensors        their slow average, what is shipped and what another run starts from
              optimizer.safetensors  the optimizer's moments, named PARAMETER/KEY
              optimizer.json         its groups: names and settings
              state.json             step, settings, seconds, device, versions, segments, losses

The folder is replaced in one step; a crash leaves the old or the new one. No data order and no random state is stored:
both are functions of (seed, step, process), see `loop.py`.
"""

import contextlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldmodel.checkpoints import (
    check_tensors,
    content_hash,
    folder_or_previous,
    load_folder,
    read_json,
    read_tensors,
    replace_folder,
    with_later,
    write_json,
    write_tensors,
)
from worldmodel.errors import BadCheckpoint
from worldmodel.training.ema import Ema
from worldmodel.training.sharding import shared_like, whole

FORMAT = 1
_FACTS = {"task", "config", "same", "processes", "step", "seconds", "loss", "best_loss", "start_weights", "segments"}


def state_folder(out: Path) -> Path | None:
    """Find the newest whole training state of a run; None when there is none yet."""
    return folder_or_previous(out / "state")


def write_state(
    out: Path,
    module: nn.Module,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    facts: Mapping[str, Any],
    *,
    writes: bool = True,
) -> None:
    """Write everything into `out/state`, atomically; `facts` becomes `state.json`.

    Args:
        writes: Whether this process writes; with shared weights (`sharding.py`) every process has to call.

    Raises:
        OutputExists: the disk refuses.
    """
    moments, groups = _pack(module, optimizer)
    files = {"model": whole(module.state_dict()), "ema": whole(ema.tensors()), "optimizer": whole(moments)}
    if not writes:
        return
    with replace_folder(out / "state", overwrite=True) as partial:
        for name, tensors in files.items():
            write_tensors(partial / f"{name}.safetensors", tensors)
        write_json(partial / "optimizer.json", {"kind": type(optimizer).__name__, "groups": groups})
        write_json(partial / "state.json", {"format": FORMAT, **facts})


def read_facts(state: Path) -> dict[str, Any]:
    """Read `state.json`.

    Raises:
        BadCheckpoint: it is missing, damaged or of another format.
    """
    facts = read_json(state / "state.json")
    if facts.get("format") != FORMAT:
        raise BadCheckpoint(
            f"'{state}' is a training state of format {facts.get('format')}, but this version reads format {FORMAT}. "
            f"Start in another folder with these weights, or train with the version that wrote it."
        )
    if missing := sorted(_FACTS - facts.keys()):
        raise BadCheckpoint(f"'{state / 'state.json'}' lacks {', '.join(missing)}. Start in another folder.")
    return facts


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Name the device and the versions of what computes, for the record of a run."""
    module = torch.get_device_module(device)
    name = f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
    versions = {"python": platform.python_version()}
    for package in ("torch", "accelerate", "safetensors", "numpy", "detour"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "device": module.get_device_name(device) if hasattr(module, "get_device_name") else name,
        "versions": versions,
    }


def restore(state: Path, module: nn.Module, ema: Ema, optimizer: torch.optim.Optimizer) -> None:
    """Put weights, averages and moments back, bit for bit.

    Raises:
        BadCheckpoint: a file is damaged, or made for another module or optimizer.
    """
    _fill(module, _fitting(state / "model.safetensors", module))
    ema.load(_fitting(state / "ema.safetensors", module))
    _unpack(state, module, optimizer)


def load_start(source: Path, module: nn.Module) -> dict[str, Any]:
    """Load the weights another run begins with; optimizer and step are not taken over.

    Args:
        source: A training folder or its `state` (the averaged weights), a model folder, or one safetensors file.

    Returns:
        What the card should say of them: name, content hash, and the steps they were trained before (where known).

    Raises:
        BadCheckpoint: it does not exist, is damaged or does not fit the module.
    """
    steps = None
    state = state_folder(source) or (source if (source / "ema.safetensors").is_file() else None)
    if state is not None:
        tensors, steps = read_tensors(state / "ema.safetensors"), read_facts(state)["step"]
    elif source.is_file():
        tensors = read_tensors(source)
    else:
        tensors = load_folder(source)[1]
    tensors = with_later(tensors, module)
    check_tensors(tensors, _shapes(module), where=str(source))
    _fill(module, tensors)
    return {"name": source.name, "content_hash": content_hash(tensors), "steps_before": steps}


def _fill(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = module.state_dict()
    module.load_state_dict({name: shared_like(value, own[name]) for name, value in tensors.items()})


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def _fitting(file: Path, module: nn.Module) -> dict[str, Tensor]:
    tensors = read_tensors(file)
    check_tensors(tensors, _shapes(module), where=str(file))
    return tensors


def _pack(module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    names = {id(value): name for name, value in module.named_parameters()}
    moments = {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }
    groups = [
        {
            "names": [names[id(parameter)] for parameter in group["params"]],
            **{key: value for key, value in group.items() if isinstance(value, int | float | str | bool)},
        }
        for group in optimizer.param_groups
    ]
    return moments, groups


def _unpack(state: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    saved = read_json(state / "optimizer.json")
    _, groups = _pack(module, optimizer)
    kind = type(optimizer).__name__
    if saved.get("kind") != kind or [g.get("names") for g in saved.get("groups", [])] != [g["names"] for g in groups]:
        raise BadCheckpoint(
            f"'{state}' holds the moments of {saved.get('kind')} over other parameters, but {kind} over those of this "
            f"model is needed. Start in another folder with these weights; the optimizer begins anew."
        )
    parameters = dict(module.named_parameters())
    for key, value in read_tensors(state / "optimizer.safetensors").items():
        name, _, moment = key.rpartition("/")
        parameter = parameters[name]
        placed = value.to(parameter.device, copy=True)
        optimizer.state[parameter][moment] = shared_like(placed, parameter) if value.ndim else placed
