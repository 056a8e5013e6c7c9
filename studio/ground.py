"""The road as a plane: from the calibration, or fitted to the feet of labelled objects; and the point under a pixel."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.clips import Clip
from worldmodel.errors import BadEdit, BadRequest
from worldmodel.geometry import Array, Camera

FEWEST_BOXES = 12  # feet that a fit needs
FIT_REACH_M = 60.0  # objects farther away say little about the road here
FOOT_M = 0.15  # typical error of a labelled foot
PRIOR_HEIGHT_M, PRIOR_SLOPE = 0.3, 0.02  # how far roads are from what the calibration says
SPREAD_M = 0.3  # a fit whose typical residual exceeds this is not used
FIT_ROUNDS = 20
FARTHEST_M = 150.0  # a pixel whose ground point lies beyond says nothing precise


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The road: z = height_m + slope_x * x + slope_y * y in the ego frame.

    Attributes:
        source: 'calibration' (z = 0 by the ego frame's definition) or 'fitted to N labelled feet'.
    """

    height_m: float = 0.0
    slope_x: float = 0.0
    slope_y: float = 0.0
    source: str = "calibration"

    def under(self, points: Array) -> Float[Array, "*n"]:
        """Height of the road under points [..., 2 or more], metres."""
        return np.asarray(self.height_m + self.slope_x * points[..., 0] + self.slope_y * points[..., 1])

    def met_by(self, origin: Float[Array, " 3"], rays: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
        """How far along each ray the road is met; infinite where it never is."""
        above = origin[2] - self.under(origin)
        falling = self.slope_x * rays[..., 0] + self.slope_y * rays[..., 1] - rays[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = above / falling
        return np.where(np.isfinite(reach) & (reach > 0), reach, np.inf)


def ground_of(clip: Clip) -> Ground:
    """The road of a clip: fitted to the feet of its labelled objects where these agree, else the calibration's.

    Source: own derivation; a plane by least squares with Huber weights, held near the calibration's by a prior, so that few
    or badly spread objects change little.
    """
    feet = _feet(clip)
    if len(feet) < FEWEST_BOXES:
        return Ground()
    design = np.column_stack([np.ones(len(feet)), feet[:, :2]])
    prior = np.diag([FOOT_M / PRIOR_HEIGHT_M, FOOT_M / PRIOR_SLOPE, FOOT_M / PRIOR_SLOPE])
    weights, plane = np.ones(len(feet)), np.zeros(3)
    for _ in range(FIT_ROUNDS):
        root = np.sqrt(weights)[:, None]
        rows, wanted = np.concatenate([design * root, prior]), np.concatenate([feet[:, 2] * root[:, 0], np.zeros(3)])
        plane = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        off = np.abs(feet[:, 2] - design @ plane)
        weights = np.minimum(1.0, FOOT_M / np.maximum(off, 1e-12))
    if np.median(np.abs(feet[:, 2] - design @ plane)) > SPREAD_M:
        return Ground()
    return Ground(
        height_m=float(plane[0]),
        slope_x=float(plane[1]),
        slope_y=float(plane[2]),
        source=f"fitted to {len(feet)} labelled feet",
    )


def _feet(clip: Clip) -> Float[Array, "n 3"]:
    """Where labelled objects near the ego touch the ground, all frames together, in the ego frame of each."""
    boxes = [box for frame in clip.boxes or () for box in frame if np.hypot(*box.center[:2]) < FIT_REACH_M]
    feet = [box.center - np.array([0.0, 0.0, box.size[2] / 2]) for box in boxes]
    return np.array(feet).reshape(-1, 3)


def ground_point(camera: Camera, u_px: float, v_px: float, ground: Ground | None = None) -> tuple[float, float]:
    """Where the ray of a pixel meets the road: (forward m, left m) in the ego frame.

    Args:
        u_px, v_px: Column and row; (0, 0) is the centre of the top left pixel.
        ground: The road; None for the calibration's.
    Raises:
        BadEdit: if the pixel is not in the picture, the ray never meets the road or only very far away, or the camera is
            below the road.
    """
    ground = ground or Ground()
    if not (-0.5 <= u_px < camera.width_px - 0.5 and -0.5 <= v_px < camera.height_px - 0.5):
        raise BadEdit(
            f"pixel ({u_px:g}, {v_px:g}) is not in the picture of camera '{camera.name}', which has "
            f"{camera.width_px}x{camera.height_px} px. Click inside it."
        )
    origin = camera.ego_from_camera[:3, 3]
    if origin[2] <= ground.under(origin):
        raise BadEdit(
            f"camera '{camera.name}' lies {float(ground.under(origin) - origin[2]):.2f} m below the ground by its calibration, "
            "so no pixel shows the road. Correct the rig (z is up, from the ground)."
        )
    ray = camera.ego_from_camera[:3, :3] @ np.linalg.inv(camera.intrinsics) @ np.array([u_px, v_px, 1.0])
    reach = float(ground.met_by(origin, ray))
    if not np.isfinite(reach):
        raise BadEdit(
            f"pixel ({u_px:g}, {v_px:g}) of camera '{camera.name}' lies above the horizon: its ray never meets the road. "
            "Click on the road, or use a variant in the sky."
        )
    point = origin + reach * ray
    if np.hypot(*(point - origin)[:2]) > FARTHEST_M:
        raise BadEdit(
            f"pixel ({u_px:g}, {v_px:g}) of camera '{camera.name}' lies so close to the horizon that its ground is "
            f"{np.hypot(*(point - origin)[:2]):.0f} m away; at most {FARTHEST_M:g} m make sense. Click lower."
        )
    return float(point[0]), float(point[1])


def clicked_place(clip: Clip, click: str) -> tuple[float, float]:
    """`ground_point` of 'CAMERA:COLUMN,ROW' in a clip's pictures, on the clip's own road.

    Raises:
        BadRequest: if the text has another form.
        UnknownName: if the clip has no such camera.
        BadEdit: as `ground_point`.
    """
    name, _, place = click.rpartition(":")
    try:
        u, v = (float(number) for number in place.split(","))
    except ValueError as error:
        raise BadRequest(f"a click is 'CAMERA:COLUMN,ROW' in pixels, such as 'front:64,50'; got '{click}'.") from error
    return ground_point(clip.rig.cameras[clip.rig.index(name)], u, v, ground_of(clip))
