"""Where a drive and a moment in it are chosen: thumbnails, a slider, own recordings. Used by several pages.

A page reads the choice from one hidden text, `Chosen.picked`, and listens to its `change`:

    chosen = clip_picker(site, wires, "imagine")
    chosen.picked.change(show, chosen.picked, outputs)         # show(picked, request): choice_of(site, session, picked)

The text is the part of a link that names the clip (`data=mine%2Fcity&clip=0%401.9`), so that a page's own link is
`Link(page=..., values={**pick_values(picked), ...})`, and a link that arrives sets the picker by itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from studio.pages.wires import QUIET, Wires, session_of, values_for
from studio.web import shown
from studio.web.arrivals.uploads import Received, arriving
from studio.web.components.drop import drop, received
from studio.web.shelf import MAX_THUMBNAILS, Choice, ClipCard, clip_cards, clip_names, moment_range
from studio.web.site import DATASETS, MINE, Site
from worldmodel.errors import BadRequest, DetourError
from worldmodel.io.lerobot import Dataset

if TYPE_CHECKING:
    import gradio

THUMBNAIL_PX = 320
SHIPPED = "Clips that ship with Detour"
DROP = (
    "Videos called CLIP.CAMERA.mp4 (with CLIP.ego.csv and rig.yaml where you have them), one video alone, a LeRobot folder, or "
    "a zip. Only you see it; it is removed when you close the tab."
)
Updates = dict[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What a page needs of the picker.

    Attributes:
        picked: A hidden text that names dataset, clip and moment; '' until the clips are there.
    """

    picked: "gradio.Textbox"


def pick_text(data: str, episode: int, at_s: float) -> str:
    """A choice as text; `data` as `Site.dataset` reads it."""
    return urlencode({**({"data": data} if data else {}), "clip": f"{episode}@{at_s:g}"})


def pick_values(picked: str) -> dict[str, str]:
    """What a link says of a choice: `clip`, and `data` unless it is the shipped dataset."""
    return {name: value for name, value in parse_qsl(picked) if name in ("data", "clip")}


def pick_of(values: Mapping[str, str]) -> tuple[str, int, float | None]:
    """Dataset, episode and seconds (None for a good moment) of a link.

    Raises:
        BadRequest: if its clip is no EPISODE or EPISODE@SECONDS.
    """
    text = values.get("clip", "0")
    episode, _, at_s = text.partition("@")
    try:
        seconds = float(at_s) if at_s else None
        if not 0 <= int(episode) < 10**6 or (seconds is not None and not 0 <= seconds < 10**6):
            raise ValueError("out of range")
        return values.get("data", ""), int(episode), seconds
    except ValueError as error:
        raise BadRequest(
            f"the link says clip={text[:40]}, which is no clip and moment ({error}). Write it as in clip=0@2.5."
        ) from error


def choice_of(site: Site, session: str, picked: str | None) -> Choice:
    """The moment that `Chosen.picked` names.

    Raises:
        BadRequest: if nothing is chosen yet.
        BadDataset: if the dataset is gone, or not open to visitors.
    """
    if not picked:
        raise BadRequest("no clip is chosen yet. Choose one above.")
    data, episode, at_s = pick_of(pick_values(picked))
    dataset = site.dataset(session, data)
    dataset.record(episode)
    return Choice(
        dataset=str(dataset.path), episode=episode, at_s=moment_range(dataset, episode)[2] if at_s is None else at_s
    )


def own_datasets(site: Site, session: str) -> list[str]:
    """Names of a visitor's uploads, as `Site.dataset` reads them."""
    folder = site.visitors.folder(session) / DATASETS
    names = sorted(path.name for path in folder.glob("*/") if not path.name.startswith(".")) if folder.is_dir() else []
    return [f"{MINE}{name}" for name in names]


def clip_picker(site: Site, wires: Wires, page: str, *, first: int = 0) -> Chosen:
    """Thumbnails, clip, moment and dataset; call it inside an open layout.

    Args:
        site: What the pages share.
        wires: Its `address` is listened to.
        page: Whose links are taken.
        first: Episode of the shipped dataset that is chosen at first.
    """
    import gradio as gr

    parts = _layout(site, page)
    picker = _Picker(site, page, parts, first)
    outputs = [*parts.values()]

    def begin(request: gr.Request) -> Updates:
        return picker.begin(session_of(request), str(request.query_params))

    def follow(query: str, request: gr.Request) -> Any:
        return picker.follow(session_of(request), query) or gr.skip()

    def open_data(data: str, request: gr.Request) -> Updates:
        return picker.show(session_of(request), data, 0)

    def list_data(request: gr.Request) -> Any:
        return picker.data_choices(session_of(request))

    def take_card(data: str, event: gr.SelectData, request: gr.Request) -> Updates:
        return picker.take_clip(session_of(request), data, event.index)

    def take_clip(data: str, episode: int, request: gr.Request) -> Updates:
        return picker.take_clip(session_of(request), data, episode)

    def receive(dropped: dict[str, Any] | None, request: gr.Request) -> Iterator[Updates]:
        yield from picker.receive(session_of(request), dropped)

    gr.on(None, begin, None, outputs, **QUIET)  # when the page is loaded
    wires.address.change(follow, wires.address, outputs, **QUIET)
    parts["data"].input(open_data, parts["data"], outputs, **QUIET)
    parts["data"].focus(list_data, None, parts["data"], **QUIET)
    parts["gallery"].select(take_card, parts["data"], outputs, **QUIET)
    parts["clip"].input(take_clip, [parts["data"], parts["clip"]], outputs, **QUIET)
    moment = [parts["data"], parts["clip"], parts["moment"]]
    parts["moment"].input(pick_text, moment, parts["picked"], trigger_mode="always_last", **QUIET)
    parts["files"].upload(
        receive,
        parts["files"],
        outputs,
        show_progress="hidden",
        concurrency_limit=2,
        trigger_mode="multiple",
        api_visibility="private",
    )
    return Chosen(picked=parts["picked"])


def _layout(site: Site, page: str) -> dict[str, Any]:
    import gradio as gr

    gallery = gr.Gallery(
        label="Clips", show_label=False, columns=4, height=248, allow_preview=False, interactive=False, buttons=[], object_fit="cover",
        elem_id=f"{page}-clips", elem_classes="clips",
    )  # fmt: skip
    with gr.Row():
        clip = gr.Dropdown(label="Clip", choices=[], interactive=True, min_width=140, elem_id=f"{page}-clip")
        moment = gr.Slider(0, 10, step=0.125, value=0, label="Now, at second", buttons=[], min_width=180)
    with gr.Accordion("Your own recording", open=False):
        files = drop(label="Drop a recording here", elem_id=f"{page}-files", hint=DROP, limits=site.limits)
        data = gr.Dropdown(
            [(SHIPPED, "")], value="", label="Dataset", interactive=True, allow_custom_value=site.any_folder,
            info="Or the folder of a LeRobot dataset on this machine." if site.any_folder else None,
            elem_id=f"{page}-data",
        )  # fmt: skip
    note = gr.HTML(label="About the clips", elem_id=f"{page}-clips-note")
    picked = gr.Textbox(label="Chosen moment", visible="hidden", elem_id=f"{page}-picked")
    return {"gallery": gallery, "clip": clip, "moment": moment, "files": files, "data": data, "note": note, "picked": picked}  # fmt: skip


class _Picker:
    """What the picker's events do; each returns what changes."""

    def __init__(self, site: Site, page: str, parts: dict[str, Any], first: int) -> None:
        self.site, self.page, self.parts, self.first = site, page, parts, first

    def begin(self, session: str, query: str) -> Updates:
        """The studio was opened, perhaps by a link."""
        asked = self.follow(session, query)
        if self.parts["gallery"] in asked:
            return asked
        first = self.first if self.first < self.site.shipped.episodes else 0
        return self.show(session, "", first) | asked  # a link that leads nowhere is told beside the clips that ship

    def follow(self, session: str, query: str) -> Updates:
        """A link arrived; nothing changes when it names no clip of this page."""
        try:
            link = values_for(self.page, query)
            if link is None or "clip" not in link.values:
                return {}
            return self.show(session, *pick_of(link.values))
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}

    def receive(self, session: str, dropped: dict[str, Any] | None) -> Iterator[Updates]:
        """Files were dropped."""
        try:
            yield from self._arriving(session, received(dropped))
        except DetourError as error:
            yield {self.parts["note"]: shown.problem(str(error)), self.parts["files"]: None}

    def _arriving(self, session: str, files: Sequence[Received]) -> Iterator[Updates]:
        into = self.site.visitors.folder(session) / DATASETS
        visitor = into.parent
        for step in arriving(files, into, self.site.limits, stopped=lambda: not visitor.exists()):
            yield {self.parts["note"]: shown.status(step.text, step.share)}
            if step.dataset is not None:
                shown_now = self.show(session, f"{MINE}{step.dataset.path.name}", 0)
                yield {**shown_now, self.parts["files"]: None}

    def take_clip(self, session: str, data: str, episode: int) -> Updates:
        """Another clip of the same dataset."""
        try:
            dataset = self.site.dataset(session, data)
            return self._at(dataset, data, episode, None)
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}

    def show(self, session: str, data: str, episode: int, at_s: float | None = None) -> Updates:
        """A dataset from its first card on."""
        import gradio as gr

        try:
            dataset = self.site.dataset(session, data)
            cards = _cards(str(dataset.path), _age(dataset))
            changes = self._at(dataset, data, episode, at_s)
        except DetourError as error:
            return {self.parts["note"]: shown.problem(str(error))}
        selected = episode if episode < len(cards) else None
        return {
            **changes,
            self.parts["gallery"]: gr.Gallery(
                [(card.thumbnail, _short(card.caption)) for card in cards], selected_index=selected
            ),
            self.parts["clip"]: gr.Dropdown(clip_names(dataset), value=episode),
            self.parts["data"]: self.data_choices(session, data),
            self.parts["note"]: _about(dataset) if data else "",
        }

    def _at(self, dataset: Dataset, data: str, episode: int, at_s: float | None) -> Updates:
        import gradio as gr

        low, high, start = moment_range(dataset, episode)
        at_s = start if at_s is None else min(max(at_s, low), high)
        return {
            self.parts["clip"]: gr.Dropdown(value=episode),
            self.parts["gallery"]: gr.Gallery(selected_index=episode if episode < MAX_THUMBNAILS else None),
            self.parts["moment"]: gr.Slider(low, high, value=at_s, step=1 / dataset.frequency_hz),
            self.parts["picked"]: pick_text(data, episode, at_s),
        }

    def data_choices(self, session: str, data: str | None = None) -> Any:
        """The dropdown with the visitor's uploads, which may have come on another page; `data` is chosen then."""
        import gradio as gr

        choices = [(SHIPPED, ""), *((name, name) for name in own_datasets(self.site, session))]
        if data and data not in [value for _, value in choices]:
            choices.append((data, data))
        return gr.Dropdown(choices) if data is None else gr.Dropdown(choices, value=data)


def _short(caption: str) -> str:
    """A clip's name without the number at its end, for the little room below a thumbnail."""
    return re.sub(r"-\d+$", "", caption).replace("_", " ")


def _age(dataset: Dataset) -> int:
    return (dataset.path / "meta" / "info.json").stat().st_mtime_ns


@lru_cache(maxsize=8)
def _cards(path: str, age: int) -> list[ClipCard]:
    """Thumbnails of a dataset, at most THUMBNAIL_PX wide and high, kept while its files are those of `age`."""
    from PIL import Image

    del age
    cards = []
    for card in clip_cards(Dataset.open(path)):
        picture = Image.fromarray(card.thumbnail)
        picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        cards.append(replace(card, thumbnail=np.asarray(picture)))
    return cards


def _about(dataset: Dataset) -> str:
    clips, cameras = (
        f"{count} {of}{'s' * (count != 1)}" for count, of in ((dataset.episodes, "clip"), (len(dataset.rig), "camera"))
    )
    said = [
        f"{dataset.name}: {clips}, {cameras}, {dataset.frequency_hz:g} frames per second.",
        *([] if dataset.has_motion else ["It has no ego motion, so paths are unknown."]),
        *(f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in dataset.notes[:3]),
    ]
    return f'<p class="empty-note">{escape(" ".join(said))}</p>'
