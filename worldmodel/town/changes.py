"""Edits applied to a scene while it happens: somebody comes, moves or goes."""

from dataclasses import replace
from math import isfinite

import numpy as np

from worldmodel.edits import ChangeWeather, Edit, InsertActor, MoveActor, RemoveActor
from worldmodel.errors import BadEdit, UnknownName
from worldmodel.geometry import Array, compose, wrap_angle
from worldmodel.town.drivers.agents import Agent, boxes_overlap, route_of
from worldmodel.town.drivers.cast import draw_body
from worldmodel.town.drivers.expert import Crowd
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.scene import KINDS, WEATHERS, Body, Stage

OFF_MAP_M = 80.0


def check_edit(edit: Edit, seconds: float) -> None:
    """Refuse an edit that no scene of this duration can hold.

    Raises:
        BadEdit: for another kind of edit, a value out of range, or a time beyond the scene.
        UnknownName: for a kind of actor that does not exist.
    """
    name = type(edit).__name__
    if isinstance(edit, ChangeWeather):
        if edit.weather not in WEATHERS:
            raise BadEdit(f"the weather '{edit.weather}' does not exist here. Choose one of {', '.join(WEATHERS)}.")
        if not (isfinite(edit.hour) and 0 <= edit.hour <= 24):
            raise BadEdit(f"the hour is {edit.hour}; it must lie between 0 and 24. Choose another.")
        return
    if not isinstance(edit, InsertActor | MoveActor | RemoveActor):
        raise BadEdit(
            f"the town cannot apply {name}. It knows InsertActor, MoveActor, RemoveActor and ChangeWeather; "
            "use one of these, or apply the edit to the clip's frames or request instead."
        )
    if not (isfinite(edit.at_s) and 0 <= edit.at_s < seconds):
        raise BadEdit(f"{name} happens at {edit.at_s:g} s, but the scene lasts {seconds:g} s. Choose a time inside it.")
    if isinstance(edit, InsertActor):
        if edit.kind not in KINDS:
            raise UnknownName("kind of actor", edit.kind, KINDS)
        if not all(isfinite(value) for value in (edit.x_m, edit.y_m, edit.yaw_rad, edit.speed_mps)):
            raise BadEdit("InsertActor has a value that is not finite. Give finite metres, radians and speed.")
        if not 0 <= edit.speed_mps <= 40:
            raise BadEdit(f"InsertActor has a speed of {edit.speed_mps:g} m/s; it must lie between 0 and 40.")
    if isinstance(edit, MoveActor) and not (isfinite(edit.x_m) and isfinite(edit.y_m)):
        raise BadEdit("MoveActor has a value that is not finite. Give finite metres.")


def apply_edit(edit: Edit, number: int, crowd: Crowd, road: RoadMap, stage: Stage, rng: np.random.Generator) -> None:
    """Change the crowd as an edit says.

    Raises:
        BadEdit: if there is no room, or it is off the map.
        UnknownName: if nobody has the track.
    """
    if isinstance(edit, InsertActor):
        world = compose(np.array(crowd.agents[0].pose()), np.array([edit.x_m, edit.y_m, edit.yaw_rad]))
        body = draw_body(rng, edit.kind, f"inserted-{number}")
        agent = _agent_at(world, road, body, edit.speed_mps)
        crowd.agents.append(agent)
        _check_place(len(crowd.agents) - 1, crowd, road, stage, "InsertActor")
    elif isinstance(edit, RemoveActor | MoveActor):
        tracks = {agent.body.track: i for i, agent in enumerate(crowd.agents) if i and agent.present}
        if edit.track not in tracks:
            raise UnknownName("track", edit.track, tracks)
        index = tracks[edit.track]
        if isinstance(edit, RemoveActor):
            crowd.agents[index].present = False
        else:
            _move(crowd.agents[index], crowd.agents[0].pose(), edit, road)
            _check_place(index, crowd, road, stage, "MoveActor")
    crowd.refresh()


def _agent_at(world: Array, road: RoadMap, body: Body, speed: float) -> Agent:
    """Somebody at a world pose: on the lane that it is aligned with, else on a straight line along its yaw."""
    x, y, yaw = (float(value) for value in world)
    if speed <= 0:
        return Agent(body=body, path=Path.straight((x, y, yaw), 20.0), s=0.0, standing=True)
    if body.kind != "pedestrian":
        for name in sorted(road.routes, key=lambda name: (name != "ego", name)):  # the ego's lane first
            path = road.routes[name]
            s, d = path.project(x, y)
            off = abs(float(wrap_angle(yaw - path.at(s)[2])))
            if abs(d) < 1.6 and off < 0.35 and 0 < s < path.length_m - 20:
                route = route_of(path, road.routes)
                return Agent(body=body, path=path, route=route, s=s, d=d, side_m=d, speed=speed, wish=max(speed, 0.5))
    path = Path.straight((x, y, yaw), 600.0)
    return Agent(body=body, path=path, s=0.0, speed=speed, wish=max(speed, 0.3))


def _move(agent: Agent, ego: tuple[float, float, float], edit: MoveActor, road: RoadMap) -> None:
    shift = compose(np.array([0.0, 0.0, ego[2]]), np.array([edit.x_m, edit.y_m, 0.0]))
    x, y, yaw = agent.pose()
    world = np.array([x + shift[0], y + shift[1], yaw])
    if agent.standing or agent.walks:
        agent.path, agent.s, agent.d = Path.straight(world.tolist(), 60.0), 0.0, 0.0
        agent.yaw_offset, agent.drift = 0.0, 0.0
        return
    twin = _agent_at(world, road, agent.body, max(agent.speed, 0.5))
    agent.path, agent.s, agent.d, agent.drift = twin.path, twin.s, twin.d, 0.0
    agent.route, agent.side_m, agent.changed, agent.planned, agent.swerves = twin.route, 0.0, None, None, []


def _check_place(index: int, crowd: Crowd, road: RoadMap, stage: Stage, what: str) -> None:
    crowd.refresh()
    agent = crowd.agents[index]
    place = crowd.places[index]
    for other in crowd.agents:
        there = other is not agent and other.present
        if there and boxes_overlap(place, agent.body, np.array(other.centre()), other.body):
            raise BadEdit(
                f"{what} puts '{agent.body.track}' ({agent.body.kind}, {agent.body.length_m:.1f} m long) into "
                f"'{other.body.track}'. Choose a free place, at least a car's length away."
            )
    for house in stage.buildings:
        box = replace(agent.body, length_m=house.length_m, width_m=house.width_m)
        if boxes_overlap(place, agent.body, np.array([house.x_m, house.y_m, house.yaw_rad]), box):
            raise BadEdit(f"{what} puts '{agent.body.track}' into a house. Choose a place closer to the road.")
    nearest = min(float(np.hypot(*(lane.centre - place[:2]).T).min()) for lane in road.lanes)
    if nearest > OFF_MAP_M:
        raise BadEdit(
            f"{what} puts '{agent.body.track}' {nearest:.0f} m away from every lane, off the map. "
            f"Choose a place within {OFF_MAP_M:g} m of a lane."
        )
