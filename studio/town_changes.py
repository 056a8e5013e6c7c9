"""The seconds of a town clip once more with one thing changed: somebody gone, another light, another path; and what comes of it.

What is seen up to now is rendered anew on both sides, so that nothing but the change differs: everybody moves as recorded.
From now on the town goes on by itself, its driver and the traffic reacting.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from studio.moments import Moment
from studio.placement import ON_THE_ROAD
from studio.town_answer import TownAnswer, real_obstacle, recorded_scene
from worldmodel.edits import ChangeMotion, ChangeWeather, Edit, RemoveActor, StitchSprite
from worldmodel.errors import BadEdit, UnknownName
from worldmodel.geometry import Array, Trajectory, compose
from worldmodel.plans import PLAN_TIMES_S, Plan, Response

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

TOO_SMALL_M = 0.005  # shifts below count as none


def changed_look(scene: "Scene", edit: RemoveActor | ChangeWeather) -> "Scene":
    """The scene as recorded but for one thing: a body is nowhere to be seen, or the light is another.

    Raises:
        UnknownName: if nobody has the track, or there is no such weather.
        BadEdit: if the weather or hour is impossible.
    """
    from worldmodel.town.changes import check_edit
    from worldmodel.town.setting.layout import light_at

    check_edit(edit, np.inf)
    if isinstance(edit, ChangeWeather):
        return replace(scene, light=light_at(scene.light, edit.weather, edit.hour))
    tracks = [body.track for body in scene.bodies]
    if edit.track not in tracks:
        raise UnknownName("track", edit.track, tracks)
    present = scene.body_present.copy()
    present[:, tracks.index(edit.track)] = False
    return replace(scene, body_present=present)


def seen_again(scene: "Scene", moment: Moment) -> UInt8[Array, "time camera 3 h w"]:
    """What a moment's cameras see of a scene up to now, rendered."""
    from worldmodel.town.render import render

    first = round(moment.start_s * scene.frequency_hz)
    return render(scene, moment.clip.rig, range(first, first + moment.now + 1)).rgb


def change_answer(scene: "Scene", moment: Moment, edit: Edit) -> TownAnswer:
    """What the town's driver does over the 4 s from now when somebody is gone or the light is another.

    Args:
        scene: As recorded, going on for 4 s after now.
    """
    from worldmodel.town.oracle import Oracle, plan_of

    at_s = moment.start_s + moment.at_s
    if isinstance(edit, RemoveActor):
        response = Oracle().truth(scene, replace(edit, at_s=at_s)).response
        return TownAnswer(response=response, sentence=_gone(edit.track, response))
    if isinstance(edit, ChangeWeather):
        plan = plan_of(scene, at_s)
        said = "The town's own answer: its driver sees no weather, so it changes nothing."
        return TownAnswer(response=Response(factual=plan, edited=plan), sentence=said)
    said = "The town's own answer is not known: its driver keeps to its own route, whatever it is told."
    return TownAnswer(response=None, sentence=said)


def _gone(track: str, response: Response) -> str:
    if response.endpoint_shift_m < TOO_SMALL_M:
        return f"The town's own answer: without {track} its driver changes nothing."
    change = response.path_length_change_m
    return (
        f"The town's own answer: without {track} its driver covers {abs(change):.2f} m "
        f"{'less' if change < 0 else 'more'} in 4 s."
    )


def future_scene(moment: Moment, edit: Edit, seconds: float) -> "Scene":
    """How the town itself goes on from now with a change: everybody reacts, and renders of it are the truth.

    Args:
        edit: A stitched object really stands there (or nothing does); a removed body is gone from now on; a changed
            path is driven, whatever is in the way.
        seconds: After now.

    Raises:
        BadRequest: if the clip is not of the town, or its scene has changed since.
        BadEdit: if the town has no room for the change.
    """
    from worldmodel.town.traffic import simulate

    scene = recorded_scene(moment, seconds)
    at_s = moment.start_s + moment.at_s
    if isinstance(edit, ChangeMotion):
        return _driven_scene(scene, moment, edit)
    edits: tuple[Edit, ...] = ()
    if isinstance(edit, StitchSprite) and edit.variant in ON_THE_ROAD:
        edits = (real_obstacle(edit, at_s),)
    elif isinstance(edit, RemoveActor):
        edits = (replace(edit, at_s=at_s),)
    elif isinstance(edit, ChangeWeather):
        edits = (edit,)
    length_s = len(scene) / scene.frequency_hz
    return simulate(scene.situation, scene.seed, seconds=length_s, frequency_hz=scene.frequency_hz, edits=edits)


def _driven_scene(scene: "Scene", moment: Moment, edit: ChangeMotion) -> "Scene":
    """The town while its car is driven along a path from now on."""
    from worldmodel.town.traffic import TICKS_HZ, EgoState, Simulation

    rate = scene.frequency_hz
    now = round(moment.start_s * rate) + moment.now
    path = path_of(edit, rate)
    simulation = Simulation(scene.situation, scene.seed, (), rate)
    while simulation.time_s < now / rate - 1e-6:
        simulation.step()
    last_s = min(float(path.times_s[-1]), (len(scene) - 1 - now) / rate)
    times = np.arange(1, round(last_s * TICKS_HZ) + 1) / TICKS_HZ
    poses = compose(scene.ego_poses[now], path.resampled(times).poses)
    points = np.concatenate([scene.ego_poses[now : now + 1, :2], poses[:, :2]])
    speeds = np.linalg.norm(np.diff(points, axis=0), axis=1) * TICKS_HZ
    for (x, y, yaw), speed in zip(poses, speeds, strict=True):
        simulation.step(EgoState(x_m=float(x), y_m=float(y), yaw_rad=float(yaw), speed_mps=float(speed)))
    return simulation.scene(len(scene) / rate)


def path_of(edit: ChangeMotion, rate_hz: float) -> Trajectory:
    """The poses that a change of motion drives, time 0 and the origin at now.

    Raises:
        BadEdit: if it drives nowhere.
    """
    if not edit.deltas:
        raise BadEdit("the path has no steps. Draw at least one point ahead.")
    poses = [np.zeros(3)]
    for step in edit.deltas:
        poses.append(compose(poses[-1], np.array(step)))
    return Trajectory(poses=np.stack(poses), times_s=np.arange(len(poses)) / rate_hz)


def response_to_path(moment: Moment, edit: ChangeMotion) -> Response | None:
    """How a drawn path differs from the one that was driven; None where 4 s of either are not known."""
    driven, drawn = moment.driven(), path_of(edit, moment.clip.frequency_hz)
    if driven is None or min(driven.times_s[-1], drawn.times_s[-1]) < PLAN_TIMES_S[-1] - 1e-6:
        return None
    plans = (
        Plan(trajectory=Trajectory(poses=one.resampled(PLAN_TIMES_S).poses, times_s=PLAN_TIMES_S))
        for one in (driven, drawn)
    )
    return Response(factual=next(plans), edited=next(plans))
