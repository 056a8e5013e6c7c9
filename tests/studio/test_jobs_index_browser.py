"""A batch's page opened from a disk in a real browser."""

from typing import Any

import pytest
from browsing import LOOKS, looks_right, marks, visit
from made_batches import Made, shared_batch

from studio.jobs.results.contact_sheets import write_sheets
from studio.jobs.results.index import write_index
from worldmodel.io.lerobot import Dataset

pytestmark = marks


@pytest.fixture(scope="module")
def made(drives: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = shared_batch(drives, tmp_path_factory)
    write_sheets(made.folder)
    write_index(made.folder)
    return made


def until(page: Any, script: str) -> None:
    """Playwright's own waiting needs eval, which the page does not allow."""
    for _ in range(200):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {script}")


def test_the_page_shows_filters_and_plays_units_from_a_disk(made) -> None:
    address = (made.out / "index.html").as_uri()
    for width, scheme in LOOKS:
        with visit(address, width, scheme) as page:
            page.wait_for_selector(".unit >> nth=4")
            until(page, "[...document.images].slice(0, 3).every((one) => one.naturalWidth > 0)")
            looks_right(page, width, f"batch-{scheme}")
            page.fill("#filter", "LEFT seed=0")
            assert page.inner_text("#told") == "2 of 5 units, page 1 of 1"
            page.fill("#filter", "")
            page.select_option("#order", "psnr:down")
            assert page.inner_text(".unit >> nth=0 >> strong") == "Unit 6"
            page.click(".unit >> nth=0 >> button.poster")
            until(page, "document.querySelector('video').readyState >= 2")
            page.click(".unit >> nth=0 >> button.poster")
            assert page.locator("video").count() == 0
            assert page.locator("#failures").inner_text().count("'front.mp4' has <12> frames") == 1
