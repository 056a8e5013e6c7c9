"""What the link that a page was opened with has to say about the moment that is shown."""

from studio.pages.choosing import choice_of
from studio.pages.wires import values_for
from studio.web.links import Link
from studio.web.site import Site
from worldmodel.errors import DetourError


def link_here(site: Site, session: str, page: str, query: str | None, picked: str) -> Link | None:
    """The link in `query` if it is for this page and led to the moment that is picked; None once another one is chosen."""
    link = values_for(page, query)
    if link is None or "clip" not in link.values:
        return link
    try:
        return link if choice_of(site, session, link.query) == choice_of(site, session, picked) else None
    except DetourError:
        return None  # its clip cannot be opened, which is told beside the clips
