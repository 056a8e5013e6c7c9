"""What the What if page's events do: values of widgets in, what changes out."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

from studio.demo import wish_of
from studio.live.imagine.drawn_paths import Waypoints, straight_on
from studio.live.what_if.preview import clicked_ground, near_side, preview, who_is_around, who_is_at
from studio.live.what_if.questions import (
    LINK_NAMES,
    OBJECT,
    PATH,
    PATH_S,
    PLACED,
    REMOVE,
    TEXT,
    Question,
    question_of_link,
    waypoints_of,
)
from studio.moments import Wish
from studio.pages.choosing import choice_of, pick_of, pick_text, pick_values
from studio.pages.what_if.parts import CONTROLS, Parts
from studio.pages.wires import values_for
from studio.sides import Place, Places
from studio.web import shown
from studio.web.components.camera_picker import still
from studio.web.site import Site
from worldmodel.errors import BadRequest, DetourError

if TYPE_CHECKING:
    import gradio

PAGE = "what-if"
AUTO = "go"  # in a link: ask at once
UNREAD = Wish(history=16, chunk=4, future_s=PATH_S)  # until the model is there and says how much it wants
UNSAID = "Write what the driver is told, or choose an example."
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
        if said["change"] == TEXT and not (said["text"] or "").strip():
            return {parts["note"]: shown.status(UNSAID)}
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

    def linked(self, query: str, picked: str) -> str | None:
        """The moment that an address for this page names, else the one that is picked; None when it is not for this page."""
        link = values_for(PAGE, query)
        if link is None or "clip" not in link.values:
            return None if link is None else picked
        return urlencode(pick_values(link.query))

    def follow(self, session: str, query: str) -> Changes:
        """A link arrived: set the widgets."""
        try:
            link = values_for(PAGE, query)
            if link is None:
                return {}
            question = question_of_link(link, choice_of(self.site, session, link.query))
        except DetourError as error:
            return {self.parts["status"]: shown.problem(str(error))}
        changes = {self.parts[name]: getattr(question, name) for name in CONTROLS if name != "path"}
        data, episode, at_s = pick_of(link.values)
        points = link.values.get(LINK_NAMES["waypoints"], "")
        drawn = f"{pick_text(data, episode, at_s)}|{points}" if points and at_s is not None else ""
        return {**changes, self.parts["path"]: drawn}


def _linked(address: str, picked: str) -> Mapping[str, str]:
    """What the link that arrived says, if it is of this page and this moment."""
    link = values_for(PAGE, address)
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
