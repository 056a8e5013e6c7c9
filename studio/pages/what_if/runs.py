"""What the What if page starts: both sides of a change, the table of variants, the heat; and the link to start it again."""

from collections.abc import Iterator
from html import escape
from typing import Any

from studio.live.imagine.saving import path_csv
from studio.live.what_if.asking import what_if
from studio.live.what_if.looking import LookingView, looking
from studio.live.what_if.questions import PATH, Question
from studio.live.what_if.variants import HEAD, VariantsView, all_variants
from studio.live.what_if.views import WhatIfView
from studio.pages.choosing import pick_values
from studio.pages.what_if.events import AUTO, PAGE, Changes, Events, Said
from studio.town_changes import path_of
from studio.web import shown
from studio.web.components.camera_picker import still
from studio.web.components.tiles import tiles_of
from studio.web.films import Film
from studio.web.links import Link
from studio.web.site import Site
from worldmodel.edits import ChangeMotion
from worldmodel.errors import DetourError
from worldmodel.geometry import Rig


class Runs:
    """What can be started; each is a generator of what changes on the page."""

    def __init__(self, events: Events) -> None:
        self.site, self.parts, self.events = events.site, events.parts, events

    def link(self, session: str, picked: str, said: Said) -> str | None:
        """The permalink of what is asked; None when it cannot be asked."""
        try:
            question = self.events.question(session, picked, said)
        except DetourError:
            return None
        return Link(page=PAGE, values={**pick_values(picked), **question.values(), AUTO: "1"}).query

    def ask(self, session: str, picked: str, said: Said) -> Iterator[Changes]:
        """Both sides, the plans, the futures."""
        import gradio as gr

        site, film = self.site, _Film(self.site, session)
        signal = site.visitors.signal(session)
        try:
            question = self.events.question(session, picked, said)
            yield {self.parts["actions"]: gr.File(self._actions(session, question), visible=question.change == PATH)}
            for view in what_if(
                site.model.get, self.events.places, question, lambda: site.turns.draw(session), signal.is_set
            ):
                changes = self._changes(view, film)
                if changes:
                    yield changes
        except DetourError as error:
            yield {self.parts["status"]: shown.problem(str(error))}

    def _actions(self, session: str, question: Question) -> str | None:
        """The drawn path as a file for the command line."""
        if question.change != PATH:
            return None
        moment = self.events.place(question.choice.text).moment
        edit = question.edit(moment.clip.frequency_hz, moment.observation().speed_mps)
        assert isinstance(edit, ChangeMotion)
        path = self.site.visitors.folder(session) / "actions.csv"
        path.write_text(path_csv(path_of(edit, moment.clip.frequency_hz)), encoding="utf-8")
        return str(path)

    def _changes(self, view: WhatIfView, film: "_Film") -> Changes:
        parts = self.parts
        changes: Changes = {}
        if view.status is not None:
            changes[parts["status"]] = shown.status(view.status, view.share)
        if view.opening is not None or view.frames or view.complete:
            changes[parts["film"]] = film.grown(view)
        if view.now is not None and film.rig is not None:
            changes[parts["cameras"]] = still(
                view.now, film.rig, alt="The newest frame after the change, with both plans on the road."
            )
        if view.birds_eye is not None:
            changes[parts["map"]] = view.birds_eye
        if view.answer is not None:
            table = view.answer.table()
            changes[parts["response"]] = shown.status(view.answer.sentence) + (shown.table(*table) if table else "")
        if view.told is not None:
            changes[parts["told"]] = "".join(shown.status(text) for text in view.told)
        return changes

    def ask_all(self, session: str, picked: str, said: Said) -> Iterator[Changes]:
        """The table of variants and controls."""
        site, parts = self.site, self.parts
        signal = site.visitors.signal(session)
        try:
            question = self.events.question(session, picked, said)
            for view in all_variants(
                site.model.get, self.events.places, question, lambda: site.turns.draw(session), signal.is_set
            ):
                yield {
                    parts["all_status"]: shown.status(view.status, view.share),
                    parts["all_table"]: _table(view, question),
                }
        except DetourError as error:
            yield {parts["all_status"]: shown.problem(str(error))}

    def look(self, session: str, picked: str, said: Said, method: str) -> Iterator[Changes]:
        """Heat over the newest pictures."""
        site, parts = self.site, self.parts
        signal = site.visitors.signal(session)
        try:
            question = self.events.question(session, picked, said)
            for view in looking(
                site.model.get, self.events.places, question, method, lambda: site.turns.draw(session), signal.is_set
            ):
                yield {
                    parts["look_status"]: shown.status(view.status, view.share),
                    parts["look_pictures"]: _pictures(view),
                }
        except DetourError as error:
            yield {parts["look_status"]: shown.problem(str(error))}


class _Film:
    """The film of one run, once it begins."""

    def __init__(self, site: Site, session: str) -> None:
        self.site, self.session = site, session
        self.film: Film | None = None
        self.rig: Rig | None = None

    def grown(self, view: WhatIfView) -> dict[str, Any]:
        """What the player is given after a view."""
        if view.opening is not None:
            opening, self.rig = view.opening, view.rig
            self.film = self.site.films.begin(
                self.session, opening.tracks, rate_hz=opening.rate_hz, start_s=opening.start_s, expected=opening.frames,
                tiles=[] if view.rig is None else tiles_of(view.rig),
            )  # fmt: skip
            for from_s, text in opening.spoken:
                self.film.note(from_s, text)
        assert self.film is not None
        for track, frames in view.frames.items():
            self.film.add(track, frames)
        for track in view.complete:
            self.film.end(track)
        return self.film.value()


def _table(view: VariantsView, question: Question) -> str:
    if not view.rows:
        return ""
    caption = f"A {question.kind}, planner '{question.planner}', seed {question.seed}; changes of the plan over 4 s."
    reasons = "".join(shown.status(f"{row.where.replace('_', ' ')}: {row.why}") for row in view.rows if row.why)
    return shown.table(HEAD, [row.cells for row in view.rows], caption) + reasons


def _pictures(view: LookingView) -> str:
    """Each under its title, never smaller than can be made out: a narrow screen scrolls them."""
    return "".join(
        f'<p class="status">{escape(title)}</p><div class="scroll"><div style="min-width:560px">{shown.picture(frame, title)}</div></div>'
        for title, frame in view.pictures
    )
