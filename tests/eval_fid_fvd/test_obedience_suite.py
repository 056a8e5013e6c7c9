"""The whole table of obedience, asked of a model that repeats the last frame whatever it is told."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eval_fid_fvd.held_out import moment_of, unseen_scenes
from eval_fid_fvd.obedience.paths import path_rows
from eval_fid_fvd.obedience.road_users import hand_over_row, lights_row
from eval_fid_fvd.obedience.suite import Suite, driven
from eval_fid_fvd.obedience.words import text_rows, weather_rows, weather_text
from eval_fid_fvd.readers import Readers, ReadersConfig
from worldmodel.errors import BadDataset
from worldmodel.geometry import Motion, Trajectory
from worldmodel.rollout import Rollout
from worldmodel.sampling import Sampling
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

HERTZ = 8.0


class Repeater:
    """Shows the last frame again and again, and explains that nothing moves."""

    per_chunk = 4
    config = SimpleNamespace(width_px=128, height_px=64, frequency_hz=HERTZ, history_chunks=2, preset="none")

    def imagine_batch(self, observations, *, seconds, seeds, actions, sampling):
        frames = round(seconds * HERTZ)
        times = np.arange(frames + 1) / HERTZ
        still = Trajectory(poses=np.zeros((frames + 1, 3)), times_s=times)
        return [
            Rollout(
                video=o.video[-1:].repeat(frames, axis=0), trajectory=still, rig=o.rig, frequency_hz=HERTZ,
                texts=("",), seed=0, actions_given=actions is not None,
            )
            for o in observations
        ]  # fmt: skip

    def explain_batch(self, observations, *, seed, steps):
        return [Motion(deltas=np.zeros((len(o.video) - 4, 3)), period_s=1 / HERTZ) for o in observations]


@pytest.fixture
def suite(tmp_path):
    torch.manual_seed(0)
    readers = Readers(ReadersConfig())
    return Suite(model=Repeater(), readers=readers, sampling=Sampling(steps=1), folder=tmp_path, clips=2)


def test_a_moment_holds_what_was_seen_and_what_came(tmp_path):
    scene = simulate("empty_road", 2_000_001, seconds=2.0)
    rig = town_rig(3, 32, 16)
    moment = moment_of(scene, 7, rig, history=4, future=5, folder=tmp_path)
    assert moment.observation.video.shape == (4, 3, 3, 16, 32)
    assert len(moment.observation.motion) == 3
    assert moment.future.video.shape[0] == len(moment.future_boxes) == 5
    np.testing.assert_allclose(driven(moment, 0.5).motion().deltas, scene.trajectory().motion().deltas[7:11], atol=1e-9)
    assert moment.observation.instruction == scene.instructions[0].text
    again = moment_of(scene, 7, rig, history=4, future=5, folder=tmp_path)
    assert np.array_equal(again.clip.video, moment.clip.video)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(BadDataset, match="Choose another moment"):
        moment_of(scene, 14, rig, history=4, future=5, folder=tmp_path)


def test_unseen_scenes_come_from_the_test_split():
    scenes = unseen_scenes(("empty_road",), 3, 1.0, HERTZ)
    first, second = next(scenes), next(scenes)
    assert first.seed >= 2_000_000
    assert first.seed != second.seed
    assert "rainy" in weather_text(first, "rain")


@pytest.mark.slow
def test_who_repeats_the_last_frame_obeys_nothing(suite):
    paths = path_rows(suite)
    by_explain = next(row for row in paths if row.quantity == "path, the model's explain: ADE")
    assert by_explain.value > 4
    assert not by_explain.passed
    assert by_explain.beside["drives the log"] < by_explain.value
    words = text_rows(suite)
    assert [row.value for row in words] == pytest.approx([words[0].beside["chance"]] * 2)  # one of three ways
    against, same = weather_rows(suite)
    assert against.beside["as before"] == same.beside["as before"]
    for (row,) in (lights_row(suite), hand_over_row(suite)):
        assert row.n == 2
        assert 0 <= row.value <= 1
