"""One change, before and after: what is shown of both sides, what the planner and the town answer, and what is refused."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from policy.saliency import NotApplicable
from studio.live.what_if.answers import from_above, obstacle_of
from studio.live.what_if.asking import AFTER, BEFORE, DIFFERENCE, TOWN, difference, what_if
from studio.live.what_if.looking import LookingView, looking
from studio.live.what_if.preview import clicked_ground, near_side, preview, who_is_around, who_is_at
from studio.live.what_if.questions import Question, offered_planners, question_of_link
from studio.live.what_if.variants import all_variants
from studio.live.what_if.views import WhatIfView
from studio.moments import Wish
from studio.placement import middle_of
from studio.sides import Place, Places, sides_of
from studio.sprites import SpriteView
from studio.town_changes import changed_look, future_scene, path_of
from studio.town_sprites import sized_sprite, sprite_of
from studio.web.links import Link
from studio.web.shelf import Choice
from studio.web.turns import Turns
from worldmodel.clips import Clip
from worldmodel.edits import ChangeMotion, RemoveActor
from worldmodel.errors import BadEdit, BadRequest, UnknownName
from worldmodel.io.lerobot import Dataset, write_dataset
from worldmodel.model import WorldModel
from worldmodel.town.dataset import SOURCE
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

WISH = Wish(history=16, chunk=4, future_s=4.0)
RED = np.zeros((30, 30, 4), np.uint8)
RED[...] = (250, 10, 10, 255)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A straight street, and a van 12 m ahead at 2 s; grey, as nothing here looks at the pictures."""
    clips = []
    for situation, seed in (("street", 2944906), ("stop_and_go", 0)):
        scene = simulate(situation, seed, seconds=6.5)
        clips.append(
            Clip(
                id=scene.id,
                video=np.full((len(scene), 3, 3, 32, 64), 120, np.uint8),
                rig=town_rig(3, 64, 32),
                motion=scene.trajectory().motion(),
                motion_origin="town",
                frequency_hz=8.0,
                boxes=tuple(scene.boxes(frame) for frame in range(len(scene))),
                source=SOURCE,
            )
        )
    return write_dataset(clips, tmp_path_factory.mktemp("data") / "town", name="town")


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> WorldModel:
    return WorldModel.from_pretrained(checkpoint)


@pytest.fixture(scope="module")
def places() -> Places:
    return Places()


@pytest.fixture(autouse=True)
def _plain_sprites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sprites are red sheets: drawing them takes no time."""

    def sheet(body: object, *_: int) -> SpriteView:
        return SpriteView(rgba=RED, width_m=body.width_m, height_m=body.height_m)  # type: ignore[attr-defined]

    monkeypatch.setattr("studio.town_sprites._rendered", sheet)


def ask(data: Dataset, episode: int = 0, **said: object) -> Question:
    choice = Choice(dataset=str(data.path), episode=episode, at_s=2.0)
    return Question(**{"choice": choice, "planner": "joint", "samples": 2, "seconds": 0.0, **said})  # type: ignore[arg-type]


def views_of(model: WorldModel, places: Places, question: Question, stop_after: int | None = None) -> list[WhatIfView]:
    """All views; stopped once so many are there."""
    views: list[WhatIfView] = []
    turns = Turns()

    def stopped() -> bool:
        return stop_after is not None and len(views) >= stop_after

    views.extend(what_if(lambda: model, places, question, lambda: turns.draw("me"), stopped))
    assert turns.waiting() == 0
    return views


def track_of(views: list[WhatIfView], name: str) -> np.ndarray:
    return np.concatenate([view.frames[name] for view in views if name in view.frames])


def answer_in(views: list[WhatIfView]) -> Iterator[object]:
    return (view.answer for view in views if view.answer is not None)


def test_an_object_is_seen_on_one_side_and_answered_by_planner_and_town(
    model: WorldModel, places: Places, town: Dataset
) -> None:
    views = views_of(model, places, ask(town, seconds=0.5))
    opening = next(view.opening for view in views if view.opening)
    assert [track.name for track in opening.tracks] == [BEFORE, AFTER, DIFFERENCE, TOWN]
    assert opening.start_s == -15 / 8
    tracks = {name: track_of(views, name) for name in (BEFORE, AFTER, DIFFERENCE, TOWN)}
    assert {len(frames) for frames in tracks.values()} == {16 + 4}
    assert opening.frames == 20
    assert not np.array_equal(tracks[BEFORE][15], tracks[AFTER][15])
    [answer] = answer_in(views)
    assert answer.town.response.path_length_change_m < -1
    assert "With a car on the road, 12 m ahead, the plan of 'joint'" in answer.sentence
    assert "The town's own answer" in answer.sentence
    head, rows, caption = answer.table()
    assert head[-1] == "of the town's driver"
    assert [row[0] for row in rows] == ["path length", "end point moves", "sideways", "slower from"]
    assert "share seed 0" in caption
    assert views[-1].finished
    assert views[-1].status == "Done."
    above = views[[view.answer is not None for view in views].index(True)].birds_eye
    assert above is not None
    labels = [layer["label"] for layer in above["layers"]]
    assert labels == ["history", "recorded", "plan before", "plan after", "the town's driver, after"]
    assert above["obstacle"]["kind"] == "car"


def test_nothing_pasted_changes_exactly_nothing(model: WorldModel, places: Places, town: Dataset) -> None:
    views = views_of(model, places, ask(town, where="empty"))
    [answer] = answer_in(views)
    assert answer.response.endpoint_shift_m == 0
    assert answer.response.path_length_change_m == 0
    assert "nothing pasted" in answer.sentence
    assert "stays the same" in answer.sentence
    dark = difference(np.zeros((1, 3, 3, 8, 8), np.uint8), np.zeros((1, 3, 3, 8, 8), np.uint8))[0, 0, :, 0, 0]
    inside = track_of(views, DIFFERENCE)[:, :, 60:100, 100:300]  # between the labels
    assert (inside == dark[:, None, None]).all()


@pytest.mark.slow
def test_somebody_who_is_gone_is_gone_from_pictures_map_and_town(
    model: WorldModel, places: Places, town: Dataset
) -> None:
    place = places.at(ask(town, 1).choice.text, WISH)
    assert "van-1" in {track for _, track in who_is_around(place)}
    question = ask(town, 1, change="remove", track="van-1", seconds=0.5)
    views = views_of(model, places, question)
    assert not np.array_equal(track_of(views, BEFORE)[15], track_of(views, AFTER)[15])
    [answer] = answer_in(views)
    assert answer.town.response.path_length_change_m > 0.5
    assert "without van-1 its driver covers" in answer.sentence
    assert any("rendered anew" in text for text in views[-1].told or ())
    above = from_above(place.moment, question, None, answer)
    assert "van-1" not in [box["track"] for box in above["boxes"]]
    assert place.scene is not None
    gone = future_scene(place.moment, RemoveActor(track="van-1"), 1.0)
    now = round(place.moment.start_s * 8) + place.moment.now
    index = [body.track for body in gone.bodies].index("van-1")
    assert gone.body_present[now - 1, index]
    assert not gone.body_present[now:, index].any()
    with pytest.raises(UnknownName, match="van-99"):
        changed_look(place.scene, RemoveActor(track="van-99"))


@pytest.mark.slow
def test_another_light_changes_all_pictures_and_not_the_town(model: WorldModel, places: Places, town: Dataset) -> None:
    views = views_of(model, places, ask(town, change="weather", weather="fog", hour=23.0))
    assert (track_of(views, BEFORE)[15] != track_of(views, AFTER)[15]).mean() > 0.3
    [answer] = answer_in(views)
    assert answer.town.response.endpoint_shift_m == 0
    assert "sees no weather" in answer.sentence


def test_recordings_can_be_stitched_and_told_but_nobody_vanishes(
    model: WorldModel, places: Places, drives: Dataset
) -> None:
    views = views_of(model, places, ask(drives, change="text", text="stop", seconds=0.5))
    assert np.array_equal(track_of(views, BEFORE)[15][:, :130], track_of(views, AFTER)[15][:, :130])
    [answer] = answer_in(views)
    assert answer.town is None
    assert "With the words 'stop'" in answer.sentence
    assert TOWN not in {name for view in views for name in view.frames}
    for change in ({"change": "remove", "track": "7"}, {"change": "weather"}):
        with pytest.raises(BadEdit, match=r"is a recording.*Choose a clip of the town"):
            views_of(model, places, ask(drives, **change))


@pytest.mark.slow
def test_a_drawn_path_is_driven_in_the_dream_and_in_the_town(model: WorldModel, places: Places, town: Dataset) -> None:
    question = ask(town, change="path", waypoints=((4.0, 0.0), (8.0, 1.0), (12.0, 3.0), (16.0, 6.0)), seconds=0.5)
    views = views_of(model, places, question)
    [answer] = answer_in(views)
    assert answer.town is None
    assert "another path" in answer.sentence
    assert answer.table()[0][1:3] == ("recorded", "drawn")
    place = places.at(question.choice.text, WISH)
    edit = question.edit(8.0, place.moment.observation().speed_mps)
    assert isinstance(edit, ChangeMotion)
    scene = future_scene(place.moment, edit, 4.0)
    now = round(place.moment.start_s * 8) + place.moment.now
    driven = scene.trajectory().seen_from(scene.trajectory().poses[now]).poses[now:]
    drawn = path_of(edit, 8.0).poses[: len(driven)]
    np.testing.assert_allclose(driven[: len(drawn), :2], drawn[:, :2], atol=1e-6)
    np.testing.assert_allclose(drawn[-1, :2], (16.0, 6.0), atol=0.01)


@pytest.mark.slow
def test_a_stop_ends_before_the_next_chunk_and_keeps_what_is_there(
    model: WorldModel, places: Places, drives: Dataset
) -> None:
    question = ask(drives, seconds=4.0)
    whole = views_of(model, places, question)
    first = next(number for number, view in enumerate(whole) if view.share and not view.finished)
    views = views_of(model, places, question, stop_after=first + 1)
    assert views[-1].status == "Stopped after 0.5 of 4 s."
    assert len(track_of(views, AFTER)) == 16 + 4
    assert np.array_equal(track_of(views, AFTER), track_of(whole, AFTER)[:20])


def test_who_waits_is_told_how_many_are_before(model: WorldModel, places: Places, drives: Dataset) -> None:
    turns = Turns()
    other = turns.draw("somebody")
    said = []
    for view in what_if(lambda: model, places, ask(drives), lambda: turns.draw("me"), lambda: False):
        said.append(view.status)
        if view.status and "before you" in view.status:
            other.leave()
    assert "Waiting for the model: 1 before you …" in said
    assert said[-1] == "Done."


@pytest.mark.slow
def test_all_variants_and_controls_come_as_a_table(model: WorldModel, places: Places, town: Dataset) -> None:
    turns = Turns()
    views = list(all_variants(lambda: model, places, ask(town), lambda: turns.draw("me"), lambda: False))
    rows = {row.where: row for row in views[-1].rows}
    assert list(rows) == ["near", "far", "very_far", "sky_near", "sky_far", "sky", "lookalike", "empty"]
    empty = rows["empty"].response
    assert empty is not None
    assert empty.endpoint_shift_m == 0
    assert rows["near"].town is not None
    assert rows["near"].town.path_length_change_m < -1
    assert rows["lookalike"].cells[-1] == "not known"
    assert all(row.why == "" or "no camera" in row.why for row in rows.values())
    shares = [view.share for view in views if view.share is not None]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_heat_grows_patch_by_patch_and_planners_without_eyes_have_none(
    model: WorldModel, places: Places, drives: Dataset
) -> None:
    turns, views = Turns(), list[LookingView]()
    enough = iter(range(60))  # so many questions whether to stop
    views.extend(
        looking(lambda: model, places, ask(drives), "occlusion", lambda: turns.draw("me"), lambda: next(enough) > 50)
    )
    assert views[-1].finished
    assert any("patch 20 of 96" in view.status for view in views)
    assert any(view.pictures for view in views)
    assert turns.waiting() == 0
    blind = ask(drives, planner="constant-velocity")
    with pytest.raises(NotApplicable, match="Choose 'Occlusion'"):
        list(looking(lambda: model, places, ask(drives), "gradcam", lambda: turns.draw("me"), lambda: False))
    with pytest.raises(NotApplicable, match="sees no pixels"):
        list(looking(lambda: model, places, blind, "gradcam", lambda: turns.draw("me"), lambda: False))


def test_the_newest_pictures_show_the_change_at_once(places: Places, town: Dataset, drives: Dataset) -> None:
    question = ask(town)
    place = places.at(question.choice.text, WISH)
    seen = preview(place, question)
    assert seen.problem == ""
    assert (seen.now[1, 0].astype(int) - seen.now[1, 1]).max() > 60  # something red ahead
    hidden = preview(place, replace(question, where="placed", x_m=-20.0))
    assert "behind every camera" in hidden.problem
    assert not (hidden.now[1, 0].astype(int) - hidden.now[1, 1] > 60).any()
    recording = ask(drives, change="weather")
    assert "is a recording" in preview(places.at(recording.choice.text, WISH), recording).problem
    drawn = ask(drives, change="path", waypoints=((8.0, 0.0), (16.0, 0.0)))
    assert preview(places.at(drawn.choice.text, WISH), drawn).birds_eye["waypoints"] == [[8.0, 0.0], [16.0, 0.0]]


def test_a_click_finds_the_ground_and_who_stands_there(places: Places, town: Dataset) -> None:
    place = places.at(ask(town, 1).choice.text, WISH)
    shown = preview(place, ask(town, 1, where="empty")).rig
    ahead = np.array([[10.0, 1.5, 0.0]])
    [pixel], _, _ = shown.cameras[1].project(ahead)
    assert clicked_ground(place, "front", *pixel) == pytest.approx((10.0, 1.5), abs=0.02)
    with pytest.raises(BadEdit, match="above the horizon"):
        clicked_ground(place, "front", 100, 3)
    van = next(box for box in place.moment.clip.boxes[place.moment.now] if box.track == "van-1")
    assert who_is_at(place, van.center[0], van.center[1]) == "van-1"
    assert who_is_at(place, -100.0, 60.0) == ""


@pytest.mark.parametrize("yaw_deg", [0.0, 90.0])
def test_dragging_the_middle_is_the_inverse_of_placing_the_near_side(town: Dataset, yaw_deg: float) -> None:
    question = ask(town, where="placed", x_m=14.0, y_m=-3.0, yaw_deg=yaw_deg)
    x, y, _ = middle_of(question.sprite(), sprite_of("car"))
    assert near_side(question, x, y) == pytest.approx((14.0, -3.0), abs=0.02)
    obstacle = obstacle_of(question)
    assert obstacle is not None
    assert (obstacle["x"], obstacle["y"]) == pytest.approx((x, y), abs=0.01)
    assert obstacle["yaw"] == pytest.approx(math.radians(yaw_deg), abs=1e-3)


def test_objects_come_in_other_sizes() -> None:
    assert sized_sprite("car", None) is None
    assert sized_sprite("car", sprite_of("car").height_m) is None
    tall = sized_sprite("cone", 1.5)
    assert tall is not None
    assert tall.height_m == pytest.approx(1.5)
    assert tall.footprint_m[0] == pytest.approx(0.8)
    with pytest.raises(BadEdit, match=r"must be 0\.2 to 6 m"):
        sized_sprite("cone", 60.0)


QUESTIONS = (
    {},
    {"where": "placed", "x_m": 9.5, "y_m": -2.25, "kind": "truck", "yaw_deg": 45.0, "speed_mps": 3.0, "height_m": 2.5},
    {"change": "remove", "track": "van-1", "planner": "natural/direct"},
    {"change": "weather", "weather": "snow", "hour": 6.5, "seed": 7},
    {"change": "text", "text": "turn left & <b>stop</b>", "seconds": 4.5, "samples": 3},
    {"change": "path", "waypoints": ((4.0, 0.5), (8.0, 1.25)), "seconds": 1.0},
)


@pytest.mark.parametrize("said", QUESTIONS)
def test_a_link_asks_the_same_again(town: Dataset, said: dict[str, object]) -> None:
    question = ask(town, **said)
    link = Link.parse(Link(page="what-if", values={"clip": "0@2", **question.values()}).query)
    assert question_of_link(link, question.choice) == question


def test_a_link_says_only_what_matters(town: Dataset) -> None:
    choice = ask(town).choice
    assert Question(choice=choice).values() == {}
    assert Question(choice=choice, change="remove", track="van-1", x_m=3.0).values() == {
        "change": "remove",
        "track": "van-1",
    }


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"change": "magic"}, "unknown change 'magic'"),
        ({"planner": "python:evil.py"}, "unknown planner 'python:evil.py'"),
        ({"planner": "/etc"}, "unknown planner '/etc'"),
        ({"x": "nan"}, "the link says x=nan"),
        ({"samples": "100000"}, "samples=100000"),
        ({"seconds": "3600"}, "seconds=3600"),
        ({"change": "path", "path": "1,2;a,b"}, "waypoint"),
        ({"change": "remove"}, "nobody is chosen"),
    ],
)
def test_links_that_make_no_sense_are_refused_with_a_sentence(
    town: Dataset, values: dict[str, str], sentence: str
) -> None:
    with pytest.raises((BadRequest, UnknownName)) as refused:
        question_of_link(Link(page="what-if", values=values), ask(town).choice)
    assert sentence in str(refused.value)


def test_the_command_asks_the_same(town: Dataset) -> None:
    folder = Path("assets/default")
    placed = ask(town, where="placed", x_m=9.5, y_m=-2.0, height_m=2.5).command(folder)
    assert "--variant near --kind car --x-m 9.5 --y-m -2 --height-m 2.5 --planner joint --samples 2 --seed 0" in placed
    told = ask(town, change="text", text="stop; rm -rf *").command(folder)
    assert "--text 'stop; rm -rf *'" in told
    assert "--remove van-1" in ask(town, change="remove", track="van-1").command(folder)
    assert "detour imagine" in ask(town, change="path", waypoints=((4.0, 0.0),)).command(folder)


def test_only_planners_that_answer_soon_and_run_no_code_are_offered() -> None:
    names = offered_planners()
    assert {"joint", "rich/ik", "constant-velocity"} <= set(names)
    assert "imagining" not in names
    assert not any(":" in name for name in names)


def test_a_scene_is_kept_for_the_next_question_and_few_are_kept(drives: Dataset) -> None:
    places = Places()
    first = places.at(f"{drives.path}:0@2", WISH)
    assert places.at(f"{drives.path}:0@2", WISH) is first
    for at in (2.5, 3.0, 3.5, 4.0):
        places.at(f"{drives.path}:0@{at}", WISH)
    assert places.at(f"{drives.path}:0@2", WISH) is not first


def test_the_future_is_not_touched_by_a_change_of_what_is_seen(town: Dataset, places: Places) -> None:
    question = ask(town)
    place: Place = places.at(question.choice.text, WISH)
    sides = sides_of(place, question.sprite())
    now = place.moment.now
    assert np.array_equal(sides.before.clip.video[now + 1 :], sides.after.clip.video[now + 1 :])
    assert sides.stitched is not None
    assert sides.stitched.masks[now].any()
