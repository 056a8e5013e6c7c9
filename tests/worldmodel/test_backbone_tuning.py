"""Teaching a pretrained Wan to drive: what is trained, what stays frozen, and that the result is a checkpoint of ours."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import make_rig
from tiny_wan import write_tiny_wan
from torch.testing import assert_close

from worldmodel.backbones.draws import Draw
from worldmodel.backbones.model import WanWorldModel, is_frozen_name
from worldmodel.backbones.task import Additions, WanTask
from worldmodel.backbones.tuning import _begun, tune
from worldmodel.checkpoints import read_json
from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.model import WorldModel
from worldmodel.plans import Observation
from worldmodel.sampling import Sampling
from worldmodel.training import stages
from worldmodel.training.presets import Modes, Preset, find_preset
from worldmodel.training.stage_config import StageConfig
from worldmodel.training.store import Sample, Store, write_store

CAMERAS, HEIGHT, WIDTH = 2, 32, 64


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_wan(tmp_path_factory.mktemp("tuning") / "tiny")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    def sample(seed: int) -> Sample:
        random = np.random.default_rng(seed)
        return Sample(
            video=random.integers(0, 256, (16, CAMERAS, 3, HEIGHT, WIDTH), dtype=np.uint8),
            objects=np.zeros((16, CAMERAS, HEIGHT, WIDTH), dtype=bool),
            deltas=random.normal((1, 0, 0), (0.2, 0.03, 0.02), (55, 3)),
            known=np.full(55, True),
            text=("go straight", "turn left")[seed % 2],
        )

    samples = (sample(i) for i in range(3))
    return write_store(samples, 3, tmp_path_factory.mktemp("data") / "store", make_rig(CAMERAS), 8.0, {"random": 3})


@pytest.fixture(scope="session")
def preset(folder: Path) -> Preset:
    small = find_preset("test")
    model: WorldModelConfig = small.model
    return replace(small, name="wan-test", backbone=str(folder), low_rank=2, chunks=3, chunk_steps=2, model=model)


def begun(folder: Path, preset: Preset, store: Store) -> WanWorldModel:
    return _begun(f"wan:{folder}@{HEIGHT}x{WIDTH}", preset, store, "float32")


def wan_task(folder: Path, preset: Preset, store: Store, own_history: float = 0.0) -> WanTask:
    return WanTask(
        "chunk", lambda: begun(folder, preset, store), store, preset, chunks=3, own_history=own_history, seed=0
    )


def config(out: Path, folder: Path, **changes: object) -> StageConfig:
    settings = {"stage": "chunk", "preset": "wan-1.3b", "out": out, "start": Path(f"wan:{folder}@{HEIGHT}x{WIDTH}")}
    return StageConfig(**{**settings, **changes})


def test_only_additions_and_updates_are_trained(folder: Path, preset: Preset, store: Store) -> None:
    preset = replace(preset, modes=Modes(joint=1.0, steps_given=0.0, video_absent=0.0, video_given=0.0))
    task = wan_task(folder, preset, store)
    module = task.module()
    assert isinstance(module, Additions)
    batch = task.batch(0, 0, 1)
    assert batch["pictures"].shape == (preset.batch_clips, 12, CAMERAS, 3, HEIGHT, WIDTH)
    loss, metrics = task.loss(module, batch, torch.Generator().manual_seed(0))
    loss.backward()
    assert set(metrics) == {"video", "steps", "plan"}
    network = task.model.network
    with_gradient = {name for name, value in network.named_parameters() if value.grad is not None}
    assert not any(is_frozen_name(name) for name in with_gradient)
    moved = {
        name.split(".")[0] for name in with_gradient if float(dict(network.named_parameters())[name].grad.abs().sum())
    }
    assert {"wan", "rays_in", "steps_to_video", "steps_out", "plan_out"} <= moved
    assert not [name for name in module.state_dict() if "scale_shift_table" in name]


def test_self_made_history_replaces_all_but_the_first_chunk(folder: Path, preset: Preset, store: Store) -> None:
    preset = replace(preset, modes=Modes(joint=0.0, steps_given=1.0, video_absent=0.0, video_given=0.0))
    task = wan_task(folder, preset, store, own_history=1.0)
    module = task.module()
    batch = task.batch(0, 0, 1)
    latents, _ = task.model.tokenizer.encode_tensor(batch["pictures"])
    draw = Draw.of(task.model.config, preset.modes, batch, latents, torch.Generator().manual_seed(0))
    own, again = (task._with_own_history(batch, draw, latents).clean_video for _ in range(2))
    assert_close(own[:, 0], draw.clean_video[:, 0])
    assert (own[:, 1] - draw.clean_video[:, 1]).abs().mean() > 0.1
    assert torch.equal(own, again)
    loss, _ = task.loss(module, batch, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss)


def test_a_batch_is_a_function_of_seed_step_and_process(folder: Path, preset: Preset, store: Store) -> None:
    task = wan_task(folder, preset, store)
    task.module()
    first, again, other = task.batch(3, 0, 1), task.batch(3, 0, 1), task.batch(3, 1, 2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["pictures"], other["pictures"])


def test_a_stage_ends_in_a_checkpoint_that_imagines(folder: Path, preset: Preset, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    checkpoint = tune(config(out, folder, steps=2), preset, store)
    model = WorldModel.from_pretrained(checkpoint)
    assert isinstance(model, WanWorldModel)
    assert (model.config.trained, model.config.low_rank, model.config.history_chunks) == ("low-rank", 2, 2)
    assert model.config.stages[0].startswith("chunk: 2 steps")
    assert "Detour world model, preset wan-test" in (checkpoint / "README.md").read_text()
    assert model.config.step_mean[0] == pytest.approx(1.0, abs=0.1)
    low, high = model.config.training_range["brightness"]
    assert 0 < low < high < 255
    fresh = WanWorldModel.from_pretrained(f"wan:{folder}@{HEIGHT}x{WIDTH}")
    frozen = {name.replace(".base.", "."): t for name, t in model.network.state_dict().items() if is_frozen_name(name)}
    for name, tensor in fresh.network.state_dict().items():
        if is_frozen_name(name):
            assert torch.equal(frozen[name], tensor), name
    changed = [n for n, t in model.network.state_dict().items() if n.endswith("up.weight") and float(t.abs().sum()) > 0]
    assert changed
    seen = Observation(
        video=np.array(store.video[0, :8]), rig=store.rig, motion=None, frequency_hz=8.0, instruction="turn left"
    )
    assert model.imagine(seen, seconds=0.5, sampling=Sampling(steps=1)).video.shape[0] == 4


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_same_bits(folder: Path, preset: Preset, store: Store, tmp_path: Path) -> None:
    whole = tune(config(tmp_path / "whole", folder, steps=2), preset, store)
    tune(config(tmp_path / "parts", folder, steps=2, minutes=1e-9), preset, store)
    shutil.rmtree(tmp_path / "parts" / "model")
    # One step was not enough time; the clock is not part of what must stay the same.
    parts = tune(config(tmp_path / "parts", folder, steps=2), preset, store)
    ours, theirs = (WanWorldModel.from_pretrained(path).network.state_dict() for path in (parts, whole))
    for name, tensor in theirs.items():
        assert_close(ours[name], tensor, rtol=0, atol=0)


MANY = """
import sys
sys.path[:0] = [sys.argv[2], sys.argv[3]]
from pathlib import Path
from dataclasses import replace
from test_backbone_tuning import find_preset, tune, StageConfig, Store
out, folder = Path(sys.argv[1]), Path(sys.argv[4])
small = find_preset("test")
preset = replace(small, name="wan-test", backbone=str(folder), low_rank=2, chunks=3, chunk_steps=2)
config = StageConfig(stage="chunk", preset="wan-1.3b", out=out, start=Path(f"wan:{folder}@32x64"), steps=2)
tune(config, preset, Store.open(Path(sys.argv[5])))
from accelerate import PartialState
PartialState().wait_for_everyone()
PartialState().destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_together(folder: Path, store: Store, tmp_path: Path) -> None:
    script, here = tmp_path / "many.py", Path(__file__).parent
    script.write_text(MANY)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    command += map(str, (tmp_path / "out", here, here.parent, folder, store.folder))
    extra = {"PYTHONPATH": str(here.parents[1]), "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, timeout=280, env=os.environ | extra)
    assert WorldModel.from_pretrained(tmp_path / "out/model").config.stages
    assert read_json(tmp_path / "out/chunk-run/state/state.json")["processes"] == 2


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # of norms under autocast
def test_bfloat16_weights_with_float32_additions_train(
    folder: Path, preset: Preset, store: Store, tmp_path: Path
) -> None:
    checkpoint = tune(config(tmp_path / "half", folder, steps=1, precision="bfloat16"), preset, store)
    assert WorldModel.from_pretrained(checkpoint).config.stages


@pytest.mark.slow
def test_the_next_stage_begins_with_the_last_one(folder: Path, preset: Preset, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    tune(config(out, folder, steps=1), preset, store)
    longer = replace(preset, horizon_chunks=4)
    checkpoint = tune(config(out, folder, stage="horizon", start=None, steps=1), longer, store)
    model = WorldModel.from_pretrained(checkpoint).config
    assert [stage.partition(":")[0] for stage in model.stages] == ["chunk", "horizon"]
    assert model.network.oldest_frames == 16


def test_the_stage_command_knows_presets_with_a_backbone(
    folder: Path, preset: Preset, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "find_preset", lambda _: preset)
    monkeypatch.setattr(stages, "prepare_store", lambda *_: store)
    checkpoint = stages.train_stage(config(tmp_path / "run", folder, steps=1))
    assert read_json(checkpoint / "config.json")["backbone"] == str(folder)


def test_stages_and_clips_that_do_not_fit_are_refused(
    folder: Path, preset: Preset, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(BadRequest, match="its pictures are pretrained"):
        tune(config(tmp_path, folder, stage="vision"), preset, store)
    with pytest.raises(BadRequest, match="Leave --shard out"):
        tune(config(tmp_path, folder, shard=True), preset, store)
    with pytest.raises(ClipTooShort, match="chunks take 20"):
        tune(config(tmp_path, folder), replace(preset, chunks=5), store)


@pytest.mark.parametrize(("name", "width", "channels"), [("wan-1.3b", 1536, 16), ("wan-5b", 3072, 48)])
def test_presets_have_the_sizes_of_their_backbones(name: str, width: int, channels: int) -> None:
    preset = find_preset(name)
    network = preset.model.network
    assert (network.width, network.layers, network.heads * network.head_size) == (width, 30, width)
    assert network.latent_channels == channels
    assert (preset.model.height_px, preset.model.width_px) == (256, 448)
    assert preset.backbone.startswith("Wan-AI/Wan2.")
