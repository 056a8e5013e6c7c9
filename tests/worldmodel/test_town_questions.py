"""Answers to questions against the scene's arrays, computed here once more by other means."""

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from worldmodel.geometry import relative
from worldmodel.town.scene import SIGNAL_NAMES, Scene
from worldmodel.town.situations import SITUATIONS
from worldmodel.town.traffic import simulate
from worldmodel.town.words.colors import color_name
from worldmodel.town.words.nouns import noun
from worldmodel.town.words.questions import ANSWERS, Question, questions, questions_at

QUICK = ("street", "pedestrian", "parked_car", "traffic_light")
EVERY = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SITUATIONS]
SIGHT_M = {"clear": 60, "overcast": 60, "wet": 60, "rain": 45, "snow": 40, "fog": 30}
WORDS = ("none", "one", "two", "three", "four", "five or more")


@cache
def scene_of(situation: str, seed: int = 7) -> Scene:
    return simulate(situation, seed, seconds=5)


def asked(situation: str, *kinds: str) -> list[Question]:
    return [one for one in questions(scene_of(situation)) if one.kind in kinds]


def centre(scene: Scene, frame: int) -> np.ndarray:
    x, y, yaw = scene.ego_poses[frame]
    return np.array([x + 1.4 * np.cos(yaw), y + 1.4 * np.sin(yaw), yaw])


def index_of(scene: Scene, track: str) -> int:
    return next(b for b, body in enumerate(scene.bodies) if body.track == track)


def bearing_deg(scene: Scene, frame: int, b: int) -> float:
    x, y, _ = relative(centre(scene, frame), scene.body_poses[frame, b])
    return float(np.degrees(np.arctan2(y, x)))


def rectangle(pose: np.ndarray, length: float, width: float, count: int = 60) -> np.ndarray:
    """Points all along the outline of a rectangle."""
    t = np.linspace(-0.5, 0.5, count)
    u = np.concatenate([t, t, np.full(count, 0.5), np.full(count, -0.5)]) * length
    v = np.concatenate([np.full(count, 0.5), np.full(count, -0.5), t, t]) * width
    return pose[:2] + np.stack(
        [np.cos(pose[2]) * u - np.sin(pose[2]) * v, np.sin(pose[2]) * u + np.cos(pose[2]) * v], -1
    )


def gap(scene: Scene, frame: int, b: int) -> float:
    body = scene.bodies[b]
    mine = rectangle(centre(scene, frame), 4.6, 1.9)
    theirs = rectangle(scene.body_poses[frame, b], body.length_m, body.width_m)
    return float(np.hypot(*(mine[:, None] - theirs[None]).transpose(2, 0, 1)).min())


def covered(scene: Scene, frame: int, b: int) -> bool:
    """Whether a house or a vehicle lies on the straight line to a body's middle."""
    eye, end = centre(scene, frame)[:2], scene.body_poses[frame, b, :2]
    points = eye + np.linspace(0.05, 0.97, 400)[:, None] * (end - eye)
    boxes = [(h.x_m, h.y_m, h.yaw_rad, h.length_m, h.width_m) for h in scene.stage.buildings]
    others = [o for o in np.flatnonzero(scene.body_present[frame]) if o != b and scene.bodies[o].width_m > 1.0]
    boxes += [(*scene.body_poses[frame, o], scene.bodies[o].length_m, scene.bodies[o].width_m) for o in others]
    for x, y, yaw, length, width in boxes:
        dx, dy = points[:, 0] - x, points[:, 1] - y
        along, aside = np.cos(yaw) * dx + np.sin(yaw) * dy, -np.sin(yaw) * dx + np.cos(yaw) * dy
        if ((np.abs(along) < length / 2) & (np.abs(aside) < width / 2)).any():
            return True
    return False


def in_plain_sight(scene: Scene, frame: int, kind: str, *, within_deg: float) -> list[int]:
    """Bodies of a kind that are ahead, near and not covered."""
    far = SIGHT_M[scene.light.weather] if scene.light.sun_elevation_rad >= 0 else min(SIGHT_M[scene.light.weather], 40)
    return [
        int(b)
        for b in np.flatnonzero(scene.body_present[frame])
        if scene.bodies[b].kind == kind
        and abs(bearing_deg(scene, frame, b)) < within_deg
        and gap(scene, frame, b) < 0.8 * far
        and not covered(scene, frame, b)
    ]


@pytest.mark.parametrize("situation", EVERY)
def test_answers_come_from_closed_vocabularies_about_those_who_are_there(situation: str) -> None:
    scene = scene_of(situation)
    for one in questions(scene):
        assert one.answer in ANSWERS[one.kind]
        assert one.question[0].isupper()
        assert one.question.endswith("?")
        assert "  " not in one.question
        assert not re.search(r"\ba [aeio]|\ban [^aeiou]", one.question), one.question
        for track in one.tracks:
            if not track.startswith("signal-"):
                assert scene.body_present[one.frame, index_of(scene, track)]


@pytest.mark.parametrize("situation", EVERY)
def test_existence_and_counts(situation: str) -> None:
    scene = scene_of(situation)
    kinds = {noun(kind): kind for kind in ("car", "van", "truck", "bus", "pedestrian", "cyclist", "cone")}
    for one in asked(situation, "existence", "count"):
        name = next(name for name in kinds if re.search(rf"\b{name}", one.question))
        for track in one.tracks:
            b = index_of(scene, track)
            assert scene.bodies[b].kind == kinds[name]
            assert abs(bearing_deg(scene, one.frame, b)) < 41
        there = in_plain_sight(scene, one.frame, kinds[name], within_deg=30)
        color = re.search(r"an? (\w+) car ahead", one.question)
        if color is not None and color[1] != "cyclist":
            there = [b for b in there if color_name(scene.bodies[b].color_rgb) == color[1]]
        if one.kind == "count":
            assert one.answer == WORDS[min(len(one.tracks), 5)]
            assert {scene.bodies[b].track for b in there} <= set(one.tracks)
        elif one.answer == "no":
            assert not there
            assert not one.tracks
        else:
            assert one.tracks


@pytest.mark.parametrize("situation", EVERY)
def test_positions_and_distances(situation: str) -> None:
    scene = scene_of(situation)
    middles = {"ahead": 0, "left": 90, "right": -90, "behind": 180}
    for one in asked(situation, "position", "distance"):
        b = index_of(scene, one.tracks[0])
        if one.kind == "position":
            off = (bearing_deg(scene, one.frame, b) - middles[one.answer] + 180) % 360 - 180
            assert abs(off) < 40
            continue
        edges = [0.0, *(float(number) for number in re.findall(r"\d+", one.answer))]
        low, high = (edges[-2], edges[-1]) if one.answer.startswith(("less", "1", "2")) else (edges[-1], np.inf)
        assert low - 0.3 < gap(scene, one.frame, b) < high + 0.3


@pytest.mark.parametrize("situation", EVERY)
def test_states_indicators_and_lights(situation: str) -> None:
    scene = scene_of(situation)
    for one in asked(situation, "state", "indicator", "light"):
        if one.kind == "light":
            states = {scene.signal_states[one.frame, int(track.removeprefix("signal-"))] for track in one.tracks}
            assert [SIGNAL_NAMES[state] for state in states] == [one.answer]
            continue
        b = index_of(scene, one.tracks[0])
        if one.kind == "indicator":
            shown = {"not at all": 0, "left": 1, "right": -1, "on both sides": 2}[one.answer]
            assert scene.body_indicators[one.frame, b] == shown
            continue
        moving, braking = scene.body_speeds_mps[one.frame, b] > 0.3, scene.body_braking[one.frame, b]
        true = {
            "moving": moving,
            "standing still": not moving,
            "braking": braking,
            "driving without braking": moving and not braking,
        }[re.search(r"(moving|standing still|driving without braking|braking)\?$", one.question)[1]]
        assert one.answer == ("yes" if true else "no")


@pytest.mark.parametrize("situation", EVERY)
def test_what_comes_next_and_why(situation: str) -> None:
    scene = scene_of(situation)
    why = {
        "because of the bend ahead": {"curve"},
        "because of the vehicle ahead": {"leader", "obstacle"},
        "because of somebody on foot": {"walker", "obstacle"},
        "because somebody else goes first": {"crossing"},
        "because of the stop line": {"crossing"},
        "because of the traffic light": {"signal"},
        "because something stands in the way": {"obstacle"},
        "because somebody comes towards us": {"oncoming"},
    }
    for one in asked(situation, "next_pace", "next_way", "why", "because"):
        cause = scene.ego_causes[one.frame]
        later = one.frame + 16
        if one.kind == "next_pace":
            gained = scene.ego_speeds_mps[later] - scene.ego_speeds_mps[one.frame]
            assert (one.answer == "stop") == (scene.ego_speeds_mps[later - 1 : later + 1].mean() < 0.5)
            assert one.answer != "speed up" or gained > 0.8
            assert one.answer != "slow down" or gained < -0.8
        elif one.kind == "next_way":
            turned = np.degrees(np.unwrap(scene.ego_poses[one.frame : later + 1, 2])[[0, -1]] @ [-1, 1])
            assert (one.answer in ("left", "right")) == (abs(turned) >= 15)
            assert one.answer not in ("left", "right") or (turned > 0) == (one.answer == "left")
        elif one.kind == "why":
            assert cause.kind in why[one.answer]
            assert scene.ego_braking[one.frame] or scene.ego_speeds_mps[one.frame] < 0.3
        else:
            told = next(words for words in why if words in one.question)
            assert one.answer == "no" or cause.kind in why[told]


def test_yes_and_no_come_about_equally_often() -> None:
    answers: Counter[str] = Counter()
    for situation in QUICK:
        for seed in (7, 8):
            for one in questions(scene_of(situation, seed)):
                if one.kind == "existence":
                    answers[one.answer] += 1
    assert answers["yes"] == answers["no"] > 10


def test_what_a_renderer_does_not_show_is_not_asked_about() -> None:
    scene = scene_of("street")
    for one in questions_at(scene, 8, visible=set()):
        assert one.kind in ("light", "next_pace", "next_way", "why", "because") or one.answer == "none"
    everybody = {body.track for body in scene.bodies}
    shown = {track for one in questions(scene, visible=[everybody] * len(scene)) for track in one.tracks}
    assert shown


def test_the_same_scene_is_asked_the_same() -> None:
    scene = scene_of("street")
    assert questions(scene) == questions(scene)
    slower = simulate("street", 7, seconds=5, frequency_hz=4.0)
    assert [one.question for one in questions_at(slower, 4)] == [one.question for one in questions_at(scene, 8)]
