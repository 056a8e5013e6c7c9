"""A studio for tests to visit, and a browser to visit it with."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ASSETS = Path(__file__).resolve().parents[1] / "assets"
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
ARGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WAIT_MS = 120_000
LOOKS = [(1280, "light"), (390, "dark")]
marks = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; install Debian's package 'chromium'"),
    pytest.mark.filterwarnings("ignore"),  # of gradio's own dependencies
]


@contextmanager
def served(
    pages: Sequence[str], model: Path = ASSETS / "default", clips: Path = ASSETS / "clips", **options: Any
) -> Iterator[tuple[str, Any]]:
    """(address, Site) of a running studio with these pages; `options` go to `Blocks.launch`."""
    from studio.pages.frame import page_of
    from studio.web import look
    from studio.web.site import Site

    site = Site.open(model, clips)
    blocks = page_of(site, pages)
    looks = {"theme": look.theme(), "css": look.CSS, "footer_links": [], "_frontend": False}
    blocks.queue(default_concurrency_limit=None)
    blocks.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, **looks | options)
    try:
        yield blocks.local_url.rstrip("/"), site
    finally:
        blocks.close()
        site.close_all()


@contextmanager
def visit(address: str, width: int = 1280, scheme: str = "light", height: int = 900) -> Iterator[Any]:
    """A browser's page at the address; at the end nothing of other hosts was asked for and no script failed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(WAIT_MS)
        elsewhere: list[str] = []
        failed: list[str] = []
        home = "/".join(address.split("?")[0].split("/")[:3])
        page.on("request", lambda r: None if r.url.startswith((home, "data:", "blob:")) else elsewhere.append(r.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(address)
        yield page
        browser.close()
        assert not elsewhere, elsewhere
        assert not failed, failed


def looks_right(page: Any, width: int, name: str) -> None:
    """Nothing sticks out sideways, no picture is without words, no control without a name; keeps a screenshot on request."""
    if folder := os.environ.get("DETOUR_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img:visible:not([alt])").count() == 0
    assert page.evaluate(NAMELESS) == []


NAMELESS = """[...document.querySelectorAll('button, input, textarea, select, [role=slider], [role=button]')]
  .filter(e => e.offsetParent !== null && e.type !== 'hidden' && !e.closest('[aria-hidden=true]'))
  .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.title || e.placeholder
    || (e.labels && e.labels.length) || e.innerText.trim()))
  .map(e => e.outerHTML.slice(0, 200))"""
