from pathlib import Path

import pytest

from studio.web.shared_model import SharedModel
from studio.web.shelf import Choice, clip_cards, clip_names, moment_range
from studio.web.visitors import Visitors
from worldmodel.errors import BadCheckpoint, BadRequest
from worldmodel.io.lerobot import Dataset


def test_visitors_have_folders_of_their_own_that_vanish_with_the_tab() -> None:
    visitors = Visitors()
    mine, other = visitors.folder("../../me"), visitors.folder("you")
    assert mine.parent == other.parent == visitors.root
    visitors.begin("../../me")
    signal = visitors.signal("../../me")
    visitors.stop("you")
    assert not signal.is_set()
    visitors.close("../../me")
    assert signal.is_set()
    assert not mine.exists()
    assert other.exists()
    visitors.close_all()
    assert not visitors.root.exists()


def test_new_work_of_a_visitor_stops_the_work_before() -> None:
    visitors = Visitors()
    visitors.begin("a")
    first = visitors.signal("a")
    visitors.begin("a")
    assert first.is_set()
    assert not visitors.signal("a").is_set()
    assert not visitors.current("a", first)
    assert visitors.current("a", visitors.signal("a"))
    visitors.close_all()


def test_model_is_read_once_and_a_missing_one_is_said(checkpoint: Path, tmp_path: Path) -> None:
    shared = SharedModel(checkpoint)
    assert not shared.ready
    shared.warm_up().join()
    assert shared.ready
    assert shared.get() is shared.get()
    missing = SharedModel(tmp_path / "none")
    missing.warm_up().join()
    with pytest.raises(BadCheckpoint, match="no checkpoint"):
        missing.get()


def test_shelf_offers_clips_and_moments(drives: Dataset) -> None:
    assert clip_names(drives) == [("0 · one · 7 s", 0), ("1 · two · 7 s", 1), ("2 · short · 2 s", 2)]
    assert [card.caption for card in clip_cards(drives)] == ["0 · one", "1 · two", "2 · short"]
    low, high, start = moment_range(drives, 0)
    assert (low, high, start) == (0.0, 6.875, 2.875)


def test_a_choice_left_empty_is_said() -> None:
    with pytest.raises(BadRequest, match="no clip is chosen"):
        Choice(dataset="clips", episode=None, at_s=1.0)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="no moment"):
        Choice(dataset="clips", episode=0, at_s=None)  # type: ignore[arg-type]
