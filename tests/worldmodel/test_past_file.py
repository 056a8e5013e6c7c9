"""A past that was saved goes on as if nothing had been."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers import make_model, make_observation
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_wan import write_tiny_wan

from worldmodel.errors import BadCheckpoint
from worldmodel.model import WorldModel
from worldmodel.past import Past
from worldmodel.past_file import _digest, load_past, save_past
from worldmodel.sampling import Sampling

MEMORIES = {
    "full": Sampling(steps=1, memory="full"),
    "window": Sampling(steps=1, recent=2),
    "selective": Sampling(steps=1, memory="selective", recent=1, video_budget=1, action_budget=2),
}


def grown(model: WorldModel, sampling: Sampling, batch: int = 1, **changes: Any) -> Past:
    """A past of two recorded chunks and three imagined ones."""
    observations = [make_observation(seed=seed, instruction=f"told {seed}", **changes) for seed in range(batch)]
    past = model.remember(observations, sampling.empty_memory(4))
    past = model.go_on(past, seconds=1.5, seeds=range(batch), sampling=sampling)[0].past
    assert past is not None
    return past


def alike(a: Any, b: Any) -> bool:
    """Whether two values are the same to the last bit, types and places in memory included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if is_dataclass(a):
        return all(alike(getattr(a, one.name), getattr(b, one.name)) for one in fields(a))
    return bool(a == b)


def goes_on_alike(model: WorldModel, a: Past, b: Past, sampling: Sampling) -> bool:
    ends = [model.go_on(past, seconds=0.5, seeds=range(len(past.rays)), sampling=sampling) for past in (a, b)]
    return alike(ends[0][-1].past, ends[1][-1].past) and all(
        (one.video == other.video).all() for one, other in zip(*ends, strict=True)
    )


@pytest.mark.parametrize("memory", MEMORIES)
def test_what_was_saved_goes_on_bit_for_bit(tiny_model: WorldModel, tmp_path: Path, memory: str) -> None:
    past = grown(tiny_model, MEMORIES[memory], batch=2)
    save_past(past, tmp_path / "past", tiny_model)
    loaded = load_past(tmp_path / "past", tiny_model)
    (tmp_path / "past").write_bytes(b"whoever wrote over it changes nothing")
    assert alike(past, loaded)
    assert goes_on_alike(tiny_model, past, loaded, MEMORIES[memory])


def test_a_past_shared_by_several_futures_is_kept(tiny_model: WorldModel, tmp_path: Path) -> None:
    past = grown(tiny_model, MEMORIES["selective"])
    shared = replace(past, memory=past.memory.repeated(3))
    save_past(shared, tmp_path / "past", tiny_model)
    assert alike(shared, load_past(tmp_path / "past", tiny_model))


def test_unknown_motion_and_no_instruction_are_kept(tiny_model: WorldModel, tmp_path: Path) -> None:
    past = tiny_model.remember([make_observation(motion=False, instruction="")])
    save_past(past, tmp_path / "past", tiny_model)
    assert alike(past, load_past(tmp_path / "past", tiny_model))


@pytest.mark.slow
def test_what_a_tokenizer_remembers_is_kept(tmp_path: Path) -> None:
    model = WorldModel.from_pretrained(f"wan:{write_tiny_wan(tmp_path / 'wan')}@32x64")
    sampling = MEMORIES["window"]
    for past in (model.remember([make_observation(12, cameras=1)]), grown(model, sampling, 2, cameras=1)):
        assert past.codec is not None
        save_past(past, tmp_path / "past", model)
        loaded = load_past(tmp_path / "past", model)
        assert alike(past, loaded)
        assert goes_on_alike(model, past, loaded, sampling)


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tiny_model: WorldModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("past") / "past"
    save_past(tiny_model.remember([make_observation()]), file, tiny_model)
    return file


def test_damage_is_noticed_wherever_it_is(tiny_model: WorldModel, saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    for place in (4, 30, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 4
        (tmp_path / "past").write_bytes(changed)
        with pytest.raises(BadCheckpoint, match="Remove it and begin again"):
            load_past(tmp_path / "past", tiny_model)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_file_that_was_cut_off_is_refused(tiny_model: WorldModel, saved: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "past").write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(BadCheckpoint, match="not a whole file"):
        load_past(tmp_path / "past", tiny_model)


def test_a_missing_file_and_another_models_past_are_refused(
    tiny_model: WorldModel, saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadCheckpoint, match="not a whole file"):
        load_past(tmp_path / "nowhere", tiny_model)
    with pytest.raises(BadCheckpoint, match="its own model alone"):
        load_past(saved, make_model(seed=1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind":"Window"', '"kind":"Shell"'),
        ('"sink":1', '"tank":1'),
        ('"kind":"Past"', '"kind":"Rig"'),
        ('{"tensor":"00000"}', '{"tensor":"00001"}'),
        ('{"tensor":"00000"}', "null"),
    ],
)
def test_a_forged_tree_is_refused(tiny_model: WorldModel, saved: Path, tmp_path: Path, old: str, new: str) -> None:
    with safe_open(str(saved), framework="pt") as opened:
        facts = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    assert old in facts["tree"]
    facts["tree"] = facts["tree"].replace(old, new)
    facts.pop("sha256")
    save_file(tensors, tmp_path / "past", {**facts, "sha256": _digest(facts, tensors)})
    with pytest.raises(BadCheckpoint, match="does not hold a past as we know it"):
        load_past(tmp_path / "past", tiny_model)


def test_other_safetensors_are_refused(tiny_model: WorldModel, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "past")
    with pytest.raises(BadCheckpoint, match="has the format None"):
        load_past(tmp_path / "past", tiny_model)
