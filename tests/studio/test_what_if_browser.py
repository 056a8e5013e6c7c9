"""The What if page in a real browser with a tiny model; screenshots go to DETOUR_SCREENSHOTS when that names a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import ARGS, CHROMIUM, marks

pytestmark = marks
WAIT_MS = 60_000
MOVED = """(before) => {
  const ahead = (text) => Number(text.match(/--x-m (\\S+)/)[1]);
  return Math.abs(ahead(document.querySelector('#what-if-command').innerText) - ahead(before) - 1.5) < 0.06;
}"""
READY = "() => !document.querySelector('#what-if-go')?.disabled"


@pytest.fixture(scope="module")
def address(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from studio.pages.frame import page_of
    from studio.web import look
    from studio.web.site import Site
    from worldmodel.clips import Clip
    from worldmodel.io.lerobot import write_dataset
    from worldmodel.town.dataset import SOURCE
    from worldmodel.town.scene import town_rig
    from worldmodel.town.traffic import simulate

    ramp = (np.arange(64)[None] + 3 * np.arange(32)[:, None]) % 256
    made = []
    for situation, seed in (("street", 2944906), ("stop_and_go", 0)):  # a free road, and a van 12 m ahead at 2 s
        scene = simulate(situation, seed, seconds=6.5)
        made.append(
            Clip(
                id=scene.id,
                video=np.broadcast_to(ramp, (len(scene), 3, 3, 32, 64)).astype(np.uint8),
                rig=town_rig(3, 64, 32),
                motion=scene.trajectory().motion(),
                motion_origin="town",
                frequency_hz=8.0,
                boxes=tuple(scene.boxes(frame) for frame in range(len(scene))),
                source=SOURCE,
            )
        )
    clips = tmp_path_factory.mktemp("browser") / "clips"
    write_dataset(made, clips, name="street")
    site = Site.open(checkpoint, clips)
    page = page_of(site, ["what-if"])
    page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, theme=look.theme(), css=look.CSS
    )
    yield page.local_url
    page.close()
    site.close_all()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield chromium
        chromium.close()


def opened(browser: Any, address: str, width: int, scheme: str, query: str) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(WAIT_MS)
    page.elsewhere = []
    page.on(
        "request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else page.elsewhere.append(r.url)
    )
    page.goto(f"{address}?{query}&__theme={scheme}")
    page.wait_for_function(
        "() => document.querySelector('#what-if-cameras canvas, #what-if-cameras img')?.hidden === false"
    )
    return page


def asked(page: Any) -> str:
    """Press the button, wait for the end, give what is said of the plan."""
    page.click("#what-if-go")
    page.wait_for_function("() => document.querySelector('#what-if-go')?.disabled")
    page.wait_for_function(READY)
    assert "Done" in page.inner_text("#what-if-status")
    return str(page.inner_text("#what-if-response"))


def kept(page: Any, name: str) -> None:
    if folder := os.environ.get("DETOUR_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"what-if-{name}.png", full_page=True)


QUERY = "tab=what-if&clip={}%402&planner=joint&samples=1&seconds=0.5"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_an_object_is_placed_by_a_click_and_answered(browser: Any, address: str, width: int, scheme: str) -> None:
    page = opened(browser, address, width, scheme, QUERY.format(0))
    page.wait_for_function("() => document.querySelector('#what-if-command')?.innerText.includes('--variant near')")
    above = page.locator("#what-if-map svg[role=group]")
    box = above.bounding_box()
    above.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.4})  # ahead of the car
    page.wait_for_function("() => document.querySelector('#what-if-command')?.innerText.includes('--x-m')")
    assert "where I put it" in page.input_value("#what-if-where input")
    page.locator("#what-if-map .handle").focus()
    before = page.inner_text("#what-if-command")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.wait_for_function(MOVED, arg=before)  # by all three steps, else the run asks for another place than the link
    said = asked(page)
    assert "the plan of 'joint'" in said
    assert "of the town's driver" in said
    assert "The town's own answer" in said
    page.wait_for_function("() => document.querySelectorAll('#what-if-film figure canvas').length === 4")
    assert "where=placed" in page.url
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.elsewhere == []
    kept(page, f"object-{width}-{scheme}")
    page.reload()
    page.wait_for_function("() => document.querySelector('#what-if-command')?.innerText.includes('--x-m')")
    assert "--samples 1" in page.inner_text("#what-if-command")
    page.wait_for_function("() => document.querySelector('#what-if-status')?.innerText.includes('Done')")  # by itself
    assert page.inner_text("#what-if-response") == said
    page.goto(f"{page.url}&seed=no")
    page.wait_for_selector("#what-if-status .problem")
    assert "the link says seed=no" in page.inner_text("#what-if-status")
    page.locator("label", has_text="Other words").click()
    page.wait_for_selector("#what-if-note >> text=Write what the driver is told")
    page.close()


def test_somebody_is_removed_and_all_variants_are_asked(browser: Any, address: str) -> None:
    page = opened(browser, address, 1280, "dark", f"{QUERY.format(1)}&change=remove&track=van-1")
    page.wait_for_function("() => document.querySelector('#what-if-command')?.innerText.includes('--remove van-1')")
    assert "without van-1 its driver covers" in asked(page)
    kept(page, "remove-1280-dark")
    page.get_by_text("All variants and controls").click()
    page.click("#what-if-all")
    page.wait_for_selector("#what-if-table tr:has-text('empty: nothing pasted') >> text=+0.00 m >> nth=0")
    page.close()


def test_what_cannot_be_is_said_beside_the_cameras(browser: Any, address: str) -> None:
    page = opened(browser, address, 1280, "light", f"{QUERY.format(0)}&where=placed&x=-30&y=0")
    page.wait_for_selector("#what-if-note .problem")
    assert "behind every camera" in page.inner_text("#what-if-note")
    page.click("#what-if-go")
    page.wait_for_selector("#what-if-status .problem")
    assert "choose another moment, place" in page.inner_text("#what-if-status")
    page.close()
