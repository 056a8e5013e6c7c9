"""Training a planner: labels against closed forms, resumable bits, mixes that are checked, cards."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from policy.answers import Output
from policy.planner_config import KINDS, PlannerConfig
from policy.seeing import Seen
from policy.training import run
from policy.training.examples import ExampleReader, find_examples, with_statistics
from policy.training.labels import critical_share, known_motion, labels_of
from policy.training.presets import find_preset
from policy.training.run import PolicyConfig, train_policy
from policy.training.task import PlannerTask, blurred, losses_of
from worldmodel.decisions import LATERAL, LONGITUDINAL
from worldmodel.errors import BadDataset, BadRequest, UnknownName
from worldmodel.geometry import Motion
from worldmodel.text_encoders import HashTextEncoder
from worldmodel.town.mixes import Mix
from worldmodel.town.scene import town_rig
from worldmodel.training.progress import Progress
from worldmodel.training.store import Sample, Store, write_store

RATE = 8.0


def straight(speeds: np.ndarray) -> np.ndarray:
    deltas = np.zeros((len(speeds), 3))
    deltas[:, 0] = speeds / RATE
    return deltas


def store_of(folder: Path, drives: list[np.ndarray], frames: int = 16, expert: bool = True) -> Store:
    random = np.random.default_rng(0)
    rig = town_rig(3, 64, 32)

    def samples():
        for deltas in drives:
            yield Sample(
                video=random.integers(0, 256, (frames, 3, 3, 32, 64), dtype=np.uint8),
                objects=np.zeros((frames, 3, 32, 64), bool),
                deltas=deltas,
                known=np.ones(len(deltas), bool),
                text="keep going",
                expert=expert,
            )

    return write_store(samples(), len(drives), folder, rig, RATE, {"town": [["street", i] for i in range(len(drives))]})


def braking() -> np.ndarray:
    """8 m/s for a second, then 2 m/s2 down to standing."""
    times = np.arange(47) / RATE
    return straight(np.clip(8.0 - 2.0 * np.maximum(times - 1.0, 0.0), 0.0, None))


def steady() -> np.ndarray:
    return straight(np.full(47, 8.0))


def test_labels_of_a_straight_drive_are_its_closed_form() -> None:
    labels = labels_of(Motion(deltas=steady(), period_s=1 / RATE), range(40))
    assert sorted(labels) == list(range(1, 16))  # one step behind, 4 s ahead of 47 steps
    label = labels[4]
    np.testing.assert_allclose(label.poses[:, 0], 8.0 * 0.5 * np.arange(1, 9), atol=1e-9)
    np.testing.assert_allclose(label.route, np.stack([np.arange(1, 21), np.zeros(20)], -1), atol=1e-9)
    assert label.route_known == 20
    assert label.gap_m == pytest.approx(0.0, abs=1e-9)
    assert (label.decisions == [LATERAL.index("straight"), LONGITUDINAL.index("keep")]).all()


def test_a_stop_ends_the_known_route_and_is_vision_critical() -> None:
    labels = labels_of(Motion(deltas=braking(), period_s=1 / RATE), range(40))
    label = labels[15]  # at 1.9 s: 6.25 m/s, standing after 3.1 s and about 10 m
    driven = braking()[15:47, 0].sum()
    assert label.route_known == int(driven)
    assert (label.route[label.route_known :] == 0).all()
    assert LONGITUDINAL[label.decisions[1, 1]] == "slow"
    assert critical_share([label]) == 1.0
    assert critical_share(list(labels_of(Motion(deltas=steady(), period_s=1 / RATE), range(40)).values())) == 0.0


def test_the_path_is_known_up_to_its_first_unknown_step(tmp_path) -> None:
    store = store_of(tmp_path / "store", [steady()])
    known = np.ones((1, 47), bool)
    known[0, 40:] = False
    cut = known_motion(replace(store, known=known), 0)
    assert len(cut) == 40
    assert max(labels_of(cut, range(40))) == 8


def test_batches_are_what_the_store_says(tmp_path) -> None:
    store = store_of(tmp_path / "store", [steady(), braking(), steady()])
    config = PlannerConfig(kind="ik", channels=4, rows=2, columns=4, text_encoder="hash-32", text_width=32)
    examples, held_out = find_examples([store], config)
    assert {example.frame for example in examples} == set(range(4, 16))
    assert held_out == []
    config = with_statistics(config, examples, [store])
    latents = np.random.default_rng(1).normal(size=(3, 16, 3, 4, 2, 4)).astype(np.float16)
    reader = ExampleReader([store], [latents], config, HashTextEncoder(32))
    chosen = [example for example in examples if example.clip == 1][:10]
    batch = reader.batch(chosen)
    first = chosen[0].frame
    np.testing.assert_array_equal(batch["cells"][0].numpy(), latents[1, [first - 4, first - 2, first]])
    np.testing.assert_array_equal(batch["states"][0, 0].numpy(), latents[1, first + 8])
    assert batch["states_known"][0].tolist() == [True, False, False]  # 16 frames end before 2 s
    metres = batch["plan"].double().numpy() * config.plan_std + config.plan_mean
    np.testing.assert_allclose(metres[3], chosen[3].label.poses, atol=1e-4)
    steps = batch["ego"].numpy().reshape(-1, 4, 3) * config.step_std + config.step_mean
    np.testing.assert_allclose(steps[0], store.deltas[1, first - 4 : first], atol=1e-5)


def test_unknown_states_and_route_points_cost_nothing() -> None:
    batch = {
        "states": torch.zeros(2, 3, 1, 1, 1, 1),
        "states_known": torch.tensor([[True, False, False], [False, False, False]]),
        "route": torch.zeros(2, 20, 2),
        "route_known": torch.zeros(2, 20, dtype=torch.bool),
    }
    said = torch.tensor([[2.0, 9.0, 9.0], [9.0, 9.0, 9.0]]).reshape(2, 3, 1, 1, 1, 1)
    losses = losses_of(Output(states=said, route=torch.ones(2, 20, 2)), batch, None)
    assert float(losses["states"]) == 4.0
    assert float(losses["route"]) == 0.0


def test_the_shuffled_control_sees_other_scenes_and_keeps_the_rest(tmp_path) -> None:
    store = store_of(tmp_path / "store", [steady(), braking(), steady()])
    config = replace(find_preset("test").planner("ik"), channels=4, rows=2, columns=4)
    examples, _ = find_examples([store], config)
    latents = np.random.default_rng(1).normal(size=(3, 16, 3, 4, 2, 4)).astype(np.float16)
    reader = ExampleReader([store], [latents], config, HashTextEncoder(32))
    plain, shuffled = (
        PlannerTask(replace(config, shuffled=value), reader, examples, batch_size=6, seed=0).batch(3, 0, 1)
        for value in (False, True)
    )
    for name in ("ego", "text", "plan", "route", "decisions"):
        torch.testing.assert_close(shuffled[name], plain[name], atol=0, rtol=0)
    for name in ("cells", "states"):
        torch.testing.assert_close(shuffled[name][1:], plain[name][:-1], atol=0, rtol=0)


def test_what_is_seen_in_training_is_a_little_noisy_and_at_times_blank_or_untold() -> None:
    seen = Seen(
        cells=torch.zeros(4000, 1, 1, 1, 1, 2),
        rays=torch.ones(4000, 1, 1, 1, 2),
        ego=torch.zeros(4000, 12),
        text=torch.ones(4000, 20),
    )
    one, again = (blurred(seen, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(one.text, again.text, atol=0, rtol=0)
    torch.testing.assert_close(one.rays, seen.rays, atol=0, rtol=0)
    blank = one.cells == 0
    assert blank.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert one.cells[~blank].std().item() == pytest.approx(0.1, rel=0.05)
    assert one.ego.std().item() == pytest.approx(0.05, rel=0.05)
    assert (one.text == 0).all(dim=1).float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert one.text.mean().item() == pytest.approx(0.85, abs=0.03)


def test_wandering_drives_and_stores_that_do_not_fit_are_left_out_or_refused(tmp_path) -> None:
    config = PlannerConfig(kind="direct")
    with pytest.raises(BadDataset, match="no frame of an expert"):
        find_examples([store_of(tmp_path / "wander", [steady()], expert=False)], config)
    with pytest.raises(BadDataset, match="3 cameras at 8 Hz; this planner is to have 2"):
        find_examples([store_of(tmp_path / "other", [steady()])], replace(config, cameras=2))


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_model) -> Path:
    folder = tmp_path_factory.mktemp("world") / "model"
    tiny_model.save_pretrained(folder, "# tiny\n")
    return folder


@pytest.fixture(scope="module")
def rich(tmp_path_factory) -> Path:
    return store_of(tmp_path_factory.mktemp("rich") / "store", [braking()] * 20 + [steady()] * 4).folder


def asked(out: Path, world: Path, store: Path, planner: str = "ik", **changes) -> PolicyConfig:
    return PolicyConfig(
        **{
            "planner": planner,
            "mix": "rich",
            "out": out,
            "model": world,
            "preset": "test",
            "stores": (store,),
            **changes,
        }
    )


def polite_kill(progress: Progress) -> None:
    if progress.step == 20:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_went_on_has_the_bits_of_one_that_was_not_stopped(kind, tmp_path, world, rich) -> None:
    whole = train_policy(asked(tmp_path / "whole", world, rich, kind, steps=24))
    parts = asked(tmp_path / "parts", world, rich, kind, steps=24)
    with pytest.raises(SystemExit) as stopped:
        train_policy(parts, on_progress=polite_kill)
    assert stopped.value.code == 143
    assert not (tmp_path / "parts" / kind).exists()
    train_policy(parts)
    one, other = (
        (tmp_path / run / kind / "model-00001-of-00001.safetensors").read_bytes() for run in ("whole", "parts")
    )
    assert one == other
    card = (whole / "README.md").read_text()
    for word in (f"'{kind}'", "mix rich", "24 steps", "ADE m", "constant velocity", "nothing stitched"):
        assert word in card


def test_a_mix_that_the_stores_do_not_keep_is_refused(tmp_path, world, rich) -> None:
    with pytest.raises(BadDataset, match="the mix 'natural' is 0% to 15%"):
        train_policy(asked(tmp_path / "run", world, rich, mix="natural", planner="ego-only"))


def test_a_run_keeps_its_data_and_its_mix(tmp_path, world, rich) -> None:
    train_policy(asked(tmp_path / "run", world, rich, "ego-only", steps=2))
    assert json.loads((tmp_path / "run" / "ego-only" / "config.json").read_text())["planner"]["tokenizer"] == ""
    other = store_of(tmp_path / "other", [braking()] * 3).folder
    with pytest.raises(BadRequest, match="data"):
        train_policy(asked(tmp_path / "run", world, other, "ego-only", steps=3))


def test_requests_that_make_no_sense_are_explained(tmp_path) -> None:
    good = {"planner": "ik", "mix": "rich", "out": tmp_path, "model": tmp_path}
    with pytest.raises(UnknownName, match="Did you mean 'direct'"):
        PolicyConfig(**{**good, "planner": "dirct"})
    with pytest.raises(UnknownName, match="Did you mean 'natural'"):
        PolicyConfig(**{**good, "mix": "nature"})
    with pytest.raises(UnknownName, match="preset"):
        PolicyConfig(**{**good, "preset": "huge"})
    with pytest.raises(BadRequest, match="'ego-only' sees none"):
        PolicyConfig(**{**good, "planner": "ego-only", "shuffled": True})
    with pytest.raises(BadRequest, match="no next-state predictor"):
        PolicyConfig(**{**good, "planner": "direct", "joint": False})
    with pytest.raises(BadRequest, match="ready stores were both"):
        PolicyConfig(**{**good, "stores": (tmp_path,), "scenes": 3})


def test_losses_fall_on_a_few_examples(tmp_path) -> None:
    """Two drives that differ in ego status: a planner learns to tell them apart in some small steps."""
    store = store_of(tmp_path / "store", [steady(), straight(np.full(47, 2.0))])
    config = replace(
        find_preset("test").planner("ego-only"), channels=4, rows=2, columns=4, text_encoder="hash-32", text_width=32
    )
    examples, _ = find_examples([store], config)
    config = with_statistics(config, examples, [store])
    task = PlannerTask(
        config, ExampleReader([store], None, config, HashTextEncoder(32)), examples, batch_size=8, seed=0
    )
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        module = task.module()
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3)
    losses = []
    for step in range(120):
        loss, _ = task.loss(module, task.batch(step, 0, 1), torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.25 * np.mean(losses[:5])


def test_the_rich_mix_brings_its_own_surprises(tmp_path, world, monkeypatch) -> None:
    monkeypatch.setattr(run, "mixed_scenes", lambda *_args, **_more: [("stop_and_go", seed) for seed in range(3)])
    monkeypatch.setattr(run, "town_rig", lambda *_: town_rig(1, 32, 16))
    for mix in ("rich", "natural"):
        monkeypatch.setitem(run.MIXES, mix, Mix())  # three scenes keep no share
        config = PolicyConfig(
            planner="ego-only", mix=mix, out=tmp_path / mix, model=world, preset="test", scenes=3, steps=1
        )
        train_policy(config)
    surprises = Store.open(tmp_path / "rich" / "surprises")
    assert surprises.made_from["surprises"] == 1.0
    assert len(surprises) == 1  # 4 for 24 scenes
    assert not (tmp_path / "natural" / "surprises").exists()
