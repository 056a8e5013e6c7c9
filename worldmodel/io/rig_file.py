"""Calibration files: `meta/rig.json` of a dataset, a user's `rig.yaml`, and nominal rigs where nobody calibrated.

One form for both, JSON or YAML:

    nominal: false
    cameras:
      - name: front
        width_px: 456
        height_px: 256
        intrinsics: [[468, 0, 230], [0, 467, 115], [0, 0, 1]]      # or fov_deg: 70 (horizontal)
        ego_from_camera: [[0, 0, 1, 1.6], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]]
                                     # or position_m: [1.6, 0, 1.5], yaw_deg: 0, pitch_down_deg: 0
        distortion: [-0.3, 0.1, 0, 0, 0]   # import only: OpenCV k1 k2 p1 p2 k3; or fisheye: [k1, k2, k3, k4]
    vehicle: {wheelbase_m: 2.8, steering_lock_rad: 0.44}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRig, DetourError
from worldmodel.geometry import Array, Camera, Rig, look_along

NOMINAL_FOV_DEG = 70.0
NOMINAL_HEIGHT_M = 1.5
NOMINAL_SPACING_M = 0.6  # between cameras that stand side by side
SURROUND_YAWS_DEG = {
    "front_left": 55.0,
    "front_right": -55.0,
    "back_left": 125.0,
    "back_right": -125.0,
    "rear_left": 125.0,
    "rear_right": -125.0,
    "side_left": 90.0,
    "side_right": -90.0,
    "left": 90.0,
    "right": -90.0,
    "back": 180.0,
    "rear": 180.0,
}


@dataclass(frozen=True, kw_only=True)
class Vehicle:
    """Numbers of the vehicle that an estimated motion was computed with.

    Attributes:
        wheelbase_m: Between the axles, metres.
        steering_lock_rad: Angle of the front wheels at steering = 1.
    """

    wheelbase_m: float
    steering_lock_rad: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Distortion:
    """A lens that bends straight lines.

    Attributes:
        model: 'opencv' (k1, k2, p1, p2, k3) or 'fisheye' (k1, k2, k3, k4).
        coefficients: Shape [5] or [4].
    """

    model: str
    coefficients: Float[Array, " n"]

    def __post_init__(self) -> None:
        wanted = {"opencv": 5, "fisheye": 4}.get(self.model)
        values = np.asarray(self.coefficients, np.float64)
        if values.shape != (wanted,) or not np.isfinite(values).all():
            raise BadRig(
                f"distortion '{self.model}' has coefficients {values.tolist()}; it needs 5 finite numbers for 'opencv' "
                "(k1, k2, p1, p2, k3) or 4 for 'fisheye'. Fill up with zeros."
            )
        object.__setattr__(self, "coefficients", values)


@dataclass(frozen=True, eq=False, kw_only=True)
class RigFile:
    """A calibration file: the rig, its lenses by camera name, and the vehicle where it is named."""

    rig: Rig
    distortions: Mapping[str, Distortion]
    vehicle: Vehicle | None


def read_rig(path: Path) -> RigFile:
    """Read `rig.json` or `rig.yaml`.

    Raises:
        BadRig: if the file cannot be read or is not a calibration; the message names the camera.
    """
    return parse_rig(_load(path), str(path))


def parse_rig(content: Any, where: str) -> RigFile:
    """The rig in an already loaded JSON or YAML value; `where` goes into messages."""
    if not isinstance(content, Mapping) or not isinstance(content.get("cameras"), Sequence):
        raise BadRig(f"'{where}' has no list 'cameras'. See docs/own-recordings.md for the form of a rig file.")
    cameras: list[Camera] = []
    distortions: dict[str, Distortion] = {}
    for number, entry in enumerate(content["cameras"]):
        camera, distortion = _camera(entry, f"'{where}', camera {number}")
        cameras.append(camera)
        if distortion is not None:
            distortions[camera.name] = distortion
    rig = Rig(cameras=tuple(cameras), nominal=bool(content.get("nominal", False)))
    return RigFile(rig=rig, distortions=distortions, vehicle=_vehicle(content.get("vehicle"), where))


def rig_content(rig: Rig, vehicle: Vehicle | None = None) -> dict[str, Any]:
    """The rig as plain data, the inverse of `parse_rig`."""
    content: dict[str, Any] = {
        "nominal": rig.nominal,
        "cameras": [
            {
                "name": camera.name,
                "width_px": camera.width_px,
                "height_px": camera.height_px,
                "intrinsics": camera.intrinsics.tolist(),
                "ego_from_camera": camera.ego_from_camera.tolist(),
            }
            for camera in rig.cameras
        ],
    }
    if vehicle is not None:
        content["vehicle"] = {
            "wheelbase_m": vehicle.wheelbase_m,
            "steering_lock_rad": vehicle.steering_lock_rad,
        }
    return content


def nominal_rig(names: Sequence[str], width_px: int, height_px: int, fov_deg: float = NOMINAL_FOV_DEG) -> Rig:
    """A plausible rig for cameras that nobody calibrated, marked `nominal`.

    With a back camera or a front-left one the cameras are taken to look around the car; else all look ahead and
    'left' and 'right' stand beside the middle one.

    Args:
        names: Camera names in video order.
        fov_deg: Horizontal opening angle of every camera.
    """
    intrinsics = intrinsics_from_fov(width_px, height_px, fov_deg)
    surround = any(_around(name) not in ("", "left", "right") for name in names)
    cameras = [
        Camera(
            name=name,
            intrinsics=intrinsics,
            ego_from_camera=_nominal_pose(_around(name), surround),
            width_px=width_px,
            height_px=height_px,
        )
        for name in names
    ]
    return Rig(cameras=tuple(cameras), nominal=True)


def intrinsics_from_fov(width_px: int, height_px: int, fov_deg: float) -> Float[Array, "3 3"]:
    """Pinhole intrinsics with square pixels and a centred axis, from the horizontal opening angle."""
    if not 1 <= fov_deg <= 170:
        raise BadRig(f"a field of view of {fov_deg} degrees is given; a pinhole camera needs 1 to 170.")
    focal = width_px / 2 / np.tan(np.radians(fov_deg) / 2)
    return np.array([[focal, 0, (width_px - 1) / 2], [0, focal, (height_px - 1) / 2], [0, 0, 1]])


def _around(name: str) -> str:
    """Which place around the car a camera's name tells; '' for ahead."""
    plain = name.lower().replace("-", "_").replace(" ", "_")
    return next((place for place in SURROUND_YAWS_DEG if plain.endswith(place)), "")


def _nominal_pose(place: str, surround: bool) -> Float[Array, "4 4"]:
    if surround:
        yaw = np.radians(SURROUND_YAWS_DEG.get(place, 0.0))
        position = np.array([1.0 + 0.6 * np.cos(yaw), 0.6 * np.sin(yaw), NOMINAL_HEIGHT_M])
        return look_along(yaw, position)
    aside = {"left": 1.0, "right": -1.0}.get(place, 0.0) * NOMINAL_SPACING_M
    return look_along(0.0, np.array([1.6, aside, NOMINAL_HEIGHT_M]))


def _load(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadRig(f"the rig file '{path}' cannot be read: {error}. Write valid JSON or YAML.") from error


def _camera(entry: Any, where: str) -> tuple[Camera, Distortion | None]:
    try:
        width, height = int(entry["width_px"]), int(entry["height_px"])
        name = str(entry["name"])
        intrinsics = (
            np.array(entry["intrinsics"], np.float64)
            if "intrinsics" in entry
            else intrinsics_from_fov(width, height, float(entry["fov_deg"]))
        )
        camera = Camera(
            name=name, intrinsics=intrinsics, ego_from_camera=_pose(entry), width_px=width, height_px=height
        )
        return camera, _distortion(entry)
    except DetourError as error:
        raise BadRig(f"{where}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadRig(
            f"{where}: {type(error).__name__} {error}. A camera needs name, width_px, height_px, intrinsics (or fov_deg) "
            "and ego_from_camera (or position_m, yaw_deg)."
        ) from error


def _pose(entry: Mapping[str, Any]) -> Float[Array, "4 4"]:
    if "ego_from_camera" in entry:
        return np.array(entry["ego_from_camera"], np.float64)
    yaw, pitch = (np.radians(float(entry.get(key, 0.0))) for key in ("yaw_deg", "pitch_down_deg"))
    position = np.array(entry["position_m"], np.float64)
    if position.shape != (3,):
        raise ValueError(f"position_m is {position.tolist()}, not three numbers")
    return look_along(float(yaw), position, float(pitch))


def _distortion(entry: Mapping[str, Any]) -> Distortion | None:
    for key, model in (("distortion", "opencv"), ("fisheye", "fisheye")):
        if entry.get(key) is not None:
            return Distortion(model=model, coefficients=np.array(entry[key], np.float64))
    return None


def _vehicle(entry: Any, where: str) -> Vehicle | None:
    if entry is None:
        return None
    try:
        wheelbase, lock = float(entry["wheelbase_m"]), float(entry["steering_lock_rad"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadRig(f"'{where}': vehicle needs wheelbase_m and steering_lock_rad; {error}.") from error
    if not (0.5 < wheelbase < 20 and 0 < lock < 1.5):
        raise BadRig(
            f"'{where}': wheelbase {wheelbase} m and steering lock {lock} rad; expected 0.5 to 20 m and below 1.5 rad."
        )
    return Vehicle(wheelbase_m=wheelbase, steering_lock_rad=lock)
