"""What answers to held-out moments say: blind planners earn nothing by looking, perfect states have no error, files come back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_planner_config
from town_scenes import a_body, a_drive

from policy.answers import Ask
from policy.characteristics import Characteristics, characteristics
from policy.diagnosis import (
    Subject,
    ade_m,
    extreme_facts,
    gain_facts,
    gap_facts,
    group_facts,
    hangs_on,
    loss_facts,
    pairs_of,
    strata_facts,
)
from policy.held_out_moments import HeldOutMoment, picture_frames, read_moment
from policy.learned import LearnedPlanner, make_network
from policy.planner_config import PlannerConfig
from policy.probing import Probed, other_scenes, plain_plans, probe, redrawing, views_of
from policy.state_diagnosis import baselines_of, diversity_facts, link_facts, state_facts
from policy.training.labels import labels_of
from worldmodel.errors import BadDataset, BadRequest
from worldmodel.geometry import Motion
from worldmodel.plans import Observation
from worldmodel.tokenizer import Tokenizer, TokenizerConfig
from worldmodel.town.scene import town_rig

COUNT, HZ = 24, 8.0
RIG = town_rig(3, 64, 32)


def kind_of(speed: float, row: int) -> Characteristics:
    return Characteristics(
        turn_rate_radps=0.01 * row,
        speed_mps=speed,
        front_users=row % 3,
        nearest_front_m=float("nan") if row % 3 == 0 else 12.0,
        nearest_relative_mps=float("nan") if row % 3 == 0 else 2.0,
        turnover=row % 2 == 0,
        road_users=row % 5,
        leader=row % 2 == 0,
        night=row % 4 == 0,
        weather=("clear", "fog")[row % 2],
        situation=("street", "curvy", "highway")[row % 3],
        cause="free",
    )


@pytest.fixture(scope="module")
def moments() -> list[HeldOutMoment]:
    """Drives with random pictures; every other one brakes hard after the moment."""
    random, found = np.random.default_rng(0), []
    for row in range(COUNT):
        speeds = np.full(48, 4.0 + 0.3 * row)
        if row % 2:
            speeds[16:] = np.maximum(speeds[16:] - 0.5 * np.arange(1, 33), 0)
        deltas = np.stack([speeds / HZ, np.zeros(48), np.full(48, 0.002 * (row % 5 - 2))], axis=-1)
        pictures = random.integers(0, 256, (6, 3, 3, 32, 64), dtype=np.uint8)
        found.append(
            HeldOutMoment(
                scene=f"street-{row}",
                seen=pictures[:3],
                later=pictures[3:],
                steps=deltas[11:15],
                text="keep going",
                label=labels_of(Motion(deltas=deltas, period_s=1 / HZ), [15])[15],
                kind=kind_of(speeds[14], row),
                gaps_m=random.exponential(1.0, 7),
            )
        )
    return found


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(5)
        return Tokenizer(TokenizerConfig(channels=4, widths=(8, 16, 16), blocks=(1, 1, 1))).eval()


@pytest.fixture(scope="module")
def views(moments, tokenizer):
    return views_of(moments, RIG, tokenizer, "hash-32")


def config_of(kind: str, tokenizer: Tokenizer, mix: str = "rich") -> PlannerConfig:
    ahead = tuple((3.0 * (i + 1), 0.0, 0.0) for i in range(8))
    return make_planner_config(kind, tokenizer, step_std=(0.5, 0.1, 0.05), plan_mean=ahead, mix=mix)


def subject_of(kind: str, tokenizer: Tokenizer, views, mix: str = "rich", redrawn=None) -> Subject:
    config = config_of(kind, tokenizer, mix)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        network = make_network(config)
    planner = LearnedPlanner(config, network, tokenizer, ask=Ask(samples=2, steps=2))
    answers = probe(planner, views, other_scenes(COUNT, 2, np.random.default_rng(1)), redrawn=redrawn, seed=4)
    return Subject(name=planner.name, config=config, answers=answers)


@pytest.fixture(scope="module")
def subjects(tokenizer, views) -> list[Subject]:
    return [subject_of(kind, tokenizer, views) for kind in ("ego-only", "direct", "ik", "ik-current")]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_each_scene_gets_the_pictures_of_different_other_scenes() -> None:
    others = other_scenes(9, 4, generator())
    for row in range(9):
        assert row not in others[row]
        assert len(set(others[row])) == 4
    assert np.bincount(others.ravel()).tolist() == [4] * 9
    with pytest.raises(BadRequest, match="Use more scenes"):
        other_scenes(3, 3, generator())


def test_the_same_answers_as_the_planner_itself(moments, tokenizer, views) -> None:
    config = config_of("direct", tokenizer)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        planner = LearnedPlanner(config, make_network(config), tokenizer)
    row = 5
    video = np.repeat(moments[row].seen, 2, axis=0)[1:]  # 0.5, 0.25 and 0 s old stand at frames 0, 2 and 4
    observation = Observation(
        video=video,
        rig=RIG,
        motion=Motion(deltas=moments[row].steps, period_s=1 / HZ),
        frequency_hz=HZ,
        instruction="keep going",
    )
    probed = probe(planner, views, other_scenes(COUNT, 2, generator()))
    np.testing.assert_allclose(probed.plans[row], planner.plan(observation, 0).trajectory.poses, atol=1e-4)


def test_a_blind_planner_earns_nothing_and_one_that_looks_moves(subjects, views, moments) -> None:
    gaps = np.array([moment.label.gap_m for moment in moments])
    blind, looks = (loss_facts(subject, views.truth, gaps, generator()) for subject in subjects[:2])
    for stratum in ("all", "critical", "dominated"):
        assert blind["parts"][stratum]["earned"]["value"] == pytest.approx(0, abs=1e-9)
        assert blind["parts"][stratum]["loss"]["value"] == pytest.approx(blind["parts"][stratum]["blind"]["value"])
    assert looks["parts"]["all"]["visual"]["value"] != 0
    assert hangs_on(subjects[0], views.truth, generator())["moved_m"]["value"] == 0
    assert hangs_on(subjects[1], views.truth, generator())["moved_m"]["value"] > 0
    assert set(hangs_on(subjects[2], views.truth, generator())) > {"true_states_m", "present_states_m"}


def test_the_squared_parts_are_the_planners_squared_error(subjects, views, moments) -> None:
    gaps = np.array([moment.label.gap_m for moment in moments])
    facts = loss_facts(subjects[2], views.truth, gaps, generator())
    expected = ((subjects[2].answers.plans - views.truth)[..., :2] ** 2).sum(-1).mean()
    assert facts["parts"]["all"]["loss"]["value"] == pytest.approx(expected)
    assert facts["squared"][0]["critical_loss"] + facts["squared"][0]["dominated_loss"] == pytest.approx(1.0)


def test_redrawn_states_lose_what_cannot_be_seen(tokenizer) -> None:
    states = torch.randn(2, 3, 3, 4, 2, 4, generator=torch.Generator().manual_seed(0))
    seen = redrawing(tokenizer)(states)
    assert seen.shape == states.shape
    assert seen.dtype == torch.float32
    pictures = tokenizer.decode_video(states[0])
    torch.testing.assert_close(seen[0], tokenizer.encode_video(pictures), atol=0, rtol=0)


def test_plans_from_states_are_those_of_the_network(tokenizer, views) -> None:
    subject = subject_of("ik", tokenizer, views, redrawn=lambda states: states)
    np.testing.assert_allclose(subject.answers.from_redrawn, subject.answers.plans, atol=1e-5)
    assert subject.answers.from_true is not None
    assert np.abs(subject.answers.from_true - subject.answers.plans).max() > 1e-3


def test_pairs_are_ik_with_its_ablations_and_rich_with_natural(tokenizer, views, moments, subjects) -> None:
    more = [*subjects, subject_of("ik", tokenizer, views, mix="natural")]
    assert pairs_of(more) == [
        ("ego-only (rich)", "ik (rich)"),
        ("direct (rich)", "ik (rich)"),
        ("ik-current (rich)", "ik (rich)"),
        ("ik (natural)", "ik (rich)"),
    ]
    gaps = np.array([moment.label.gap_m for moment in moments])
    rows = gain_facts(more, views.truth, gaps, generator())
    first, second = (ade_m(subject.answers.plans, views.truth) for subject in more[1:3])
    assert rows[1]["all"]["value"] == pytest.approx((first - second).mean())
    assert rows[3]["all"]["value"] == 0.0  # the same weights
    assert rows[3]["p_holm"] == 1.0


def test_strata_and_groups_speak_of_every_planner(subjects, views, moments) -> None:
    gaps = np.array([moment.label.gap_m for moment in moments])
    plans = plain_plans(views.steps, HZ) | {subject.name: subject.answers.plans for subject in subjects}
    rows = strata_facts(plans, views.truth, gaps, generator())["rows"]
    steady = next(row for row in rows if row["planner"] == "constant turn rate" and row["threshold_m"] == 1.0)
    assert steady["dominated"]["value"] < 0.2
    assert steady["critical"]["value"] > 1.0
    groups = group_facts(subjects, moments, views.truth)
    assert {row["characteristic"] for row in groups["ik (rich)"]} >= {
        "situation",
        "speed",
        "turn rate",
        "leader",
        "night",
    }
    extremes = extreme_facts(subjects, moments, views.truth)
    assert [(pair["first"], pair["second"]) for pair in extremes][:1] == [("ik (rich)", "ego-only (rich)")]
    assert gap_facts(moments, generator())["summary"]["moments"] == 7 * COUNT


def test_perfect_states_are_far_below_the_floor_and_the_mean_is_at_it(subjects, views) -> None:
    floors = {"command": [row["given_unbiased"] for row in diversity_facts(views)["command"]]}
    baselines = baselines_of(views)
    true = views.states.double().numpy()
    mean = np.broadcast_to(true.mean(axis=0), true.shape)
    perfect, average = (
        state_facts(
            replace(subjects[2], answers=replace(subjects[2].answers, states=states, swapped_states=mean)),
            views,
            baselines,
            floors,
            generator(),
        )
        for states in (true, mean)
    )
    assert perfect is not None
    assert average is not None
    for row in perfect["horizons"]:
        assert row["floors"]["command"]["ratio"] < 1e-9
        assert row["skill"]["copy"]["value"] == pytest.approx(1.0)
        assert row["parts"]["bias"] == pytest.approx(0.0, abs=1e-12)
    for row in average["horizons"]:
        assert row["floors"]["command"]["ratio"] == pytest.approx(1.0, abs=0.15)
        assert row["skill"]["mean"]["value"] == pytest.approx(0.08, abs=0.03)  # it knows the moment itself: 2 / 24
        assert row["parts"]["residual"] == pytest.approx(row["parts"]["diversity"])
    assert state_facts(subjects[0], views, baselines, floors, generator()) is None
    assert state_facts(subjects[3], views, baselines, floors, generator()) is None


def test_states_and_plans_are_linked_for_planners_that_say_states(subjects, views, moments) -> None:
    gaps = np.array([moment.label.gap_m for moment in moments])
    found = link_facts(subjects[2], views, gaps)
    assert found is not None
    assert set(found["by_error"]) == {"1 s", "2 s", "3 s", "mean"}
    assert len(found["by_error"]["mean"]["quartiles"]) == 4
    assert link_facts(subjects[1], views, gaps) is None
    current = link_facts(subjects[3], views, gaps)
    assert current is not None  # its reconstruction of the present


def test_characteristics_of_a_street_by_hand() -> None:
    bodies = [a_body("car", "ahead", at=(20.0, 0.0), speed=6.0), a_body("pedestrian", "walker", at=(12.0, -6.0))]
    scene = a_drive(bodies=bodies)
    found = characteristics(scene, 8)
    assert found.leader
    assert found.front_users == 2
    assert found.turn_rate_radps == pytest.approx(0.0, abs=1e-9)
    assert Characteristics.from_json(found.to_json()) == found
    alone = characteristics(a_drive(bodies=[]), 8)
    assert not alone.leader
    assert np.isnan(alone.nearest_front_m)
    assert alone.to_json()["nearest_front_m"] is None
    assert alone.road_users == 0


def test_pictures_are_those_the_planners_see_and_predict() -> None:
    assert picture_frames(15) == [11, 13, 15, 23, 31, 39]


def test_a_foreign_file_among_the_moments_is_refused(tmp_path) -> None:
    (tmp_path / "street-1.npz").write_bytes(b"nothing")
    with pytest.raises(BadDataset, match="Delete it; it is rendered again"):
        read_moment(tmp_path / "street-1.npz")


def test_answers_of_a_planner_without_pixels_are_repeated(subjects) -> None:
    answers: Probed = subjects[0].answers
    np.testing.assert_array_equal(answers.swapped[:, 0], answers.plans)
    assert answers.states is None
