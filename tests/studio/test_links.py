from pathlib import Path

import pytest

from studio.web.links import MOST_CHARACTERS, PAGES, Link, fresh
from worldmodel.errors import BadDataset, BadRequest


@pytest.mark.parametrize("page", PAGES)
def test_link_is_read_back_as_it_was_written(page: str) -> None:
    link = Link(page=page, values={"clip": "0@1.9", "text": "turn left & slow = <b>down</b>, 50 %", "empty": ""})
    assert Link.parse(link.query) == link
    assert Link.parse("?" + link.query) == link


def test_second_hand_over_of_the_same_link_differs_and_says_the_same() -> None:
    link = Link(page="drive", values={"seed": "3"})
    assert fresh(link, 1) != fresh(link, 2)
    assert Link.parse(fresh(link, 2)) == link


def test_nothing_is_the_first_page() -> None:
    assert Link.parse(None) == Link.parse("") == Link(page="imagine")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("tab=<script>", "there are imagine"),
        ("tab=drive&text=" + "x" * MOST_CHARACTERS, "at most"),
        ("&".join(f"a{i}=1" for i in range(100)), "more than 64 values"),
    ],
)
def test_impossible_links_are_refused_with_a_sentence(query: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        Link.parse(query)


@pytest.mark.parametrize("text", ["nan", "1e9", "-1", "many", ""])
def test_numbers_of_a_link_are_checked(text: str) -> None:
    with pytest.raises(BadRequest, match="seconds="):
        Link(values={"seconds": text}).number("seconds", 4.0, 0.1, 60.0)


def test_missing_number_is_the_default() -> None:
    assert Link().number("seconds", 4.0, 0.1, 60.0) == 4.0


def test_site_opens_what_is_the_visitors_own_and_nothing_else(tmp_path: Path) -> None:
    from studio.web.site import Site

    site = Site.open(tmp_path / "model", tmp_path / "clips", any_folder=False)
    try:
        for name in ("mine/../../../etc", "mine/", "mine/.", "mine/absent", "mine//etc", "/etc", str(tmp_path), ".."):
            with pytest.raises(BadDataset):
                site.dataset("me", name)
        link = site.visitors.folder("me") / "datasets" / "sly"
        link.parent.mkdir(parents=True)
        link.symlink_to(tmp_path)
        with pytest.raises(BadDataset, match="no upload"):
            site.dataset("me", "mine/sly")
    finally:
        site.close_all()
