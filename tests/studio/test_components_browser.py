"""Players, views from above, pads and pickers in a real browser; screenshots go to DETOUR_SCREENSHOTS."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import ARGS, CHROMIUM, marks

from studio.overlays import PathLayer
from studio.web.films import Film, Films, Track
from worldmodel.geometry import Array, Trajectory
from worldmodel.town.scene import town_rig

pytestmark = marks
WAIT_MS = 12_000
FRAMES, CHUNK, RATE_HZ = 32, 4, 8.0
RIG = town_rig(3, 64, 32)
TRACKS = (
    Track(name="a", label="Seed 0", alt="Imagined frames of seed 0.", imagined=True),
    Track(name="b", label="Recorded <b>there</b>", alt="Recorded frames."),
)
WATCH = """() => {
  window.shown = []; window.open_ = 0;
  const make = window.createImageBitmap, close = ImageBitmap.prototype.close;
  window.createImageBitmap = async (...a) => { const b = await make(...a); window.open_ += 1; return b; };
  ImageBitmap.prototype.close = function () { window.open_ -= 1; return close.call(this); };
  const look = () => {
    const levels = [...document.querySelectorAll('#show figure:not([hidden]) canvas')].map((c) =>
      c.getContext('2d').getImageData(c.width >> 1, c.height >> 1, 1, 1).data[0] >> 2);
    if (levels.length) window.shown.push(levels);
    requestAnimationFrame(look);
  };
  look();
}"""


class SlowFilms(Films):
    """A connection as people have it: late, and now and then it fails."""

    calls = 0

    def pull(self, request: object) -> dict[str, Any]:
        SlowFilms.calls += 1
        time.sleep(0.15)
        if SlowFilms.calls in (2, 5):
            raise RuntimeError("the network is gone")
        return super().pull(request)


def pictures(first: int, count: int) -> Array:
    """Gray mosaics whose brightness says which frame they are."""
    levels = 4 * np.arange(first, first + count) + 2
    return np.broadcast_to(levels[:, None, None, None], (count, 3, 160, 968)).astype(np.uint8)


def grow(film: Film) -> None:
    """A run that says nothing while it adds frames."""
    for first in range(CHUNK, FRAMES, CHUNK):
        time.sleep(0.3)
        for track in ("a", "b"):
            film.add(track, pictures(first, CHUNK))
    film.end()


def build() -> Any:
    import gradio as gr

    from studio.web.components.birds_eye import CarPath, birds_eye, scene
    from studio.web.components.camera_picker import camera_picker, still
    from studio.web.components.pad import pad
    from studio.web.components.player import player
    from studio.web.components.tiles import tiles_of

    films, drives = SlowFilms(), {}

    def go(request: gr.Request) -> dict[str, Any]:
        film = films.begin(
            str(request.session_hash), TRACKS, rate_hz=RATE_HZ, start_s=-1.0, expected=FRAMES, tiles=tiles_of(RIG)
        )
        film.note(-1.0, "follow the road")
        film.note(1.0, "<img src=x onerror=alert(1)>")
        for track in ("a", "b"):
            film.add(track, pictures(0, CHUNK))
        threading.Thread(target=grow, args=[film], daemon=True).start()
        return film.value()

    def again(request: gr.Request) -> dict[str, Any]:
        film = films.begin(str(request.session_hash), TRACKS, rate_hz=RATE_HZ, start_s=-1.0, stay=True)
        for track in ("a", "b"):
            film.add(track, pictures(0, FRAMES))
        film.end()
        return film.value()

    def start(request: gr.Request) -> dict[str, Any]:
        film = drives[str(request.session_hash)] = films.begin(str(request.session_hash), TRACKS[:1], rate_hz=RATE_HZ)
        film.add("a", pictures(0, 2))
        return film.value()

    def more(held: dict[str, int], request: gr.Request) -> tuple[dict[str, Any], str]:
        film = drives[str(request.session_hash)]
        film.add("a", pictures(7 * held["throttle"] + 30, CHUNK))
        return film.value(), f"{held['throttle']} {held['steer']}"

    def picked(event: gr.EventData) -> str:
        return " ".join(
            str(event._data[name]) for name in ("camera", "u", "v", "x", "y", "track") if name in event._data
        )

    path = PathLayer(label="plan", points_m=np.stack([np.arange(12.0) * 2, np.zeros(12)], axis=1), color="#2f6fde")
    times = np.arange(FRAMES) / RATE_HZ - 1.0
    drive = Trajectory(poses=np.stack([6 * times, 0 * times, 0 * times], axis=1), times_s=times)
    car = CarPath(label="seed 0", path=drive, color="#2f6fde")
    obstacle = {"x": 14.0, "y": -3.0, "yaw": 0.0, "length": 4.5, "width": 1.9, "kind": "car", "movable": True}
    view = scene(
        [path], obstacle=obstacle, waypoints=np.array([[8.0, 0.0], [16.0, 0.0]]), cars=[car], title="Paths from above."
    )
    view["boxes"] = [{"track": "7", "kind": "truck", "corners": [[20, 4], [26, 4], [26, 7], [20, 7]]}]
    with gr.Blocks(title="Parts", analytics_enabled=False) as page:
        show = player(films, label="The imagined drive", elem_id="show", hint="Press Go.")
        gr.Button("Go", elem_id="go").click(go, None, show, show_progress="hidden", queue=False)
        gr.Button("Again", elem_id="again").click(again, None, show, show_progress="hidden", queue=False)
        above = birds_eye(
            label="From above", elem_id="above", value=view, selectable=True, height_px=300, follows="show"
        )
        frames = np.full((3, 3, 32, 64), 90, np.uint8)
        picker = camera_picker(label="Choose a place", elem_id="picker", value=still(frames, RIG, alt="All cameras."))
        said = gr.Textbox(label="Said", elem_id="said")
        with gr.Column(elem_id="drive"):
            cockpit = player(films, label="The dream", elem_id="cockpit", hungry=5)
            keys = pad(label="Steer the dream", elem_id="pad", keys_within="drive")
            gr.Button("Start", elem_id="start").click(start, None, cockpit, show_progress="hidden", queue=False)
            held = gr.Textbox(label="Held", elem_id="held")
            gr.Textbox(label="Tell the driver", elem_id="tell")
        above.input(lambda v: f"{v['waypoints']} {v['obstacle']['x']} {v['obstacle']['y']}", above, said)
        above.select(picked, None, said)
        picker.select(picked, None, said)
        cockpit.input(more, keys, [cockpit, held], show_progress="hidden")
    return page


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from studio.web import look

    page = build()
    page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, theme=look.theme(), css=look.CSS
    )
    yield page.local_url
    page.close()


@pytest.fixture
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield browser
        browser.close()


def opened(browser: Any, address: str, **options: Any) -> Any:
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(WAIT_MS)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("dialog", lambda dialog: (page.faults.append("a script of a visitor ran"), dialog.dismiss()))
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else page.faults.append(r.url))
    page.goto(address)
    page.wait_for_selector("#pad .pad")
    return page


def facts(page: Any, name: str = "show") -> dict[str, str]:
    return page.evaluate(f"({{...document.querySelector('#{name} .player').dataset}})")


def until(page: Any, text: str) -> None:
    page.wait_for_function(text)


def at_frame(page: Any, frame: int, name: str = "show") -> None:
    until(page, f"document.querySelector('#{name} .player').dataset.frame === '{frame}'")


def said(page: Any, start: str) -> str:
    until(page, f"document.querySelector('#said textarea').value.startsWith({start!r})")
    return str(page.input_value("#said textarea"))


def shot(page: Any, name: str) -> None:
    if folder := os.environ.get("DETOUR_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"parts-{name}.png", full_page=True)


def test_a_growing_film_plays_in_step_and_obeys_the_keys(browser: Any, address: str) -> None:
    page = opened(browser, address, viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.evaluate(WATCH)
    page.click("#go")
    until(page, "document.querySelector('#show .player').dataset.playing === 'true'")
    at_frame(page, FRAMES - 1)
    until(page, "document.querySelector('#show .player').dataset.playing === 'false'")
    until(page, f"window.shown.at(-1)[0] === {FRAMES - 1}")
    shown = page.evaluate("window.shown.filter((levels) => levels.some(Boolean))")
    assert all(len(set(levels)) == 1 for levels in shown), "both tracks show the same moment"
    order = [levels[0] for levels in shown]
    assert order == sorted(order), "no frame comes back"
    assert order[-1] == FRAMES - 1
    assert len(set(order)) > 0.8 * FRAMES
    assert page.get_attribute("#show .scrubber", "aria-valuetext") == "+2.9 s"
    assert page.inner_text("#show .notes span:nth-child(2)") == "<img src=x onerror=alert(1)>"

    car = "document.querySelector('#above .car').getBoundingClientRect().y"
    ahead = page.evaluate(car)
    page.focus("#show .stage")
    for key, frame in [("ArrowLeft", FRAMES - 2), ("Home", 0), ("ArrowRight", 1), ("End", FRAMES - 1)]:
        page.keyboard.press(key)
        at_frame(page, frame)
    page.keyboard.press("Home")
    until(page, f"{car} > {ahead} + 50")  # the car seen from above goes back with the playhead
    page.keyboard.press("Space")
    at_frame(page, 3)
    page.keyboard.press("Space")
    until(page, "document.querySelector('#show .player').dataset.playing === 'false'")
    boxes = page.locator("#show .chips input")
    boxes.nth(1).uncheck()
    assert page.locator("#show figure:not([hidden])").count() == 1
    boxes.nth(0).click()
    assert boxes.nth(0).is_checked(), "one track always stays"
    shot(page, "player-1280-light")

    paused, before = facts(page)["frame"], facts(page)["run"]
    page.click("#again")
    until(page, f"document.querySelector('#show .player').dataset.run !== '{before}'")
    until(page, f"document.querySelector('#show .player').dataset.ready === '{FRAMES}'")
    assert (facts(page)["frame"], facts(page)["playing"]) == (paused, "false"), "another version, the same moment"
    for _ in range(2):
        before = facts(page)["run"]
        page.click("#go")
        until(page, f"document.querySelector('#show .player').dataset.run !== '{before}'")
        page.wait_for_timeout(700)
    assert page.evaluate("window.open_") <= 2 * (24 + 10), "decoded pictures do not pile up"
    assert page.faults == []


def test_places_are_chosen_and_dragged(browser: Any, address: str) -> None:
    page = opened(browser, address, viewport={"width": 1280, "height": 1200}, color_scheme="dark")
    page.locator("#above .handle").nth(1).focus()
    page.keyboard.press("ArrowLeft")
    assert said(page, "[[8, 0], [16, 0.5]]")
    knob = page.locator("#above .handle.red").bounding_box()
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 20, y - 30, steps=3)
    page.mouse.up()
    until(page, "!document.querySelector('#said textarea').value.endsWith('14 -3')")
    *_, ahead, left = page.input_value("#said textarea").split()
    assert 16 < float(ahead) < 22
    assert -2 < float(left) < 3
    page.locator("#above .box").click()
    assert said(page, "23").endswith(" 7")
    page.locator("#above .ground svg").focus()
    for key in ("ArrowUp", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    until(page, "document.querySelector('#said textarea').value.endsWith('None')")

    tile = page.locator("#picker canvas").bounding_box()
    page.mouse.click(tile["x"] + tile["width"] / 2, tile["y"] + tile["height"] / 2)
    name, u, v = said(page, "front ").split()
    assert (name, abs(float(u) - 32) < 0.5, abs(float(v) - 16) < 0.5) == ("front", True, True)
    for key in ("ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert float(said(page, f"front {float(u):g} {float(v) + 1:g}").split()[2]) == float(v) + 1
    shot(page, "places-1280-dark")
    assert page.faults == []


def test_a_narrow_screen_without_motion_and_a_drive(browser: Any, address: str) -> None:
    page = opened(
        browser, address, viewport={"width": 390, "height": 800}, color_scheme="dark", reduced_motion="reduce",
        has_touch=True,
    )  # fmt: skip
    page.click("#go")
    at_frame(page, FRAMES - 1)
    assert facts(page)["playing"] == "false", "it shows the newest frame and does not play"
    shape = page.locator("#show canvas").first.bounding_box()
    assert 1.2 < shape["width"] / shape["height"] < 1.5, "the front camera is large, the others below"

    page.click("#start")
    until(page, "Number(document.querySelector('#cockpit .player').dataset.ready) > 8")
    page.keyboard.down("KeyW")
    page.keyboard.down("ArrowRight")
    until(page, "document.querySelector('#held textarea').value === '1 -1'")
    page.keyboard.up("KeyW")
    page.keyboard.up("ArrowRight")
    until(page, "document.querySelector('#held textarea').value === '0 0'")
    page.dispatch_event("#pad .left", "pointerdown", {"pointerId": 1, "button": 0})
    until(page, "document.querySelector('#held textarea').value === '0 1'")
    page.click("#cockpit .play")
    page.wait_for_timeout(1000)
    ready = facts(page, "cockpit")["ready"]
    page.wait_for_timeout(1000)
    assert facts(page, "cockpit")["ready"] == ready, "paused, it asks for nothing"
    page.focus("#tell textarea")
    page.keyboard.press("KeyW")
    assert page.input_value("#tell textarea") == "w", "letters typed into a field do not steer"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "drive-390-dark")
    assert page.faults == []
