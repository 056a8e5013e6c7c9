"""The Drive page without a browser: what its events answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.pages.choosing import pick_text
from studio.pages.drive.events import Events
from studio.web.links import Link
from studio.web.site import Site
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel

PARTS = (
    "status", "film", "gauges", "above", "go", "stop", "put", "keep", "here", "text", "note", "kept_status", "kept_row",
    "mp4", "path", "command", "name", "world", "seed", "steps",
)  # fmt: skip


@pytest.fixture
def site(tiny_model: WorldModel, drives: Dataset, tmp_path: Path) -> Iterator[Site]:
    made = Site.open(tmp_path / "no-model", drives.path)
    made.model._model = tiny_model
    yield made
    made.close_all()


@pytest.fixture
def events(site: Site) -> Events:
    parts: Any = {name: name for name in PARTS}
    return Events(site, parts)


PICKED = pick_text("", 0, 2.0)


def begin(events: Events, session: str, world: str = "dream") -> dict[str, Any]:
    events.announce(session, PICKED)
    changes: dict[str, Any] = {}
    for change in events.begin(session, PICKED, world, 0, 1, ""):
        changes |= change
    return changes


def test_the_player_asks_and_the_drive_goes_on(events: Events) -> None:
    begun = begin(events, "a")
    assert "Go!" in begun["status"]
    assert begun["film"]["tracks"][0]["count"] == 8
    assert begun["film"]["start_s"] == pytest.approx(-0.875)
    changes = events.go_on("a", {"throttle": 1, "steer": 0}, False)
    assert changes["film"]["tracks"][0]["count"] == 12
    assert "You drive" in changes["status"]
    assert "km/h" in changes["gauges"]
    assert changes["above"]["layers"][0]["label"] == "driven"


def test_a_preview_that_comes_late_does_not_disturb_the_drive(events: Events) -> None:
    assert events.preview("a", PICKED)["film"]["tracks"][0]["name"] == "now"
    begin(events, "a")
    assert "film" not in events.preview("a", PICKED)
    assert "You drive" in events.go_on("a", {}, False)["status"]
    assert events.preview("a", pick_text("", 1, 2.0))["film"]["tracks"][0]["name"] == "now"
    assert "you chose another moment" in events.go_on("a", {}, False)["status"]


def test_a_stop_ends_the_drive_and_another_visitor_drives_on(events: Events) -> None:
    for session in ("a", "b"):
        begin(events, session)
        events.go_on(session, {}, False)
    stopped = events.stop("a")
    assert "The drive is over: you stopped. 4 m in 0.5 s" in stopped["status"]
    assert stopped["film"]["tracks"][0]["done"]
    assert "The drive is over" in events.go_on("a", {}, False)["status"]
    assert "You drive" in events.go_on("b", {}, False)["status"]


def test_a_closed_tab_ends_the_drive(events: Events, site: Site) -> None:
    begin(events, "a")
    site.close("a")
    assert "The drive is over" in events.go_on("a", {}, False)["status"]


def test_what_cannot_be_driven_is_said_where_it_was_asked(events: Events) -> None:
    refused = begin(events, "a", "town")
    assert 'role="alert"' in refused["status"]
    assert "drive the dream" in refused["status"]
    assert "Press &#x27;Drive&#x27;" in events.go_on("nobody", {}, False)["status"]
    assert "Press &#x27;Drive&#x27;" in events.put("nobody", "car")["note"]
    query = "tab=drive&clip=0%402&world=moon"
    assert "moon" in events.follow(query)["status"]
    assert "moon" in events.preview("b", PICKED, query)["status"]
    assert "Press Drive" in events.preview("b", pick_text("", 1, 2.0), query)["status"]


def test_texts_are_told_and_shown_as_text(events: Events) -> None:
    begin(events, "a")
    assert "&lt;b&gt;left" in events.say("a", "<b>left")["note"]
    changes = events.go_on("a", {}, True)
    assert "The autopilot drives, told “&lt;b&gt;left”" in changes["status"]
    assert changes["film"]["notes"][-1] == [0.0, "<b>left"]
    assert 'role="alert"' in events.say("a", "x" * 5000)["note"]
    assert "slow down and stop" in events.say_example("a", 2)["note"]


def test_a_kept_drive_is_a_dataset_that_other_pages_open(events: Events, site: Site) -> None:
    begin(events, "a")
    for _ in range(2):
        events.go_on("a", {}, False)
    events.stop("a")
    *_, kept = events.keep("a")
    assert kept["name"] == "mine/drive-1"
    assert site.dataset("a", kept["name"]).length(0) == 8
    link = Link.parse(events.open_in("imagine", kept["name"]))
    assert (link.page, link.values) == ("imagine", {"data": "mine/drive-1", "clip": "0"})
    *_, again = events.keep("a")
    assert again["name"] == "mine/drive-2"
    *_, none = events.keep("b")
    assert "not driven yet" in none["kept_status"]


def test_a_link_sets_the_same_controls(events: Events) -> None:
    link = events.link(PICKED, "both", 7, 16, "turn left")
    assert link.query == "tab=drive&clip=0%402&world=both&seed=7&steps=16&text=turn+left"
    changes = events.follow(link.query)
    assert (changes["world"], changes["seed"], changes["steps"], changes["text"]) == ("both", 7, 16, "turn left")
    assert events.link(PICKED, "dream", 0, 8, "").query == "tab=drive&clip=0%402"
