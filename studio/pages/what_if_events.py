"""What the What if page's events do: values of widgets in, what changes out."""

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.demo import wish_of
from studio.live.drawn_paths import Waypoints, straight_on
from studio.live.looking import LookingView, looking
from studio.live.preview import clicked_ground, near_side, preview, who_is_around, who_is_at
from studio.live.questions import (
    LINK_NAMES,
    OBJECT,
    PATH,
    PATH_S,
    PLACED,
    REMOVE,
    Question,
    question_of_link,
    waypoints_of,
)
from studio.live.variants import HEAD, VariantsView, all_variants
from studio.live.what_if import WhatIfView, what_if
from studio.moments import Wish
from studio.pages.choosing import choice_of, pick_of, pick_text, pick_values
from studio.pages.frame import values_for
from studio.pages.what_if_parts import CONTROLS, Parts
from studio.sides import Place, Places
from studio.web import shown
from studio.web.components.camera_picker import still
from studio.web.components.tiles import tiles_of
from studio.web.films import Film
from studio.web.links import Link
from studio.web.site import Site
from worldmodel.errors import BadRequest, DetourError
from worldmodel.geometry import Rig

if TYPE_CHECKING:
    import gradio

PAGE = "what-if"
UNREAD = Wish(history=16, chunk=4, future_s=PATH_S)  # until the model is there and says how much it wants
Changes = dict[Any, Any]
Said = Mapping[str, Any]  # values of the widgets by their names in CONTROLS


class Events:
    """What the page's events do; each returns what changes."""

    def __init__(self, site: Site, parts: Parts) -> None:
        self.site, self.parts, self.places = site, parts, Places()

    @property
    def controls(self) -> "list[gradio.components.Component]":
        """The widgets that say what is asked, in order."""
        return [self.parts[name] for name in CONTROLS]

    def question(self, session: str, picked: str, said: Said) -> Question:
        """What the widgets ask.

        Raises:
            DetourError: naming the widget whose value cannot be used.
        """
        choice = choice_of(self.site, session, picked)
        asked = {name: value for name, value in said.items() if name != "path"}
        asked |= {name: said[name] or "" for name in ("track", "text")}
        if said["change"] == PATH:
            asked["waypoints"] = self._drawn(picked, said["path"] or "") or self._usual(choice.text)
        return Question(choice=choice, **asked)

    def place(self, clip: str, seconds: float = 0.0) -> Place:
        """The moment of a clip, as the runs read it."""
        ready = self.site.model.ready
        return self.places.at(clip, wish_of(self.site.model.get(), max(PATH_S, seconds)) if ready else UNREAD)

    def _drawn(self, picked: str, path: str) -> Waypoints:
        """The drawn path 'CLIP|x,y;x,y', unless it was drawn at another moment."""
        at, _, points = path.rpartition("|")
        return waypoints_of(points) if at == picked and points else ()

    def _usual(self, clip: str) -> Waypoints:
        """The path to begin drawing with: the recorded one, else straight on."""
        moment = self.place(clip).moment
        driven, seen = moment.driven(), moment.observation()
        if driven is None or driven.times_s[-1] < PATH_S - 1e-6:
            return straight_on(PATH_S, seen.speed_mps, seen.yaw_rate_radps)
        poses = driven.resampled(np.arange(1.0, PATH_S + 1)).poses
        return tuple((round(float(x), 1), round(float(y), 1)) for x, y in poses[:, :2])

    # -- before it is asked -------------------------------------------------------------------------------------------

    def show(self, session: str, picked: str, said: Said) -> Changes:
        """The newest pictures with the change, the map, the command."""
        parts = self.parts
        try:
            question = self.question(session, picked, said)
            place = self.place(question.choice.text, question.seconds)
            seen = preview(place, question)
        except DetourError as error:
            return {parts["note"]: shown.problem(str(error))}
        return {
            parts["cameras"]: still(seen.now, seen.rig, alt="The newest frame of all cameras with the change."),
            parts["map"]: seen.birds_eye,
            parts["note"]: shown.problem(seen.problem) if seen.problem else "",
            parts["command"]: question.command(self.site.model.folder),
        }

    def arrive(self, session: str, picked: str, address: str, said: Said) -> Changes:
        """Another clip or moment was chosen: who is there, and how it looks with the change."""
        import gradio as gr

        try:
            names = who_is_around(self.place(choice_of(self.site, session, picked).text))
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}
        wanted = _linked(address, picked).get("track") or said["track"]
        known = [track for _, track in names]
        track = wanted if wanted in known else known[0] if known else ""
        return {
            self.parts["track"]: gr.Dropdown(names, value=track),
            **self.show(session, picked, {**said, "track": track}),
        }

    def point(self, session: str, picked: str, said: Said, event: Any) -> Changes:
        """A click in a camera or on the map: the object stands there, or whoever is there is meant."""
        if said["change"] not in (OBJECT, REMOVE):
            return {}
        try:
            place = self.place(choice_of(self.site, session, picked).text)
            x, y, track = _meant(place, event)
            if said["change"] == OBJECT:
                return self._moved(session, picked, said, {"where": PLACED, "x_m": x, "y_m": y})
            track = track or who_is_at(place, x, y)
            if not track:
                raise BadRequest("nobody is there. Click on one of the outlines on the map.")
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}
        return self._moved(session, picked, said, {"track": track})

    def drag(self, session: str, picked: str, said: Said, above: Any) -> Changes:
        """The object or a point of the path was dragged on the map."""
        above = above if isinstance(above, dict) else {}
        try:
            if said["change"] == PATH:
                points = [f"{_number(point, 0):g},{_number(point, 1):g}" for point in above.get("waypoints") or []]
                return self._moved(session, picked, said, {"path": f"{picked}|{';'.join(points)}"})
            obstacle = above.get("obstacle") or {}
            question = self.question(session, picked, said)
            x, y = near_side(question, _number(obstacle, "x"), _number(obstacle, "y"))
            return self._moved(session, picked, said, {"where": PLACED, "x_m": x, "y_m": y})
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}

    def _moved(self, session: str, picked: str, said: Said, new: dict[str, Any]) -> Changes:
        """Widgets with new values, and how it looks then."""
        return {
            **{self.parts[name]: value for name, value in new.items()},
            **self.show(session, picked, {**said, **new}),
        }

    def follow(self, session: str, query: str) -> Changes:
        """A link arrived: set the widgets."""
        try:
            link = values_for(PAGE, query)
            if link is None:
                return {}
            question = question_of_link(link, choice_of(self.site, session, link.query))
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}
        changes = {self.parts[name]: getattr(question, name) for name in CONTROLS if name != "path"}
        data, episode, at_s = pick_of(link.values)
        points = link.values.get(LINK_NAMES["waypoints"], "")
        drawn = f"{pick_text(data, episode, at_s)}|{points}" if points and at_s is not None else ""
        return {**changes, self.parts["path"]: drawn}

    # -- asked --------------------------------------------------------------------------------------------------------

    def link(self, session: str, picked: str, said: Said) -> str | None:
        """The permalink of what is asked; None when it cannot be asked."""
        try:
            question = self.question(session, picked, said)
        except DetourError:
            return None
        return Link(page=PAGE, values={**pick_values(picked), **question.values()}).query

    def ask(self, session: str, picked: str, said: Said) -> Iterator[Changes]:
        """Both sides, the plans, the futures."""
        site, film = self.site, _Film(self.site, session)
        signal = site.visitors.signal(session)
        try:
            question = self.question(session, picked, said)
            for view in what_if(site.model.get, self.places, question, lambda: site.turns.draw(session), signal.is_set):
                changes = self._changes(view, film)
                if changes:
                    yield changes
        except DetourError as error:
            yield {self.parts["status"]: shown.problem(str(error))}

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
            question = self.question(session, picked, said)
            for view in all_variants(
                site.model.get, self.places, question, lambda: site.turns.draw(session), signal.is_set
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
            question = self.question(session, picked, said)
            for view in looking(
                site.model.get, self.places, question, method, lambda: site.turns.draw(session), signal.is_set
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


def _linked(address: str, picked: str) -> Mapping[str, str]:
    """What the link that arrived says, if it is of this page and this moment."""
    try:
        link = values_for(PAGE, address)
    except DetourError:
        return {}
    return link.values if link is not None and pick_values(link.query) == pick_values(picked) else {}


def _meant(place: Place, event: Any) -> tuple[float, float, str]:
    """The place on the ground and the road user that a click means; '' for none."""
    said = event._data if isinstance(getattr(event, "_data", None), dict) else {}
    if "camera" in said:
        return *clicked_ground(place, str(said["camera"]), _number(said, "u"), _number(said, "v")), ""
    return _number(said, "x"), _number(said, "y"), str(said.get("track") or "")


def _number(said: Any, name: Any) -> float:
    """A number from what a browser sent.

    Raises:
        BadRequest: if it is none.
    """
    try:
        value = float(said[name])
    except (TypeError, ValueError, KeyError, IndexError):
        value = math.nan
    if not abs(value) < 1e6:
        raise BadRequest("the place that was chosen is not a number. Click again, or type it under 'exact place'.")
    return value


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
