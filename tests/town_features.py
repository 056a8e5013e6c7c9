"""Small scenes that each show one feature of the town, and the pictures of them that are kept.

`python tests/town_features.py` draws the kept pictures anew into `tests/golden/town/`.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from worldmodel.geometry import Camera, Rig, look_along
from worldmodel.town.looks.signs import SIGNS
from worldmodel.town.render import render
from worldmodel.town.scene import (
    AMBER,
    GREEN,
    HAZARD,
    KINDS,
    LEFT,
    RED,
    Body,
    Building,
    Cause,
    Crosswalk,
    Lane,
    Light,
    Prop,
    Scene,
    Signal,
    Stage,
    StopLine,
)

GOLDEN = Path(__file__).parent / "golden" / "town"
WIDTH_PX, HEIGHT_PX = 96, 64
SIZES = {"car": (4.4, 1.8, 1.5), "van": (5.2, 2.0, 2.2), "truck": (9.0, 2.5, 3.5), "bus": (11.5, 2.5, 3.1),
         "pedestrian": (0.5, 0.55, 1.75), "cyclist": (1.8, 0.6, 1.75), "cone": (0.4, 0.4, 0.7),
         "barrier": (0.35, 1.8, 1.0), "box": (0.8, 0.8, 0.7)}  # fmt: skip
SUN = Light(sun_azimuth_rad=2.6, sun_elevation_rad=0.8)


def body(kind: str, track: str = "a", color: tuple[float, float, float] = (0.2, 0.3, 0.7)) -> Body:
    length, width, height = SIZES[kind]
    return Body(track=track, kind=kind, length_m=length, width_m=width, height_m=height, color_rgb=color)


def lane(offset_m: float, backwards: bool = False) -> Lane:
    x = np.arange(-30.0, 121.0)
    centre = np.stack([x, np.full_like(x, offset_m)], axis=-1)
    return Lane(
        centre=centre[::-1].copy() if backwards else centre, width_m=3.5, left_line="striped", right_line="edge"
    )


def street(
    *bodies: tuple[Body, tuple[float, float, float]], frames: int = 3, states: tuple[int, ...] = (), **stage: object
) -> Scene:
    """A straight street on which the ego stands at the origin, y = -1.75; `stage` adds what never moves."""
    count = len(bodies)
    base = Stage(lanes=(lane(-1.75), lane(1.75, backwards=True)), buildings=(), props=())
    poses = np.array([pose for _, pose in bodies], np.float64).reshape(1, count, 3).repeat(frames, axis=0)
    return Scene(
        id="street-0", situation="street", seed=0, frequency_hz=8.0, stage=replace(base, **stage), light=SUN,
        ego_poses=np.tile([0.0, -1.75, 0.0], (frames, 1)), ego_speeds_mps=np.zeros(frames),
        bodies=tuple(b for b, _ in bodies), body_poses=poses, body_present=np.ones((frames, count), bool),
        body_speeds_mps=np.zeros((frames, count)), body_braking=np.zeros((frames, count), bool),
        body_indicators=np.zeros((frames, count), np.int8),
        signal_states=np.tile(np.array(states, np.int8), (frames, 1)), route=np.array([[0.0, -1.75], [100.0, -1.75]]),
        route_s=np.zeros(frames), wish_mps=6.4, ego_braking=np.zeros(frames, bool),
        ego_indicators=np.zeros(frames, np.int8), ego_causes=(Cause(),) * frames,
    )  # fmt: skip


def eye(fov_deg: float = 60.0, pitch_rad: float = 0.06) -> Rig:
    """One camera at the driver's place."""
    focal = WIDTH_PX / 2 / np.tan(np.radians(fov_deg) / 2)
    lens = np.array([[focal, 0, (WIDTH_PX - 1) / 2], [0, focal, (HEIGHT_PX - 1) / 2], [0, 0, 1]])
    pose = look_along(0.0, np.array([1.4, 0.0, 1.5]), pitch_rad)
    return Rig(
        cameras=(Camera(name="front", intrinsics=lens, ego_from_camera=pose, width_px=WIDTH_PX, height_px=HEIGHT_PX),)
    )


def _lit(scene: Scene, weather: str = "clear", elevation: float = 0.8, hour: float = 12.0) -> Scene:
    light = Light(sun_azimuth_rad=2.6, sun_elevation_rad=elevation, weather=weather, hour=hour)
    return replace(scene, light=light)


def _busy() -> Scene:
    """A bit of everything."""
    return street(
        (body("car", "b", (0.7, 0.1, 0.1)), (13.0, -1.75, 0.0)),
        (body("bus", "c", (0.9, 0.7, 0.2)), (24.0, 1.75, np.pi)),
        (body("pedestrian", "d", (0.1, 0.5, 0.3)), (11.0, -4.4, 0.3)),
        buildings=(
            Building(x_m=30, y_m=-14, yaw_rad=0.0, length_m=16, width_m=9, height_m=10, style=12),
            Building(x_m=34, y_m=14, yaw_rad=np.pi, length_m=14, width_m=9, height_m=8, style=4711),
        ),
        props=(
            Prop(kind="lamp", x_m=18, y_m=-6.6, height_m=6.5, radius_m=0.1, style=1),
            Prop(kind="tree", x_m=15, y_m=8.0, height_m=6.5, radius_m=1.8, style=0),
        ),
    )


def _crossing(state: int) -> Scene:
    return street(
        states=(state,),
        crosswalks=(Crosswalk(x_m=14, y_m=0, yaw_rad=0, length_m=3, width_m=7),),
        stop_lines=(
            StopLine(x_m=10.5, y_m=-1.75, yaw_rad=0, width_m=3.5),
            StopLine(x_m=17.5, y_m=1.75, yaw_rad=np.pi, width_m=3.5, kind="teeth"),
        ),
        signals=(Signal(x_m=11.0, y_m=-4.4, yaw_rad=0.0),),
    )


def _body(kind: str) -> tuple[Scene, Rig]:
    size = max(SIZES[kind][0] * 0.8, SIZES[kind][1], SIZES[kind][2])
    scene = street((body(kind, "golden"), (12.0 + SIZES[kind][0], -1.75, 0.65)))
    return scene, eye(
        fov_deg=float(np.degrees(2 * np.arctan(0.85 * size / (11.0 + SIZES[kind][0])))) + 3.0, pitch_rad=0.07
    )


def _lamps(indicator: int, braking: bool) -> Scene:
    scene = street((body("car", "golden"), (8.0, -1.75, 0.0)), frames=8)
    return replace(
        scene,
        body_indicators=np.full((8, 1), indicator, np.int8),
        body_braking=np.full((8, 1), braking),
    )


def _signs() -> Scene:
    props = [
        Prop(kind="sign", x_m=9.0 + 3 * (n // 7), y_m=1.6 - (n % 7) * (1.1 + 0.25 * (n // 7)), height_m=2.0 + 1.1 * (n // 7),
             radius_m=0.45, style=n, yaw_rad=np.pi)
        for n in range(len(SIGNS))
    ]  # fmt: skip
    return street(props=tuple(props))


def _props() -> Scene:
    kinds = ("hedge", "bench", "fence", "bush", "tree", "shelter", "rail", "wall")
    props = [
        Prop(kind=kind, x_m=12.0 + 6.0 * (n // 4), y_m=2.6 - 2.9 * (n % 4) - 1.2 * (n // 4), height_m=2.2 if kind == "shelter" else 1.1,
             radius_m=1.1, style=n, yaw_rad=2.6)
        for n, kind in enumerate(kinds)
    ]  # fmt: skip
    return street(props=tuple(props))


def _house() -> Scene:
    return street(buildings=(Building(x_m=24, y_m=-3, yaw_rad=2.2, length_m=13, width_m=9, height_m=8.5, style=1296),))


def _features() -> dict[str, Callable[[], tuple[Scene, Rig, int]]]:
    near = eye(34.0, 0.09)
    found: dict[str, Callable[[], tuple[Scene, Rig, int]]] = {
        "crosswalk-red": lambda: (_crossing(RED), eye(), 0),
        "crosswalk-amber": lambda: (_crossing(AMBER), eye(), 0),
        "crosswalk-green": lambda: (_crossing(GREEN), eye(), 0),
        "indicator-left": lambda: (_lamps(LEFT, braking=False), near, LIT_FRAME),
        "hazard": lambda: (_lamps(HAZARD, braking=False), near, LIT_FRAME),
        "brake": lambda: (_lamps(0, braking=True), near, LIT_FRAME),
        "house": lambda: (_house(), eye(50.0, -0.05), 0),
        "signs": lambda: (_signs(), eye(50.0, -0.02), 0),
        "props": lambda: (_props(), eye(50.0, 0.06), 0),
        "day": lambda: (_lit(_busy()), eye(), 0),
        "dusk": lambda: (_lit(_busy(), elevation=0.04, hour=19.0), eye(), 0),
        "night": lambda: (_lit(_busy(), elevation=-0.3, hour=23.0), eye(), 0),
    }
    for weather in ("overcast", "fog", "rain", "wet", "snow"):
        found[weather] = lambda weather=weather: (_lit(_busy(), weather), eye(), 0)  # type: ignore[misc]
    for kind in KINDS:
        found[f"body-{kind}"] = lambda kind=kind: (*_body(kind), 0)  # type: ignore[misc]
    return found


LIT_FRAME = 0
FEATURES = _features()


def picture(name: str) -> np.ndarray:
    """What a feature looks like now, uint8 [height, width, 3]."""
    scene, rig, frame = FEATURES[name]()
    return np.ascontiguousarray(render(scene, rig, [frame]).rgb[0, 0].transpose(1, 2, 0))


def main() -> None:
    """Draw every kept picture anew."""
    from PIL import Image

    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in FEATURES:
        Image.fromarray(picture(name)).save(GOLDEN / f"{name}.png", optimize=True)
    sys.stderr.write(f"{len(FEATURES)} pictures are in {GOLDEN}\n")


if __name__ == "__main__":
    main()
