"""The last frame seen from where the ego will be: a guess of the next frames that follows the commanded path.

The world is taken for a plane (the ground) inside a round wall; other things are wrong by their parallax, and the network
corrects them. Source: inverse perspective mapping (Mallot et al., Biological Cybernetics 64, 1991), here with several
cameras; conditioning a video model on a warped view as in Ren et al., GEN3C (arXiv 2503.03751), without its depth maps.

Shape suffixes: B batch, F frames, C cameras.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldmodel.geometry import Array, Rig, compose
from worldmodel.tokenizer import Tokenizer

WALL_M = 20.0
_NEAR_M = 0.1
_UNSEEN, _OWN = -1e6, 2.0


def poses_after(deltas: Array) -> Array:
    """Poses [..., F, 3] after each of the steps [..., F, 3], in the frame before the first."""
    here, poses = np.zeros_like(deltas[..., 0, :]), []
    for index in range(deltas.shape[-2]):
        here = compose(here, deltas[..., index, :])
        poses.append(here)
    return np.stack(poses, axis=-2)


class Warp:
    """Warps pictures of one rig along a path.

    Args:
        rig: Cameras, at the size of the pictures that are warped.
        wall_m: Horizontal distance of the wall that stands on the ground all around.
    """

    def __init__(self, rig: Rig, wall_m: float = WALL_M, device: torch.device | str = "cpu") -> None:
        self._size = rig.height_px, rig.width_px
        self._points = torch.from_numpy(_seen_points(rig, wall_m)).float().to(device)
        self._cameras = [
            (
                torch.from_numpy(camera.intrinsics).float().to(device),
                torch.from_numpy(np.linalg.inv(camera.ego_from_camera)).float().to(device),
            )
            for camera in rig.cameras
        ]

    @torch.no_grad()
    def __call__(self, last: Tensor, poses: Tensor) -> Tensor:
        """Pictures [B, F, C, 3, h, w] from poses [B, F, 3] (in the frame of `last`) of the pictures `last` [B, C, 3, h, w]."""
        batch, frames, count = *poses.shape[:2], len(self._cameras)
        points = _moved(self._points, poses.float())
        best = points.new_full(points.shape[:-1], 2 * _UNSEEN)
        out = last.new_zeros(batch * frames * count, 3, *self._size)
        for source, (intrinsics, camera_from_ego) in enumerate(self._cameras):
            grid, margin = _looked_up(points, intrinsics, camera_from_ego, self._size)
            pictures = last[:, source].repeat_interleave(frames * count, dim=0)
            seen = functional.grid_sample(pictures, grid.flatten(0, 2), padding_mode="border", align_corners=False)
            own = margin[:, :, source]
            own += _OWN * (own > 0)  # a camera believes itself first, then the one that sees the place best
            better = margin > best
            out = torch.where(better.flatten(0, 2)[:, None], seen, out)
            best = torch.maximum(best, margin)
        return out.unflatten(0, (batch, frames, count))


@torch.no_grad()
def warped_latents(tokenizer: Tokenizer, warp: Warp, last: Tensor, poses: Tensor) -> Tensor:
    """Latents [B, F, C, ch, h, w] of what the latents `last` [B, C, ch, h, w] show from poses [B, F, 3]: decoded, warped, encoded."""
    pictures = tokenizer.pictures(last.flatten(0, 1)).unflatten(0, last.shape[:2])
    seen = warp(pictures, poses)
    return tokenizer.latents(seen.flatten(0, 2)).unflatten(0, seen.shape[:3])


def _seen_points(rig: Rig, wall_m: float) -> Array:
    """Where each pixel's ray meets the ground or the wall, whichever comes first, [C, h, w, 3] in the ego frame."""
    origins, directions = rig.rays()
    flat = directions / np.maximum(np.linalg.norm(directions[..., :2], axis=-1, keepdims=True), 1e-6)
    down = -flat[..., 2]
    to_ground = np.where(down > 1e-6, origins[:, None, None, 2] / np.maximum(down, 1e-6), np.inf)
    points: Array = origins[:, None, None] + flat * np.minimum(to_ground, wall_m)[..., None]
    return points


def _moved(points: Tensor, poses: Tensor) -> Tensor:
    """Points [C, h, w, 3] around each pose [B, F, 3], in the frame that the poses are in, [B, F, C, h, w, 3]."""
    x, y, yaw = (value[:, :, None, None, None] for value in poses.unbind(-1))
    px, py, pz = points.unbind(-1)
    turned = x + yaw.cos() * px - yaw.sin() * py, y + yaw.sin() * px + yaw.cos() * py
    return torch.stack([*turned, pz.expand_as(turned[0])], dim=-1)


def _looked_up(
    points: Tensor, intrinsics: Tensor, camera_from_ego: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Where a camera sees the points, for `grid_sample`, and how far inside its picture that is (negative: outside)."""
    pixels = (points @ camera_from_ego[:3, :3].T + camera_from_ego[:3, 3]) @ intrinsics.T
    depth = pixels[..., 2]
    sides = torch.tensor([size[1], size[0]], dtype=points.dtype, device=points.device)
    grid = (pixels[..., :2] / depth.clamp(min=_NEAR_M)[..., None] + 0.5) / sides * 2 - 1
    margin = torch.where(depth > _NEAR_M, 1 - grid.abs().amax(dim=-1), _UNSEEN)
    return grid, margin
