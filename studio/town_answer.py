"""What the embedded town itself answers: the recorded scene once more, with a real obstacle where the picture is stitched."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.counterfactual import response_row
from studio.moments import Moment
from studio.overlays import COLORS, PathLayer
from studio.placement import ON_THE_ROAD, middle_of
from studio.runs import RunWriter
from studio.town_sprites import sprite_of
from worldmodel.edits import InsertActor, StitchSprite
from worldmodel.errors import BadEdit, BadRequest, DetourError
from worldmodel.geometry import wrap_angle
from worldmodel.plans import PLAN_TIMES_S, Response

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

SAME = 1e-3  # metres and radians up to which a scene counts as the recorded one
DRIVER = "the town's driver"


@dataclass(frozen=True, eq=False, kw_only=True)
class TownAnswer:
    """How the expert that drove a town clip drives with and without the obstacle.

    Attributes:
        response: Its two paths over the 4 s from now; None when the town cannot say.
        sentence: The answer, or why there is none.
    """

    response: Response | None
    sentence: str


def town_answer(
    moment: Moment, edit: StitchSprite, *, picture: bool = False, scene: "Scene | None" = None
) -> TownAnswer | None:
    """The town's answer to a stitched object; None for a clip that the town did not make.

    Args:
        moment: Of the clip; the scene is named by the clip's id, '<situation>-<seed>'.
        edit: What is stitched. The obstacle stands, and its near side is where the picture touches the ground. A twin in
            the sky and an empty edit leave the road free, so the driver changes nothing.
        picture: Whether a user's picture is stitched, of which the town has no body.
        scene: The recorded scene, going on for 4 s after now, where it is at hand; None to simulate it.
    """
    from worldmodel.town.dataset import SOURCE

    if moment.clip.source != SOURCE:
        return None
    try:
        if picture:
            raise BadEdit("it has no body for a picture from elsewhere. Stitch one of its own kinds.")
        response = _response(moment, edit, scene)
    except DetourError as error:
        return TownAnswer(response=None, sentence=f"The town's own answer is not known: {error}")
    return TownAnswer(response=response, sentence=_sentence(edit, response))


def _response(moment: Moment, edit: StitchSprite, scene: "Scene | None") -> Response:
    from worldmodel.town.oracle import Oracle, plan_of

    at_s = moment.start_s + moment.at_s
    factual = scene or recorded_scene(moment, float(PLAN_TIMES_S[-1]))
    if edit.variant not in ON_THE_ROAD:
        plan = plan_of(factual, at_s)
        return Response(factual=plan, edited=plan)
    return Oracle().truth(factual, real_obstacle(edit, at_s)).response


def real_obstacle(edit: StitchSprite, at_s: float) -> InsertActor:
    """The obstacle of a stitch as the town can really put it there, at a moment of the scene.

    Raises:
        UnknownName, BadEdit: as `placement.place_of_edit`; BadEdit too for an object above the road.
    """
    x, y, yaw = (float(value) for value in middle_of(edit, sprite_of(edit.kind)))
    if edit.z_m > 0:
        raise BadEdit("its obstacles stand on the road and this one hangs above it. Choose a height of 0.")
    return InsertActor(kind=edit.kind, x_m=x, y_m=y, yaw_rad=yaw, speed_mps=edit.speed_mps, at_s=at_s)


def recorded_scene(moment: Moment, seconds: float) -> "Scene":
    """The scene of a town clip, up to at least some seconds after now.

    Raises:
        BadRequest: if the clip does not name its scene, or the scene does not move as recorded.
    """
    from worldmodel.town.traffic import simulate

    situation, seed = scene_of(moment.clip.id)
    rate = moment.clip.frequency_hz
    wanted_s = moment.start_s + moment.at_s + seconds + 2 / rate
    scene = simulate(situation, seed, seconds=wanted_s, frequency_hz=rate)
    _check_same(scene, moment)
    return scene


def scene_of(name: str) -> tuple[str, int]:
    """Situation and seed of a town clip.

    Raises:
        BadRequest: if the name is not '<situation>-<seed>', as of edited scenes and renamed clips.
    """
    situation, _, seed = name.rpartition("-")
    if not situation or not (seed.isascii() and seed.isdigit()):
        raise BadRequest(
            f"clip '{name}' is not named '<situation>-<seed>', so its scene cannot be told. Do not rename it."
        )
    return situation, int(seed)


def _check_same(scene: "Scene", moment: Moment) -> None:
    """Refuse a scene that does not move as recorded, as after a change of the town or of the clip."""
    if moment.clip.motion is None:
        raise BadRequest(f"clip '{moment.clip.id}' has no motion, so its scene cannot be recognised. Use longer clips.")
    first = round(moment.start_s * scene.frequency_hz)
    driven = scene.trajectory()
    poses = driven.seen_from(driven.poses[first]).poses[first:]
    logged = moment.clip.motion.trajectory().poses
    frames = min(len(poses), len(logged))
    apart = poses[:frames] - logged[:frames]
    apart[:, 2] = wrap_angle(apart[:, 2])
    worst = float(np.abs(apart).max())
    if worst > SAME:
        raise BadRequest(
            f"scene '{scene.id}' no longer moves as clip '{moment.clip.id}' was recorded ({worst:.3g} m or rad apart, at "
            f"most {SAME:g} is allowed). Make the clip again with `detour town`."
        )


def _sentence(edit: StitchSprite, response: Response) -> str:
    if edit.variant not in ON_THE_ROAD:
        return "The town's own answer: nothing stands on the road, so its driver changes nothing."
    change, onset = response.path_length_change_m, response.braking_onset_s
    if response.endpoint_shift_m < 0.005:
        return (
            f"The town's own answer: a {edit.kind} that is really there changes nothing; its driver's way does not lead "
            "through that place, or it stands anyway."
        )
    slower = "it is never clearly slower" if onset is None else f"it is clearly slower after {onset:g} s"
    return (
        f"The town's own answer: with a {edit.kind} that is really there, its driver covers {abs(change):.2f} m "
        f"{'less' if change < 0 else 'more'} in 4 s; {slower}."
    )


def town_layers(answer: TownAnswer | None) -> list[PathLayer]:
    """The driver's path with the obstacle, for the bird's-eye view; without it, it drove as recorded."""
    if answer is None or answer.response is None:
        return []
    points = answer.response.edited.trajectory.poses[:, :2]
    return [PathLayer(label=f"{DRIVER}, with", points_m=points, color=COLORS["town"])]


def town_facts(answer: TownAnswer | None) -> dict[str, Any] | None:
    """The answer as plain data for `run.json`; None for a clip that the town did not make."""
    if answer is None:
        return None
    return {
        "response": None if answer.response is None else response_row(answer.response),
        "sentence": answer.sentence,
    }


def add_town_paths(run: RunWriter, answer: TownAnswer | None) -> None:
    """Write the driver's two paths into the run's trajectories."""
    if answer is None or answer.response is None:
        return
    run.paths["town driver without"] = answer.response.factual.trajectory
    run.paths["town driver with"] = answer.response.edited.trajectory
