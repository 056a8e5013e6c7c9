from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.live.imagine.wishes import PATH, SPEED
from studio.pages.choosing import choice_of, own_datasets, pick_of, pick_text, pick_values
from studio.pages.imagine.controls import CONTROLS, control_values, drawn_words
from studio.pages.imagine.events import Events
from studio.web.links import Link
from studio.web.site import Site
from worldmodel.errors import BadDataset, BadRequest, DetourError
from worldmodel.io.lerobot import Dataset
from worldmodel.sampling import Sampling

PICKED = "clip=1%402"
OTHERS = (
    "status", "command_group", "drawn", "auto", "film_shown", "go", "stop", "told", "scores", "save", "saved", "made", "taken",
    "film", "gif", "path", "archive",
)  # fmt: skip


@pytest.fixture
def page(checkpoint: Path, drives: Dataset) -> Iterator[Events]:
    site = Site.open(checkpoint, drives.path)
    yield Events(site, {name: name for name in (*CONTROLS, *OTHERS)})
    site.close_all()


def values(page: Events, **changed: Any) -> list[Any]:
    _, wish = page.linked("me", "")
    settings = {**control_values(wish), "above": None, **changed}
    return [settings[name] for name in CONTROLS]


def test_what_the_controls_say_becomes_a_link_that_sets_the_controls_again(page: Events) -> None:
    asked = values(
        page, text="go", from0=2.0, then0="stop", from1=1.0, then1=" turn left ", drive=PATH, seconds=3.0, futures=2,
        above={"waypoints": [[5.0, 0.0], [9, 1.5]]}, memory="full", text_weight=2,
    )  # fmt: skip
    wish = page.wish("me", PICKED, asked)
    assert wish.changes == ((1.0, "turn left"), (2.0, "stop"))
    assert wish.waypoints == ((5.0, 0.0), (9.0, 1.5))
    picked, again = page.linked("me", page.link(PICKED, wish))
    assert again == wish
    assert pick_values(picked) == {"clip": "1@2"}
    assert control_values(again)["then0"] == "turn left"
    assert control_values(again)["from2"] == 3.0, "a row that says nothing has a time that makes sense"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"from0": None, "then0": "stop"}, "has no time"),
        ({"drive": PATH}, "0 waypoints"),
        ({"drive": PATH, "above": {"waypoints": [["<b>", 1]]}}, "not two numbers"),
        ({"seconds": None}, "'Seconds' is empty"),
    ],
)
def test_what_is_missing_is_said(page: Events, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        page.wish("me", PICKED, values(page, **changed))


def test_the_command_follows_the_controls(page: Events) -> None:
    command = page.command("me", PICKED, values(page, then0="stop", from0=1.0))
    assert "drives:1@2 --schedule '0:turn left at the crossing;1:stop'" in command
    assert page.command("me", "", values(page)) == ""
    assert page.command("me", PICKED, values(page, seed=-1)).startswith("# 'Seed' is -1")


def test_the_drawn_path_is_put_into_words(page: Events) -> None:
    assert "10 m in 2 s, 5.0 m/s (18 km/h)" in drawn_words([[5, 0], [10, 0]], 2.0)
    assert 'role="alert"' in page.drawn(PATH, 2.0, {"waypoints": "none"})
    assert page.drawn(SPEED, 2.0, None) == ""
    linked = page.follow("me", "tab=imagine&clip=1%402&drive=path&path=5%2C0%3B9%2C1&seconds=2")
    assert "Drag the 2 points" in linked["drawn"].value


def test_choices_are_texts_that_links_carry(page: Events) -> None:
    assert pick_of(pick_values(pick_text("mine/a b", 3, 1.875))) == ("mine/a b", 3, 1.875)
    assert pick_of({}) == ("", 0, None)
    assert choice_of(page.site, "me", "clip=0").at_s == 2.875
    for text in ("x", "1@x", "-1@2", "1@nan"):
        with pytest.raises(BadRequest, match="no clip and moment"):
            pick_of({"clip": text})
    for picked in ("", "clip=99%401", "data=mine%2F..%2F..&clip=0"):
        with pytest.raises(DetourError):
            choice_of(page.site, "me", picked)


def test_visitors_choose_among_their_own_uploads_alone(page: Events, checkpoint: Path, drives: Dataset) -> None:
    mine = page.site.visitors.folder("me") / "datasets"
    mine.mkdir()
    (mine / "city").symlink_to(drives.path)
    (mine / ".incoming-1").mkdir()
    assert own_datasets(page.site, "me") == ["mine/city"]
    assert own_datasets(page.site, "you") == []
    closed = Site.open(checkpoint, drives.path, any_folder=False)
    with pytest.raises(BadDataset, match="not open here"):
        choice_of(closed, "me", pick_text(str(mine), 0, 1.0))
    closed.close_all()


@pytest.mark.slow
def test_a_run_says_its_link_grows_the_film_and_offers_what_it_made(page: Events) -> None:
    page.announce("me")
    wish = replace(page.linked("me", "")[1], seconds=0.75, sampling=Sampling(steps=1))
    link, *changes = page.run("me", PICKED, lambda: wish)
    assert Link.parse(str(link)).values["go"] == "1"
    films = [change["film_shown"] for change in changes if "film_shown" in change]
    assert films[-1]["run"] == films[0]["run"]
    assert [track["count"] for track in films[-1]["tracks"]] == [22, 22]
    assert all(track["done"] for track in films[-1]["tracks"])
    assert films[-1]["notes"] == [[0.0, "turn left at the crossing"]]
    assert "Done" in changes[-2]["status"]
    *_, offered = page.save("me", changes[-1]["made"])
    assert Path(offered["film"]).suffix == ".mp4"
    assert Path(offered["archive"]).is_relative_to(page.site.visitors.folder("me"))
    page.site.close("me")
    assert not Path(offered["archive"]).exists()


@pytest.mark.slow
def test_closing_the_tab_ends_the_run_and_leaves_nothing(page: Events) -> None:
    page.announce("me")
    wish = replace(page.linked("me", "")[1], seconds=60.0, sampling=Sampling(steps=1))
    changes: list[Any] = []
    for change in page.run("me", PICKED, lambda: wish):
        changes.append(change)
        if "Chunk 1 of" in str(change):
            page.site.close("me")
    assert "Stopped after chunk 1" in changes[-1]["status"]
    assert list(page.site.visitors.root.iterdir()) == []
    assert page.site.turns.waiting() == 0


@pytest.mark.slow
def test_problems_are_sentences_and_the_buttons_come_back(page: Events) -> None:
    page.announce("me")
    [change] = page.run("me", PICKED, lambda: page.wish("me", PICKED, values(page, seconds=None)))
    assert 'role="alert"' in change["status"]
    assert change["go"].interactive
    assert 'role="alert"' in page.follow("me", "tab=imagine&clip=0&then=x")["status"]
    assert 'role="alert"' in page.preview("me", "clip=0%402", "policy", 4.0, "tab=imagine&clip=0%402&then=x")["status"]
    assert "Press Imagine" in page.preview("me", PICKED, "policy", 4.0, "tab=imagine&clip=0%402&then=x")["status"]
    assert "&lt;b&gt;" in page.follow("me", "tab=imagine&clip=%3Cb%3E")["status"]
    assert page.follow("me", "tab=drive&clip=0") == {}
    [lost] = page.save("me", "12")
    assert "no longer kept" in lost["saved"].value


@pytest.mark.slow
def test_a_link_starts_the_run_and_the_preview_leaves_it_the_player(page: Events) -> None:
    assert "film_shown" in page.preview("me", PICKED, "policy", 4.0)
    followed = page.follow("me", "tab=imagine&clip=1%402&drive=speed&speed=5&go=1")
    assert followed["auto"].endswith("go=1")
    assert (followed["drive"], followed["speed"]) == (SPEED, 5.0)
    page.announce("me")
    assert "film_shown" not in page.preview("me", PICKED, "policy", 4.0)
    assert "film_shown" in page.preview("you", PICKED, "policy", 4.0)
