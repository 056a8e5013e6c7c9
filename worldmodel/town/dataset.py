"""Town scenes as clips, and datasets of them that survive being killed half-way."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.clips import Box, Clip
from worldmodel.edits import Edit
from worldmodel.errors import BadDataset
from worldmodel.geometry import Rig
from worldmodel.town.mixes import SPLITS, scene_list
from worldmodel.town.records.fingerprint import town_fingerprint
from worldmodel.town.records.request import TownRequest
from worldmodel.town.records.shelf import CHOICE, Shelf, new_piece, open_shelf
from worldmodel.town.records.workers import check_workers, in_order
from worldmodel.town.scene import Scene
from worldmodel.town.traffic import simulate

if TYPE_CHECKING:
    from worldmodel.io.lerobot import Dataset
    from worldmodel.io.lerobot_language import Language

__all__ = ["SOURCE", "SPLITS", "TownRequest", "clip_of", "language_of", "scene_list", "town_clip", "write_town"]

SOURCE = "Detour's embedded town (simulated)"
CRF = 18  # quality of the videos, as of imported ones

Progress = Callable[[int, int], None]


def clip_of(scene: Scene, *, rig: Rig, supersample: int = 2) -> Clip:
    """A scene seen by cameras: rendered frames, exact motion, boxes and instructions."""
    from worldmodel.town.render import render

    rendering = render(scene, rig, supersample=supersample)
    return Clip(
        id=scene.id,
        video=rendering.rgb,
        rig=rig,
        motion=scene.trajectory().motion() if len(scene) > 1 else None,
        motion_origin="town" if len(scene) > 1 else "none",
        frequency_hz=scene.frequency_hz,
        instructions=scene.instructions,
        boxes=tuple(scene.boxes(frame) for frame in range(len(scene))),
        source=SOURCE,
    )


def town_clip(
    situation: str,
    seed: int,
    *,
    rig: Rig,
    seconds: float,
    frequency_hz: float = 8.0,
    edits: Sequence[Edit] = (),
    supersample: int = 2,
) -> Clip:
    """Simulate and render one scene.

    Raises:
        UnknownName, BadRequest, BadEdit: as `simulate`.
    """
    scene = simulate(situation, seed, seconds=seconds, frequency_hz=frequency_hz, edits=edits)
    return clip_of(scene, rig=rig, supersample=supersample)


def language_of(scene: Scene) -> "Language":
    """Everything that is said about a scene, in the form of a dataset."""
    from worldmodel.io.lerobot_language import Language, Text
    from worldmodel.town.language import narration

    said, rate = narration(scene), scene.frequency_hz
    texts = [
        Text(kind="instruction", text=i.text, start_s=i.start_s, end_s=i.end_s, followed=said.to_be_followed)
        for i in said.instructions
    ]
    texts.append(Text(kind="description", text=said.description, end_s=0.0))
    texts += [Text(kind="hint", text=hint.text, start_s=hint.start_s, end_s=hint.end_s) for hint in said.hints]
    texts += [
        Text(kind="notice", text=one.text, start_s=one.start_s, end_s=one.end_s, tracks=(one.track,))
        for one in said.notices
    ]
    texts += [
        Text(
            kind="question",
            text=one.question,
            start_s=one.frame / rate,
            end_s=one.frame / rate,
            answer=one.answer,
            topic=one.kind,
            tracks=one.tracks,
        )
        for one in said.questions
    ]
    return Language(texts=tuple(texts), decisions=said.decisions)


def write_town(
    out: Path,
    request: TownRequest,
    *,
    rig: Rig,
    rig_name: str = "",
    supersample: int = 2,
    workers: int = 1,
    progress: Progress | None = None,
) -> "Dataset":
    """Render scenes into a LeRobot dataset with boxes, language and a card.

    Killed half-way and called again with the same arguments, it goes on where it stopped ('OUT.partial' keeps the
    finished scenes) and the result equals that of an undisturbed call, byte for byte.

    Args:
        out: A folder that does not exist yet.
        rig_name: Of the rig, for the card.
        supersample: As of `render`.
        workers: Processes that render side by side; the result does not depend on it.
        progress: Called with (scenes done, scenes in all).
    Raises:
        OutputExists: if `out` exists or cannot be written, or 'OUT.partial' belongs to another request.
        UnknownName, BadRequest: as `mixed_scenes` and `simulate`.
        DetourError: if a worker process dies.
    """
    from worldmodel.io.lerobot import Dataset
    from worldmodel.io.rig_file import rig_content

    request.check()
    check_workers(workers)
    _check_rate(request.frequency_hz)
    wanted = {"made": "dataset", "rig": rig_content(rig), "supersample": supersample}
    with open_shelf(Path(out), identity(request, wanted), request.scenes) as shelf:
        pairs = scenes_on(shelf, request, workers)
        work = partial(_render_piece, shelf=shelf, request=request, rig=rig, supersample=supersample)
        fill(shelf, work, pairs, workers, progress)
        shelf.finish(_whole_dataset(shelf, request, rig, rig_name))
    return Dataset.open(out)


def _check_rate(frequency_hz: float) -> None:
    if frequency_hz != round(frequency_hz):
        raise BadDataset(
            f"{frequency_hz:g} frames per second are wanted, but LeRobot needs a whole number. Choose 4, 8, 12 or 24."
        )


def identity(request: TownRequest, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for two runs to make the same thing."""
    return {**asdict(request), **wanted, "town": town_fingerprint()}


def scenes_on(shelf: Shelf, request: TownRequest, workers: int) -> list[tuple[str, int]]:
    """The scenes of a shelf; chosen once, then read."""
    file = shelf.folder / CHOICE
    if not file.exists():
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(request.pairs(workers)))
        temporary.replace(file)
    return [(str(situation), int(seed)) for situation, seed in json.loads(file.read_text())]


def fill(
    shelf: Shelf,
    work: Callable[[tuple[int, tuple[str, int]]], None],
    pairs: Sequence[tuple[str, int]],
    workers: int,
    progress: Progress | None,
) -> None:
    """Make all pieces that are missing; `work` takes (number, pair)."""
    missing = shelf.missing()
    done = shelf.count - len(missing)
    if progress is not None and done:
        progress(done, shelf.count)
    for made, _ in enumerate(in_order(work, [(number, pairs[number]) for number in missing], workers), start=1):
        if progress is not None:
            progress(done + made, shelf.count)


def _render_piece(
    job: tuple[int, tuple[str, int]], *, shelf: Shelf, request: TownRequest, rig: Rig, supersample: int
) -> None:
    from worldmodel.io.lerobot_parts import make_part, save_part
    from worldmodel.town.records.card import save_facts, scene_facts

    number, pair = job
    with new_piece(shelf, number) as folder:
        scene = request.scene(pair)
        clip = clip_of(scene, rig=rig, supersample=supersample)
        clip = replace(clip, boxes=_seen(scene, rig, clip.boxes or ()))
        save_part(make_part(clip, folder, crf=CRF, language=language_of(scene)), folder)
        save_facts(scene_facts(scene), folder)


def _seen(scene: Scene, rig: Rig, boxes: tuple[tuple[Box, ...], ...]) -> tuple[tuple[Box, ...], ...]:
    """The boxes with the share that the camera which sees most of them sees."""
    from worldmodel.town.masks import visibility

    if not scene.bodies:
        return boxes
    shares = visibility(scene, rig).max(axis=1)
    tracks = {body.track: b for b, body in enumerate(scene.bodies)}
    return tuple(
        tuple(replace(box, visibility=float(shares[frame, tracks[box.track]])) for box in there)
        for frame, there in enumerate(boxes)
    )


def _whole_dataset(shelf: Shelf, request: TownRequest, rig: Rig, rig_name: str) -> Path:
    from worldmodel.io.lerobot_parts import load_part
    from worldmodel.io.lerobot_writer import join_parts
    from worldmodel.town.records.card import load_facts, write_card

    whole = shelf.folder / "whole"
    whole.mkdir()
    places = [shelf.place(number) for number in range(shelf.count)]
    join_parts((load_part(place, rig) for place in places), whole, name=f"town-{request.split}-{request.seed}")
    write_card(whole, request, [load_facts(place) for place in places], rig=rig, rig_name=rig_name)
    return whole
