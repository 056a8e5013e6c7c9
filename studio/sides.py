"""Before and after: the same seconds without and with one change, as a planner sees them."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from studio.counterfactual import EditedClip, apply_edit
from studio.moments import Moment, Wish, editable, find_moment
from studio.sprites import Sprite
from studio.stitch import StitchedClip
from studio.town_answer import TownAnswer, town_answer
from studio.town_changes import change_answer, changed_look, path_of, seen_again
from studio.town_scene import roadside_m, solid_depth, town_scene
from studio.town_sprites import lookalike_of, sized_sprite, sprite_of
from worldmodel.clips import Clip
from worldmodel.edits import ChangeInstruction, ChangeMotion, ChangeWeather, Edit, RemoveActor, StitchSprite
from worldmodel.errors import BadEdit, BadRequest
from worldmodel.geometry import Array, Trajectory

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

MAX_PLACES, MAX_BYTES = 4, 64_000_000  # kept, so that the next change of the same moment comes quickly


@dataclass(frozen=True, eq=False)
class Place:
    """A moment of a recording, with what the town knows of it.

    Attributes:
        moment: What is seen and what followed.
    """

    moment: Moment

    @cached_property
    def scene(self) -> "Scene | None":
        """The scene behind a town clip, 4 s on from now; None for other clips, and where the town has changed since."""
        return town_scene(self.moment)

    @cached_property
    def depth_m(self) -> "Float[Array, 'time camera h w'] | None":
        """Of all that stands there in the frames up to now."""
        if self.scene is None:
            return None
        first = round(self.moment.start_s * self.scene.frequency_hz)
        frames = range(first, first + self.moment.now + 1)
        return solid_depth(self.scene, self.moment.clip.rig, frames).astype(np.float32)

    @property
    def seen(self) -> Clip:
        """The frames up to now."""
        return self.moment.clip.sliced(0.0, (self.moment.now + 1) / self.moment.clip.frequency_hz)

    def with_seen(self, clip: Clip) -> Moment:
        """The moment with other frames up to now; what followed stays as it was recorded."""
        video = np.concatenate([clip.video, self.moment.clip.video[self.moment.now + 1 :]])
        return replace(self.moment, clip=replace(self.moment.clip, video=video, instructions=clip.instructions))


class Places:
    """The moments that were asked about last; a scene is simulated once for many questions."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Wish, int], Place] = OrderedDict()
        self._lock = Lock()

    def at(self, clip: str, wish: Wish) -> Place:
        """The place that DATASET:EPISODE@SECONDS names.

        Raises:
            BadDataset, UnknownName, BadRequest, ClipTooShort: as `find_moment`.
        """
        key = (clip, wish, _age(clip))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        place = Place(editable(find_moment(clip, wish)))
        with self._lock:
            self._kept[key] = place
            while len(self._kept) > 1 and (len(self._kept) > MAX_PLACES or self._bytes() > MAX_BYTES):
                self._kept.popitem(last=False)
        return place

    def _bytes(self) -> int:
        return sum(place.moment.clip.video.nbytes for place in self._kept.values())


def _age(clip: str) -> int:
    """When the dataset of a clip was written; 0 if there is none."""
    info = Path(clip.rpartition(":")[0]) / "meta" / "info.json"
    return info.stat().st_mtime_ns if info.is_file() else 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Sides:
    """The same seconds twice.

    Attributes:
        before, after: Without and with the change.
        edit: The change, in seconds of the moment's clip.
        stitched: The edited clip with masks, when an object was put into it.
        actions: Paths to drive from now on, before and after; None where nothing says how.
        notes: What to know before trusting them.
    """

    before: Moment
    after: Moment
    edit: Edit
    stitched: StitchedClip | None = None
    actions: tuple[Trajectory, Trajectory] | None = None
    notes: tuple[str, ...] = ()

    @property
    def edited(self) -> EditedClip:
        """The side after, as pairs of plans want it."""
        return EditedClip(clip=self.after.clip, stitched=self.stitched)

    @property
    def seen(self) -> tuple[UInt8[Array, "time camera 3 h w"], UInt8[Array, "time camera 3 h w"]]:
        """The frames up to now of both."""
        last = self.before.now + 1
        return self.before.clip.video[:last], self.after.clip.video[:last]


def sides_of(place: Place, edit: Edit, height_m: float | None = None) -> Sides:
    """Both sides of a change.

    Args:
        place: Where.
        edit: What; its time is set to the place's now.
        height_m: Of a stitched object, metres; None for its usual one.

    Raises:
        BadEdit, UnknownName, MissingMotion, ClipTooShort: if the change does not fit the clip.
    """
    moment = place.moment
    if isinstance(edit, StitchSprite):
        return _stitched(place, replace(edit, at_s=moment.at_s), sized_sprite(edit.kind, height_m))
    if isinstance(edit, ChangeInstruction):
        edit = replace(edit, at_s=moment.at_s)
        after = replace(moment, clip=apply_edit(moment.clip, edit).clip)
        return Sides(before=moment, after=after, edit=edit, notes=moment.notes)
    if isinstance(edit, ChangeMotion):
        return _driven(place, edit)
    if isinstance(edit, RemoveActor | ChangeWeather):
        return _rendered(place, edit)
    raise BadEdit(f"{type(edit).__name__} is not offered here. Put an object there, or remove somebody.")


def _stitched(place: Place, edit: StitchSprite, sprite: Sprite | None) -> Sides:
    moment, scene = place.moment, place.scene
    if scene is not None and edit.variant == "lookalike" and edit.y_m is None:
        frame = round(moment.start_s * scene.frequency_hz) + moment.now
        edit = replace(edit, y_m=roadside_m(scene, frame, lookalike_of(sprite or sprite_of(edit.kind))))
    edited = apply_edit(place.seen, edit, sprite=sprite, depth_m=place.depth_m)
    assert edited.stitched is not None
    said = edited.stitched.provenance.get("notes")
    notes = [f"{text}." for text in said] if isinstance(said, list) else []
    return Sides(
        before=moment,
        after=place.with_seen(edited.clip),
        edit=edit,
        stitched=edited.stitched,
        notes=(*moment.notes, *notes),
    )


def _rendered(place: Place, edit: RemoveActor | ChangeWeather) -> Sides:
    if place.scene is None:
        what = "who is removed" if isinstance(edit, RemoveActor) else "another weather"
        raise BadEdit(
            f"clip '{place.moment.clip.id}' is a recording, and what the cameras would have seen with {what} is not known. "
            "Choose a clip of the town, or put an object there instead."
        )
    changed = changed_look(place.scene, edit)
    before, after = (replace(place.seen, video=seen_again(scene, place.moment)) for scene in (place.scene, changed))
    note = "both sides are rendered anew from the scene, so that nothing but the change differs."
    return Sides(
        before=place.with_seen(before),
        after=place.with_seen(after),
        edit=edit,
        notes=(*place.moment.notes, note),
    )


def _driven(place: Place, edit: ChangeMotion) -> Sides:
    moment = place.moment
    driven, drawn = moment.driven(), path_of(edit, moment.clip.frequency_hz)
    if driven is None:
        raise BadRequest(
            f"clip '{moment.clip.id}' does not tell how it goes on here, so there is nothing to compare the path with. "
            "Choose an earlier moment."
        )
    return Sides(before=moment, after=moment, edit=edit, actions=(driven, drawn), notes=moment.notes)


def answer_of(place: Place, sides: Sides) -> TownAnswer | None:
    """What the town's driver really does about the change; None for clips that the town did not make."""
    if place.scene is None:
        return None
    if isinstance(sides.edit, StitchSprite):
        return town_answer(place.moment, sides.edit, scene=place.scene)
    if isinstance(sides.edit, ChangeMotion):
        return None  # whoever drives the path, it is not the town's driver
    return change_answer(place.scene, place.moment, sides.edit)
