import inspect
import re
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from makers import make_observation
from numpy.testing import assert_allclose

from worldmodel.errors import BadRequest
from worldmodel.geometry import Motion, Trajectory
from worldmodel.guidance import (
    DecisionGuide,
    FixedGuide,
    GuideContext,
    ScheduleGuide,
    decision_text,
    parse_schedule,
)
from worldmodel.planning import draw_plans, plan_of
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.sampling import Sampling
from worldmodel.town.words import hints, steering

QUICK = Sampling(steps=2)


def never(samples):
    raise AssertionError(f"nobody needs {samples} plans")


def at(time_s, **changes):
    """What a guide sees at a moment of a drive straight on."""
    values = {
        "chunk": round(time_s * 2),
        "time_s": time_s,
        "observation": make_observation(4, motion=False),
        "trajectory": Trajectory(poses=np.zeros((1, 3)), times_s=np.zeros(1)),
        "texts": (),
        "plan": never,
    }
    return GuideContext(**{**values, **changes})


@dataclass
class Spy:
    """Writes down what it is shown, and says which chunk it is."""

    seen: list = field(default_factory=list)

    def hint(self, context):
        self.seen.append(context)
        return f"chunk {context.chunk}"


# -- fixed and scheduled ----------------------------------------------------------------------------------------------


def test_a_fixed_guide_always_says_the_same():
    guide = FixedGuide(text="turn left")
    assert {guide.hint(at(t)) for t in (0.0, 3.5, 1000.0)} == {"turn left"}
    assert FixedGuide().hint(at(0.0)) == ""


def test_a_schedule_says_the_text_of_the_last_range_that_has_begun():
    guide = ScheduleGuide(texts=((0.5, "turn left"), (2.0, "stop"), (4.0, "")))
    told = [guide.hint(at(t)) for t in (0.0, 0.5, 1.9, 2.0, 3.9, 4.0, 9.0)]
    assert told == ["", "turn left", "turn left", "stop", "stop", "", ""]
    assert ScheduleGuide().hint(at(1.0)) == ""
    assert guide.hint(at(0.1 + 0.2 + 0.2)) == "turn left"  # a rounding error does not delay it


@pytest.mark.parametrize("text", ["a" * 10_000, "   "])
def test_texts_that_nobody_could_follow_are_refused(text):
    with pytest.raises(BadRequest):
        FixedGuide(text=text)
    with pytest.raises(BadRequest):
        ScheduleGuide(texts=((0.0, text),))


@pytest.mark.parametrize("starts", [(2.0, 0.0), (1.0, 1.0)])
def test_a_schedule_goes_forward(starts):
    with pytest.raises(BadRequest, match="Sort the texts by time"):
        ScheduleGuide(texts=tuple((start, "stop") for start in starts))


@pytest.mark.parametrize("start", [-1.0, float("nan"), float("inf")])
def test_a_schedule_begins_now_or_later(start):
    with pytest.raises(BadRequest, match="0 or later"):
        ScheduleGuide(texts=((start, "stop"),))


@pytest.mark.parametrize(
    "text",
    [
        "0:follow the road;2.5:turn left: now",
        " 0 : follow the road ; 2.5 : turn left: now ; ",
        '[[0, "follow the road"], [2.5, "turn left: now"]]',
        '{"0": "follow the road", "2.5": "turn left: now"}',
    ],
)
def test_a_schedule_is_written_plainly_or_as_json(text):
    assert parse_schedule(text).texts == ((0.0, "follow the road"), (2.5, "turn left: now"))


@pytest.mark.parametrize(
    "text",
    [
        "turn left",
        "0:go;then:stop",
        "[0, 1]",
        "[[0]]",
        '[[0, "go", 1]]',
        "{",
        "[1",
        "[[0, 7]]",
        '[["a", "b"]]',
        "[[[], 1]]",
    ],
)
def test_a_schedule_that_cannot_be_read_shows_how_to_write_one(text):
    with pytest.raises(BadRequest, match="0:follow the road;2:turn left"):
        parse_schedule(text)


@pytest.mark.parametrize("text", ["", " ; ", "[]", "{}"])
def test_an_empty_schedule_is_refused(text):
    with pytest.raises(BadRequest, match="Give some"):
        parse_schedule(text)


# -- decisions --------------------------------------------------------------------------------------------------------


def plan(speeds_mps, yaw_rate_radps=0.0, left_mps=0.0):
    """Poses of a plan with a speed for each half second."""
    deltas = [[speed / 2, left_mps / 2, yaw_rate_radps / 2] for speed in speeds_mps]
    return Motion(deltas=np.array(deltas), period_s=0.5).trajectory().poses[1:]


@pytest.mark.parametrize(
    ("poses", "text"),
    [
        (plan([8] * 8), "keep this speed"),
        (plan([8, 8.5, 9, 9.5, 10, 10, 10, 10]), "speed up a little"),
        (plan([8, 7, 6, 5, 4, 4, 4, 4]), "slow down a little"),
        (plan([8, 5, 2, 0, 0, 0, 0, 0]), "slow down and stop"),
        (plan([5] * 8, 0.5), "turn left at the crossing"),
        (plan([5] * 8, -0.5), "turn right at the crossing"),
        (plan([8] * 8, 0.15), "take the bend to the left"),
        (plan([8, 7, 6, 5, 4, 4, 4, 4], -0.15), "slow down and take the bend to the right"),
        (plan([8] * 8, 0.0, 1.5), "change to the left lane"),
        (plan([8] * 8, 0.0, -1.5), "change to the right lane"),
    ],
)
def test_a_plan_is_put_into_the_words_of_the_hints(poses, text):
    assert decision_text(poses, 2.0, start_mps=8.0 if "turn" not in text else 5.0) == text
    mirrored = poses * np.array([1, -1, -1])
    swapped = text.replace("left", "@").replace("right", "left").replace("@", "right")
    assert decision_text(mirrored, 2.0) == swapped


def test_who_stands_and_goes_on_standing_stays():
    assert decision_text(plan([0] * 8), 2.0, start_mps=0.1) == "stay where you are"
    assert decision_text(plan([0, 1, 2, 3, 4, 4, 4, 4]), 2.0, start_mps=0.0) == "speed up a little"


def test_only_what_happens_within_the_horizon_counts():
    late = plan([8, 8, 8, 8, 4, 2, 0, 0])
    assert decision_text(late, 2.0) == "keep this speed"
    assert decision_text(late, 4.0) == "slow down and stop"


def test_the_majority_of_the_plans_decides():
    drawn = np.stack([plan([5] * 8, rate) for rate in (0.5, -0.5, 0.5, 0.0, 0.5)])
    asked = []

    def draw(samples):
        asked.append(samples)
        return plan_of(drawn)

    assert DecisionGuide(samples=5).hint(at(1.0, plan=draw)) == "turn left at the crossing"
    assert asked == [5]
    one = DecisionGuide(samples=1).hint(at(1.0, plan=lambda _: plan_of(drawn[1:2])))
    assert one == "turn right at the crossing"


@pytest.mark.parametrize("values", [{"samples": 0}, {"samples": 1000}, {"horizon_s": 0.1}, {"horizon_s": 5.0}])
def test_impossible_decisions_are_refused(values):
    with pytest.raises(BadRequest):
        DecisionGuide(**values)


def test_every_word_of_a_decision_is_heard_in_training():
    source = " ".join(inspect.getsource(module) for module in (hints, steering))
    heard = set(re.findall(r"[a-z]+", source))
    paths = [plan([s] * 8, r, left) for s in (0, 5) for r in (0, 0.15, -0.15, 0.5, -0.5) for left in (0, 1.5, -1.5)]
    said = {decision_text(path, 2.0, start_mps=speed) for path in paths for speed in (0.0, 3.0, 5.0, 9.0)}
    assert len(said) > 10
    assert {word for text in said for word in text.split()} <= heard


# -- what guides are shown --------------------------------------------------------------------------------------------


def test_a_guide_sees_the_newest_chunk_the_way_so_far_and_what_was_said(tiny_model, observation):
    spy = Spy()
    rollout = tiny_model.imagine(observation, seconds=1.5, seed=2, guide=spy, sampling=QUICK)
    assert [(context.chunk, context.time_s) for context in spy.seen] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert [context.texts for context in spy.seen] == [(), ("chunk 0",), ("chunk 0", "chunk 1")]
    assert rollout.texts == ("chunk 0", "chunk 1", "chunk 2")
    first, second, third = (context.observation for context in spy.seen)
    assert (first.video == observation.video[-4:]).all()
    assert_allclose(first.motion.deltas, observation.motion.deltas[-3:])
    assert (second.video == rollout.video[:4]).all()
    assert (third.video == rollout.video[4:8]).all()
    assert_allclose(third.motion.deltas, rollout.trajectory.motion().deltas[5:8], atol=1e-12)
    assert {one.instruction for one in (first, second, third)} == {"keep going"}
    assert_allclose(spy.seen[2].trajectory.poses, rollout.trajectory.poses[:9])
    assert spy.seen[2].trajectory.times_s[-1] == 1.0


def test_a_guide_goes_on_where_it_was(tiny_model, observation):
    whole, begun = Spy(), Spy()
    tiny_model.imagine(observation, seconds=1.5, guide=whole, sampling=QUICK)
    start = tiny_model.imagine(observation, seconds=0.5, guide=begun, sampling=QUICK)
    [rest] = tiny_model.go_on(start.past, seconds=1.0, seeds=[0], guides=[begun], sampling=QUICK)
    for one, other in zip(whole.seen, begun.seen, strict=True):
        assert (one.chunk, one.time_s, one.texts) == (other.chunk, other.time_s, other.texts)
        assert (one.observation.video == other.observation.video).all()
        assert (one.trajectory.poses == other.trajectory.poses).all()
    assert rest.texts == ("chunk 1", "chunk 2")


def test_a_guide_draws_the_plan_that_the_model_would_make(tiny_model, observation):
    drawn = []

    class Planning:
        def hint(self, context):
            drawn.append(context.plan(3))
            return "go on"

    tiny_model.imagine(observation, seconds=0.5, seed=6, guide=Planning(), sampling=QUICK)
    expected = tiny_model.plan(observation, seed=6, samples=3, steps=4)
    assert_allclose(drawn[0].samples, expected.samples)
    assert_allclose(drawn[0].trajectory.poses, expected.trajectory.poses)


def test_plans_of_a_batch_are_the_plans_of_each(tiny_model):
    observations = [make_observation(8, seed=s, instruction=text) for s, text in enumerate(("go", "turn left now"))]
    past = tiny_model.remember(observations)
    together = draw_plans(tiny_model, past, texts=past.instructions, seeds=[3, 4], samples=2)
    assert together.shape == (2, 2, len(PLAN_TIMES_S), 3)
    for i, observation in enumerate(observations):
        alone = tiny_model.plan(observation, seed=3 + i, samples=2)
        assert_allclose(together[i], alone.samples, atol=1e-4)


@pytest.mark.parametrize("memory", ["full", "selective"])
def test_every_sample_of_a_batch_asks_its_own_guide(tiny_model, memory):
    observations = [make_observation(8, seed=s, instruction=text) for s, text in enumerate(("go", "turn left now"))]
    sampling = replace(QUICK, memory=memory)
    spies = [Spy(), Spy()]
    together = tiny_model.imagine_batch(observations, seconds=1, seeds=[3, 4], guides=spies, sampling=sampling)
    for observation, spy, rollout in zip(observations, spies, together, strict=True):
        assert {context.observation.instruction for context in spy.seen} == {observation.instruction}
        assert (spy.seen[0].observation.video == observation.video[-4:]).all()
        assert (spy.seen[1].observation.video == rollout.video[:4]).all()
    deciding = tiny_model.imagine_batch(
        observations, seconds=1, seeds=[3, 4], guides=[DecisionGuide(samples=3)] * 2, sampling=sampling
    )
    for i, (observation, rollout) in enumerate(zip(observations, deciding, strict=True)):
        alone = tiny_model.imagine(
            observation, seconds=1, seed=3 + i, guide=DecisionGuide(samples=3), sampling=sampling
        )
        assert rollout.texts == alone.texts


def test_decisions_steer_the_chunks_one_by_one(tiny_model, observation):
    guide = DecisionGuide(samples=4)
    first, again = (tiny_model.imagine(observation, seconds=1.5, guide=guide, sampling=QUICK) for _ in range(2))
    assert len(first.texts) == 3
    assert all(first.texts)
    assert first.texts == again.texts
    assert (first.video == again.video).all()
    told = ScheduleGuide(texts=tuple((i * 0.5, text) for i, text in enumerate(first.texts)))
    assert (tiny_model.imagine(observation, seconds=1.5, guide=told, sampling=QUICK).video == first.video).all()


# -- when a text changes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"memory": "full"},
        {"memory": "window"},
        {"memory": "selective"},
        {"guidance_text": 3.0, "guidance_history": 1.5},
    ],
    ids=["full", "window", "selective", "strong text"],
)
def test_a_change_of_text_takes_effect_at_its_chunk_and_leaves_earlier_ones_bit_identical(
    tiny_model, observation, changes
):
    how = {"seconds": 2.0, "seed": 1, "sampling": replace(QUICK, **changes)}
    plain = tiny_model.imagine(observation, guide=FixedGuide(text="keep going"), **how)
    for chunk in range(1, 4):
        guide = ScheduleGuide(texts=((0.0, "keep going"), (chunk * 0.5, "turn left")))
        changed = tiny_model.imagine(observation, guide=guide, **how)
        frames = chunk * 4
        assert (changed.video[:frames] == plain.video[:frames]).all()
        assert (changed.trajectory.poses[: frames + 1] == plain.trajectory.poses[: frames + 1]).all()
        assert (changed.video[frames : frames + 4] != plain.video[frames : frames + 4]).any()
        assert changed.texts == ("keep going",) * chunk + ("turn left",) * (4 - chunk)


def test_a_guide_that_says_too_much_is_refused(tiny_model, observation):
    class Talker:
        def hint(self, context):
            return "go on and " * 200

    with pytest.raises(BadRequest, match="Shorten it"):
        tiny_model.imagine(observation, seconds=0.5, guide=Talker(), sampling=QUICK)
