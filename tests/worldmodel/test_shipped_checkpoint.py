"""The checkpoint that ships: it opens, fits its budget, and obeys commands on held-out scenes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval_fid_fvd.obedience.commands import draw_commands
from eval_fid_fvd.obedience.read_back import explained, imagine_all, path_reading
from eval_fid_fvd.planning import motion_correlation
from eval_fid_fvd.readers import Readers
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling

ASSETS = Path(__file__).parents[2] / "assets"
AIM = 0.7
READER_AIM = {"speed": 0.5, "yaw_rate": 0.4}
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
    """Pearson between commands that ignore the log and what readers that share nothing with the model, and `explain`, see."""
    model, data = WorldModel.from_pretrained(ASSETS / "default"), Dataset.open(ASSETS / "clips")
    history_s = model.config.history_chunks * model.per_chunk / model.config.frequency_hz
    observations = [
        data.clip(i % data.episodes).observation(2.5 + 0.8 * (i // data.episodes), history_s) for i in range(COMMANDS)
    ]
    commands = draw_commands(COMMANDS, 2.0, model.config.frequency_hz, seed=11)
    sampling = Sampling(steps=6)
    rollouts = imagine_all(model, observations, seconds=2.0, seeds=range(COMMANDS), actions=commands, sampling=sampling)
    videos, asked = [rollout.video for rollout in rollouts], [command.motion() for command in commands]
    readers = Readers.from_pretrained(ASSETS / "readers")
    context = [observation.video[-1:] for observation in observations]
    seen = [readers.read_motion(np.concatenate(pair), 8.0) for pair in zip(context, videos, strict=True)]
    independent = path_reading(seen, asked)
    with capsys.disabled():
        print(f"\nread by others: {independent.correlation}, shuffled {independent.shuffled_correlation}")
    assert min(independent.correlation.values()) > 0.4
    assert max(abs(value) for value in independent.shuffled_correlation.values()) < 0.2
    found = path_reading(explained(model, observations, videos, steps=sampling.steps), asked)
    shuffled = found.shuffled_correlation
    with capsys.disabled():
        print(f"\nread back from {COMMANDS} imagined commands: {found.correlation}, shuffled {shuffled}, aim {AIM}")
    assert abs(shuffled["speed"]) < 0.2
    assert abs(shuffled["yaw_rate"]) < 0.2
    if min(found.correlation.values()) < AIM:
        pytest.xfail(f"by its own `explain` this checkpoint misses {AIM}: {found.correlation} (docs/results.md)")


@pytest.mark.slow
def test_motion_is_read_from_real_frames(capsys):
    """The reader itself: explained steps against logged ones on held-out clips, past steps withheld."""
    model, data = WorldModel.from_pretrained(ASSETS / "default"), Dataset.open(ASSETS / "clips")
    clips = [data.clip(i, 2.0 + 1.2 * j, 2.5) for i in range(data.episodes) for j in range(4)]
    watched = [replace(clip.observation(2.375, 2.5), motion=None) for clip in clips]
    read = model.explain_batch(watched, steps=6)
    found = motion_correlation(read, [clip.motion[3:] for clip in clips])
    with capsys.disabled():
        print(f"\nread from real frames: {found}, aim {READER_AIM}")
    assert min(found.values()) > 0.1
    if any(found[name] < aim for name, aim in READER_AIM.items()):
        pytest.xfail(f"`explain` of this checkpoint is a poor reader: {found} (docs/results.md)")


@pytest.mark.slow
def test_same_seed_same_bits_and_another_seed_differs():
    model, data = WorldModel.from_pretrained(ASSETS / "default"), Dataset.open(ASSETS / "clips")
    observation = data.clip(0).observation(3.0, 2.0)
    first, second, other = (
        model.imagine(observation, seconds=1, seed=seed, sampling=Sampling(steps=4)) for seed in (5, 5, 6)
    )
    assert np.array_equal(first.video, second.video)
    assert np.array_equal(first.trajectory.poses, second.trajectory.poses)
    assert not np.array_equal(first.video, other.video)
    assert not np.array_equal(first.trajectory.poses, other.trajectory.poses)
