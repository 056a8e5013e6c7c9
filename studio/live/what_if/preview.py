"""What a question is about to change, shown at once: the newest pictures with the change, and the scene from above."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8

from studio.counterfactual import apply_edit
from studio.ground import ground_of, ground_point
from studio.live.imagine.drawn_paths import path_through
from studio.live.imagine.pictures import Painter
from studio.live.what_if.answers import from_above
from studio.live.what_if.questions import OBJECT, PATH, PATH_S, REMOVE, WEATHER, Question
from studio.overlays import COLORS, upscaled, with_path
from studio.sides import Place
from studio.town_changes import changed_look
from studio.town_scene import roadside_m, solid_depth
from studio.town_sprites import lookalike_of, sized_sprite, sprite_of
from worldmodel.edits import ChangeWeather, RemoveActor
from worldmodel.errors import BadEdit, DetourError
from worldmodel.geometry import Array, Rig

NEAREST_M = 1.0
TAKEN_M = 3.0  # a click this near to somebody means them


@dataclass(frozen=True, eq=False, kw_only=True)
class Preview:
    """What would be seen.

    Attributes:
        now: The newest pictures after the change, as large as they are shown.
        rig: The cameras at that size.
        birds_eye: As the component `birds_eye` takes it.
        problem: Why the change cannot be; '' when it can.
    """

    now: UInt8[Array, "camera 3 h w"]
    rig: Rig
    birds_eye: dict[str, Any]
    problem: str = ""


def preview(place: Place, question: Question) -> Preview:
    """The newest pictures with the change of a question; without it, and why, when it cannot be."""
    painter, moment = Painter.of(place.moment.clip.rig), place.moment
    try:
        now, problem = _changed(place, question), ""
    except DetourError as error:
        now, problem = moment.clip.video[moment.now], str(error)
    tiles = upscaled(now, painter.rig.width_px, painter.rig.height_px).copy()
    if question.change == PATH:
        path = path_through(question.waypoints, PATH_S, frequency_hz=4.0, speed_mps=moment.observation().speed_mps)
        front, camera = painter.front, painter.rig.cameras[painter.front]
        tiles[front] = with_path(tiles[front], camera, path.poses[1:, :2], COLORS["after"])
    return Preview(now=tiles, rig=painter.rig, birds_eye=from_above(moment, question), problem=problem)


def _changed(place: Place, question: Question) -> UInt8[Array, "camera 3 h w"]:
    moment = place.moment
    if question.change == OBJECT:
        return _stitched(place, question)
    if question.change not in (REMOVE, WEATHER):
        return moment.clip.video[moment.now]
    if place.scene is None:
        raise BadEdit(
            f"clip '{moment.clip.id}' is a recording: what the cameras would have seen is not known. Choose a clip of the town, "
            "or put an object there instead."
        )
    from worldmodel.town.render import render

    edit = question.edit(moment.clip.frequency_hz)
    assert isinstance(edit, RemoveActor | ChangeWeather)
    return render(changed_look(place.scene, edit), moment.clip.rig, [_frame(place)]).rgb[0]


def _stitched(place: Place, question: Question) -> UInt8[Array, "camera 3 h w"]:
    """The object in the newest frame alone."""
    moment, scene = place.moment, place.scene
    clip = moment.clip.sliced(moment.at_s, moment.at_s + 1 / moment.clip.frequency_hz)
    edit, sprite = question.sprite(), sized_sprite(question.kind, question.height_m or None)
    if scene is None:
        return apply_edit(clip, edit, sprite=sprite).clip.video[0]
    if edit.variant == "lookalike" and edit.y_m is None:
        edit = replace(edit, y_m=roadside_m(scene, _frame(place), lookalike_of(sprite or sprite_of(edit.kind))))
    depth = solid_depth(scene, clip.rig, [_frame(place)])
    return apply_edit(clip, edit, sprite=sprite, depth_m=depth).clip.video[0]


def _frame(place: Place) -> int:
    """The number of the newest frame in the scene."""
    assert place.scene is not None
    return round(place.moment.start_s * place.scene.frequency_hz) + place.moment.now


def clicked_ground(place: Place, camera: str, u_px: float, v_px: float) -> tuple[float, float]:
    """The point of the road under a pixel of the pictures as they are shown, metres ahead and to the left.

    Raises:
        UnknownName: if there is no such camera.
        BadEdit: if the pixel shows no road, or one too far away.
    """
    rig = Painter.of(place.moment.clip.rig).rig
    x, y = ground_point(rig.cameras[rig.index(camera)], u_px, v_px, ground_of(place.moment.clip))
    return round(x, 2), round(y, 2)


def near_side(question: Question, x_m: float, y_m: float) -> tuple[float, float]:
    """Where an object's near side touches the ground when its middle is dragged to a place: the inverse of `middle_of`."""
    sprite = sized_sprite(question.kind, question.height_m or None) or sprite_of(question.kind)
    sight = math.atan2(y_m, x_m)
    inwards = sprite.reach_m(sight - math.radians(question.yaw_deg)) / 2
    away = max(NEAREST_M, math.hypot(x_m, y_m) - inwards)
    return round(away * math.cos(sight), 2), round(away * math.sin(sight), 2)


def who_is_at(place: Place, x_m: float, y_m: float) -> str:
    """The road user whose middle is nearest to a point on the ground, within TAKEN_M; '' for nobody."""
    moment = place.moment
    boxes = moment.clip.boxes[moment.now] if moment.clip.boxes is not None else ()
    apart = [
        (math.hypot(box.center[0] - x_m, box.center[1] - y_m) - float(box.size[:2].max()) / 2, box) for box in boxes
    ]
    nearest = min(apart, key=lambda pair: pair[0], default=None)
    return nearest[1].track if nearest is not None and nearest[0] < TAKEN_M else ""


def who_is_around(place: Place) -> list[tuple[str, str]]:
    """(shown name, track) of all road users now: those ahead first, then nearest first."""
    moment = place.moment
    boxes = moment.clip.boxes[moment.now] if moment.clip.boxes is not None else ()
    by_distance = sorted(boxes, key=lambda box: (box.center[0] < 0, float(np.hypot(*box.center[:2]))))
    return [(f"{box.track}: {box.kind}, {_place(box.center)}", box.track) for box in by_distance]


def _place(center: Array) -> str:
    x, y = float(center[0]), float(center[1])
    side = "" if abs(y) < 0.5 else f", {abs(y):.0f} m {'left' if y > 0 else 'right'}"
    return f"{abs(x):.0f} m {'ahead' if x >= 0 else 'behind'}{side}"
