import json

import numpy as np
import pytest

from worldmodel.clips import MAX_INSTRUCTION_CHARACTERS
from worldmodel.errors import UnknownName
from worldmodel.town.dataset import SPLITS
from worldmodel.town.language import (
    AT_CROSSING,
    FIRST_TEST_SEED,
    MISLEADING_SHARE,
    full_rounds,
    instructions_for,
    mislead,
    narration,
    split_of,
)
from worldmodel.town.roads.draws import draw_road
from worldmodel.town.roads.turns import branches, can_be_followed
from worldmodel.town.situations import SITUATIONS, generator
from worldmodel.town.traffic import simulate
from worldmodel.town.words.labels import decision_labels
from worldmodel.town.words.phrases import WORDINGS, forms, phrase, texts

QUICK = ("street", "intersection", "highway")
EVERY = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SITUATIONS]


def road_of(situation: str, seed: int):
    wish = float(generator(situation, seed, "speed").uniform(*SITUATIONS[situation].speed_mps))
    return draw_road(SITUATIONS[situation], generator(situation, seed, "road"), seed=seed, wish=wish, length_m=450.0)


# -- phrases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manoeuvre", WORDINGS)
def test_every_manoeuvre_is_said_in_many_ways_and_some_are_kept_for_testing(manoeuvre: str) -> None:
    train, test = texts(manoeuvre, "train"), texts(manoeuvre, "test")
    assert len(train) >= 60
    assert len(test) >= 60
    assert not set(train) & set(test)
    assert {form.kept for form in forms(manoeuvre)} == {"", "verb", "politeness", "combination"}
    assert any(text.startswith(WORDINGS[manoeuvre].verbs[0]) for text in train)
    for text in (*train, *test):
        assert len(text) <= MAX_INSTRUCTION_CHARACTERS
        assert "  " not in text
        assert " ," not in text
        assert text == text.strip()


def test_words_kept_for_testing_are_in_no_training_text() -> None:
    heard = " | ".join(text for manoeuvre in WORDINGS for text in texts(manoeuvre, "train"))
    for words in ("would you", "kindly", "I want you", "be so kind"):
        assert words not in heard
    for wording in WORDINGS.values():
        assert wording.verbs[-1] not in heard


def test_two_manoeuvres_are_never_said_alike() -> None:
    every = [form.text for manoeuvre in WORDINGS for form in forms(manoeuvre)]
    assert len(every) == len(set(every))


def test_the_test_split_has_new_verbs_new_politeness_and_new_combinations() -> None:
    rng = np.random.default_rng(0)
    drawn = [phrase("left", rng, "test") for _ in range(60)]
    kept = {form.text: form.kept for form in forms("left")}
    assert {kept[text] for text in drawn} == {"verb", "politeness", "combination"}


def test_an_unknown_manoeuvre_or_split_is_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'left'"):
        phrase("lefft", np.random.default_rng(0))
    with pytest.raises(UnknownName, match="split"):
        texts("left", "val")


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_road_asks_for_manoeuvres_that_have_words(situation: str) -> None:
    for seed in range(3):
        road = road_of(situation, seed)
        for split in ("train", "test"):
            told = instructions_for(road, [road.start_s], 8.0, generator(situation, seed, "language"), split=split)
            assert len(told) == 1


def test_only_seeds_of_the_test_range_hear_the_texts_kept_for_it() -> None:
    assert SPLITS["test"] == FIRST_TEST_SEED
    assert split_of(FIRST_TEST_SEED - 1) == "train"
    assert split_of(FIRST_TEST_SEED) == "test"
    every = {split: {text for manoeuvre in WORDINGS for text in texts(manoeuvre, split)} for split in ("train", "test")}
    for seed in range(2):
        for base, split in ((0, "train"), (SPLITS["val"], "train"), (SPLITS["test"], "test")):
            told = simulate("empty_road", base + seed, seconds=0.5).instructions
            assert {one.text for one in told} <= every[split]


# -- when and what ------------------------------------------------------------------------------------------------


def test_a_manoeuvre_is_told_until_it_is_done() -> None:
    for seed, manoeuvre in enumerate(("left", "right", "straight")):
        road = road_of("intersection", seed)
        ego_s = np.linspace(road.start_s, road.done_s + 10.0, 40)
        done = float(np.flatnonzero(ego_s >= road.done_s)[0]) / 8.0
        told = instructions_for(road, ego_s.tolist(), 8.0, np.random.default_rng(seed))
        assert road.manoeuvre == manoeuvre
        assert told[0].text in texts(manoeuvre)
        assert told[1].text in texts("follow")
        assert (told[0].start_s, told[0].end_s, told[1].start_s) == (0.0, done, done)
        before = instructions_for(road, ego_s[:5].tolist(), 8.0, np.random.default_rng(seed))
        assert [one.text for one in before] == [told[0].text]


def test_a_scene_is_told_what_its_route_does() -> None:
    scene = simulate("intersection", 1, seconds=0.5)
    assert scene.to_be_followed
    assert scene.instructions[0].text in texts("right")


def test_full_rounds_of_a_roundabout_are_told() -> None:
    for seed in range(3):
        road = road_of("remember_roundabout", seed)
        assert full_rounds(road) == SITUATIONS["remember_roundabout"].laps == 1
        told = instructions_for(road, [road.start_s], 8.0, generator("remember_roundabout", seed, "language"))
        assert told[0].text in texts(f"round 1 {road.manoeuvre}")
        assert full_rounds(road_of("roundabout", seed)) == 0


def test_a_block_is_told_in_one_go_or_corner_by_corner() -> None:
    road = road_of("remember_block", 1)
    ways = {way for way, _ in road.turns}
    assert len(ways) == 1
    ego_s = [road.start_s, road.turns[0][1] + 1.0, road.turns[1][1] + 1.0]
    counts = set()
    for seed in range(8):
        told = instructions_for(road, ego_s, 1.0, np.random.default_rng(seed))
        at_once = told[0].text in texts("block")
        assert at_once or all(one.text in texts(next(iter(ways))) for one in told)
        assert at_once or [one.start_s for one in told] == [0.0, 1.0, 2.0]
        counts.add(len(told))
    assert counts == {1, 3}


# -- misleading instructions --------------------------------------------------------------------------------------


def misled(situation: str, seeds: range) -> list[tuple[int, str]]:
    found = []
    for seed in seeds:
        way = mislead(road_of(situation, seed), generator(situation, seed, "misleading"))
        found += [(seed, way)] if way else []
    return found


def test_a_few_scenes_ask_for_a_turn_that_does_not_exist() -> None:
    road = road_of("empty_road", 2)
    told = [mislead(road, np.random.default_rng(seed)) for seed in range(3000)]
    assert 0.03 < np.mean([way != "" for way in told]) < 0.06


def test_the_label_says_that_it_must_not_be_followed_and_the_driver_goes_on() -> None:
    tossed = [s for s in range(99) if generator("parked_car", s, "misleading").random() < MISLEADING_SHARE]
    seed, way = next(pair for seed in tossed for pair in misled("parked_car", range(seed, seed + 1)))
    scene = simulate("parked_car", seed, seconds=4)
    assert not scene.to_be_followed
    assert [one.text in texts(way) for one in scene.instructions] == [True]
    assert not can_be_followed(scene, way)
    assert narration(scene).as_dict()["to_be_followed"] is False
    assert not branches(scene.stage.lanes, scene.route)
    turned = np.unwrap(scene.ego_poses[:, 2])
    assert np.abs(turned - turned[0]).max() < 1.0


def test_at_a_crossing_only_a_missing_arm_misleads() -> None:
    arms = {"left": 1, "right": 3}
    tossed = [s for s in range(2, 150, 5) if generator("intersection", s, "misleading").random() < AT_CROSSING]
    found = [pair for seed in tossed for pair in misled("intersection", range(seed, seed + 1))]
    assert found
    for seed, way in found:
        road = road_of("intersection", seed)
        assert road.manoeuvre == "straight"
        assert f"0-{arms[way]}" not in road.routes


def test_turns_that_are_told_and_true_can_be_followed() -> None:
    for seed in range(3):
        scene, road = simulate("intersection", seed, seconds=0.5), road_of("intersection", seed)
        offered = {way for way, arm in {"left": 1, "right": 3}.items() if f"0-{arm}" in road.routes}
        for way in ("left", "right"):
            assert can_be_followed(scene, way) == (way in offered)


# -- narration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", EVERY)
def test_a_narration_is_plain_data_and_the_same_every_time(situation: str) -> None:
    scene = simulate(situation, 5, seconds=2)
    told = narration(scene)
    text = json.dumps(told.as_dict(), allow_nan=False)
    assert text == json.dumps(narration(scene).as_dict())
    assert len(told.hints) == 4
    assert len(told.decisions) == len(scene)
    assert told.instructions == scene.instructions


def test_decision_labels_are_there_as_long_as_the_future_is() -> None:
    scene = simulate("intersection", 3, seconds=5)
    labels = decision_labels(scene)
    for horizon, column in zip((1, 2, 3), zip(*labels, strict=True), strict=True):
        there = [label is not None for label in column]
        assert there == [frame + horizon * 8 < len(scene) for frame in range(len(scene))]
    for frame in (0, 10, 20):
        label = labels[frame][1]
        assert label is not None
        turned = np.degrees(np.unwrap(scene.ego_poses[frame : frame + 17, 2])[-1] - scene.ego_poses[frame, 2])
        assert (label.lateral in ("left", "right")) == (abs(turned) >= 15)
        gained = scene.ego_speeds_mps[frame + 16] - scene.ego_speeds_mps[frame]
        if label.longitudinal in ("slow", "accelerate"):
            assert np.sign(gained) == (1 if label.longitudinal == "accelerate" else -1)
