"""Hand-made town scenes: a straight two-way street along x, the ego on it, bodies that move straight on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldmodel.town.scene import Body, Cause, Lane, Light, Scene, Stage

SIZES = {"car": (4.4, 1.8), "bus": (10.0, 2.4), "cyclist": (1.8, 0.6), "pedestrian": (0.5, 0.5)}
HZ = 8.0


def lane(y: float, *, back: bool = False, width: float = 4.0) -> Lane:
    x = np.arange(-60.0, 240.0)
    centre = np.stack([x[::-1] if back else x, np.full(len(x), y)], axis=-1)
    return Lane(centre=centre, width_m=width, left_line="striped", right_line="edge")


def two_way() -> Stage:
    """Our lane around y = 0, the oncoming one around y = 4."""
    return Stage(lanes=(lane(0.0), lane(4.0, back=True)), buildings=(), props=())


@dataclass(frozen=True)
class Moving:
    kind: str
    track: str
    at: tuple[float, float]
    speed: float = 0.0  # along x, negative towards us
    sideways: float = 0.0  # along y


def a_body(kind: str, track: str, *, at: tuple[float, float], speed: float = 0.0, sideways: float = 0.0) -> Moving:
    return Moving(kind, track, at, speed, sideways)


def a_drive(
    *,
    seconds: float = 4.0,
    speed: float = 10.0,
    y: float = 0.0,
    halt_at_s: float | None = None,
    bodies: Sequence[Moving] = (),
    stage: Stage | None = None,
) -> Scene:
    """The ego drives along x from 0 at a speed; with `halt_at_s` it stands from then on for a second."""
    time = round(seconds * HZ)
    now = np.arange(time) / HZ
    speeds = np.full(time, float(speed))
    if halt_at_s is not None:
        speeds[(now >= halt_at_s) & (now < halt_at_s + 1)] = 0.0
    x = np.concatenate([[0.0], np.cumsum(speeds[1:]) / HZ])
    return drive_of(np.stack([x, np.full(time, y), np.zeros(time)], axis=-1), speeds, bodies=bodies, stage=stage)


def drive_of(
    poses: np.ndarray, speeds: np.ndarray, *, bodies: Sequence[Moving] = (), stage: Stage | None = None
) -> Scene:
    """A scene around any ego path."""
    time, now = len(poses), np.arange(len(poses)) / HZ
    places = np.zeros((time, len(bodies), 3))
    for b, body in enumerate(bodies):
        places[:, b, 0] = body.at[0] + body.speed * now
        places[:, b, 1] = body.at[1] + body.sideways * now
        places[:, b, 2] = np.pi if body.speed < 0 else 0.0
    fast = np.array([np.hypot(body.speed, body.sideways) for body in bodies])
    sizes = [SIZES.get(body.kind, (0.8, 0.8)) for body in bodies]
    route = np.stack([np.arange(0.0, 200.0), np.zeros(200)], axis=-1)
    return Scene(
        id="made-0",
        situation="made",
        seed=0,
        frequency_hz=HZ,
        stage=stage or two_way(),
        light=Light(sun_azimuth_rad=0.0, sun_elevation_rad=0.8),
        ego_poses=poses,
        ego_speeds_mps=speeds,
        bodies=tuple(
            Body(track=b.track, kind=b.kind, length_m=length, width_m=width, height_m=1.5, color_rgb=(0.5, 0.5, 0.5))
            for b, (length, width) in zip(bodies, sizes, strict=True)
        ),
        body_poses=places,
        body_present=np.ones((time, len(bodies)), bool),
        body_speeds_mps=np.broadcast_to(fast, (time, len(bodies))).copy(),
        body_braking=np.zeros((time, len(bodies)), bool),
        body_indicators=np.zeros((time, len(bodies)), np.int8),
        signal_states=np.zeros((time, 0), np.int8),
        route=route,
        route_s=poses[:, 0],
        wish_mps=10.0,
        ego_braking=np.zeros(time, bool),
        ego_indicators=np.zeros(time, np.int8),
        ego_causes=(Cause(),) * time,
    )
