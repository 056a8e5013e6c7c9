"""What the Drive page's events do; each returns what changes."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.pages.choosing import choice_of, pick_values
from studio.pages.drive_parts import EXAMPLES, HUNGRY, READY, WORLDS, Parts, gauges_of
from studio.pages.frame import hand_over, values_for
from studio.web import shown
from studio.web.components.tiles import tiles_of
from studio.web.films import Film, Track
from studio.web.links import Link
from studio.web.site import DATASETS, MINE, Site
from worldmodel.errors import BadRequest, DetourError, Diverged
from worldmodel.io.lerobot import Dataset

if TYPE_CHECKING:
    from studio.live.drives import Drives, Seat
    from studio.live.driving import Driving
    from studio.live.ride import DriveRequest, DriveView
    from studio.moments import Moment

PAGE = "drive"
DEFAULTS = {"world": "dream", "seed": "0", "steps": "8", "text": ""}  # what a link leaves out
SHOWN_BEFORE = 8  # recorded pictures that a drive begins with
TRACKS = {
    "dream": Track(name="dream", label="Dream", alt="What the model imagines while you drive, all cameras.", imagined=True),
    "town": Track(name="town", label="Town", alt="The town under the same controls, all cameras."),
}  # fmt: skip
Changes = dict[Any, Any]


class Events:
    """Plain functions of a session and of what the widgets say."""

    def __init__(self, site: Site, parts: Parts) -> None:
        self.site, self.parts = site, parts

    @cached_property
    def drives(self) -> "Drives":
        """The drives of all visitors."""
        from studio.live.drives import Drives

        return Drives()

    # -- before the drive -----------------------------------------------------------------------------------------

    def preview(self, session: str, picked: str) -> Changes:
        """Another moment was chosen: show it."""
        self.drives.end(session, "you chose another moment.")
        try:
            choice = choice_of(self.site, session, picked)
            from studio.web.shelf import instruction_of, moment_picture

            dataset = Dataset.open(choice.dataset)
            picture, told = moment_picture(dataset, choice), instruction_of(dataset, choice)
        except DetourError as error:
            return {self.parts["status"]: shown.problem(str(error))}
        import gradio as gr

        track = Track(name="now", label="Now", alt="All cameras at the chosen moment, as recorded.")
        film = self.site.films.begin(session, [track], rate_hz=dataset.frequency_hz, tiles=tiles_of(dataset.rig))
        film.add("now", picture[None])
        film.end()
        return {
            self.parts["film"]: film.value(),
            self.parts["status"]: shown.status(READY),
            self.parts["text"]: gr.Textbox(placeholder=told or "nothing was said here"),
            **self._buttons(driving=False),
        }

    def follow(self, query: str) -> Any:
        """A link arrived; one for another page changes nothing."""
        import gradio as gr

        link = values_for(PAGE, query)
        if link is None:
            return gr.skip()
        try:
            values = {**DEFAULTS, **link.values}
            if values["world"] not in WORLDS.values():
                raise BadRequest(
                    f"the link says world={values['world'][:40]}; it must be one of {', '.join(WORLDS.values())}. Repair it."
                )
            return {
                self.parts["world"]: values["world"],
                self.parts["seed"]: int(link.number("seed", 0, 0, 2**53)),
                self.parts["steps"]: min((4, 8, 16), key=lambda n: abs(n - link.number("steps", 8, 1, 64))),
                self.parts["text"]: values["text"][:500],
            }
        except DetourError as error:
            return {self.parts["status"]: shown.problem(str(error))}

    def link(self, picked: str, world: str, seed: float | None, steps: int, text: str) -> Link:
        """The address that sets the same controls."""
        said = {"world": world, "seed": f"{int(seed or 0)}", "steps": f"{steps}", "text": text or ""}
        changed = {name: value for name, value in said.items() if value != DEFAULTS[name]}
        return Link(page=PAGE, values={**pick_values(picked), **changed})

    # -- the drive ------------------------------------------------------------------------------------------------

    def announce(self, session: str) -> Changes:
        """The visitor wants to drive."""
        self.drives.end(session, "you began another one.")
        self.site.visitors.begin(session)
        return {
            self.parts["status"]: shown.status("Waiting for the model; others may be before you …"),
            **self._buttons(driving=True),
        }

    def begin(
        self, session: str, picked: str, world: str, seed: float | None, steps: int, text: str
    ) -> Iterator[Changes]:
        """Read the past; the player then asks for one half second after the other."""
        try:
            yield from self._begin(session, picked, self._request(world, seed, steps, text))
        except DetourError as error:
            yield {self.parts["status"]: shown.problem(str(error)), **self._buttons(driving=False)}
            return
        yield {self.parts["here"]: self.link(picked, world, seed, steps, text).query}

    def _request(self, world: str, seed: float | None, steps: int, text: str) -> "DriveRequest":
        from studio.live.ride import DriveRequest
        from worldmodel.sampling import Sampling

        return DriveRequest(world=world, seed=int(seed or 0), text=(text or "").strip(), sampling=Sampling(steps=steps))

    def _begin(self, session: str, picked: str, request: "DriveRequest") -> Iterator[Changes]:
        from studio.live.drives import Seat
        from studio.live.driving import Driving

        choice = choice_of(self.site, session, picked)
        stopped = self.site.visitors.signal(session).is_set
        if not self.site.model.ready:
            yield {self.parts["status"]: shown.status("Loading the model (once, about 10 s) …")}
        model = self.site.model.get()
        yield {self.parts["status"]: shown.status("Reading the clip …")}
        moment = _moment(
            choice.text, model.config.history_chunks, model.config.network.frames_per_chunk, model.config.frequency_hz
        )
        with self.site.turns.turn(session, stopped) as mine:
            if not mine or stopped():
                yield self._stopped()
                return
            driving = Driving(model, moment, request, self.site.visitors.folder(session))
        film = self._film(session, driving)
        self.drives.begin(session, Seat(driving=driving, film=film, clip=choice.text, stopped=stopped))
        yield {
            self.parts["film"]: film.value(),
            self.parts["status"]: shown.status(f"Go! You have {driving.longest_s:g} s."),
            self.parts["gauges"]: gauges_of({}),
        }

    def _film(self, session: str, driving: "Driving") -> Film:
        before = driving.before()
        shown_before = {name: frames[-SHOWN_BEFORE:] for name, frames in before.items()}
        count = min(len(frames) for frames in shown_before.values())
        film = self.site.films.begin(
            session,
            [TRACKS[name] for name in driving.request.worlds],
            rate_hz=driving.rate_hz,
            start_s=-(count - 1) / driving.rate_hz,
            tiles=tiles_of(next(iter(driving.reels.values())).rig),
        )
        for name, frames in shown_before.items():
            film.add(name, frames)
        if driving.text:
            film.note(0.0, driving.text)
        return film

    def go_on(self, session: str, hands: object, autopilot: bool) -> Changes:
        """The player is hungry: drive another half second."""
        from studio.live.hands import Hands

        try:
            seat = self.drives.of(session)
            with self.site.turns.turn(session, seat.stopped) as mine:
                if not mine or seat.stopped():
                    return self.stop(session)
                with seat.driving.lock:
                    view = seat.driving.go_on(Hands.read(hands), autopilot=bool(autopilot), waiting_frames=HUNGRY)
        except Diverged as error:
            self.drives.end(session, "the dream fell apart.")
            return {self.parts["status"]: shown.problem(str(error)), **self._ended(seat)}
        except DetourError as error:
            return {self.parts["status"]: shown.problem(str(error)), **self._buttons(driving=False)}
        for name, frames in view.frames.items():
            seat.film.add(name, frames)
        return self._shown(session, seat, view)

    def _shown(self, session: str, seat: "Seat", view: "DriveView") -> Changes:
        changes: Changes = {
            self.parts["gauges"]: gauges_of(gauges(view, seat.driving.longest_s)),
            self.parts["above"]: view.above(),
            self.parts["status"]: shown.status(view.note or _who(view)),
        }
        if view.ended:
            self.drives.end(session, view.ended)
            changes |= {self.parts["status"]: shown.status(f"The drive is over: {_outcome(seat)}"), **self._ended(seat)}
        return {**changes, self.parts["film"]: seat.film.value()}

    def stop(self, session: str) -> Changes:
        """The visitor stops, or has stopped."""
        self.site.visitors.stop(session)
        try:
            seat = self.drives.of(session)
        except BadRequest:
            return self._stopped()
        self.drives.end(session, "you stopped.")
        said = shown.status(f"The drive is over: {_outcome(seat)}")
        return {self.parts["status"]: said, self.parts["film"]: seat.film.value(), **self._ended(seat)}

    def _stopped(self) -> Changes:
        return {self.parts["status"]: shown.status("Stopped."), **self._buttons(driving=False)}

    def _ended(self, seat: "Seat") -> Changes:
        """What can be done with a drive that is over."""
        import gradio as gr

        long_enough = seat.driving.driven_s >= 1.0
        return {**self._buttons(driving=False), self.parts["keep"]: gr.Button(interactive=long_enough)}

    def _buttons(self, *, driving: bool) -> Changes:
        import gradio as gr

        return {
            self.parts["go"]: gr.Button(interactive=not driving),
            self.parts["stop"]: gr.Button(interactive=driving),
            self.parts["put"]: gr.Button(interactive=driving),
            self.parts["keep"]: gr.Button(interactive=False),
        }

    # -- what is said and put there -------------------------------------------------------------------------------

    def say(self, session: str, text: str) -> Changes:
        """The driver is told something else."""
        try:
            seat = self.drives.of(session)
            seat.driving.say(text or "")
        except BadRequest as error:
            over = "not driven yet" in str(error)
            return {self.parts["note"]: "" if over else shown.problem(str(error))}
        if seat.driving.ended:
            return {self.parts["note"]: ""}
        seat.film.note(seat.driving.driven_s, text.strip() or "nothing")
        return {self.parts["note"]: shown.status(f"Told: {text.strip() or 'nothing'}")}

    def say_example(self, session: str, number: int) -> Changes:
        """The driver is told an example."""
        return {self.parts["text"]: EXAMPLES[number], **self.say(session, EXAMPLES[number])}

    def put(self, session: str, kind: str) -> Changes:
        """Something is put in the way."""
        from studio.live.obstacle import Obstacle

        try:
            seat = self.drives.of(session)
            with self.site.turns.turn(session, seat.stopped) as mine:
                if mine:
                    with seat.driving.lock:
                        seat.driving.put(Obstacle(kind=kind))
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}
        return {self.parts["note"]: shown.status(f"A {kind} stands ahead.")}

    # -- what is kept ---------------------------------------------------------------------------------------------

    def keep(self, session: str) -> Iterator[Changes]:
        """Write the recording as a clip, a film and a path."""
        import gradio as gr

        from studio.live.keeping import keep

        folder = self.site.visitors.folder(session)
        try:
            seat = self.drives.of(session)
            name = _free_name(folder / DATASETS)
            for kept in keep(seat.driving.reels, folder / DATASETS, folder, name, self.site.model.preset):
                yield {self.parts["kept_status"]: shown.status("Writing clip, film and path …", kept.share)}
        except DetourError as error:
            yield {self.parts["kept_status"]: shown.problem(str(error))}
            return
        yield {
            self.parts["kept_status"]: shown.status(f"Kept as {MINE}{name} until you close the tab. {_repeat(seat)}"),
            self.parts["kept_row"]: gr.Row(visible=True),
            self.parts["mp4"]: gr.DownloadButton(value=str(kept.film)),
            self.parts["path"]: gr.DownloadButton(value=str(kept.path)),
            self.parts["command"]: gr.Code(seat.driving.command(seat.clip, self.site.model.folder), visible=True),
            self.parts["name"]: f"{MINE}{name}",
        }

    def open_in(self, page: str, name: str) -> str:
        """The link that opens another page with the kept drive."""
        return hand_over(Link(page=page, values={"data": name, "clip": "0"}))


def gauges(view: "DriveView", longest_s: float) -> Mapping[str, str]:
    """What the gauges show."""
    speed = view.car.speed_mps
    found = {
        "Speed": f"{speed * 3.6:.0f} km/h <small>{speed:.1f} m/s</small>",
        "Driven": f"{view.driven_s:.1f} s <small>of {longest_s:.0f}</small>",
        "Hand to eye": f"{view.delay_s:.1f} s",
    }
    if view.memory is not None:
        found["Remembered"] = f"{view.memory[0]:g} s <small>{view.memory[1]:.1f} MB</small>"
    if view.pace_hz is not None:
        found["Pictures"] = f"{view.pace_hz:.1f} /s <small>of 8</small>"
    return found


def _who(view: "DriveView") -> str:
    told = f", told “{view.text}”" if view.text else ""
    return f"The autopilot drives{told}." if view.plan is not None else f"You drive{told}."


def _outcome(seat: "Seat") -> str:
    driving = seat.driving
    metres = next(iter(driving.reels.values())).path_driven().path_length_m
    text = f"{driving.ended} {driving.driven_s:.1f} s and {metres:.0f} m."
    score = driving.score
    if score is None:
        return text
    wrong = ", ".join(score.infractions) or "nothing went wrong"
    return f"{text} In the town {score.progress_m:.0f} m along the route of {score.route_m:.0f} m; {wrong}."


def _repeat(seat: "Seat") -> str:
    if seat.driving.repeatable:
        return "The command below imagines the same from the path (as driven.csv)."
    return (
        "With what was put in the way it cannot be imagined again from the path alone."
        if "dream" in seat.driving.reels
        else ""
    )


def _free_name(folder: Path) -> str:
    number = 1
    while (folder / f"drive-{number}").exists():
        number += 1
    return f"drive-{number}"


def _moment(clip: str, chunks: int, chunk: int, rate_hz: float) -> "Moment":
    from studio.moments import Wish, find_moment

    return find_moment(clip, Wish(history=chunks * chunk, chunk=chunk, future_s=1 / rate_hz, rate_hz=rate_hz))
