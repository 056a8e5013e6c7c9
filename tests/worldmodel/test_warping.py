"""The last frame warped along a path: nothing moves without motion, the ground moves as it should, and cameras hand over."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from worldmodel.geometry import Motion
from worldmodel.town.rigs import rig_named
from worldmodel.town.scene import town_rig
from worldmodel.warping import WALL_M, Warp, poses_after


def pictures(rig, seen):  # type: ignore[no-untyped-def]
    """Pictures [1, C, 1 of 3, h, w] of a plane-and-wall world whose value at a point is `seen(x, y, z)`."""
    warp = Warp(rig)
    values = seen(*(value.double() for value in warp._points.unbind(-1)))
    return values.float()[None, :, None].expand(-1, -1, 3, -1, -1)


def ground(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """A smooth pattern on the ground, a level above it on the wall."""
    return torch.where(z < 0.01, torch.sin(x / 3) * torch.cos(y / 3), z / 10)


def test_standing_still_changes_nothing() -> None:
    rig = town_rig(3, 64, 32)
    last = torch.randn(2, 3, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    warped = Warp(rig)(last, torch.zeros(2, 4, 3))
    assert warped.shape == (2, 4, 3, 3, 32, 64)
    for frame in range(4):  # the outermost pixels may come from a neighbour
        assert_close(warped[:, frame, ..., 1:-1, 1:-1], last[..., 1:-1, 1:-1], atol=2e-3, rtol=0)


@pytest.mark.parametrize("pose", [(1.5, 0.0, 0.0), (2.0, 0.4, 0.1), (0.0, 0.0, -0.15), (-1.0, 0.0, 0.0)])
def test_the_ground_is_seen_where_it_is(pose: tuple[float, float, float]) -> None:
    rig = town_rig(3, 128, 64)
    x, y, yaw = pose

    def moved(px: torch.Tensor, py: torch.Tensor, pz: torch.Tensor) -> torch.Tensor:
        return ground(x + np.cos(yaw) * px - np.sin(yaw) * py, y + np.sin(yaw) * px + np.cos(yaw) * py, pz)

    warped = Warp(rig)(pictures(rig, ground), torch.tensor([[pose]]))[0, 0, 1, 0]
    wanted = pictures(rig, moved)[0, 1, 0]
    points = Warp(rig)._points[1]
    near = (points[..., 2] < 0.01) & (points[..., :2].norm(dim=-1) < 0.6 * WALL_M) & (points[..., 0] > 6)
    near[-6:] = False  # there the way goes under the car
    assert int(near.sum()) > 500
    assert float((warped - wanted)[near].abs().mean()) < 0.03
    assert float((pictures(rig, ground)[0, 1, 0] - wanted)[near].abs().mean()) > 0.06


def test_what_leaves_one_camera_comes_from_another() -> None:
    rig = town_rig(3, 64, 32)
    last = torch.zeros(1, 3, 3, 32, 64)
    last[:, 0], last[:, 2] = 1.0, -1.0  # left, right
    left_turn = Warp(rig)(last, torch.tensor([[[0.0, 0.0, 0.6]]]))[0, 0, 1, 0]
    assert float(left_turn[:, :8].mean()) > 0.9  # what was to the left is ahead now
    assert float(left_turn[:, -8:].abs().mean()) < 0.1
    right_turn = Warp(rig)(last, torch.tensor([[[0.0, 0.0, -0.6]]]))[0, 0, 1, 0]
    assert float(right_turn[:, -8:].mean()) < -0.9


def test_one_camera_and_pictures_alone_or_in_a_batch() -> None:
    rig = rig_named("front", 32, 16)
    last = torch.rand(3, 1, 3, 16, 32, generator=torch.Generator().manual_seed(1))
    poses = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(2))
    together = Warp(rig)(last, poses)
    for i in range(3):
        assert_close(together[i : i + 1], Warp(rig)(last[i : i + 1], poses[i : i + 1]))


def test_poses_are_the_sum_of_the_steps() -> None:
    deltas = np.random.default_rng(0).normal(size=(2, 5, 3)) * [1, 0.1, 0.1]
    poses = poses_after(deltas)
    for row in range(2):
        trajectory = Motion(deltas=deltas[row], period_s=0.1).trajectory()
        np.testing.assert_allclose(poses[row], trajectory.poses[1:], atol=1e-12)
