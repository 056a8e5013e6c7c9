"""What the page Imagine does: plain functions of plain values, so that tests call them without a browser."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from studio.live.imagine.drawn_paths import straight_on
from studio.live.imagine.imagining import ImagineView, imagine
from studio.live.imagine.moment_view import moment_view, recorded_around
from studio.live.imagine.results import Made
from studio.live.imagine.saving import Saved, keep, kept, save
from studio.live.imagine.wishes import PATH, SPEED, ImagineWish, wish_of_link
from studio.pages.choosing import choice_of, pick_values
from studio.pages.imagine.controls import CONTROLS, control_values, drawn_words, waypoints_of, wish_of_controls
from studio.pages.imagine.parts import DOWNLOADS, READY, Parts
from studio.pages.opened import link_here
from studio.pages.wires import values_for
from studio.web import shown
from studio.web.films import Film, Track
from studio.web.links import Link
from studio.web.shelf import instruction_of
from studio.web.site import Site
from worldmodel.errors import DetourError

PAGE = "imagine"
AUTO = "go"  # in a link: start at once
Updates = dict[Any, Any]


class Events:
    """What the page does for one visitor after the other.

    Attributes:
        site: What the pages share.
        parts: The widgets by name.
    """

    def __init__(self, site: Site, parts: Parts) -> None:
        self.site, self.parts = site, parts
        self._running: set[str] = set()  # sessions whose player belongs to a run

    @property
    def controls(self) -> list[Any]:
        """The widgets that say what is asked for."""
        return [self.parts[name] for name in CONTROLS]

    # -- asking ---------------------------------------------------------------------------------------------------

    def wish(self, session: str, picked: str, values: Sequence[Any]) -> ImagineWish:
        """What the controls ask for.

        Raises:
            DetourError: if something is missing or out of range.
        """
        return wish_of_controls(choice_of(self.site, session, picked), values)

    def linked(self, session: str, query: str) -> tuple[str, ImagineWish]:
        """The choice and the wish of a link.

        Raises:
            DetourError: if it cannot be read.
        """
        link = Link.parse(query)
        picked = Link(page=PAGE, values=pick_values(link.query) or {"clip": "0"}).query
        return picked, wish_of_link(link, choice_of(self.site, session, picked))

    def link(self, picked: str, wish: ImagineWish) -> str:
        """The query that brings a run back."""
        return Link(page=PAGE, values={**pick_values(picked), **wish.values(), AUTO: "1"}).query

    def follow(self, session: str, query: str) -> Updates:
        """A link arrived: set the controls, and start if it says so."""
        try:
            link = values_for(PAGE, query)
            if link is None:
                return {}
            _, wish = self.linked(session, query)
        except DetourError as error:
            return {self.parts["status"]: shown.problem(str(error))}
        changes = {self.parts[name]: value for name, value in control_values(wish).items()}
        changes |= self.who_drives(wish.drive, drawn_words(wish.waypoints, wish.seconds))
        return {**changes, self.parts["auto"]: query} if AUTO in link.values else changes

    def who_drives(self, drive: str, words: str = "") -> Updates:
        """Which controls matter now, and what the drawn path amounts to."""
        import gradio as gr

        return {
            self.parts["command_group"]: gr.Group(visible=drive == SPEED),
            self.parts["drawn"]: gr.HTML(words, visible=drive == PATH),
        }

    # -- before ---------------------------------------------------------------------------------------------------

    def preview(self, session: str, picked: str, drive: str, seconds: float, query: str = "") -> Updates:
        """Another moment was chosen: show what was recorded; the player is left to a run that is going on.

        What is wrong with the link in `query` that led here stays to be read.
        """
        import gradio as gr

        if not picked:
            return {}
        try:
            found = moment_view(choice_of(self.site, session, picked))
        except DetourError as error:
            return {self.parts["status"]: shown.problem(str(error))}
        changes: Updates = {self.parts["text"]: gr.Textbox(placeholder=found.told or "nothing was said here")}
        if session in self._running:
            return changes
        track = Track(name="recorded", label="Recorded", alt=found.alt)
        film = self.site.films.begin(session, [track], rate_hz=found.rate_hz, start_s=found.start_s, tiles=found.tiles)
        film.add("recorded", found.frames)
        film.end()
        waypoints = found.waypoints(float(seconds or 4.0)) if drive == PATH else ()
        return {
            **changes,
            **self._nothing_made(),
            self.parts["film_shown"]: film.value(),
            self.parts["above"]: found.from_above(waypoints),
            self.parts["status"]: self._complaint(session, picked, query) or shown.status(READY),
            self.parts["drawn"]: drawn_words(waypoints, seconds),
        }

    def _complaint(self, session: str, picked: str, query: str) -> str:
        try:
            if link_here(self.site, session, PAGE, query, picked) is not None:
                self.linked(session, query)
        except DetourError as error:
            return shown.problem(str(error))
        return ""

    def drawing(self, session: str, picked: str, drive: str, seconds: float, above: Any) -> Updates:
        """Who drives has changed: show the points to drag, or take them away."""
        import gradio as gr

        changes = self.who_drives(drive)
        try:
            found = recorded_around(choice_of(self.site, session, picked))
        except DetourError as error:
            return {**changes, self.parts["status"]: shown.problem(str(error))}
        scene = above if isinstance(above, dict) else {}
        if drive != PATH:
            return {**changes, self.parts["above"]: {**scene, "waypoints": None}}
        seen = found.moment.observation()
        points = straight_on(float(seconds or 4.0), seen.speed_mps, seen.yaw_rate_radps)
        return {
            **changes,
            self.parts["above"]: {**scene, "waypoints": [list(point) for point in points]},
            self.parts["drawn"]: gr.HTML(drawn_words(points, seconds), visible=True),
        }

    def drawn(self, drive: str, seconds: float, above: Any) -> Any:
        """What the path amounts to as it is drawn by now; nothing changes while no points are shown."""
        import gradio as gr

        if drive == PATH and not (isinstance(above, dict) and above.get("waypoints")):
            return gr.skip()
        try:
            return drawn_words(waypoints_of(above), seconds) if drive == PATH and seconds else ""
        except DetourError as error:
            return shown.problem(str(error))

    def command(self, session: str, picked: str, values: Sequence[Any]) -> str:
        """The equivalent commands, or why there are none."""
        if not picked:
            return ""
        try:
            wish = self.wish(session, picked, values)
            told = "" if wish.text.strip() or not wish.changes else self._told(session, picked)
            return wish.command(self.site.model.folder, told)
        except DetourError as error:
            return f"# {error}"

    def _told(self, session: str, picked: str) -> str:
        choice = choice_of(self.site, session, picked)
        dataset = self.site.dataset(session, pick_values(picked).get("data", ""))
        return instruction_of(dataset, choice)

    # -- during ---------------------------------------------------------------------------------------------------

    def announce(self, session: str) -> Updates:
        """A run begins; what the visitor started before ends."""
        import gradio as gr

        self.site.visitors.begin(session)
        self._running.add(session)
        return {
            **self._nothing_made(),
            self.parts["go"]: gr.Button(interactive=False),
            self.parts["stop"]: gr.Button(interactive=True),
            self.parts["status"]: shown.status("One moment …", 0.0),
        }

    def run(self, session: str, picked: str, ask: Callable[[], ImagineWish]) -> Iterator[Updates | str]:
        """Futures while they grow; a text among what is given is the link of the run."""
        signal = self.site.visitors.signal(session)
        film: Film | None = None
        try:
            wish = ask()
            yield self.link(picked, wish)
            for view in imagine(self.site.model.get, wish, lambda: self.site.turns.draw(session), signal.is_set):
                film = self._filmed(session, film, view)
                yield self._changes(view, film)
                if view.made is not None and self.site.visitors.current(session, signal):
                    yield self._kept(session, view.made)
        except DetourError as error:
            yield {self.parts["status"]: shown.problem(str(error)), **self._at_rest()}
        finally:
            self._running.discard(session)

    def _filmed(self, session: str, film: Film | None, view: ImagineView) -> Film | None:
        """The film with what is new in it."""
        if view.opening is not None:
            opening = view.opening
            several = sum(track.imagined for track in opening.tracks) > 1
            film = self.site.films.begin(
                session, opening.tracks, rate_hz=opening.rate_hz, start_s=opening.start_s, expected=opening.frames,
                tiles=opening.tiles, columns=2 if several else 1,
            )  # fmt: skip
            for start, text in opening.spoken:
                film.note(start, text or "nothing said")
        if film is None:
            return None
        for track, frames in view.frames.items():
            film.add(track, frames)
        for track in view.complete:
            film.end(track)
        if view.finished:
            film.end()
        return film

    def _changes(self, view: ImagineView, film: Film | None) -> Updates:
        import gradio as gr

        changes: Updates = {}
        if film is not None:
            changes[self.parts["film_shown"]] = film.value()
        if view.status is not None:
            changes[self.parts["status"]] = shown.status(view.status, view.share)
        if view.birds_eye is not None:
            changes[self.parts["above"]] = view.birds_eye
        if view.told:
            changes[self.parts["told"]] = gr.HTML("".join(map(shown.problem, view.told)), visible=True)
        if view.scores is not None:
            rows, sentence = view.scores
            table = shown.table(("what", "score", "value"), rows, sentence) if rows else shown.status(sentence)
            changes[self.parts["scores"]] = gr.HTML(table, visible=True)
        return {**changes, **self._at_rest()} if view.finished else changes

    def _kept(self, session: str, made: Made) -> Updates:
        import gradio as gr

        name = keep(self.site.visitors.folder(session), made)
        return {self.parts["made"]: name, self.parts["save"]: gr.Button(interactive=True)}

    def _at_rest(self) -> Updates:
        import gradio as gr

        return {self.parts["go"]: gr.Button(interactive=True), self.parts["stop"]: gr.Button(interactive=False)}

    def _nothing_made(self) -> Updates:
        import gradio as gr

        empty = {self.parts[name]: gr.HTML("", visible=False) for name in ("told", "scores", "saved")}
        none = {self.parts["made"]: "", self.parts["save"]: gr.Button(interactive=False)}
        return {**empty, **none, self.parts["taken"]: gr.Row(visible=False)}

    # -- afterwards -----------------------------------------------------------------------------------------------

    def save(self, session: str, made: str) -> Iterator[Updates]:
        """Write the files of the newest run and offer them."""

        folder = self.site.visitors.folder(session)
        try:
            for step in save(kept(folder, made), self.site.model.get(), folder):
                if isinstance(step, Saved):
                    yield self._offered(step)
                else:
                    yield self._saving(shown.status(step), again=False)
        except DetourError as error:
            yield self._saving(shown.problem(str(error)), again=True)

    def _saving(self, said: str, *, again: bool) -> Updates:
        import gradio as gr

        return {
            self.parts["saved"]: gr.HTML(said, visible=True),
            self.parts["save"]: gr.Button(interactive=again),
        }

    def _offered(self, saved: Saved) -> Updates:
        import gradio as gr

        words = (
            "Saved among your runs until you close the tab; Scores can compare them. Download what you want to keep:"
        )
        offered = {self.parts[name]: str(getattr(saved, name)) for name in DOWNLOADS}
        return {**offered, **self._saving(shown.status(words), again=False), self.parts["taken"]: gr.Row(visible=True)}
