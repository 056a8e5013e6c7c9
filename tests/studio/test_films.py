import base64
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from studio.overlays import PathLayer, mosaic
from studio.web import films as module
from studio.web.components.birds_eye import CarPath, scene
from studio.web.components.camera_picker import still
from studio.web.components.tiles import tiles_of
from studio.web.films import Film, Films, Track
from worldmodel.clips import Box
from worldmodel.errors import BadRequest, BadVideo
from worldmodel.geometry import Array, Trajectory
from worldmodel.town.scene import town_rig

ONE = (Track(name="imagined", label="Imagined", alt="Imagined frames.", imagined=True),)
TWO = (*ONE, Track(name="recorded", label="Recorded", alt="Recorded frames."))


def grays(first: int, count: int) -> Array:
    """Pictures whose brightness says which frame they are."""
    levels = 3 * np.arange(first, first + count)
    return np.broadcast_to(levels[:, None, None, None], (count, 3, 16, 32)).astype(np.uint8)


def level_of(jpeg: str) -> int:
    return round(float(np.asarray(Image.open(io.BytesIO(base64.b64decode(jpeg)))).mean() / 3))


def fetch(films: Films, film: Film, track: str = "imagined", have: int = 0) -> tuple[int, list[int]]:
    answer = films.pull({"run": film.run, "have": {track: have}})
    frames = answer["frames"][track]
    return frames["from"], [level_of(jpeg) for jpeg in frames["jpegs"]]


def test_a_player_gets_the_frames_it_lacks() -> None:
    films = Films()
    film = films.begin("anna", ONE, rate_hz=8, start_s=-0.5)
    film.add("imagined", grays(0, 4))
    film.add("imagined", grays(4, 4))
    assert fetch(films, film) == (0, [0, 1, 2, 3, 4, 5, 6, 7])
    assert fetch(films, film, have=6) == (6, [6, 7])
    assert fetch(films, film, have=8) == (8, [])


def test_the_value_is_small_and_says_what_there_is() -> None:
    film = Films().begin("anna", TWO, rate_hz=8, start_s=-1.5, expected=40, columns=2)
    film.add("imagined", grays(0, 3))
    film.note(0.0, "turn <left>")
    value = json.loads(json.dumps(film.value()))
    assert [(track["name"], track["count"], track["size"]) for track in value["tracks"]] == [
        ("imagined", 3, [32, 16]),
        ("recorded", 0, [0, 0]),
    ]
    assert (value["rate_hz"], value["start_s"], value["expected"], value["columns"]) == (8, -1.5, 40, 2)
    assert value["notes"] == [[0.0, "turn <left>"]]
    assert len(json.dumps(value)) < 1000


def test_a_track_ends_alone_or_all_do() -> None:
    film = Films().begin("anna", TWO, rate_hz=8)
    film.end("recorded")
    assert [track["done"] for track in film.value()["tracks"]] == [False, True]
    film.end()
    assert [track["done"] for track in film.value()["tracks"]] == [True, True]


def test_a_later_note_at_the_same_time_replaces_the_earlier() -> None:
    film = Films().begin("anna", ONE, rate_hz=8)
    for at, text in [(2.0, "turn left"), (0.0, "go on"), (2.0, "stop")]:
        film.note(at, text)
    assert film.value()["notes"] == [[0.0, "go on"], [2.0, "stop"]]


def test_a_long_film_forgets_its_oldest_frames_and_keeps_counting() -> None:
    size = len(module.jpeg_of(grays(0, 1)[0]))
    films = Films(bytes_each=20 * size)
    film = films.begin("anna", ONE, rate_hz=8)
    for first in range(0, 80, 4):
        film.add("imagined", grays(first, 4))
        assert film.size_bytes <= films.bytes_each
    value = film.value()
    assert value["tracks"][0]["count"] == 80
    assert 60 <= value["first"] < 80
    first, levels = fetch(films, film)
    assert (first, levels) == (value["first"], list(range(value["first"], 80)))


def test_the_newest_frame_stays_whatever_the_bound() -> None:
    films = Films(bytes_each=1)
    film = films.begin("anna", ONE, rate_hz=8)
    film.add("imagined", grays(0, 5))
    assert fetch(films, film) == (4, [4])


def test_older_films_of_a_visitor_go_first() -> None:
    films = Films(films_each=2)
    old, middle, new = (films.begin("anna", ONE, rate_hz=8) for _ in range(3))
    other = films.begin("berta", ONE, rate_hz=8)
    gone = [films.pull({"run": film.run, "have": {}}).get("gone", False) for film in (old, middle, new, other)]
    assert gone == [True, False, False, False]


def test_all_visitors_together_are_bounded_and_the_oldest_film_goes_first() -> None:
    size = len(module.jpeg_of(grays(1, 1)[0]))
    films = Films(bytes_all=5 * size)
    first, second, third = (films.begin(name, ONE, rate_hz=8) for name in "abc")
    for film in (first, second, third):
        film.add("imagined", grays(1, 2))
    assert films.pull({"run": first.run, "have": {}}) == {"gone": True}
    assert all("film" in films.pull({"run": film.run, "have": {}}) for film in (second, third))


def test_a_closed_tab_leaves_nothing_even_while_a_run_goes_on() -> None:
    films = Films()
    film, other = films.begin("anna", ONE, rate_hz=8), films.begin("berta", ONE, rate_hz=8)
    film.add("imagined", grays(0, 4))
    films.close("anna")
    assert films.pull({"run": film.run, "have": {}}) == {"gone": True}
    film.add("imagined", grays(4, 4))
    assert film.size_bytes <= len(module.jpeg_of(grays(7, 1)[0]))
    other.add("imagined", grays(0, 1))
    assert fetch(films, other) == (0, [0])


@pytest.mark.parametrize(
    "request_", [None, "x", [], {}, {"run": 3, "have": {}}, {"run": "../x", "have": {}}, {"run": "RUN", "have": 3}]
)
def test_what_is_not_understood_opens_nothing(request_: object) -> None:
    films = Films()
    film = films.begin("anna", ONE, rate_hz=8)
    film.add("imagined", grays(0, 1))
    if isinstance(request_, dict) and request_.get("run") == "RUN":
        request_ = {**request_, "run": film.run}
    assert films.pull(request_) == {"gone": True}


@pytest.mark.parametrize("have", [-5, 10**12, True, "1", None])
def test_odd_counts_do_no_harm(have: object) -> None:
    films = Films()
    film = films.begin("anna", ONE, rate_hz=8)
    film.add("imagined", grays(0, 2))
    answer = films.pull({"run": film.run, "have": {"imagined": have, "unknown": 3}})
    assert list(answer["frames"]) == ["imagined"]


def test_runs_cannot_be_guessed() -> None:
    films = Films(films_each=50)
    runs = {films.begin("anna", ONE, rate_hz=8).run for _ in range(50)}
    assert len(runs) == 50
    assert min(map(len, runs)) >= 20


def test_answers_are_bounded_and_keep_tracks_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    films = Films()
    film = films.begin("anna", TWO, rate_hz=8)
    film.add("imagined", grays(0, 12))
    film.add("recorded", grays(0, 9))
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 5 * len(module.jpeg_of(grays(0, 1)[0])))
    have = {"imagined": 0, "recorded": 0}
    answers = 0
    while have != {"imagined": 12, "recorded": 9}:
        frames = films.pull({"run": film.run, "have": have})["frames"]
        have = {name: frames[name]["from"] + len(frames[name]["jpegs"]) for name in have}
        assert min(have["imagined"], 9) == have["recorded"]
        answers += 1
    assert answers == 4


def test_frames_may_be_added_while_players_fetch() -> None:
    films = Films(bytes_each=20_000)
    film = films.begin("anna", ONE, rate_hz=8)
    seen: list[int] = []

    def watch() -> None:
        have = 0
        while have < 60:
            frames = films.pull({"run": film.run, "have": {"imagined": have}})["frames"]["imagined"]
            seen.extend(level_of(jpeg) for jpeg in frames["jpegs"])
            have = frames["from"] + len(frames["jpegs"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    for first in range(0, 60, 3):
        film.add("imagined", grays(first, 3))
    watcher.join(timeout=20)
    assert not watcher.is_alive()
    assert seen == sorted(set(seen))
    assert seen[-1] == 59


def test_pictures_of_another_size_or_kind_are_refused() -> None:
    film = Films().begin("anna", ONE, rate_hz=8)
    film.add("imagined", grays(0, 1))
    with pytest.raises(BadVideo, match=r"32x16 pixels and was given 16x16\. Resize them"):
        film.add("imagined", np.zeros((1, 3, 16, 16), np.uint8))
    with pytest.raises(BadVideo, match=r"uint8 pictures \[n, 3, h, w\]; got float64"):
        film.add("imagined", np.zeros((1, 3, 16, 32)))
    with pytest.raises(BadRequest, match=r"no track 'truth'\. Its tracks are: imagined"):
        film.add("truth", grays(0, 1))


@pytest.mark.parametrize("cameras", [1, 3, 6])
def test_tiles_are_where_the_mosaic_puts_the_cameras(cameras: int) -> None:
    rig = town_rig(cameras, 64, 32)
    frames = np.stack([np.full((3, 32, 64), 30 + 20 * c, np.uint8) for c in range(cameras)])
    picture = mosaic(frames[None], rig)[0, 0]
    for tile in tiles_of(rig):
        inner = picture[tile["y"] : tile["y"] + tile["height"], tile["x"] : tile["x"] + tile["width"]]
        assert inner.shape == (tile["height"], tile["width"])
        assert (inner[-2:] == 30 + 20 * rig.names.index(tile["camera"])).all()


def test_a_still_says_where_each_camera_is_and_what_is_aimed_at() -> None:
    rig = town_rig(3, 64, 32)
    value = still(np.zeros((3, 3, 32, 64), np.uint8), rig, alt="All cameras.", aim=("front", 12.0, 20.0))
    assert value["size"] == [968, 160]
    assert value["aim"] == {"camera": "front", "u": 12.0, "v": 20.0}
    assert {(tile["camera_width"], tile["camera_height"]) for tile in value["tiles"]} == {(64, 32)}
    assert value["src"].startswith("data:image/jpeg;base64,")


def test_a_scene_is_plain_data_in_metres() -> None:
    box = Box(
        track="7",
        kind="car",
        center=np.array([10.0, 2.0, 0.8]),
        size=np.array([4.0, 2.0, 1.6]),
        yaw_rad=0.0,
    )
    path = PathLayer(label="plan", points_m=np.array([[0.0, 0.0], [5.126, 0.0]]), color="#2f6fde")
    drive = Trajectory(poses=np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.126]]), times_s=np.array([0.0, 0.125]))
    value = json.loads(
        json.dumps(
            scene(
                [path],
                boxes=[box],
                cars=[CarPath(label="seed 0", path=drive, color="#2f6fde")],
                waypoints=np.array([[8.0, 1.0]]),
                title="Paths",
            )
        )
    )
    assert value["cars"] == [
        {"label": "seed 0", "color": "#2f6fde", "times": [0.0, 0.125], "poses": [[0.0, 0.0, 0.0], [1.0, 0.0, 0.13]]}
    ]
    assert value["layers"] == [
        {"label": "plan", "color": "#2f6fde", "dashed": False, "points": [[0.0, 0.0], [5.13, 0.0]]}
    ]
    assert sorted(value["boxes"][0]["corners"]) == [[8.0, 1.0], [8.0, 3.0], [12.0, 1.0], [12.0, 3.0]]
    assert (value["waypoints"], value["obstacle"]) == ([[8.0, 1.0]], None)
