"""Obedience is measured against commands that differ from the log."""

import numpy as np
import pytest

from eval_fid_fvd.obedience.commands import (
    ASIDE_M,
    KINDS,
    MAX_LATERAL_MPS2,
    draw_commands,
    path_lengths,
    reach_s,
    varied,
)
from eval_fid_fvd.obedience.read_back import (
    balanced_accuracy,
    explained,
    imagine_all,
    path_errors,
    path_reading,
    way_of,
)
from eval_fid_fvd.obedience.table import Row, as_markdown, mean_interval, pooled_interval
from worldmodel.errors import BadMotion, BadRequest, UnknownName
from worldmodel.geometry import Motion, Trajectory, integrate_rates
from worldmodel.plans import Observation
from worldmodel.rollout import Rollout
from worldmodel.sampling import Sampling
from worldmodel.town.scene import town_rig

HERTZ = 8.0


def observation():
    return Observation(
        video=np.zeros((4, 1, 3, 8, 16), np.uint8), rig=town_rig(1, 16, 8), motion=None, frequency_hz=HERTZ
    )


def drive(speed=6.0, rate=0.0, seconds=5.2):
    times = np.arange(round(seconds * HERTZ) + 1) / HERTZ
    return integrate_rates(np.full(len(times), speed), np.full(len(times), rate), times)


class Painter:
    """Writes the number of each drive into its pixels and reads it back: perfectly obedient, or deaf."""

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


def read_back(model, commands, batch=16):
    watched = [observation()] * len(commands)
    rollouts = imagine_all(
        model,
        watched,
        seconds=1.0,
        seeds=range(len(commands)),
        actions=commands,
        sampling=Sampling(steps=1),
        batch=batch,
    )
    return explained(model, watched, [rollout.video for rollout in rollouts], steps=1, batch=batch)


# -- commands -----------------------------------------------------------------------------------------------------


def test_slower_and_faster_drive_the_same_path_at_another_pace():
    log = drive(6.0, 0.2)
    for kind, pace in (("slower", 0.7), ("faster", 1.3)):
        command = varied(log, kind, 4.0, HERTZ)
        np.testing.assert_allclose(command.motion().speeds_mps, 6.0 * pace, rtol=1e-3)
        near = np.linalg.norm(command.poses[:, None, :2] - log.poses[None, :, :2], axis=-1).min(axis=1)
        assert near.max() < 0.8  # half a step


def test_commands_to_the_side_end_two_metres_beside_the_log():
    log = drive(6.0)
    for kind, sign in (("left", 1), ("right", -1)):
        command = varied(log, kind, 4.0, HERTZ)
        assert command.poses[-1, 1] == pytest.approx(sign * ASIDE_M)
        assert np.array_equal(command.poses[0], np.zeros(3))
        assert np.abs(command.motion().deltas[:, 1]).max() < 0.1  # heads where it goes


@pytest.mark.parametrize("rate", [0.1, -0.1, 0.0])
def test_another_turn_goes_against_the_logs_bend_and_can_be_driven(rate):
    motion = varied(drive(9.0, rate), "turn", 4.0, HERTZ).motion()
    assert motion.yaw_rates_radps.mean() * rate <= 0
    assert np.abs(motion.yaw_rates_radps).max() > 0.3
    assert (np.abs(motion.speeds_mps * motion.yaw_rates_radps) <= MAX_LATERAL_MPS2 + 0.05).all()


def test_every_command_differs_from_the_log():
    log = drive(6.0)
    here = log.resampled(np.arange(33) / HERTZ).motion()
    for kind in KINDS:
        assert path_errors([varied(log, kind, 4.0, HERTZ).motion()], [here])[0] > 0.8
    assert path_lengths([varied(log, "slower", 4.0, HERTZ)])[0] == pytest.approx(16.8)


def test_unknown_kinds_and_short_logs_are_refused():
    with pytest.raises(UnknownName, match="slower"):
        varied(drive(), "slowest", 4.0, HERTZ)
    with pytest.raises(BadMotion, match="inside it"):
        varied(drive(seconds=4.0), "faster", 4.0, HERTZ)
    assert reach_s(4.0) == pytest.approx(5.2)


def test_drawn_commands_are_drivable_and_repeatable():
    commands = draw_commands(50, 1.0, HERTZ, seed=2)
    for command in commands:
        motion = command.motion()
        assert (np.abs(motion.speeds_mps * motion.yaw_rates_radps) <= MAX_LATERAL_MPS2 + 0.05).all()
    again = draw_commands(50, 1.0, HERTZ, seed=2)
    assert np.array_equal(commands[7].poses, again[7].poses)
    with pytest.raises(BadRequest, match="both must be positive"):
        draw_commands(0, 1.0, HERTZ, seed=0)


# -- reading back -------------------------------------------------------------------------------------------------


def test_an_obedient_model_has_no_error_and_shuffled_commands_score_chance():
    commands = draw_commands(64, 2.0, HERTZ, seed=0)
    asked = [command.motion() for command in commands]
    found = path_reading(read_back(Painter(), commands), asked)
    assert found.ade_m.max() < 1e-9
    assert found.shuffled_m.mean() > 3
    assert found.correlation == pytest.approx({"speed": 1, "yaw_rate": 1})
    assert abs(found.shuffled_correlation["speed"]) < 0.35


def test_a_deaf_model_has_errors_and_no_correlation():
    commands = draw_commands(8, 1.0, HERTZ, seed=1)
    found = path_reading(read_back(Painter(deaf=True), commands), [command.motion() for command in commands])
    assert not found.correlation["speed"] > 0.1
    assert found.ade_m.min() > 0.5


def test_each_observation_needs_a_command_and_one_command_cannot_be_shuffled():
    command = draw_commands(1, 1.0, HERTZ, seed=0)
    with pytest.raises(BadRequest, match="2 observations came with 1 commands"):
        imagine_all(
            Painter(), [observation()] * 2, seconds=1.0, seeds=[0, 1], actions=command, sampling=Sampling(steps=1)
        )
    with pytest.raises(BadRequest, match="Drive more of them"):
        path_reading([command[0].motion()], [command[0].motion()])
    with pytest.raises(BadRequest, match="same seconds"):
        path_errors([command[0].motion()], [drive().motion()])


def test_ways_go_by_the_change_of_heading():
    assert way_of(drive(5.0, 0.3, 4.0).motion()) == "left"
    assert way_of(drive(5.0, -0.3, 4.0).motion()) == "right"
    assert way_of(drive(5.0, 0.05, 4.0).motion()) == "straight"


def test_balanced_accuracy_weighs_rare_answers_evenly():
    assert balanced_accuracy([True] * 10, [True] * 9 + [False]) == pytest.approx(0.5)
    assert balanced_accuracy([True, False], [True, False]) == 1
    assert np.isnan(balanced_accuracy([True], [True]))


# -- the table ----------------------------------------------------------------------------------------------------


def test_the_table_says_what_is_missed_and_what_stands_beside_it():
    row = Row(
        quantity="path", n=8, value=2.0, unit="m", interval=(1.5, 2.5), threshold="1.20 m", passed=False,
        beside={"drives the log": 1.9}, reader=0.6,
    )  # fmt: skip
    text = as_markdown([row, Row(quantity="text", n=4, value=0.5, unit="%")])
    assert "| path | 8 | 2.00 m (1.50 m to 2.50 m) | 1.20 m | **no** | drives the log 1.90 m | 0.60 m |" in text
    assert "| text | 4 | 50 % |" in text


def test_intervals_are_over_clips():
    low, high = mean_interval(np.array([0.0, 1.0, 2.0, 3.0]), 0)
    assert 0 <= low < 1.5 < high <= 3
    assert np.isnan(mean_interval(np.ones(1), 0)).all()
    assert pooled_interval(lambda rows: float(np.mean(rows)), 4, 0)[0] < 1.5
    assert np.isnan(pooled_interval(lambda rows: float("nan"), 4, 0)).all()
