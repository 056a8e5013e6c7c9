"""Camera rigs by name: the town's own and one like nuScenes'."""

from collections.abc import Callable

import numpy as np

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Camera, Rig, look_along
from worldmodel.town.scene import town_rig

NUSCENES_CAMERAS = {  # yaw in degrees, field of view in degrees, place on the ego in metres
    "CAM_FRONT_LEFT": (55.0, 70.0, (1.57, 0.50, 1.50)),
    "CAM_FRONT": (0.0, 70.0, (1.70, 0.0, 1.51)),
    "CAM_FRONT_RIGHT": (-55.0, 70.0, (1.57, -0.50, 1.50)),
    "CAM_BACK_LEFT": (110.0, 70.0, (1.03, 0.48, 1.56)),
    "CAM_BACK": (180.0, 110.0, (0.03, 0.0, 1.57)),
    "CAM_BACK_RIGHT": (-110.0, 70.0, (1.03, -0.48, 1.56)),
}


def nuscenes_rig(width_px: int = 128, height_px: int = 64) -> Rig:
    """Six cameras with nuScenes' names, directions and fields of view, all with one picture size.

    Raises:
        BadRequest: for a picture without pixels.
    Source: own numbers, rounded from the public calibration of nuScenes (Caesar et al. 2020).
    """
    _check_size(width_px, height_px)
    cameras = []
    for name, (yaw, fov, place) in NUSCENES_CAMERAS.items():
        focal = width_px / 2 / np.tan(np.radians(fov) / 2)
        cameras.append(
            Camera(
                name=name,
                intrinsics=np.array([[focal, 0, (width_px - 1) / 2], [0, focal, (height_px - 1) / 2], [0, 0, 1]]),
                ego_from_camera=look_along(np.radians(yaw), np.array(place)),
                width_px=width_px,
                height_px=height_px,
            )
        )
    return Rig(cameras=tuple(cameras))


def _town(cameras: int) -> Callable[[int, int], Rig]:
    def rig(width_px: int = 128, height_px: int = 64) -> Rig:
        _check_size(width_px, height_px)
        return town_rig(cameras, width_px, height_px)

    return rig


RIGS: dict[str, Callable[[int, int], Rig]] = {
    "front": _town(1),
    "three": _town(3),
    "six": _town(6),
    "nuscenes": nuscenes_rig,
}


def rig_named(name: str, width_px: int = 128, height_px: int = 64) -> Rig:
    """The rig with a name of RIGS, each picture `width_px` x `height_px`.

    Raises:
        UnknownName: for another name; it offers the closest.
        BadRequest: for a picture without pixels.
    """
    if name not in RIGS:
        raise UnknownName("rig", name, RIGS)
    return RIGS[name](width_px, height_px)


def _check_size(width_px: int, height_px: int) -> None:
    if width_px < 1 or height_px < 1:
        raise BadRequest(
            f"pictures of {width_px} x {height_px} px are asked for; a camera needs at least 1 x 1. Choose a larger size."
        )
