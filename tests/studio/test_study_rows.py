"""One moment of a study: blind planners and empty edits change exactly nothing, shared eyes see the same, sweeps have rows."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from policy.answers import Ask
from policy.learned import LearnedPlanner, make_network
from policy.planner_config import KINDS, PlannerConfig
from studio.eligible import Verdict
from studio.sprites import PictureSprite, ScaledSprite
from studio.study_cases import Case
from studio.study_config import StudyConfig
from studio.study_eyes import SharedTokenizer, check_names, history_s, longest_history_s, share_eyes
from studio.study_rows import case_rows, is_swept
from studio.study_things import Thing, stitched, swept_things, things_of
from studio.town_sprites import sprite_of
from worldmodel.clips import Clip, Instruction
from worldmodel.errors import BadRequest
from worldmodel.geometry import Motion, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan
from worldmodel.tokenizer import Tokenizer, TokenizerConfig
from worldmodel.town.scene import town_rig

RED = np.zeros((30, 30, 4), np.uint8)
RED[...] = (250, 10, 10, 255)
CONFIG = StudyConfig(planners=("any",), distances_m=(8.0, 12.0, 20.0), sizes=(0.5, 1.0, 2.0), sweep_every=1)


@pytest.fixture(autouse=True)
def _plain_sprites() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for place in ("studio.stitch.sprite_of", "studio.study_things.sprite_of"):
            patch.setattr(place, lambda kind: PictureSprite(name=kind, rgba=RED, height_m=1.6))
        yield


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(5)
        return Tokenizer(TokenizerConfig(channels=4, widths=(8, 16, 16), blocks=(1, 1, 1))).eval()


def learned(kind: str, tokenizer: Tokenizer) -> LearnedPlanner:
    config = PlannerConfig(
        kind=kind, width=16, heads=2, scene_layers=1, state_layers=1, plan_layers=1, channels=4, rows=2, columns=4,
        text_encoder="hash-32", text_width=32, tokenizer=tokenizer.hash if kind != "ego-only" else "", mix="rich",
        plan_mean=tuple((4.0 * (i + 1), 0.0, 0.0) for i in range(8)), plan_std=((2.0, 0.5, 0.1),) * 8,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        network = make_network(config)
    return LearnedPlanner(config, network, tokenizer, ask=Ask(samples=2, steps=2))


@pytest.fixture
def case() -> Case:
    """A second of a straight road under a grey sky; the driver is known to brake by 9 m for what is near."""
    video = np.full((8, 3, 3, 32, 64), 90, np.uint8)
    video[..., :13, :] = 190
    clip = Clip(
        id="straight",
        video=video,
        rig=town_rig(3, 64, 32),
        motion=Motion(deltas=np.array([[1.0, 0.0, 0.0]] * 7), period_s=0.125),
        motion_origin="poses",
        frequency_hz=8.0,
        instructions=(Instruction(text="drive on"),),
        source="made by a test",
    )
    found = Verdict(scene="straight", at_s=2.0, reason="eligible", speed_mps=8.0, oracle_m=-9.0)
    return Case(scene="straight", situation="", seed=0, found=found, clip=clip)


class LooksAhead:
    """Slows down by how much the middle of its front picture differs from grey road."""

    name = "looks ahead"

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        front = observation.rig.index("front")
        middle = observation.video[-1, front, :, 14:, 24:40].astype(float)
        x = (8 - 0.1 * np.abs(middle - 90).mean()) * PLAN_TIMES_S
        return Plan(trajectory=Trajectory(poses=np.stack([x, 0 * x, 0 * x], axis=-1), times_s=PLAN_TIMES_S))


def changes(rows: list[dict], planner: str, variant: str) -> list[float]:
    return [row["change_m"] for row in rows if (row["planner"], row["variant"]) == (planner, variant)]


def test_ego_only_changes_nothing_in_any_variant_and_the_empty_edit_changes_nobody(case, tokenizer) -> None:
    planners = [learned(kind, tokenizer) for kind in KINDS]
    share_eyes(planners)
    rows = list(case_rows(CONFIG, case, planners))
    assert not [row["error"] for row in rows if row.get("error")]
    things = (*things_of(CONFIG), *swept_things(CONFIG))
    for thing in things:
        assert set(changes(rows, "ego-only (rich)", thing.label)) == {0.0}
    for planner in planners:
        assert set(changes(rows, planner.name, "empty")) == {0.0}
        if planner.needs_pixels:
            assert any(change != 0 for change in changes(rows, planner.name, "near"))
    for kind in ("ik", "ik-current"):
        assert all(change != 0 for change in changes(rows, f"{kind} (rich)", "other_seed"))
        assert len(changes(rows, f"{kind} (rich)", "near")) == 2
    assert set(changes(rows, "direct (rich)", "other_seed")) == {0.0}


def test_shared_eyes_see_what_own_eyes_see(case, tokenizer) -> None:
    own = learned("ik", tokenizer).plan(case.clip.observation(case.now_s, 1.0), 3)
    planners = [learned(kind, tokenizer) for kind in ("direct", "ik")]
    share_eyes(planners)
    first, second = planners
    assert first.eyes.tokenizer is second.eyes.tokenizer
    first.plan(case.clip.observation(case.now_s, 1.0), 3)
    shared = second.plan(case.clip.observation(case.now_s, 1.0), 3)
    np.testing.assert_array_equal(shared.trajectory.poses, own.trajectory.poses)


def test_a_shared_tokenizer_forgets_old_videos_and_never_mixes_them_up(tokenizer) -> None:
    shared = SharedTokenizer(tokenizer)
    random = np.random.default_rng(0)
    videos = [random.integers(0, 255, (1, 2, 3, 32, 64), dtype=np.uint8) for _ in range(4)]
    for video in (*videos, *reversed(videos)):
        torch.testing.assert_close(shared.encode_video(video), tokenizer.encode_video(video), rtol=0, atol=0)
    assert shared.encode_video(videos[0]) is shared.encode_video(videos[0].copy())
    assert shared.hash == tokenizer.hash


def test_a_lookalike_and_twins_in_the_sky_are_not_what_is_ahead(case) -> None:
    rows = list(case_rows(CONFIG, case, [LooksAhead()]))
    near = changes(rows, "looks ahead", "near")[0]
    assert near < -1
    assert abs(changes(rows, "looks ahead", "lookalike")[0]) < abs(near) / 4
    assert changes(rows, "looks ahead", "sky_near") == [0.0]
    by_distance = [changes(rows, "looks ahead", label)[0] for label in ("at 8 m", "near", "at 20 m", "far")]
    assert by_distance == sorted(by_distance)
    by_size = [changes(rows, "looks ahead", label)[0] for label in ("size 2", "near", "size 0.5")]
    assert by_size == sorted(by_size)


def test_rows_say_where_how_large_and_what_the_driver_would_do(case) -> None:
    asked = []

    def truth(thing: Thing) -> None:
        asked.append(thing.label)

    rows = list(case_rows(CONFIG, replace(case, truth=truth, roadside_m=-5.0), [LooksAhead()]))
    by = {row["variant"]: row for row in rows}
    assert (by["near"]["oracle_m"], by["sky_near"]["oracle_m"], by["lookalike"]["oracle_m"]) == (-9.0, 0.0, None)
    assert (by["at 8 m"]["distance_m"], by["far"]["distance_m"], by["size 2"]["size"]) == (8.0, 30.0, 2.0)
    assert by["empty"]["distance_m"] is None
    assert asked == ["far", "very_far", "at 8 m", "at 20 m"]
    assert by["near"]["object_px"] > by["far"]["object_px"] > 0 == by["other_seed"]["object_px"]
    assert {row["oracle_m"] for row in case_rows(CONFIG, case, [LooksAhead()]) if row["variant"] == "near"} == {None}


def test_a_lookalike_without_a_place_is_an_error_for_all_and_no_zero(case) -> None:
    config = replace(CONFIG, distances_m=(), sizes=(), variants=("lookalike",))
    rows = list(case_rows(config, replace(case, truth=lambda _: None), [LooksAhead()]))
    assert rows[-1]["error"] == "not stitched: no free place beside the road in sight"
    assert "change_m" not in rows[-1]


def test_the_sweep_leaves_out_what_the_variants_have() -> None:
    assert [thing.label for thing in swept_things(CONFIG)] == ["at 8 m", "at 20 m", "size 0.5", "size 2"]
    names = [f"street-{number}" for number in range(400)]
    some = replace(CONFIG, sweep_every=4)
    assert 60 < sum(is_swept(some, name) for name in names) < 140
    assert not any(is_swept(replace(CONFIG, distances_m=(), sizes=()), name) for name in names)


def test_a_larger_object_keeps_its_near_side_where_it_was(case) -> None:
    pixels = {}
    for size in (0.5, 2.0):
        thing = Thing(label="x", variant="near", size=size)
        edited = stitched(case.clip, thing, "car", case.now_s, depth_m=None, roadside_m=None)
        assert not isinstance(edited, str)
        assert edited.stitched is not None
        mask = edited.stitched.masks[-1, case.clip.rig.index("front")]
        pixels[size] = (mask.sum(), np.flatnonzero(mask.any(axis=1))[-1])
    assert 8 < pixels[2.0][0] / pixels[0.5][0] < 32  # sixteen times the area, on few pixels
    assert abs(pixels[2.0][1] - pixels[0.5][1]) <= 1
    own = PictureSprite(name="crate", rgba=RED, height_m=1.0)
    assert ScaledSprite(own=own, factor=3.0).height_m == 3.0
    assert ScaledSprite(own=own, factor=3.0).footprint_m == (3.0, 3.0)


def test_as_much_is_rendered_as_the_planner_needs_that_needs_most(tokenizer) -> None:
    planner = learned("direct", tokenizer)
    assert history_s(planner, CONFIG) == 5 / 8
    assert longest_history_s([planner, LooksAhead()], CONFIG) == CONFIG.history_s


def test_planners_of_one_name_are_refused(tokenizer) -> None:
    check_names([learned("ik", tokenizer), learned("direct", tokenizer)])
    with pytest.raises(BadRequest, match="two planners of this study call themselves 'looks ahead'"):
        check_names([LooksAhead(), LooksAhead()])


def test_the_towns_own_objects_scale_too() -> None:
    scaled = ScaledSprite(own=sprite_of("cone"), factor=2.0)
    assert scaled.name == "cone, 2 times its size"
    assert scaled.reach_m(0.0) == pytest.approx(2 * sprite_of("cone").reach_m(0.0))
