from dataclasses import replace

import numpy as np
import pytest
from makers import make_clip
from numpy.testing import assert_allclose

from worldmodel.clips import Box, Clip, Instruction, check_instruction
from worldmodel.errors import BadMotion, BadRequest, BadTable, BadVideo, ClipTooShort
from worldmodel.geometry import Motion
from worldmodel.plans import Observation


def test_a_slice_keeps_frames_steps_boxes_and_instructions_together():
    box = Box(track="a", kind="car", center=np.ones(3), size=np.ones(3), yaw_rad=0.0)
    clip = replace(
        make_clip(16),
        boxes=((box,),) * 16,
        instructions=(Instruction(text="first", end_s=0.5), Instruction(text="then", start_s=0.5)),
    )
    part = clip.sliced(0.25, 1.25)
    assert len(part) == len(part.boxes) == 8
    assert len(part.motion) == 7
    assert (part.video == clip.video[2:10]).all()
    assert_allclose(part.motion.deltas, clip.motion.deltas[2:9])
    for at_s in (0.0, 0.125, 0.25, 0.75):
        assert part.instruction_at(at_s) == clip.instruction_at(at_s + 0.25)


def test_an_observation_ends_at_the_moment_and_holds_no_future():
    clip = make_clip(16)
    observation = clip.observation(at_s=1.0, history_s=0.5)
    assert (observation.video == clip.video[5:9]).all()
    assert_allclose(observation.motion.deltas, clip.motion.deltas[5:8])
    assert observation.speed_mps == pytest.approx(clip.motion.speeds_mps[7])
    assert observation.yaw_rate_radps == pytest.approx(clip.motion.yaw_rates_radps[7])
    assert observation.instruction == "keep going"
    changed = clip.video.copy()
    changed[9:] = 0
    other = replace(clip, video=changed).observation(at_s=1.0, history_s=0.5)
    assert (other.video == observation.video).all()
    assert not {"future", "boxes"} & set(Observation.__dataclass_fields__)


def test_without_motion_speed_and_yaw_rate_are_unknown_not_zero():
    observation = make_clip(8, motion=False).observation(at_s=0.5, history_s=0.5)
    assert observation.motion is observation.speed_mps is observation.yaw_rate_radps is None
    one = make_clip(8).observation(at_s=0.5, history_s=0.125)
    assert one.speed_mps is None


@pytest.mark.parametrize(("at_s", "history_s"), [(0.25, 1.0), (2.0, 0.5), (99, 0.5), (-1, 0.1)])
def test_observations_outside_the_clip_are_refused(at_s, history_s):
    with pytest.raises(ClipTooShort, match="Choose another moment or less history"):
        make_clip(16).observation(at_s, history_s)


@pytest.mark.parametrize(("start", "end"), [(0, 3), (-1, 1), (1, 1), (1.5, 1)])
def test_slices_outside_the_clip_are_refused(start, end):
    with pytest.raises(ClipTooShort, match="Choose times inside it"):
        make_clip(16).sliced(start, end)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"video": np.zeros((16, 2, 3, 32, 64), np.uint8)}, BadVideo, "the rig needs"),
        ({"video": np.zeros((16, 3, 3, 32, 60), np.uint8)}, BadVideo, "the rig needs"),
        ({"video": np.zeros((0, 3, 3, 32, 64), np.uint8)}, BadVideo, "the rig needs"),
        ({"video": np.zeros((16, 3, 3, 32, 64), np.float32)}, BadVideo, "uint8"),
        ({"frequency_hz": 0.0}, BadVideo, "must be positive"),
        ({"motion": Motion(deltas=np.zeros((16, 3)), period_s=0.125)}, BadTable, "one step less than frames"),
        ({"motion": Motion(deltas=np.zeros((15, 3)), period_s=0.1)}, BadTable, "frames come at 8"),
        ({"boxes": ((),) * 15}, BadTable, "one entry per frame"),
    ],
)
def test_a_clip_that_does_not_fit_together_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        replace(make_clip(16), **changes)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"video": np.zeros((8, 2, 3, 32, 64), np.uint8)}, BadVideo),
        ({"video": np.zeros((8, 3, 3, 32, 64))}, BadVideo),
        ({"motion": Motion(deltas=np.zeros((8, 3)), period_s=0.125)}, BadMotion),
    ],
)
def test_an_observation_that_does_not_fit_together_is_refused(changes, error):
    with pytest.raises(error):
        replace(make_clip(8).observation(at_s=0.875, history_s=1.0), **changes)


@pytest.mark.parametrize(
    ("text", "advice"), [("", "leave the option out"), (" \n", "empty"), ("a" * 10_000, "Shorten it")]
)
def test_instructions_that_nobody_could_follow_are_refused(text, advice):
    with pytest.raises(BadRequest, match=advice):
        check_instruction(text)
    with pytest.raises(BadRequest, match=advice):
        Instruction(text=text)


def test_an_instruction_ends_after_it_begins():
    with pytest.raises(BadRequest, match="the end must be later"):
        Instruction(text="stop", start_s=2.0, end_s=2.0)


def test_the_latest_instruction_that_holds_wins():
    clip: Clip = replace(
        make_clip(16), instructions=(Instruction(text="go"), Instruction(text="stop", start_s=1.0, end_s=1.5))
    )
    assert [clip.instruction_at(t) for t in (0.0, 0.999, 1.0, 1.5)] == ["go", "go", "stop", "go"]


def test_box_corners_turn_with_its_heading():
    box = Box(track="a", kind="car", center=np.array([10.0, 2, 1]), size=np.array([4.0, 2, 1.5]), yaw_rad=np.pi / 2)
    corners = box.corners()
    assert_allclose(corners.min(0), [9, 0, 0.25])
    assert_allclose(corners.max(0), [11, 4, 1.75])
    assert (corners[:4, 2] < corners[4:, 2]).all()
    assert_allclose(corners.mean(0), box.center)
    (ax, ay), (bx, by) = corners[1, :2] - corners[0, :2], corners[2, :2] - corners[1, :2]
    assert ax * by - ay * bx > 0  # counter-clockwise


@pytest.mark.parametrize(
    "changes", [{"size": np.array([1.0, 0, 1])}, {"center": np.array([np.nan, 0, 0])}, {"center": np.zeros(2)}]
)
def test_impossible_boxes_are_refused(changes):
    with pytest.raises(BadTable, match="box 'a'"):
        Box(**({"track": "a", "kind": "car", "center": np.zeros(3), "size": np.ones(3), "yaw_rad": 0.0} | changes))
