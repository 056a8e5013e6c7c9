"""The frame around the pages: one heading, a tab for each page, links that find them again, what it is not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from studio.pages import api
from studio.pages.drive.page import build as drive
from studio.pages.imagine.page import build as imagine
from studio.pages.jobs.page import build as jobs
from studio.pages.scores.page import build as scores
from studio.pages.study.page import build as study
from studio.pages.what_if.page import build as what_if
from studio.pages.wires import QUIET, Wires, session_of
from studio.web import shown
from studio.web.links import PAGES, Link
from studio.web.site import Site
from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    import gradio

TABS = {  # title, and what lays the page out
    "imagine": ("Imagine", imagine),
    "what-if": ("What if", what_if),
    "drive": ("Drive", drive),
    "study": ("Study", study),
    "scores": ("Scores", scores),
    "jobs": ("Jobs", jobs),
}
INTRO = "Imagine how a drive goes on, change one thing, see what the driver would do instead."
NOTICE = "A research tool, no evidence of road safety. Imagined frames are generated, not recorded."
CACHE_S = (600, 3600)  # look for old files every 10 minutes, remove those older than an hour

REMEMBER = """(query) => {
  const here = new URLSearchParams(window.location.search);
  const kept = [...here].filter(([name]) => name.startsWith('__'));  // gradio's own, such as the theme
  const wanted = new URLSearchParams(query);
  wanted.delete('_');
  window.detourLinks = {...window.detourLinks, [wanted.get('tab')]: wanted.toString()};
  for (const [name, value] of kept) wanted.set(name, value);
  history.replaceState(null, '', '?' + wanted);
}"""
RECALL = """() => {
  if (!window.detourLinks) {  // the first tab is selected before anybody has chosen
    const opened = new URLSearchParams(window.location.search);
    window.detourLinks = {[opened.get('tab') || 'imagine']: opened.toString()};
    return;
  }
  (%s)(window.detourLinks['%s'] || 'tab=%s');
}"""


def page_of(site: Site, pages: Sequence[str] = PAGES) -> "gradio.Blocks":
    """The studio, ready to launch; nothing heavy is read before it is asked for.

    Args:
        site: What the pages share.
        pages: Those that are shown.
    """
    import gradio as gr

    with gr.Blocks(title="Detour studio", analytics_enabled=False, delete_cache=CACHE_S) as blocks:
        gr.HTML(f'<header class="masthead"><h1>Detour</h1><p>{INTRO}</p></header>', label="Detour")
        note = gr.HTML(label="About the link", visible=False, elem_id="link-note")
        address = gr.Textbox(label="Address", visible="hidden", elem_id="address")
        here = gr.Textbox(label="Here", visible="hidden", elem_id="here")
        wires = Wires(address=address, here=here)
        with gr.Tabs(elem_id="pages") as tabs:
            for page in pages:
                title, build = TABS[page]
                with gr.Tab(title, id=page, elem_id=f"page-{page}") as tab:
                    build(site, wires)
                tab.select(None, js=RECALL % (REMEMBER, page, page), api_visibility="private")
        gr.HTML(f'<footer class="notice">{NOTICE}</footer>', label="Notice")
        _wire(blocks, site, wires, tabs, note, pages)
        api.build(site)
    return blocks


def _wire(blocks: Any, site: Site, wires: Wires, tabs: Any, note: Any, pages: Sequence[str]) -> None:
    import gradio as gr

    def arrive(request: gr.Request) -> Any:
        query = str(request.query_params)
        return query if query else gr.skip()

    def turn_to(query: str) -> tuple[Any, Any]:
        try:
            page = Link.parse(query).page
        except BadRequest as error:
            return gr.skip(), gr.HTML(shown.problem(str(error)), visible=True)
        return gr.Tabs(selected=page if page in pages else pages[0]), gr.HTML(visible=False)

    def close(request: gr.Request) -> None:
        site.close(session_of(request))

    blocks.load(arrive, None, wires.address, **QUIET)
    wires.address.change(None, wires.address, None, js=REMEMBER, api_visibility="private")
    wires.address.change(turn_to, wires.address, [tabs, note], **QUIET)
    wires.here.change(None, wires.here, None, js=REMEMBER, api_visibility="private")
    blocks.unload(close)
