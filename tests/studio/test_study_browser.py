"""The Study and Jobs tabs in a real browser, with the real commands behind them."""

import pytest
from browsing import looks_right, marks, served, visit

pytestmark = marks
SMALL = (
    "planners=%5Bconstant-velocity%2C+stand-still%5D&scenes=3&seed=40963&samples=1&variants=%5Bnear%2C+sky_near%2C+empty%5D"
    "&primary=%5B%5Bnear%2C+sky_near%5D%5D&cameras=1&width_px=64&height_px=32&history_s=0.5"
)


@pytest.fixture(scope="module")
def site_at():
    with served(["study", "jobs"]) as (address, site):
        yield address.rstrip("/"), site


def test_the_study_that_ships_is_shown_first_and_ones_own_takes_its_place(site_at) -> None:
    address, site = site_at
    with visit(f"{address}/?tab=study&{SMALL}", 1280, "light") as page:
        page.wait_for_selector("#study-reactions .js-plotly-plot .scatterlayer")
        assert "This is the study that ships" in page.inner_text("#study-lead")
        page.click("text=The study as YAML")
        page.wait_for_function("document.querySelector('#study-yaml')?.innerText.includes('stand-still')")
        page.click("#study-start")
        page.wait_for_selector("#study-stop:not([disabled])")
        page.wait_for_function("document.querySelector('#study-status')?.innerText.includes('Done in')")
        page.wait_for_function("document.querySelector('#study-lead')?.innerText.includes('planners: 2')")
        page.get_by_role("tab", name="Planners", exact=True).click()
        page.wait_for_selector("#study-numbers table")
        page.get_by_role("tab", name="Report", exact=True).click()
        page.click("#study-open-report")
        page.wait_for_selector("iframe.report[sandbox='']")
        with page.expect_download() as got:
            page.click("text=Every answer (Parquet)")
        assert got.value.suggested_filename == "rows.parquet"
        page.get_by_role("tab", name="Reactions", exact=True).click()
        looks_right(page, 1280, "study-light")
    page_is_gone(site)


def test_jobs_refuse_say_how_far_they_are_and_end_with_the_tab(site_at) -> None:
    address, site = site_at
    with visit(f"{address}/?tab=jobs&kind=stitch&clips=99&seeds=0-1", 390, "dark") as page:
        page.wait_for_function("[...document.querySelectorAll('input,textarea')].some(box => box.value === '99')")
        page.click("#jobs-start")
        page.wait_for_selector("#jobs-note [role=alert]")
        assert "99" in page.inner_text("#jobs-note")
        page.get_by_label("Clips").fill("0")
        page.click("#jobs-plan")
        page.wait_for_function("document.querySelector('#jobs-note')?.innerText.includes('2 units in all')")
        page.click("text=The job as YAML")
        page.wait_for_function("document.querySelector('#jobs-yaml')?.innerText.includes(\"episodes: '0'\")")
        page.click("#jobs-start")
        page.wait_for_function("document.querySelector('#jobs-list')?.innerText.includes('running')")
        page.click("#jobs-stop")
        page.wait_for_function("document.querySelector('#jobs-status')?.innerText.includes('Stopp')")
        if page.locator("#jobs-stop").is_enabled():  # asked once it finishes what it is at
            page.click("#jobs-stop")
        page.wait_for_function("document.querySelector('#jobs-status')?.innerText.includes('Stopped')")
        page.click("#jobs-on")
        page.wait_for_function("document.querySelector('#jobs-status')?.innerText.includes('Done in')")
        page.wait_for_selector("#jobs-posters img")
        page.click("#jobs-show")
        page.wait_for_selector("#jobs-report iframe.report[sandbox='']")
        page.click("#jobs-pack")
        page.wait_for_selector("#jobs-get")
        with page.expect_download() as got:
            page.click("#jobs-get")
        assert got.value.suggested_filename == "batch.zip"
        looks_right(page, 390, "jobs-dark")
    page_is_gone(site)


def page_is_gone(site) -> None:
    """When the tab is closed, the visitor's tasks end."""
    import time

    end = time.monotonic() + 30
    while site.tasks._tasks:
        assert time.monotonic() < end
        time.sleep(0.1)
