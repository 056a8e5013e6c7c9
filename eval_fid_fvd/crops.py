"""Where things are in pictures: boxes as rectangles of pixels, cut-outs around them, leaders and hand-overs.

Labels of readers come from here, and so do the places at which imagined pictures are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from worldmodel.clips import Box
from worldmodel.geometry import Array, Camera, Rig

VEHICLES = ("car", "van", "truck", "bus")
NEAR_PLANE_M = 0.3
MARGIN = 1.4  # side of a cut-out over the longer side of its box
FEWEST_PX = 6.0  # a smaller side cannot be read
COVERED = 0.4  # share of a rectangle that a nearer one may hide
FARTHEST_M = 40.0  # nobody further away is large enough
LEADER_M = 25.0
LANE_M = 1.7  # half a lane
CUT_PX = 24


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A box in one picture.

    Attributes:
        track, kind: Of the box.
        left, top, right, bottom: The rectangle around it inside the picture, pixels (edges, not centres).
        depth_m: Of the box's middle along the optical axis.
        inside: Share of the whole rectangle that lies in the picture.
    """

    track: str
    kind: str
    left: float
    top: float
    right: float
    bottom: float
    depth_m: float
    inside: float

    @property
    def readable(self) -> bool:
        """Whether it is large enough to be read."""
        return min(self.right - self.left, self.bottom - self.top) >= FEWEST_PX

    def hidden_by(self, other: "Sight") -> float:
        """Share of this rectangle that another, nearer one covers."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        if other.depth_m >= self.depth_m or width <= 0 or height <= 0:
            return 0.0
        return width * height / ((self.right - self.left) * (self.bottom - self.top))


def sight_of(box: Box, camera: Camera) -> Sight | None:
    """The rectangle around a box in a picture; None where it reaches behind the camera or lies outside."""
    corners = box.corners()
    pixels, depth, _ = camera.project(corners)
    if depth.min() < NEAR_PLANE_M:
        return None
    (left, top), (right, bottom) = pixels.min(axis=0) + 0.5, pixels.max(axis=0) + 0.5
    kept = [max(left, 0.0), max(top, 0.0), min(right, float(camera.width_px)), min(bottom, float(camera.height_px))]
    if kept[2] <= kept[0] or kept[3] <= kept[1]:
        return None
    share = (kept[2] - kept[0]) * (kept[3] - kept[1]) / ((right - left) * (bottom - top))
    return Sight(
        track=box.track,
        kind=box.kind,
        left=kept[0],
        top=kept[1],
        right=kept[2],
        bottom=kept[3],
        depth_m=float(depth.mean()),
        inside=float(share),
    )


def sights(boxes: Sequence[Box], camera: Camera) -> tuple[Sight, ...]:
    """Rectangles of the vehicles that a camera shows large enough to be read and not hidden behind another one."""
    near = [box for box in boxes if np.hypot(*box.center[:2]) < FARTHEST_M]
    found = [sight for box in near if (sight := sight_of(box, camera)) is not None]
    return tuple(
        one
        for one in found
        if one.kind in VEHICLES and one.readable and sum(one.hidden_by(other) for other in found) < COVERED
    )


def leader_of(boxes: Sequence[Box]) -> str | None:
    """Track of the nearest vehicle that drives ahead in the ego's lane, within LEADER_M; None without one.

    The lane is taken to bend as the leader's own heading says (an arc from here to there).
    """
    ahead = []
    for box in boxes:
        x, y = float(box.center[0]), float(box.center[1])
        aside = y - x * np.tan(np.clip(box.yaw_rad, -1.2, 1.2) / 2)
        if box.kind in VEHICLES and 2.0 < x < LEADER_M and abs(box.yaw_rad) < 0.7 and abs(aside) < LANE_M:
            ahead.append((x, box.track))
    return min(ahead)[1] if ahead else None


def cut_out(picture: UInt8[Array, "3 h w"] | Tensor, sight: Sight, size_px: int = CUT_PX) -> Float[Tensor, "3 s s"]:
    """A square around a rectangle, resized, in [0, 1]; what lies outside the picture repeats its edge."""
    return cut_outs(picture[None], [sight], size_px)[0]


def cut_outs(
    pictures: UInt8[Array, "n 3 h w"] | Tensor, places: Sequence[Sight], size_px: int = CUT_PX
) -> Float[Tensor, "n 3 s s"]:
    """`cut_out` for n pictures with a place each."""
    images = torch.from_numpy(np.array(pictures)).float() / 255
    if not len(places):
        return images.new_zeros(0, 3, size_px, size_px)
    height, width = images.shape[-2:]
    grids = []
    for one in places:
        side = MARGIN * max(one.right - one.left, one.bottom - one.top)
        steps = (torch.arange(size_px) + 0.5) / size_px - 0.5
        x = ((one.left + one.right) / 2 + side * steps) * 2 / width - 1
        y = ((one.top + one.bottom) / 2 + side * steps) * 2 / height - 1
        grids.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1))
    return functional.grid_sample(images, torch.stack(grids), padding_mode="border", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """A vehicle that leaves one camera's picture for its neighbour's.

    Attributes:
        track: Of the vehicle.
        before: (frame, camera) where it was last read well in the first camera.
        after: (frame, camera) where it is first read well in the second.
    """

    track: str
    before: tuple[int, int]
    after: tuple[int, int]


def hand_overs(boxes: Sequence[Sequence[Box]], rig: Rig, *, whole: float = 0.7) -> tuple[HandOver, ...]:
    """Vehicles that cross from camera to camera.

    Args:
        boxes: Per frame.
        whole: Share of its rectangle that must lie in the picture to count as seen there.
    """
    seen: dict[str, dict[int, list[int]]] = {}
    for frame, there in enumerate(boxes):
        for number, camera in enumerate(rig.cameras):
            for one in sights(there, camera):
                if one.inside >= whole:
                    seen.setdefault(one.track, {}).setdefault(number, []).append(frame)
    found = []
    for track, frames in seen.items():
        for first, second in permutations(frames, 2):
            crossed = _crossed(frames[first], frames[second])
            if crossed is not None:
                found.append(HandOver(track=track, before=(crossed[0], first), after=(crossed[1], second)))
    return tuple(found)


def _crossed(first: Sequence[int], second: Sequence[int]) -> tuple[int, int] | None:
    """The last frame in the first camera and the frame that follows in the second, which did not see it before."""
    if first[0] >= second[0]:
        return None
    after = next((frame for frame in second if frame > first[0] and frame not in first), None)
    return None if after is None else (max(frame for frame in first if frame < after), after)
