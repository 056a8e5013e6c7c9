"""What the Drive page's events do; each returns what changes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from studio.live.drive.drives import Drives, Seat
from studio.pages.choosing import choice_of, pick_values
from studio.pages.drive.linked import DEFAULTS, linked_values
from studio.pages.drive.parts import EXAMPLES, HUNGRY, READY, Parts
from studio.pages.drive.shown import gauges, gauges_of, outcome, repeated, who_drives
from studio.pages.opened import link_here
from studio.pages.wires import hand_over, values_for
from studio.web import shown
from studio.web.components.tiles import tiles_of
from studio.web.films import Film, Track
from studio.web.links import Link
from studio.web.site import DATASETS, MINE, Site
from worldmodel.errors import BadRequest, DetourError, Diverged
from worldmodel.io.lerobot import Dataset

if TYPE_CHECKING:
    from studio.live.drive.driving import Driving
    from studio.live.drive.ride import DriveRequest

PAGE = "drive"
SHOWN_BEFORE = 8  # recorded pictures that a drive begins with
TRACKS = {
    "dream": Track(name="dream", label="Dream", alt="What the model imagines while you drive, all cameras.", imagined=True),
    "town": Track(name="town", label="Town", alt="The town under the same controls, all cameras."),
}  # fmt: skip
Changes = dict[Any, Any]


class Events:
    """Plain functions of a session and of what the widgets say."""

    def __init__(self, site: Site, parts: Parts) -> None:
        self.site, self.parts, self.drives = site, parts, Drives()
        self._begun: dict[str, str] = {}  # moments that visitors began to drive from

    # -- before the drive -----------------------------------------------------------------------------------------

    def preview(self, session: str, picked: str, query: str = "") -> Any:
        """Another moment was chosen: show it, unless it comes late and is being driven from already."""
        import gradio as gr

        changes = None if self._begun.get(session) == picked else self._preview(session, picked, query)
        return gr.skip() if self._begun.get(session) == picked else changes

    def _preview(self, session: str, picked: str, query: str) -> Changes:
        self._begun.pop(session, None)
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
            self.parts["status"]: self._complaint(session, picked, query) or shown.status(READY),
            self.parts["text"]: gr.Textbox(placeholder=told or "nothing was said here"),
            **self._buttons(driving=False),
        }

    def _complaint(self, session: str, picked: str, query: str) -> str:
        """What is wrong with the link that led to this moment; '' for nothing."""
        try:
            if link := link_here(self.site, session, PAGE, query, picked):
                self._linked(link)
        except DetourError as error:
            return shown.problem(str(error))
        return ""

    def follow(self, query: str) -> Any:
        """A link arrived; one for another page changes nothing."""
        import gradio as gr

        link = values_for(PAGE, query)
        try:
            return gr.skip() if link is None else self._linked(link)
        except DetourError as error:
            return {self.parts["status"]: shown.problem(str(error))}

    def _linked(self, link: Link) -> Changes:
        return {self.parts[name]: value for name, value in linked_values(link).items()}

    def link(self, picked: str, world: str, seed: float | None, steps: int, text: str) -> Link:
        """The address that sets the same controls."""
        said = {"world": world, "seed": f"{int(seed or 0)}", "steps": f"{steps}", "text": text or ""}
        changed = {name: value for name, value in said.items() if value != DEFAULTS[name]}
        return Link(page=PAGE, values={**pick_values(picked), **changed})

    # -- the drive ------------------------------------------------------------------------------------------------

    def announce(self, session: str, picked: str) -> Changes:
        """The visitor wants to drive."""
        self._begun[session] = picked
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
        from studio.live.drive.ride import DriveRequest
        from worldmodel.sampling import Sampling

        return DriveRequest(world=world, seed=int(seed or 0), text=(text or "").strip(), sampling=Sampling(steps=steps))

    def _begin(self, session: str, picked: str, request: "DriveRequest") -> Iterator[Changes]:
        from studio.live.drive.driving import Driving, moment_to_drive

        choice = choice_of(self.site, session, picked)
        stopped = self.site.visitors.signal(session).is_set
        if not self.site.model.ready:
            yield {self.parts["status"]: shown.status("Loading the model (once, about 10 s) …")}
        model = self.site.model.get()
        yield {self.parts["status"]: shown.status("Reading the clip …")}
        moment = moment_to_drive(choice.text, model)
        with self.site.turns.turn(session, stopped) as mine:
            if not mine or stopped():
                yield self.stop(session)
                return
            driving = Driving(model, moment, request, self.site.visitors.folder(session))
        film = self._film(session, driving)
        self.drives.begin(session, Seat(driving=driving, film=film, clip=choice.text, stopped=stopped))
        yield {
            self.parts["film"]: film.value(),
            self.parts["status"]: shown.status(f"Go! You have {driving.longest_s:g} s."),
            self.parts["gauges"]: gauges_of({}),
            **self._buttons(driving=True),  # again: a preview may have come late
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
        from studio.live.drive.hands import Hands

        try:
            seat = self.drives.of(session)
            with self.site.turns.turn(session, seat.stopped) as mine, seat.driving.lock:
                if not mine or seat.stopped() or seat.driving.ended:
                    return self.stop(session)
                view = seat.driving.go_on(Hands.read(hands), autopilot=bool(autopilot), waiting_frames=HUNGRY)
        except Diverged as error:
            self.drives.end(session, "the dream fell apart.")
            return {**self._over(seat), self.parts["status"]: shown.problem(str(error))}
        except DetourError as error:
            return {self.parts["status"]: shown.problem(str(error)), **self._buttons(driving=False)}
        for name, frames in view.frames.items():
            seat.film.add(name, frames)
        if view.ended:
            self.drives.end(session, view.ended)
        over = seat.stopped() or view.ended
        changes = self._over(seat) if over else {self.parts["status"]: shown.status(view.note or who_drives(view))}
        return {
            **changes,
            self.parts["gauges"]: gauges_of(gauges(view, seat.driving)),
            self.parts["above"]: view.above(),
            self.parts["film"]: seat.film.value(),
        }

    def stop(self, session: str) -> Changes:
        """The visitor stops, or has stopped."""
        self.site.visitors.stop(session)
        seat = self.drives.find(session)
        if seat is None:
            return {self.parts["status"]: shown.status("Stopped."), **self._buttons(driving=False)}
        if not seat.driving.lock.acquire(blocking=False):  # whoever is at it says how it ended
            return {self.parts["status"]: shown.status("Stopping after this half second …")}
        try:
            self.drives.end(session, "you stopped.")
        finally:
            seat.driving.lock.release()
        return self._over(seat)

    def _over(self, seat: Seat) -> Changes:
        """A drive has ended: what came of it, and what can be done with it."""
        import gradio as gr

        from studio.live.drive.keeping import command

        return {
            **self._buttons(driving=False),
            self.parts["status"]: shown.status(f"The drive is over: {outcome(seat.driving)}"),
            self.parts["film"]: seat.film.value(),
            self.parts["keep"]: gr.Button(interactive=seat.driving.driven_s >= 1.0),
            self.parts["command"]: gr.Code(command(seat.driving, seat.clip, self.site.model.folder), visible=True),
        }

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
        seat = self.drives.find(session)
        if seat is None or seat.driving.ended:
            return {self.parts["note"]: ""}  # the next drive begins with it
        try:
            seat.driving.say(text or "")
        except BadRequest as error:
            return {self.parts["note"]: shown.problem(str(error))}
        seat.film.note(seat.driving.driven_s, text.strip() or "nothing")
        return {self.parts["note"]: shown.status(f"Told: {text.strip() or 'nothing'}")}

    def say_example(self, session: str, number: int) -> Changes:
        """The driver is told an example."""
        return {self.parts["text"]: EXAMPLES[number], **self.say(session, EXAMPLES[number])}

    def put(self, session: str, kind: str) -> Changes:
        """Something is put in the way."""
        from studio.live.drive.obstacle import Obstacle

        try:
            seat = self.drives.of(session)
            with self.site.turns.turn(session, seat.stopped) as mine:
                if not mine:
                    return {self.parts["note"]: ""}
                with seat.driving.lock:
                    seat.driving.put(Obstacle(kind=kind))
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}
        return {self.parts["note"]: shown.status(f"A {kind} stands ahead.")}

    # -- what is kept ---------------------------------------------------------------------------------------------

    def keep(self, session: str) -> Iterator[Changes]:
        """Write the recording as a clip, a film and a path."""
        import gradio as gr

        from studio.live.drive.keeping import free_name, keep

        folder = self.site.visitors.folder(session)
        try:
            seat = self.drives.of(session)
            name = free_name(folder / DATASETS)
            for kept in keep(seat.driving.reels, folder / DATASETS, folder, name, self.site.model.preset):
                yield {self.parts["kept_status"]: shown.status("Writing clip, film and path …", kept.share)}
        except DetourError as error:
            yield {self.parts["kept_status"]: shown.problem(str(error))}
            return
        yield {
            self.parts["kept_status"]: shown.status(
                f"Kept as {MINE}{name} until you close the tab. {repeated(seat.driving)}"
            ),
            self.parts["kept_row"]: gr.Row(visible=True),
            self.parts["mp4"]: gr.DownloadButton(value=str(kept.film)),
            self.parts["path"]: gr.DownloadButton(value=str(kept.path)),
            self.parts["keep"]: gr.Button(interactive=False),
            self.parts["name"]: f"{MINE}{name}",
        }

    def open_in(self, page: str, name: str) -> str:
        """The link that opens another page with the kept drive."""
        return hand_over(Link(page=page, values={"data": name, "clip": "0"}))
