"""Which part does each ray meet first? Exact, batched over pictures, memory-bounded.

Every part is seen by every view as a 3x3 matrix: for a patch it turns a pixel (x, y, 1) into (u, v, 1) / z, for an
ellipsoid into a ray in the frame where it is a unit sphere. A part is tried only on the pixels inside the bounds of its
projection; the nearest hit wins, ties go to the part that comes first, so the order of work does not matter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.geometry import Array, Camera
from worldmodel.town.looks.shapes import COLUMN, Facing, Form

NEAR_M = 0.05
PART_RANGE_M = 240.0
GROUND_RANGE_M = 3000.0
SMALLEST_PX = 0.12  # parts whose radius is smaller on screen are skipped
POLE_PX = 0.36  # half width that a pole never falls below, so that it does not flicker
SKY, GROUND = 2**31 - 1, 2**31 - 2
FRAGMENTS = 2**19  # tries done at once


@dataclass(frozen=True, eq=False, kw_only=True)
class Views:
    """Pictures to take.

    Attributes:
        turn: world_from_camera rotations, [view, 3, 3], float64.
        eye: Camera positions in the world, [view, 3], float64.
        lens: Intrinsics, [view, 3, 3], float64.
        frame: Row of the body poses that a view sees, [view].
        width, height: Pixels.
    """

    turn: Tensor
    eye: Tensor
    lens: Tensor
    frame: Tensor
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.turn)

    @staticmethod
    def of(world_from_ego: Array, cameras: tuple[Camera, ...], device: torch.device | str) -> "Views":
        """The views of cameras that ride on an ego with poses [time, 4, 4]: all cameras of a pose, then the next."""
        times_ = np.repeat(np.arange(len(world_from_ego)), len(cameras))
        return Views.chosen(world_from_ego, times_, cameras * len(world_from_ego), device)

    @staticmethod
    def chosen(world_from_ego: Array, frame: Array, cameras: Sequence[Camera], device: torch.device | str) -> "Views":
        """One view for each camera of the list, at the pose [4, 4] that `frame` chooses; all of one size."""
        pose = np.stack([world_from_ego[k] @ camera.ego_from_camera for k, camera in zip(frame, cameras, strict=True)])
        return Views(
            turn=torch.from_numpy(pose[:, :3, :3].copy()).to(device),
            eye=torch.from_numpy(pose[:, :3, 3].copy()).to(device),
            lens=torch.from_numpy(np.stack([camera.intrinsics for camera in cameras])).to(device),
            frame=torch.from_numpy(np.asarray(frame, np.int64)).to(device),
            width=cameras[0].width_px,
            height=cameras[0].height_px,
        )

    @staticmethod
    def joined(views: Sequence["Views"]) -> "Views":
        """All views in one list."""
        names = ("turn", "eye", "lens", "frame")
        tables = {name: torch.cat([getattr(each, name) for each in views]) for name in names}
        return Views(**tables, width=views[0].width, height=views[0].height)

    def cut(self, first: int, rows: int) -> "Views":
        """The same views, of some rows of the pictures only."""
        lens = self.lens.clone()
        lens[:, 1, 2] -= first
        return Views(turn=self.turn, eye=self.eye, lens=lens, frame=self.frame, width=self.width, height=rows)

    @property
    def pixels(self) -> int:
        """Pixels of one picture."""
        return self.width * self.height


@dataclass(frozen=True, eq=False, kw_only=True)
class Sights:
    """Parts as seen by views; one row per part and view in which it may be visible.

    Attributes:
        view, part: Where and what, [n].
        matrix: [n, 9] float32, see above.
        extra: [n, 5] float32: form, then left and right taper (patches) or the sphere's centre and |centre|^2 - 1.
        bounds: First x, first y, width, height in pixels, [n, 4], int64.
        axes: Unit axes u, v (or the outward normal, for patches) and w in the world, and radii, [n, 4, 3].
    """

    view: Tensor
    part: Tensor
    matrix: Tensor
    extra: Tensor
    bounds: Tensor
    axes: Tensor

    def __len__(self) -> int:
        return len(self.view)

    @staticmethod
    def joined(sights: Sequence["Sights"], first: Sequence[int]) -> "Sights":
        """All sights in one list; the views of each are counted from `first`."""
        names = ("part", "matrix", "extra", "bounds", "axes")
        tables = {name: torch.cat([getattr(each, name) for each in sights]) for name in names}
        view = torch.cat([each.view + start for each, start in zip(sights, first, strict=True)])
        return Sights(view=view, **tables)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of products over the last axis of size three, the same for every batch size."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrices [..., 3, 3] times vectors [..., 3], the same for every batch size."""
    return torch.stack([dot(matrix[..., row, :], vector) for row in range(3)], dim=-1)


def see(views: Views, vectors: Tensor, numbers: Tensor, present: Tensor) -> Sights:
    """Find the parts that each view may see.

    Args:
        views: The pictures.
        vectors: Centres and half axes in the world, [time, part, 4, 3], float64.
        numbers: The columns of `shapes.NUMBERS`, [part, 9].
        present: Whether a part is there, [time, part].
    """
    view, part = _candidates(views, vectors, present)
    shape = vectors[views.frame[view], part]
    form, facing = numbers[part, COLUMN["form"]], numbers[part, COLUMN["facing"]]
    u = _facing_camera(views, view, shape, facing == Facing.CAMERA)
    back = views.turn[view].transpose(1, 2)
    centre = times(back, shape[:, 0] - views.eye[view])
    axes = [times(back, axis) for axis in (u, shape[:, 2], shape[:, 3])]
    round_ = form == Form.ELLIPSOID
    patches = _patch_sights(views, view, part, centre, axes, numbers, (u, shape[:, 2]), ~round_)
    balls = _ball_sights(views, view, part, centre, axes, (u, shape[:, 2], shape[:, 3]), round_)
    names = ("view", "part", "matrix", "extra", "bounds", "axes")
    return Sights(**{name: torch.cat([getattr(patches, name), getattr(balls, name)]) for name in names})


def _candidates(views: Views, vectors: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    radius = torch.sqrt((vectors[:, :, 1:] ** 2).sum(dim=(2, 3)))[views.frame]
    centre = vectors[views.frame, :, 0] - views.eye[:, None]
    x, y, z = (dot(views.turn[:, None, :, k], centre) for k in range(3))
    lens = views.lens
    keep = present[views.frame] & (z > -radius) & (z < PART_RANGE_M)
    keep &= radius * lens[:, 0, 0, None] > SMALLEST_PX * z
    unit = torch.tensor([0.0, 0.0, 1.0], dtype=lens.dtype, device=lens.device)
    for row, size in ((0, views.width), (1, views.height)):
        for plane in (lens[:, row] + 1.0 * unit, size * unit - lens[:, row]):
            reach = plane[:, 0, None] * x + plane[:, 1, None] * y + plane[:, 2, None] * z
            keep &= reach > -radius * torch.sqrt(dot(plane, plane))[:, None]
    view, part = torch.nonzero(keep, as_tuple=True)
    return view, part


def _facing_camera(views: Views, view: Tensor, shape: Tensor, turning: Tensor) -> Tensor:
    """First half axis; for turning parts it is rotated to face the camera and kept a minimal width on screen."""
    towards = shape[:, 0] - views.eye[view]
    flat = torch.sqrt(towards[:, 0] ** 2 + towards[:, 1] ** 2).clamp(min=1e-6)
    half = torch.sqrt(dot(shape[:, 1], shape[:, 1]))
    half = torch.maximum(half, POLE_PX * flat / views.lens[view, 0, 0])
    right = torch.stack([towards[:, 1] / flat, -towards[:, 0] / flat, torch.zeros_like(flat)], dim=-1)
    return torch.where(turning[:, None], right * half[:, None], shape[:, 1])


def plane_matrix(lens: Tensor, centre: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """[n, 9] matrices that turn pixels into (u, v, 1) / z on planes given in camera coordinates, and determinants."""
    a, b, c = times(lens, u), times(lens, v), times(lens, centre)
    rows = [torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)]
    determinant = dot(a, rows[0])
    safe = torch.where(determinant.abs() < 1e-12, 1e-12, determinant)
    return torch.cat(rows, dim=-1) / safe[:, None], determinant


def _patch_sights(
    views: Views,
    view: Tensor,
    part: Tensor,
    centre: Tensor,
    axes: list[Tensor],
    numbers: Tensor,
    world: tuple[Tensor, Tensor],
    chosen: Tensor,
) -> Sights:
    lens, (u, v, _) = views.lens[view], axes
    matrix, determinant = plane_matrix(lens, centre, u, v)
    two_sided = numbers[part, COLUMN["facing"]] == Facing.BOTH
    bounds = patch_bounds(views, lens, centre, u, v)
    scale = torch.sqrt(dot(u, u) * dot(v, v)) * lens[:, 0, 0] * lens[:, 1, 1]
    outside = determinant < -1e-9 * scale
    keep = chosen & (outside | (two_sided & (determinant > 1e-9 * scale))) & (bounds[:, 2:] > 0).all(dim=1)
    index = torch.nonzero(keep)[:, 0]
    unit_u, unit_v = (axis / torch.sqrt(dot(axis, axis)).clamp(min=1e-9)[:, None] for axis in world)
    normal = torch.linalg.cross(unit_u, unit_v) * torch.where(determinant < 0, 1.0, -1.0)[:, None]
    row = numbers[part]
    zero = torch.zeros_like(determinant)
    extra = [row[:, COLUMN["form"]], row[:, COLUMN["left_taper"]], row[:, COLUMN["right_taper"]], zero, zero]
    return _sights(index, view, part, matrix, extra, bounds, (unit_u, normal, unit_v, torch.ones_like(normal)))


def _ball_sights(
    views: Views,
    view: Tensor,
    part: Tensor,
    centre: Tensor,
    axes: list[Tensor],
    world: tuple[Tensor, Tensor, Tensor],
    chosen: Tensor,
) -> Sights:
    index = torch.nonzero(chosen)[:, 0]
    lens = views.lens[view]
    squares = [dot(axis, axis).clamp(min=1e-12) for axis in axes]
    inverse = inverse_lens(lens)
    rows = [axis / square[:, None] for axis, square in zip(axes, squares, strict=True)]
    matrix = torch.cat([times(inverse.transpose(1, 2), row) for row in rows], dim=-1)
    middle = [dot(row, centre) for row in rows]
    outside = middle[0] ** 2 + middle[1] ** 2 + middle[2] ** 2 - 1
    bounds = _ball_bounds(views, lens, centre, axes)
    keep = (bounds[index, 2:] > 0).all(dim=1) & (outside[index] > 0)
    extra = [torch.full_like(outside, Form.ELLIPSOID), *middle, outside]
    radii = torch.sqrt(torch.stack(squares, dim=-1))
    units = tuple(axis / radii[:, k, None] for k, axis in enumerate(world))
    return _sights(index[keep], view, part, matrix, extra, bounds, (*units, radii))


def _sights(
    index: Tensor,
    view: Tensor,
    part: Tensor,
    matrix: Tensor,
    extra: list[Tensor],
    bounds: Tensor,
    axes: tuple[Tensor, ...],
) -> Sights:
    return Sights(
        view=view[index],
        part=part[index],
        matrix=matrix[index].float(),
        extra=torch.stack(extra, dim=-1)[index].float(),
        bounds=bounds[index],
        axes=torch.stack(axes, dim=1)[index].float(),
    )


def inverse_lens(lens: Tensor) -> Tensor:
    """Inverse of upper triangular intrinsics whose last row is (0, 0, 1)."""
    fx, skew, cx, fy, cy = lens[:, 0, 0], lens[:, 0, 1], lens[:, 0, 2], lens[:, 1, 1], lens[:, 1, 2]
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = [1 / fx, -skew / (fx * fy), (skew * cy - cx * fy) / (fx * fy), zero, 1 / fy, -cy / fy, zero, zero, one]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


def patch_bounds(views: Views, lens: Tensor, centre: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Pixel bounds (x, y, width, height) of quads in camera coordinates, cut at the near plane."""
    corners = [centre - u - v, centre + u - v, centre + u + v, centre - u + v]
    points, valid = [], []
    for k in range(4):
        a, b = corners[k], corners[(k + 1) % 4]
        points.append(a)
        valid.append(a[:, 2] > NEAR_M)
        gap = b[:, 2] - a[:, 2]
        share = (NEAR_M - a[:, 2]) / torch.where(gap.abs() < 1e-12, 1e-12, gap)
        crossing = a + (b - a) * share[:, None]
        crossing = torch.cat([crossing[:, :2], torch.full_like(gap, NEAR_M)[:, None]], dim=1)
        points.append(crossing)
        valid.append((a[:, 2] > NEAR_M) != (b[:, 2] > NEAR_M))
    there = torch.stack(valid, dim=1)
    spots = torch.stack([times(lens, point) for point in points], dim=1)
    flat = spots[:, :, :2] / spots[:, :, 2:].clamp(min=NEAR_M / 2)
    low = torch.where(there[:, :, None], flat, torch.inf).amin(dim=1)
    high = torch.where(there[:, :, None], flat, -torch.inf).amax(dim=1)
    return _rounded(views, low, high)


def _ball_bounds(views: Views, lens: Tensor, centre: Tensor, axes: list[Tensor]) -> Tensor:
    """Exact pixel bounds of ellipsoids from their dual conics; the whole picture where the camera plane cuts one."""
    c = times(lens, centre)
    arms = [times(lens, axis) for axis in axes]

    def dual(i: int, j: int) -> Tensor:
        return c[:, i] * c[:, j] - sum((arm[:, i] * arm[:, j] for arm in arms), torch.zeros_like(c[:, 0]))

    depth = dual(2, 2)
    whole = (depth > 1e-9) & (c[:, 2] > 0)
    low, high = [], []
    for k, size in ((0, views.width), (1, views.height)):
        root = torch.sqrt((dual(k, 2) ** 2 - dual(k, k) * depth).clamp(min=0))
        safe = depth.clamp(min=1e-9)
        low.append(torch.where(whole, (dual(k, 2) - root) / safe, -1.0))
        high.append(torch.where(whole, (dual(k, 2) + root) / safe, float(size)))
    return _rounded(views, torch.stack(low, dim=-1), torch.stack(high, dim=-1))


def _rounded(views: Views, low: Tensor, high: Tensor) -> Tensor:
    size = torch.tensor([views.width, views.height], dtype=low.dtype, device=low.device)
    first = torch.minimum((low - 0.51).ceil().clamp(min=0), size)
    last = torch.minimum((high + 0.51).floor(), size - 1).clamp(min=-1)
    return torch.cat([first, (last - first + 1).clamp(min=0)], dim=1).long()


def fragments(bounds: Tensor, view: Tensor, views: Views) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Pairs (row, pixel of the batch, x, y) of all pixels inside all bounds, some at a time."""
    area = bounds[:, 2] * bounds[:, 3]
    ends = torch.cumsum(area, dim=0)
    stops = ends.cpu().numpy()
    start = 0
    while start < len(stops):
        done = int(stops[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(stops, done + FRAGMENTS, side="right")))
        rows = torch.arange(start, stop, device=bounds.device)
        owner = torch.repeat_interleave(rows, area[start:stop], output_size=int(stops[stop - 1]) - done)
        place = torch.arange(done, int(stops[stop - 1]), device=bounds.device) - (ends - area)[owner]
        box = bounds[owner]
        line = place // box[:, 2]
        x, y = box[:, 0] + place - line * box[:, 2], box[:, 1] + line
        yield owner, view[owner] * views.pixels + y * views.width + x, x.float(), y.float()
        start = stop


def hit(matrix: Tensor, extra: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where rays meet parts: depth z (not a number where they miss) and three coordinates.

    Patches give u, v and 0; ellipsoids the unit sphere's coordinates along their axes.
    """
    m, e = matrix.unbind(1), extra.unbind(1)
    p, q, r = (m[3 * k] * x + m[3 * k + 1] * y + m[3 * k + 2] for k in range(3))
    ball = e[0] == Form.ELLIPSOID
    z = 1 / torch.where(r > 1e-6, r, torch.inf)
    u, v = p * z, q * z
    rise = v + 1
    inside = (v.abs() <= 1) & (u >= -1 + e[1] * rise) & (u <= 1 - e[2] * rise) & (z > NEAR_M)
    circle = u * u + v * v
    inside &= (e[0] == Form.QUAD) | ((circle <= 1) & ((e[0] == Form.DISC) | (circle > 0.74)))
    a, b = p * p + q * q + r * r, p * e[1] + q * e[2] + r * e[3]
    under = b * b - a * e[4]
    far = (b - torch.sqrt(under.clamp(min=0))) / a
    ball_hit = (under > 0) & (far > NEAR_M)
    depth = torch.where(ball, torch.where(ball_hit, far, torch.nan), torch.where(inside, z, torch.nan))
    w = torch.where(ball, r * far - e[3], 0.0)
    return depth, torch.where(ball, p * far - e[1], u), torch.where(ball, q * far - e[2], v), w


def keys(depth: Tensor, number: Tensor) -> Tensor:
    """Whole numbers that sort by depth first and by `number` second; `key & 0x7fffffff` is the number.

    A depth that is not a number sorts behind everything, infinity included.
    """
    return (depth.view(torch.int32).long() << 32) | number


def cast(
    views: Views, sights: Sights, start: Tensor, slot: Tensor | None, offsets: list[tuple[float, float]]
) -> Tensor:
    """Nearest hit of all rays, as keys.

    Args:
        views: The pictures.
        sights: What may be hit; a hit's number is its row.
        start: Keys to begin with (ground and sky), shape [slots * offsets].
        slot: Slot of each pixel of the batch, -1 where it is not cast; None when every pixel is its own slot.
        offsets: Where in the pixel the rays of a slot pass.
    """
    best = start.clone()
    for owner, pixel, x, y in fragments(sights.bounds, sights.view, views):
        place = pixel
        if slot is not None:
            place = slot[pixel]
            index = torch.nonzero(place >= 0)[:, 0]
            owner, place, x, y = owner[index], place[index], x[index], y[index]
        matrix, extra = sights.matrix.index_select(0, owner), sights.extra.index_select(0, owner)
        for k, (dx, dy) in enumerate(offsets):
            depth = hit(matrix, extra, x + dx, y + dy)[0]
            best.scatter_reduce_(0, place * len(offsets) + k, keys(depth, owner), "amin")
    return best
