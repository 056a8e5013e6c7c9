import pytest
from browsing import LOOKS, looks_right, marks, served, visit

pytestmark = marks


@pytest.fixture(scope="module")
def address():
    with served(["imagine", "drive"]) as (address, _):
        yield address


def says(page, where: str, text: str) -> None:
    page.wait_for_function("([w, t]) => document.querySelector(w)?.innerText.includes(t)", arg=[where, text])


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_drive_dream_and_town_then_imagine_from_the_drive(address: str, width: int, scheme: str) -> None:
    with visit(f"{address}/?tab=drive&clip=2%402&steps=4", width, scheme) as page:
        says(page, "#drive-status", "Press Drive")
        page.get_by_label("Both, with the same controls").check()
        page.click("#drive-go")
        says(page, "#drive-gauges", "km/h")
        page.focus("#drive-pad .pad")
        page.keyboard.down("ArrowUp")
        page.wait_for_selector("#drive-pad .up.held")
        page.uncheck("#drive-autopilot input")
        page.focus("#drive-pad .pad")
        says(page, "#drive-status", "You drive")
        page.keyboard.up("ArrowUp")
        page.click("#drive-say-2")
        says(page, "#drive-note", "Told: slow down and stop")
        page.click("#drive-put")
        says(page, "#drive-note", "A car stands ahead")
        assert page.locator("#drive-player canvas").count() == 2
        assert "world=both" in page.url
        page.click("#drive-stop")
        says(page, "#drive-status", "The drive is over: you stopped")
        looks_right(page, width, f"drive-{scheme}")
        page.click("#drive-keep")
        says(page, "#drive-kept", "Kept as mine/drive-1")
        page.click("#drive-imagine")
        page.wait_for_selector("#page-imagine")
        page.wait_for_function("document.body.innerText.includes('driven by hand: dream, town')")
        assert "data=mine%2Fdrive-1" in page.url
