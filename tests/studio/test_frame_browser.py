"""Tabs, links and the address bar in a real browser."""

from browsing import LOOKS, looks_right, marks, served, visit

pytestmark = marks
PAGES = ("imagine", "scores", "jobs")


def test_links_open_their_tab_and_the_address_follows() -> None:
    with served(PAGES) as (address, _):
        for width, scheme in LOOKS:
            with visit(f"{address}?tab=scores&__theme={scheme}", width, scheme) as page:
                page.wait_for_selector("#score")
                assert "tab=scores" in page.url
                if width > 600:
                    page.click("#page-jobs-button")
                    page.wait_for_selector("#jobs-start")
                    page.wait_for_url("**tab=jobs**")
                    page.reload()  # comes back where it was
                    page.wait_for_selector("#jobs-start")
                    assert f"__theme={scheme}" in page.url
                looks_right(page, width, f"frame-{scheme}")
        with visit(f"{address}?tab=<b>nowhere</b>") as page:
            page.wait_for_selector("#link-note [role=alert]")
            assert "<b>nowhere</b>" in page.inner_text("#link-note")
            assert page.locator("#imagine-go").is_visible()
