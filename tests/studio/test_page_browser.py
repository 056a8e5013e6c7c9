"""The page in a real browser, with a tiny model; screenshots go to DETOUR_SCREENSHOTS when that names a folder."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
ARGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; install Debian's package 'chromium'"),
    pytest.mark.filterwarnings("ignore"),  # of gradio's own dependencies
]
WAIT_MS = 120_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from studio.pages.explore import Handlers, launch_options, page_of
    from studio.web.shared_model import SharedModel
    from worldmodel.clips import Clip
    from worldmodel.geometry import Motion
    from worldmodel.io.lerobot import write_dataset
    from worldmodel.model import WorldModel
    from worldmodel.network import WorldActionTransformer
    from worldmodel.tokenizer import Tokenizer
    from worldmodel.town.scene import town_rig
    from worldmodel.training.presets import find_preset

    folder = tmp_path_factory.mktemp("browser")
    ramp = (np.arange(64)[None] + 3 * np.arange(40)[:, None]) % 256
    clip = Clip(
        id="glide",
        video=np.broadcast_to(ramp[:, None, None, None], (40, 3, 3, 32, 64)).astype(np.uint8),
        rig=town_rig(3, 64, 32),
        motion=Motion(deltas=np.tile([1.0, 0.0, 0.0], (39, 1)), period_s=0.125),
        frequency_hz=8.0,
    )
    write_dataset([clip], folder / "clips", name="glide")
    config = find_preset("test").model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WorldModel(config, Tokenizer(config.tokenizer), WorldActionTransformer(config.network))
    model.save_pretrained(folder / "model")
    handlers = Handlers(SharedModel(folder / "model"), folder / "clips")
    page = page_of(handlers)
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, **launch_options())
    yield page.local_url
    page.close()
    handlers.visitors.close_all()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_imagine_then_what_if(address: str, width: int, scheme: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(WAIT_MS)
        elsewhere: list[str] = []
        page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else elsewhere.append(r.url))
        page.goto(address)
        page.wait_for_selector("#live img[alt^='All cameras']")
        page.click("#imagine")
        page.wait_for_selector("#film video")
        page.wait_for_selector("#scores table")
        assert "Done" in page.inner_text("#imagine-status")
        page.click("#what-if")
        page.wait_for_selector("#response table")
        assert page.locator("#stills img").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("img:not([alt])").count() == 0
        if folder := os.environ.get("DETOUR_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"explore-{width}-{scheme}.png", full_page=True)
        assert elsewhere == []
        browser.close()
