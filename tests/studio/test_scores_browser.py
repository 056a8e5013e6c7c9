import pytest
from browsing import LOOKS, looks_right, marks, served, visit

pytestmark = marks

STOP_AT_ONCE = """() => {
    const button = document.querySelector("#score-stop:not([disabled])");
    button?.click();  // in the moment in which it can be pressed: a quick machine is done soon after
    return !!button;
}"""


@pytest.fixture(scope="module")
def address():
    with served(["scores"]) as (address, _):
        yield address


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_first_visit_gets_numbers_with_cards_and_curves_by_one_click(address: str, width: int, scheme: str) -> None:
    with visit(f"{address}?tab=scores&a=example%3Ablurred&metrics=psnr", width, scheme) as page:
        page.wait_for_selector("#score-table", state="attached")
        page.wait_for_function("document.body.innerText.includes('detour score blurred unchanged')")
        page.click("#score")
        page.wait_for_selector("#score-table table")
        assert "Done in" in page.inner_text("#score-status")
        assert "PSNR" in page.inner_text("#score-table")
        page.wait_for_selector("#score-curves .js-plotly-plot .scatterlayer")
        page.wait_for_selector("#score-film canvas")
        page.click("#score-cards details:last-of-type > summary")
        page.click("#score-cards details details > summary")
        assert "bootstrap over clips" in page.inner_text("#score-cards")
        looks_right(page, width, f"scores-{scheme}")


def test_unlike_results_are_refused_where_they_are_compared_and_a_stop_stops(address: str) -> None:
    with visit(address) as page:
        page.wait_for_function("document.body.innerText.includes('detour score imagined')")
        page.goto(f"{address}?tab=scores&a=example%3Ablurred&metrics=psnr")
        page.wait_for_function("document.body.innerText.includes('detour score blurred unchanged')")
        page.click("#score")
        page.wait_for_selector("#score-table table")
        page.click("text=More: how to count")
        page.get_by_label("Frames per clip").fill("8")
        page.get_by_label("Frames per clip").press("Tab")
        page.wait_for_function("document.body.innerText.includes('--frames 8')")
        page.click("#score")
        page.wait_for_selector("#score-stop:not([disabled])")
        page.wait_for_selector("#score:not([disabled])")
        page.click("#score-compare button")
        page.get_by_label("Of this visit").click()
        page.click("[role=option]")
        page.wait_for_selector("#score-beside [role=alert]")
        assert "frames: 8 against 24" in page.inner_text("#score-beside")
        page.get_by_label("Frames per clip").fill("")
        page.get_by_role("combobox", name="Generated side").fill("clips")
        page.get_by_role("combobox", name="Generated side").press("Enter")
        page.get_by_role("combobox", name="Real side").fill("clips")
        page.get_by_role("combobox", name="Real side").press("Enter")
        page.click("#score")
        page.wait_for_function(STOP_AT_ONCE)
        page.wait_for_function("document.querySelector('#score-status')?.innerText.includes('Stopped')")
        page.wait_for_selector("#score:not([disabled])")
