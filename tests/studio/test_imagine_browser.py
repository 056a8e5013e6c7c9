import pytest
from browsing import LOOKS, looks_right, marks, served, visit

pytestmark = marks
LAST_PICTURES = "[...document.querySelectorAll('#imagine-film canvas')].map(canvas => canvas.toDataURL())"


@pytest.fixture(scope="module")
def address(checkpoint, drives):
    with served(["imagine"], checkpoint, drives.path) as (address, _):
        yield address


def says(page, where: str, text: str) -> None:
    page.wait_for_function("([w, t]) => document.querySelector(w)?.innerText.includes(t)", arg=[where, text])


def last_pictures(page) -> list[str]:
    """What every track shows at the end of the film."""
    page.focus("#imagine-film .stage")
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('#imagine-film .clock').innerText.includes('+1.5')")
    page.wait_for_timeout(500)
    return page.evaluate(LAST_PICTURES)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_draw_a_path_imagine_two_futures_save_and_come_back(address: str, width: int, scheme: str) -> None:
    with visit(f"{address}/?tab=imagine&clip=1%402&seconds=1.5&steps=2", width, scheme) as page:
        says(page, "#imagine-clips", "1 · two")
        page.wait_for_function(
            "document.querySelector('#imagine-text textarea, #imagine-text input')?.placeholder.includes('left')"
        )
        page.get_by_label("Draw a path").check()
        says(page, "#imagine-drawn", "Drag the 2 points")
        page.focus("#imagine-above .handle >> nth=1")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        says(page, "#imagine-drawn", "13 m in 1.5 s")
        page.check("#imagine-futures input[value='2']")
        page.click("text=slow down and stop")
        page.click("#imagine-go")
        says(page, "#imagine-status", "Done: 1.5 s imagined in each of 2 futures")
        assert "path=" in page.url
        assert page.locator("#imagine-film canvas").count() == 3
        says(page, "#imagine-scores", "imagined, seed 1")
        says(page, "#imagine-above", "commanded")
        shown = last_pictures(page)
        page.click("#imagine-save")
        says(page, "#imagine-saved", "Saved among your runs")
        with page.expect_download() as film:
            page.click("#imagine-film-file")
        assert film.value.suggested_filename.endswith(".mp4")
        looks_right(page, width, f"imagine-{scheme}")
        page.reload()
        says(page, "#imagine-status", "Done: 1.5 s imagined in each of 2 futures")
        assert last_pictures(page) == shown


def test_stop_keeps_what_is_there_and_problems_are_said_where_they_are(address: str) -> None:
    with visit(f"{address}/?tab=imagine&clip=0%402&seconds=60&steps=8") as page:
        page.wait_for_function(
            "document.querySelector('#imagine-text textarea, #imagine-text input')?.placeholder.includes('left')"
        )
        page.click("#imagine-go")
        says(page, "#imagine-status", "Chunk 2 of 120")
        page.click("#imagine-stop")
        says(page, "#imagine-status", "Stopped after chunk")
        page.wait_for_selector("#imagine-save:not([disabled])")
        page.click("#imagine-clips button >> nth=2")
        says(page, "#imagine-status", "Press Imagine")
        page.goto(f"{address}/?tab=imagine&clip=0%400&go=1")
        says(page, "#imagine-status", "Choose a moment from")
        page.wait_for_selector("#imagine-go:not([disabled])")
