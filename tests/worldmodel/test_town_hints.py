"""Hints, notices and descriptions against the scene's arrays, computed here once more by other means."""

import re
from functools import cache

import numpy as np
import pytest

from worldmodel.clips import MAX_INSTRUCTION_CHARACTERS
from worldmodel.geometry import relative
from worldmodel.town.scene import SIGNAL_NAMES, Light, Scene
from worldmodel.town.setting.layout import sun_at
from worldmodel.town.situations import SITUATIONS
from worldmodel.town.traffic import simulate
from worldmodel.town.words.colors import color_name
from worldmodel.town.words.descriptions import describe, time_of_day
from worldmodel.town.words.hints import hint_at, hints
from worldmodel.town.words.notices import notices
from worldmodel.town.words.nouns import a, listed, noun, plural

NOUNS = ("car", "van", "truck", "bus", "cyclist", "pedestrian", "traffic cone", "road barrier", "box")
QUICK = ("street", "pedestrian", "parked_car", "traffic_light")
EVERY = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SITUATIONS]


@cache
def scene_of(situation: str, seed: int = 7) -> Scene:
    return simulate(situation, seed, seconds=5)


def centre(scene: Scene, frame: int) -> np.ndarray:
    x, y, yaw = scene.ego_poses[frame]
    return np.array([x + 1.4 * np.cos(yaw), y + 1.4 * np.sin(yaw), yaw])


def place(scene: Scene, frame: int, track: str) -> tuple[float, float, int]:
    """(forward, left, index) of a body from the ego's middle."""
    b = next(i for i, body in enumerate(scene.bodies) if body.track == track)
    x, y, _ = relative(centre(scene, frame), scene.body_poses[frame, b])
    return float(x), float(y), b


# -- hints --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", EVERY)
def test_hints_say_what_the_driver_does(situation: str) -> None:
    scene = scene_of(situation)
    all_hints = hints(scene)
    assert len(all_hints) == 10
    for number, hint in enumerate(all_hints):
        frames = np.arange(4 * number, 4 * number + 4)
        before = max(frames[0] - 1, 0)
        speeds = scene.ego_speeds_mps
        gained = (speeds[frames[-1]] - speeds[before]) / ((frames[-1] - before) / 8)
        assert hint.start_s == number * 0.5
        assert len(hint.text) <= MAX_INSTRUCTION_CHARACTERS
        if hint.text.startswith(("slow down", "stop", "brake hard")):
            assert gained < -0.5
        if hint.text.startswith("speed up"):
            assert gained > 0.5
        if hint.text.startswith("wait"):
            assert speeds[frames].max() < 0.3
        if hint.text.startswith(("follow", "go on", "careful")):
            assert -0.5 <= gained <= 0.5


@pytest.mark.parametrize("situation", EVERY)
def test_hints_give_true_reasons(situation: str) -> None:
    scene = scene_of(situation)
    for number, hint in enumerate(hints(scene)):
        last = 4 * number + 3
        tracks = {cause.track for cause in scene.ego_causes[max(last - 15, 0) : last + 1]}
        indices = [b for b, body in enumerate(scene.bodies) if body.track in tracks and scene.body_present[last, b]]
        if match := re.search(r"the light is (red|amber|green)", hint.text):
            numbers = [int(track.removeprefix("signal-")) for track in tracks if track.startswith("signal-")]
            assert match[1] in {SIGNAL_NAMES[scene.signal_states[last, n]] for n in numbers}
        if match := re.search(rf"the ({'|'.join(NOUNS)}) ahead (brakes|stands|is slower)", hint.text):
            same = [b for b in indices if noun(scene.bodies[b].kind) == match[1]]
            speeds, braking = scene.body_speeds_mps[last, same], scene.body_braking[last, same]
            if "lane" not in hint.text:
                true = {"brakes": braking, "stands": speeds <= 0.3, "is slower": speeds < scene.ego_speeds_mps[last]}
                assert true[match[2]].any(), hint.text
        if "pedestrian" in hint.text and "around" not in hint.text and "pass" not in hint.text:
            assert any(scene.bodies[b].kind == "pedestrian" for b in indices)


@pytest.mark.parametrize("situation", ["street", "parked_car", "pedestrian"])
def test_the_road_is_called_free_only_where_nobody_is_close_ahead(situation: str) -> None:
    scene = scene_of(situation)
    for number, hint in enumerate(hints(scene)):
        if not hint.text.endswith("the road is free"):
            continue
        last = 4 * number + 3
        near = np.hypot(*(scene.route - centre(scene, last)[:2]).T)
        start = int(near.argmin())
        way = scene.route[start + 4 : start + 9]
        for b in np.flatnonzero(scene.body_present[last]):
            assert np.hypot(*(way - scene.body_poses[last, b, :2]).T).min() > 0.9


@pytest.mark.parametrize(
    ("situation", "seed", "words"),
    [
        ("pedestrian", 7, "a pedestrian crosses the road"),
        ("parked_car", 7, "around the parked car"),
        ("traffic_light", 14, "the light is red"),
        pytest.param("stop_and_go", 7, "wait behind the car", marks=pytest.mark.slow),
        pytest.param("road_works", 7, "around the road works", marks=pytest.mark.slow),
        pytest.param("cyclist", 7, "around the cyclist", marks=pytest.mark.slow),
        pytest.param("roundabout", 5, "enter the roundabout", marks=pytest.mark.slow),
        pytest.param("hidden_obstacle", 6, "slow down for the bend", marks=pytest.mark.slow),
        pytest.param("slow_truck", 5, "change to the left lane, the truck ahead is slower", marks=pytest.mark.slow),
    ],
)
def test_what_a_situation_is_about_is_hinted_at(situation: str, seed: int, words: str) -> None:
    assert any(words in hint.text for hint in hints(scene_of(situation, seed)))


def test_a_hint_does_not_look_ahead() -> None:
    short, long = simulate("pedestrian", 5, seconds=3), simulate("pedestrian", 5, seconds=5)
    assert hints(short) == hints(long)[:6]


def test_the_hint_of_a_moment_is_that_of_its_chunk() -> None:
    all_hints = hints(scene_of("street"), chunk_s=1.0)
    assert len(all_hints) == 5
    assert hint_at(all_hints, 0.0) == all_hints[0].text
    assert hint_at(all_hints, 1.0) == hint_at(all_hints, 1.9) == all_hints[1].text
    assert hint_at(all_hints, 5.0) == ""


# -- notices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", EVERY)
def test_notices_are_about_somebody_ahead_who_does_what_they_say(situation: str) -> None:
    scene = scene_of(situation)
    for notice in notices(scene):
        assert 0 <= notice.start_s < notice.end_s <= 5.25
        if "road works" in notice.text:
            continue
        frame = round(notice.start_s * 8)
        x, y, b = place(scene, frame, notice.track)
        body, yaw = scene.bodies[b], scene.body_poses[frame, b, 2]
        assert scene.body_present[frame, b]
        assert x > 0
        assert np.hypot(x, y) < 4.0 * scene.ego_speeds_mps[frame] + 8.0 + 30.0  # who crosses may come from far aside
        assert noun(body.kind) in notice.text
        if "brakes" in notice.text:
            assert scene.body_braking[frame, b]
        if "towards us" in notice.text:
            assert np.cos(yaw - scene.ego_poses[frame, 2]) < 0
            assert scene.body_speeds_mps[frame, b] > 0.3
        if "parked" in notice.text:
            assert scene.body_speeds_mps[:, b].max() <= 0.05
        if notice.text.startswith("watch") and "kerb" not in notice.text and "on the road" not in notice.text:
            assert scene.body_speeds_mps[frame, b] > 0.3


def test_who_walks_onto_the_road_is_announced_before_the_driver_has_to_brake() -> None:
    announced = 0
    for seed in (5, 7):
        scene = scene_of("pedestrian", seed)
        walkers = {cause.track for cause in scene.ego_causes if cause.kind == "walker"}
        for track in walkers:
            first = next(i for i, cause in enumerate(scene.ego_causes) if cause.track == track) / 8
            announced += any(notice.track == track and notice.start_s <= first + 0.5 for notice in notices(scene))
    assert announced >= 1


# -- descriptions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", EVERY)
def test_descriptions_are_short_and_true(situation: str) -> None:
    scene = scene_of(situation)
    for frame in (0, 20, 39):
        text = describe(scene, frame)
        sentences = text.split(". ")
        assert 1 <= len(sentences) <= 3
        assert all(sentence[0].isupper() for sentence in sentences)
        assert text.endswith(".")
        assert "  " not in text
        assert not re.search(r"\b[Aa] [aeio]|\b[Aa]n [^aeiou]", text), text
        speed = scene.ego_speeds_mps[frame] * 3.6
        told = re.search(r"about (\d+) km/h", text)
        assert (told is None) == (speed < 0.3 * 3.6)
        assert told is None or abs(int(told[1]) - speed) <= 5.0
        for kind in ("cyclist", "bus", "truck"):
            if re.search(rf"\b{kind}", text):
                assert any(body.kind == kind for body in scene.bodies)


def test_the_time_of_day_follows_the_clock() -> None:
    for hour, expected in ((0, "night"), (9, "morning"), (12.5, "day"), (16, "afternoon"), (23, "night")):
        azimuth, elevation = sun_at(hour)
        assert time_of_day(Light(sun_azimuth_rad=azimuth, sun_elevation_rad=elevation, hour=hour)) == expected


# -- words --------------------------------------------------------------------------------------------------------


def test_articles_plurals_and_lists() -> None:
    assert a("orange car") == "an orange car"
    assert a("van") == "a van"
    assert plural("bus") == "buses"
    assert listed(["x"]) == "x"
    assert listed(["x", "y", "z"]) == "x, y and z"


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0.85, 0.85, 0.86), "white"),
        ((0.08, 0.08, 0.09), "black"),
        ((0.45, 0.47, 0.50), "grey"),
        ((0.60, 0.08, 0.08), "red"),
        ((0.10, 0.20, 0.50), "blue"),
        ((0.80, 0.60, 0.10), "yellow"),
        ((0.75, 0.30, 0.10), "orange"),
        ((0.15, 0.35, 0.25), "green"),
        ((0.35, 0.22, 0.15), "brown"),
        ((0.73, 0.73, 0.74), None),  # white or grey
        ((0.66, 0.20, 0.09), None),  # red or orange
        ((0.10, 0.42, 0.47), None),  # green or blue
    ],
)
def test_colours_have_names_where_people_would_agree(rgb: tuple[float, float, float], name: str | None) -> None:
    assert color_name(rgb) == name
