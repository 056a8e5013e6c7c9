"""Names and texts of strangers in a real browser: shown as text, no script runs, nothing is loaded from elsewhere."""

import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from browsing import ARGS, CHROMIUM, marks

from studio.web.access import Access, prepare
from worldmodel.clips import Instruction
from worldmodel.io.lerobot import Dataset, write_dataset

pytestmark = marks
WAIT_MS = 60_000
SCRIPT = "<img src=x onerror=window.ran=1>"
PASSWORD = "three plain words"
LISTEN = "document.addEventListener('securitypolicyviolation', (event) => { window.stopped = event.blockedURI; });"


@pytest.fixture(scope="module")
def hostile(drives: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip whose clip, instruction, source, notes and dataset carry a script."""
    folder = tmp_path_factory.mktemp("hostile")
    told = (Instruction(text=f"turn left {SCRIPT}"),)
    clip = replace(drives.clip(0), id=SCRIPT, instructions=told, source=SCRIPT)
    dataset = write_dataset([clip], folder / "data", name=SCRIPT, notes=[SCRIPT])
    with zipfile.ZipFile(folder / f"{SCRIPT}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in dataset.path.rglob("*"):
            archive.write(path, str(path.relative_to(folder)))
    return folder / f"{SCRIPT}.zip"


@pytest.fixture(scope="module")
def serve(checkpoint: Path, drives: Dataset) -> Iterator[Callable[[Access], str]]:
    """Serves the Imagine page; gives its address."""
    from studio.pages.frame import page_of
    from studio.web import look
    from studio.web.site import Site

    before, opened = dict(os.environ), []

    def start(access: Access) -> str:
        site = Site.open(checkpoint, drives.path, any_folder=access.local, limits=access.limits)
        served = site.visitors.root / "served"
        prepare(served)
        page = page_of(site, pages=("imagine",)).queue()
        opened.append((page, site))
        page.launch(prevent_thread_lock=True, quiet=True, **(access.launch_options(served) | look.launch_options()))
        return str(page.local_url)

    yield start
    for page, site in opened:
        page.close()
        site.close_all()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield chromium
        chromium.close()


def shot(page: Any, name: str) -> None:
    if folder := os.environ.get("DETOUR_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"security-{name}.png", full_page=True)


def harmless(page: Any) -> bool:
    """Whether no script of a stranger has run, and none became part of the page."""
    return page.evaluate("window.ran") is None and page.locator("img[src=x]").count() == 0


def test_texts_of_strangers_are_shown_and_never_run(
    serve: Callable[[Access], str], browser: Any, hostile: Path, tmp_path: Path
) -> None:
    address = serve(Access(max_upload_mb=5))
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.set_default_timeout(WAIT_MS)
    page.add_init_script(LISTEN)
    elsewhere: list[str] = []
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else elsewhere.append(r.url))
    page.goto(f"{address}?tab={quote(SCRIPT)}")
    page.wait_for_selector("#link-note .problem")
    assert SCRIPT in page.inner_text("#link-note")
    page.goto(
        f"{address}?tab=imagine&text={quote(SCRIPT)}&clip={quote(SCRIPT)}&seed={quote(SCRIPT)}&data={quote(SCRIPT)}"
    )
    page.wait_for_selector("#imagine-clips img")
    page.click("text=Your own recording")
    notes = page.locator("#imagine-clips-note")

    (picture := tmp_path / f"a{SCRIPT}.mp4").write_text("no video")
    page.set_input_files("#imagine-files input.files", picture)
    notes.locator("text=holds text, which is no recording").wait_for()
    assert SCRIPT in notes.inner_text()
    shot(page, "refused-1280-light")

    (large := tmp_path / "large.mp4").write_bytes(bytes(6_000_000))
    page.set_input_files("#imagine-files input.files", large)
    page.locator("#imagine-files .said", has_text="6 MB are too much; at most 5 MB").wait_for()
    page.set_input_files("#imagine-files input.files", hostile)
    notes.locator("text=1 clip,").wait_for()
    assert SCRIPT in notes.inner_text()
    page.fill("#imagine-text textarea", SCRIPT)
    page.click("#imagine-go")
    page.wait_for_function("document.querySelector('#imagine-status').innerText.includes('Done')")
    assert SCRIPT in page.input_value("#imagine-text textarea")
    shot(page, "taken-1280-light")
    assert harmless(page)
    answer = page.evaluate("fetch('http://192.0.2.1/x').then(() => 'loaded', () => 'stopped')")
    assert (answer, page.evaluate("window.stopped")) == ("stopped", "http://192.0.2.1/x")
    assert elsewhere == []
    page.close()


def test_the_studio_opens_with_its_password_only(serve: Callable[[Access], str], browser: Any) -> None:
    address = serve(Access(accounts={"ann": PASSWORD}))
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.wait_for_selector("input[type=password]")
    assert page.locator("#imagine-go").count() == 0

    def log_in(password: str) -> None:
        page.locator("input").first.fill("ann")
        page.fill("input[type=password]", password)
        page.click("button")

    log_in("wrong password")
    page.wait_for_selector("text=Incorrect")
    shot(page, "login-390-dark")
    log_in(PASSWORD)
    page.wait_for_selector("#imagine-go")
    page.wait_for_selector("#imagine-clips img")
    page.close()
