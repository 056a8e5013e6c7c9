"""Obedience is measured against commands that ignore the log."""

from dataclasses import replace

import numpy as np
import pytest

from eval_fid_fvd.action_fidelity import MAX_LATERAL_MPS2, action_fidelity, draw_commands
from worldmodel.errors import BadRequest
from worldmodel.geometry import Motion, Trajectory
from worldmodel.plans import Observation
from worldmodel.rollout import Rollout
from worldmodel.town.scene import town_rig

HERTZ = 8.0


def observation():
    return Observation(
        video=np.zeros((4, 1, 3, 8, 16), np.uint8), rig=town_rig(1, 16, 8), motion=None, frequency_hz=HERTZ
    )


class Painter:
    """Writes each frame's step into its pixels and reads it back: perfectly obedient, or deaf."""

    def __init__(self, *, deaf=False):
        self.deaf, self.written = deaf, []

    def imagine_batch(self, observations, *, seconds, seeds, actions, sampling):
        return [self._imagined(o, a) for o, a in zip(observations, actions, strict=True)]

    def _imagined(self, watched, action):
        frames = len(action) - 1
        video = np.zeros((frames, 1, 3, 8, 16), np.uint8)
        self.written.append(
            action.motion() if not self.deaf else Motion(deltas=np.ones((frames, 3)), period_s=1 / HERTZ)
        )
        video[0, 0, 0, 0, 0] = len(self.written)
        poses = Trajectory(poses=action.poses, times_s=action.times_s)
        return Rollout(
            video=video, trajectory=poses, rig=watched.rig, frequency_hz=HERTZ, texts=("",), seed=0, actions_given=True
        )

    def explain_batch(self, observations, *, seed, steps):
        assert all(o.motion is None for o in observations)
        return [self.written[int(o.video[4, 0, 0, 0, 0]) - 1] for o in observations]


def test_an_obedient_model_scores_one_and_shuffled_commands_score_chance():
    commands = draw_commands(64, 2.0, HERTZ, seed=0)
    found = action_fidelity(Painter(), [observation()] * 64, commands, batch=16)
    assert found.correlation["speed"] == pytest.approx(1)
    assert found.correlation["yaw_rate"] == pytest.approx(1)
    assert abs(found.shuffled["speed"]) < 0.35
    assert found.speed_error_mps == pytest.approx(0, abs=1e-9)


def test_a_deaf_model_has_no_correlation():
    found = action_fidelity(Painter(deaf=True), [observation()] * 8, draw_commands(8, 1.0, HERTZ, seed=1))
    assert not found.correlation["speed"] > 0.1
    assert found.speed_error_mps > 1


def test_commands_are_drivable_and_repeatable():
    commands = draw_commands(50, 1.0, HERTZ, seed=2)
    for command in commands:
        motion = command.motion()
        assert (np.abs(motion.speeds_mps * motion.yaw_rates_radps) <= MAX_LATERAL_MPS2 + 0.05).all()
    again = draw_commands(50, 1.0, HERTZ, seed=2)
    assert np.array_equal(commands[7].poses, again[7].poses)


def test_each_observation_needs_a_command():
    with pytest.raises(BadRequest, match="2 observations came with 1 commands"):
        action_fidelity(Painter(), [observation()] * 2, draw_commands(1, 1.0, HERTZ, seed=0))
    with pytest.raises(BadRequest, match="both must be positive"):
        draw_commands(0, 1.0, HERTZ, seed=0)


def test_pictures_of_another_size_are_refused():
    big = replace(observation(), video=np.zeros((4, 1, 3, 16, 32), np.uint8), rig=town_rig(1, 32, 16))
    with pytest.raises(BadRequest, match="Resize the clips"):
        action_fidelity(Painter(), [big], draw_commands(1, 1.0, HERTZ, seed=0))
