import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.demo import wish_of
from studio.imagine import read_actions
from studio.live.imagine.drawn_paths import path_through, straight_on
from studio.live.imagine.futures import Futures
from studio.live.imagine.imagining import ImagineView, imagine
from studio.live.imagine.recorded import Recorded
from studio.live.imagine.results import joined
from studio.live.imagine.saving import MOST_KEPT, Saved, keep, kept, save
from studio.live.imagine.wishes import PATH, SPEED, ImagineWish, wish_of_link
from studio.moments import Wish, find_moment
from studio.web.links import Link
from studio.web.shelf import Choice
from studio.web.turns import Turns
from worldmodel.commands import commanded
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.guidance import FixedGuide, parse_schedule
from worldmodel.io.lerobot import Dataset
from worldmodel.io.video import probe
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling

PER_CHUNK = 4


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> WorldModel:
    return WorldModel.from_pretrained(checkpoint)


@pytest.fixture
def wish(drives: Dataset) -> ImagineWish:
    choice = Choice(dataset=str(drives.path), episode=0, at_s=2.0)
    return ImagineWish(choice=choice, seconds=1.25, sampling=Sampling(steps=1))


def shown(model: WorldModel, wish: ImagineWish, stopped: Callable[[], bool] = lambda: False) -> list[ImagineView]:
    turns = Turns()
    views = list(imagine(lambda: model, wish, lambda: turns.draw("me"), stopped))
    assert turns.waiting() == 0
    return views


def film_of(views: list[ImagineView], track: str) -> np.ndarray:
    return np.concatenate([view.frames[track] for view in views if track in view.frames])


def future(model: WorldModel, wish: ImagineWish) -> np.ndarray:
    made = shown(model, wish)[-1].made
    assert made is not None
    return made.rollouts[0].video


@pytest.mark.parametrize("drive", ["policy", SPEED])
def test_chunks_joined_are_what_imagine_gives_at_once(model: WorldModel, wish: ImagineWish, drive: str) -> None:
    wish = replace(wish, drive=drive)
    moment = find_moment(wish.choice.text, wish_of(model, wish.seconds))
    futures = Futures(model, moment.observation(), wish)
    for _ in range(futures.chunks):
        futures.step()
    parts = joined([chunk[0] for chunk in futures.done])
    actions = wish.actions(8.0, PER_CHUNK)
    whole = model.imagine(moment.observation(), seconds=1.25, seed=0, sampling=Sampling(steps=1), actions=actions)
    np.testing.assert_array_equal(parts.video, whole.video)
    np.testing.assert_array_equal(parts.trajectory.poses, whole.trajectory.poses)
    assert parts.texts == whole.texts


def test_a_run_shows_the_past_then_every_chunk_beside_what_was_recorded(model: WorldModel, wish: ImagineWish) -> None:
    views = shown(model, wish)
    [opening] = [view.opening for view in views if view.opening]
    assert [track.name for track in opening.tracks] == ["seed-0", "recorded"]
    assert [track.imagined for track in opening.tracks] == [True, False]
    seen = round(-opening.start_s * opening.rate_hz) + 1
    assert len(film_of(views, "seed-0")) == len(film_of(views, "recorded")) == opening.frames == seen + 10
    told = " ".join(view.status or "" for view in views)
    assert "Chunk 1 of 3" in told
    assert "left" in told
    assert "Done: 1.25 s imagined" in told
    assert [view.finished for view in views] == [False] * (len(views) - 1) + [True]


def test_the_view_from_above_has_history_plan_samples_boxes_and_the_growing_future(
    model: WorldModel, wish: ImagineWish
) -> None:
    views = shown(model, wish)
    scenes = [view.birds_eye for view in views if view.birds_eye]
    assert {layer["label"] for layer in scenes[0]["layers"]} == {"history", "recorded"}
    last = {layer["label"]: layer for layer in scenes[-1]["layers"]}
    assert set(last) == {"history", "recorded", "8 plan samples", "plan (4 s)", "imagined"}
    assert len(last["imagined"]["points"]) == 11
    assert [box["kind"] for box in scenes[-1]["boxes"]] == ["car"]


def test_stop_ends_before_the_next_chunk_and_keeps_what_is_there(model: WorldModel, wish: ImagineWish) -> None:
    answers = iter([False, False, False, True])  # asked twice for each piece of work
    views = shown(model, wish, lambda: next(answers, True))
    assert "Stopped after chunk 1 of 3" in str(views[-1].status)
    assert views[-1].made is not None
    assert views[-1].made.frames == PER_CHUNK


def test_stop_before_the_first_chunk_makes_nothing(model: WorldModel, wish: ImagineWish) -> None:
    last = shown(model, wish, stopped=lambda: True)[-1]
    assert last.finished
    assert last.made is None
    assert "before the first chunk" in str(last.status)


def test_who_waits_is_told_and_can_stop(model: WorldModel, wish: ImagineWish) -> None:
    turns, answers = Turns(), iter([False])
    with turns.draw("other"):
        views = list(imagine(lambda: model, wish, lambda: turns.draw("me"), lambda: next(answers, True)))
    assert any("1 request is before yours" in str(view.status) for view in views)
    assert turns.waiting() == 0


@pytest.mark.slow
def test_several_futures_share_the_work_and_each_seed_is_its_own(model: WorldModel, wish: ImagineWish) -> None:
    views = shown(model, replace(wish, futures=2, seed=3))
    made = views[-1].made
    assert made is not None
    assert [rollout.seed for rollout in made.rollouts] == [3, 4]
    assert (made.rollouts[0].video != made.rollouts[1].video).any()
    np.testing.assert_allclose(
        future(model, replace(wish, seed=4)).astype(int), made.rollouts[1].video.astype(int), atol=2
    )
    assert len(film_of(views, "seed-4")) == len(film_of(views, "recorded"))
    assert any("seed 4" in row[0] for row in views[-1].scores[0])  # type: ignore[index]


def test_the_same_link_reproduces_the_run_to_the_bit(model: WorldModel, wish: ImagineWish) -> None:
    asked = replace(
        wish, text="go; then stop", changes=((0.5, "turn left; now"),), drive=PATH, waypoints=((4.0, 0.1), (9.0, 1.0)), seed=7
    )  # fmt: skip
    query = Link(page="imagine", values=asked.values()).query
    again = wish_of_link(Link.parse(query), wish.choice)
    assert again == asked
    np.testing.assert_array_equal(future(model, asked), future(model, again))
    assert wish_of_link(Link(), wish.choice) == ImagineWish(choice=wish.choice)
    assert ImagineWish(choice=wish.choice).values() == {}


def test_text_changes_with_the_chunk_that_begins_then(model: WorldModel, wish: ImagineWish) -> None:
    views = shown(model, replace(wish, changes=((0.5, "turn right at the crossing"), (0.8, "stop"))))
    assert views[-1].made is not None
    assert views[-1].made.rollouts[0].texts == (
        "turn left at the crossing",
        "turn right at the crossing",
        "stop",
    )
    [opening] = [view.opening for view in views if view.opening]
    assert [start for start, _ in opening.spoken] == [0.0, 0.5, 0.8]


def test_what_follows_is_read_piece_by_piece_and_may_end(model: WorldModel, wish: ImagineWish) -> None:
    late = replace(wish, choice=replace(wish.choice, at_s=6.5))
    recorded = Recorded.around(late.choice.text, wish_of(model, 1.25), (64, 32))
    whole = find_moment(late.choice.text, wish_of(model, 1.25))
    np.testing.assert_array_equal(recorded.follows(0, 99), whole.clip.video[whole.now + 1 :])
    np.testing.assert_allclose(recorded.driven().poses, whole.driven().poses, atol=1e-6)  # type: ignore[union-attr]
    last = shown(model, late)[-1]
    assert last.scores is not None
    assert "0.375 s of 1.25 s are recorded" in last.scores[1]


def test_drives_without_motion_are_imagined_too(model: WorldModel, silent_drives: Dataset) -> None:
    choice = Choice(dataset=str(silent_drives.path), episode=0, at_s=2.0)
    last = shown(model, ImagineWish(choice=choice, seconds=0.5, sampling=Sampling(steps=1)))[-1]
    assert last.made is not None
    assert last.scores is not None
    assert all(row[2].split()[-1] != "m" for row in last.scores[0])


def test_a_drawn_path_starts_ahead_passes_its_points_and_can_stand_still() -> None:
    path = path_through(((8.0, 0.0), (15.0, 3.0), (20.0, 8.0)), 3.0, frequency_hz=8.0, speed_mps=8.0)
    np.testing.assert_allclose(path.poses[[8, 16, 24], :2], [[8, 0], [15, 3], [20, 8]], atol=1e-6)
    np.testing.assert_allclose(path.poses[1], [1.0, 0.0, 0.0], atol=0.1)
    assert commanded(path, 24, 8.0, speed_mps=8.0)[1] == ()
    stops = path_through(((5.0, 0.0), (7.0, 0.0), (7.0, 0.0)), 3.0, frequency_hz=8.0, speed_mps=8.0)
    assert (np.diff(stops.poses[:, 0]) >= -1e-9).all()
    np.testing.assert_allclose(stops.poses[-8:, 0], 7.0)
    assert path_through(((0.0, 0.0),), 1.0, frequency_hz=8.0).path_length_m == 0
    assert straight_on(4.0, 5.0) == ((5.0, 0.0), (10.0, 0.0), (15.0, 0.0), (20.0, 0.0))


@pytest.mark.slow
def test_saving_writes_film_gif_path_and_the_run_folder_of_the_command(
    model: WorldModel, wish: ImagineWish, tmp_path: Path
) -> None:
    wish = replace(wish, drive=SPEED, speed_mps=4.0, turn_degps=10.0, seconds=0.75, changes=((0.5, "a; b"),))
    made = shown(model, wish)[-1].made
    assert made is not None
    again = kept(tmp_path, keep(tmp_path, made))
    np.testing.assert_array_equal(again.rollouts[0].video, made.rollouts[0].video)
    assert (again.wish, again.told) == (made.wish, made.told)
    *steps, saved = save(again, model, tmp_path)
    assert "Writing the film …" in steps
    assert isinstance(saved, Saved)
    assert probe(saved.film).frames == 16 + 6
    assert saved.gif.read_bytes()[:3] == b"GIF"
    assert len(read_actions(saved.path)) == 7
    names = zipfile.ZipFile(saved.archive).namelist()
    folder = saved.archive.stem
    assert {f"{folder}/{name}" for name in ("run.json", "report.html", "scores.json", "actions.csv")} <= set(names)
    actions = made.actions
    assert actions is not None
    np.testing.assert_array_equal(read_actions(saved.runs[0] / "actions.csv").poses, actions.poses)


def test_only_the_newest_runs_are_kept(model: WorldModel, wish: ImagineWish, tmp_path: Path) -> None:
    made = shown(model, replace(wish, seconds=0.5))[-1].made
    assert made is not None
    names = [keep(tmp_path, made) for _ in range(MOST_KEPT + 1)]
    assert kept(tmp_path, names[-1]).frames == PER_CHUNK
    with pytest.raises(BadRequest, match="Press Imagine once more"):
        kept(tmp_path, names[0])
    with pytest.raises(BadRequest, match="no longer kept"):
        kept(tmp_path, "../1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds": None}, "'Seconds' is empty"),
        ({"seconds": 1e9}, "from 0.1 to 60"),
        ({"seconds": float("nan")}, "'Seconds' is nan"),
        ({"seconds": 60.0, "futures": 4}, "240 s in all"),
        ({"futures": 3}, "'Futures' is 3"),
        ({"drive": "<b>"}, "'Who drives' is <b>"),
        ({"sampling": Sampling(steps=51)}, "'Sampling steps' is 51"),
        ({"seed": -1}, "'Seed' is -1"),
        ({"text": "x" * 10_000}, "10000 characters"),
        ({"speed_mps": -3.0}, "'Speed' is -3"),
        ({"changes": ((2.0, "a"), (1.0, "b"))}, "times must increase"),
        ({"drive": PATH}, "0 waypoints"),
        ({"drive": PATH, "waypoints": ((float("inf"), 0.0),)}, "not two numbers"),
    ],
)
def test_impossible_wishes_are_refused_with_a_sentence(wish: ImagineWish, change: dict[str, object], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        replace(wish, **change)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"path": "1,2;x"}, "not two numbers"),
        ({"then": "later:stop"}, "cannot be read"),
        ({"seconds": "soon"}, "number"),
    ],
)
def test_broken_links_are_said(wish: ImagineWish, values: dict[str, str], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        wish_of_link(Link(values=values), wish.choice)
    with pytest.raises(UnknownName):
        wish_of_link(Link(values={"memory": "elephant"}), wish.choice)


def test_commands_name_everything_and_quote_what_was_typed(wish: ImagineWish) -> None:
    asked = replace(wish, text="stop; rm -rf /", changes=((2.0, "go"),), drive=SPEED, futures=2, seconds=2.0)
    first, second = asked.command(Path("my models/m")).splitlines()
    assert "--text 'stop; rm -rf /'" in first
    assert "--actions actions.csv --seconds 2 --steps 1 --model 'my models/m' --seed 0 --out my-run-0" in first
    assert second.endswith("--seed 1 --out my-run-1")
    assert parse_schedule(asked.schedule("told")).texts == ((0.0, "stop; rm -rf /"), (2.0, "go"))
    assert asked.guide("told").texts == ((0.0, "stop; rm -rf /"), (2.0, "go"))  # type: ignore[attr-defined]
    assert wish.guide("told") == FixedGuide(text="told")


def test_the_route_of_a_town_clip_is_the_way_that_was_driven_and_others_have_none(drives: Dataset) -> None:
    wish = Wish(history=16, chunk=4, future_s=4.0)
    recorded = Recorded.around("assets/clips:2@5", wish, (64, 32))
    route, driven = recorded.route(), recorded.driven()
    assert route is not None
    assert driven is not None
    soon = driven.poses[driven.times_s <= 3, :2]
    assert max(np.hypot(*(route - place).T).min() for place in soon) < 1.0
    assert Recorded.around(f"{drives.path}:0@3", wish, (64, 32)).route() is None
