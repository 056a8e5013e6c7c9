"""Reports hold everything, load nothing, and escape every text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from studio.html_report import Figure, Note, Section, Table, Video, render_report
from studio.overlays import PathLayer, birds_eye_svg
from worldmodel.io.video import write_video

EVIL = '<img src=x onerror=alert(1)>"&'


class Tags(HTMLParser):
    """Collects tags and checks that they close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "line", "rect", "circle", "polyline", "polygon"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in {"line", "rect", "circle", "polyline"}:
            raise AssertionError(f"</{tag}> closes {self.open[-3:]}")


@pytest.fixture
def page(tmp_path: Path) -> str:
    write_video(tmp_path / "a.mp4", np.zeros((2, 3, 16, 16), np.uint8), 8.0)
    svg = birds_eye_svg([PathLayer(label=EVIL, points_m=np.array([[1.0, 0.0]]), color="#112233")])
    blocks = [
        EVIL,
        Video(path=tmp_path / "a.mp4", alt=EVIL, caption=EVIL, imagined=True),
        Figure(svg=svg, caption=EVIL),
        Table(head=(EVIL, "b"), rows=[(EVIL, EVIL)], caption=EVIL),
        Note(text=EVIL),
    ]
    return render_report(EVIL, EVIL, [Section(heading=EVIL, blocks=blocks)], {EVIL: EVIL})


def test_every_text_is_escaped(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert not {"img", "script"} & {tag for tag, _ in tags.seen}
    assert not any(name.startswith("on") for _, attributes in tags.seen for name in attributes)
    assert tags.open == []


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert not re.search(r"(?i)https?://|url\(|@import|<link|<script|<iframe", page)
    tags = Tags()
    tags.feed(page)
    sources = [value for _, attributes in tags.seen for name, value in attributes.items() if name in ("src", "href")]
    assert sources
    assert all(value and value.startswith("data:video/mp4;base64,") for value in sources)
    assert "default-src 'none'" in page


def test_videos_play_and_are_described(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    (video,) = [attributes for tag, attributes in tags.seen if tag == "video"]
    assert {"controls", "loop", "muted", "playsinline"} <= set(video)
    assert video["aria-label"] == EVIL
    assert ">imagined</span>" in page


def test_the_page_says_what_it_is_not(page: str) -> None:
    assert "no evidence of road safety" in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme" in page
