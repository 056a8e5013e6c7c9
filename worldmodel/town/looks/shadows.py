"""Shadows on the ground: soft contact shadows under everything, and the sun's shadows of boxes and crowns."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.looks.casting import Views, fragments, hit, patch_bounds, plane_matrix, times
from worldmodel.town.looks.shading import casts_shadows
from worldmodel.town.scene import Body, Light, Scene, Stage

CONTACT_RANGE_M, SUN_RANGE_M = 70.0, 90.0
LONGEST_M = 26.0
CONTACT, SUN, CROWN = 0.0, 1.0, 2.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Shade:
    """Darkness per pixel of a batch, 0 (none) to 1: of the sky's light (`contact`) and of the sun's."""

    contact: Tensor
    sun: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Casters:
    """What casts shadows.

    Attributes:
        still: Rows x, y, yaw, half length, half width, height, kind for the stage, [n, 7].
        bodies: Half length, half width, height of each body, [body, 3].
        sun: Direction to the sun on the ground times cotangent of its elevation, [2]; None without sun shadows.
    """

    still: Array
    bodies: Array
    sun: Array | None

    @staticmethod
    def of(stage: Stage, bodies: tuple[Body, ...], light: Light) -> "Casters":
        """Casters of a scene."""
        rows: list[list[float]] = []
        for house in stage.buildings:
            box = [house.x_m, house.y_m, house.yaw_rad, house.length_m / 2, house.width_m / 2, house.height_m]
            rows += [[*box, CONTACT], [*box, SUN]]
        for prop in stage.props:
            if prop.kind == "overhead":
                continue
            tree = prop.kind == "tree"
            foot = 0.3 if tree else 0.15
            rows.append([prop.x_m, prop.y_m, 0.0, foot, foot, prop.height_m, CONTACT])
            if tree:
                rows.append([prop.x_m, prop.y_m, 0.0, prop.radius_m, prop.radius_m, 0.66 * prop.height_m, CROWN])
        height = light.sun_elevation_rad
        azimuth = np.array([math.cos(light.sun_azimuth_rad), math.sin(light.sun_azimuth_rad)])
        return Casters(
            still=np.array(rows, np.float64).reshape(-1, 7),
            bodies=np.array([[b.length_m / 2, b.width_m / 2, b.height_m] for b in bodies], np.float64).reshape(-1, 3),
            sun=azimuth / math.tan(max(height, 0.12)) if casts_shadows(light) else None,
        )


def shade_map(casters: Casters, views: Views, scene: Scene, frames: list[int]) -> Shade:
    """Shadows on the ground, as if nothing stood before it, for every pixel of every view."""
    count = len(views) * views.pixels
    contact = torch.zeros(count, device=views.turn.device)
    sun = torch.zeros_like(contact)
    rows = [_patches(_rows(casters, scene, frame), scene.ego_poses[frame], casters.sun) for frame in frames]
    chosen = views.frame.tolist()
    view = torch.arange(len(views)).repeat_interleave(torch.tensor([len(rows[k]) for k in chosen])).to(contact.device)
    if len(view):
        _splat(views, view, torch.from_numpy(np.concatenate([rows[k] for k in chosen])).to(view.device), contact, sun)
    return Shade(contact=contact, sun=sun)


def _rows(casters: Casters, scene: Scene, frame: int) -> Array:
    """All casters of one frame, as rows like `Casters.still`."""
    there = np.flatnonzero(scene.body_present[frame])
    box = np.column_stack([scene.body_poses[frame, there], casters.bodies[there]])
    kinds = [np.column_stack([box, np.full(len(box), kind)]) for kind in (CONTACT, SUN)]
    return np.concatenate([casters.still, *kinds])


def _patches(rows: Array, ego: Array, sun: Array | None) -> Array:
    """Where shadows may fall: rows x, y, cos, sin, half sizes of the patch (2), half sizes of the box (2), sun (2), kind.

    Half sizes and the sun are in the frame of the patch, whose x axis is (cos, sin).
    """
    distance = np.hypot(rows[:, 0] - ego[0], rows[:, 1] - ego[1]) - np.hypot(rows[:, 3], rows[:, 4])
    contact = rows[(rows[:, 6] == CONTACT) & (distance < CONTACT_RANGE_M)]
    margin = np.clip(0.35 * contact[:, 5], 0.1, 0.9)[:, None]
    zero = np.zeros((len(contact), 2))
    cos, sin = np.cos(contact[:, 2]), np.sin(contact[:, 2])
    box = contact[:, 3:5]
    tables = [np.column_stack([contact[:, :2], cos, sin, box + margin, box, zero + margin, contact[:, 6]])]
    if sun is not None:
        near = distance < SUN_RANGE_M
        tables += [
            _sun_patches(rows[(rows[:, 6] == SUN) & near], sun),
            _crown_patches(rows[(rows[:, 6] == CROWN) & near], sun),
        ]
    return np.concatenate(tables)


def _sun_patches(rows: Array, sun: Array) -> Array:
    cos, sin = np.cos(rows[:, 2]), np.sin(rows[:, 2])
    reach = rows[:, 5] * np.minimum(1.0, LONGEST_M / np.maximum(1e-6, rows[:, 5] * np.hypot(*sun)))
    local = np.column_stack([cos * sun[0] + sin * sun[1], cos * sun[1] - sin * sun[0]]) * reach[:, None]
    half = rows[:, 3:5] + np.abs(local) / 2
    middle = -local / 2
    x = rows[:, 0] + cos * middle[:, 0] - sin * middle[:, 1]
    y = rows[:, 1] + sin * middle[:, 0] + cos * middle[:, 1]
    return np.column_stack([x, y, cos, sin, half, rows[:, 3:5], local, rows[:, 6]])


def _crown_patches(rows: Array, sun: Array) -> Array:
    length = np.hypot(*sun)
    cos, sin = sun / max(length, 1e-6)
    offset = np.minimum(rows[:, 5] * length, LONGEST_M)
    x, y = rows[:, 0] - cos * offset, rows[:, 1] - sin * offset
    half = np.column_stack([np.hypot(rows[:, 3], 0.45 * rows[:, 5] * length), rows[:, 4]])
    ones = np.ones(len(rows))
    return np.column_stack([x, y, cos * ones, sin * ones, half, half, np.zeros((len(rows), 2)), rows[:, 6]])


def _splat(views: Views, view: Tensor, table: Tensor, contact: Tensor, sun: Tensor) -> None:
    x, y, cos, sin, a, b = table[:, :6].unbind(1)
    zero = torch.zeros_like(x)
    back = views.turn[view].transpose(1, 2)
    centre = times(back, torch.stack([x, y, zero], dim=-1) - views.eye[view])
    u = times(back, torch.stack([cos * a, sin * a, zero], dim=-1))
    v = times(back, torch.stack([-sin * b, cos * b, zero], dim=-1))
    bounds = patch_bounds(views, views.lens[view], centre, u, v)
    keep = torch.nonzero((bounds[:, 2:] > 0).all(dim=1))[:, 0]
    if not len(keep):
        return
    matrix = plane_matrix(views.lens[view][keep], centre[keep], u[keep], v[keep])[0].float()
    row = table[keep, 4:].float()
    extra = torch.zeros(len(keep), 5, device=row.device)
    for owner, pixel, px, py in fragments(bounds[keep], view[keep], views):
        depth, s, t, _ = hit(matrix[owner], extra[owner], px, py)
        index = torch.nonzero(torch.isfinite(depth))[:, 0]
        dark, kind = _darkness(row[owner[index]], s[index], t[index])
        place = pixel[index]
        contact.scatter_reduce_(0, place, torch.where(kind == CONTACT, dark, 0.0), "amax")
        sun.scatter_reduce_(0, place, torch.where(kind == CONTACT, 0.0, dark), "amax")


def _darkness(row: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    a, b, half_x, half_y, sun_x, sun_y, kind = row.unbind(1)
    # contact: 1 under the box, fading over the margin, which is stored in place of the sun
    out_x, out_y = (s.abs() * a - half_x).clamp(min=0), (t.abs() * b - half_y).clamp(min=0)
    fade = (1 - torch.sqrt(out_x * out_x + out_y * out_y) / sun_x.abs().clamp(min=1e-3)).clamp(0, 1)
    contact = 0.72 * fade * fade
    crown = ((1 - s * s - t * t) * 2.2).clamp(0, 0.85)
    x, y = s * a - sun_x / 2, t * b - sun_y / 2
    enter, leave = torch.zeros_like(x), torch.ones_like(x)
    for place, half, sun in ((x, half_x, sun_x), (y, half_y, sun_y)):
        safe = torch.where(sun.abs() < 1e-4, 1e-4, sun)
        one, two = (-half - place) / safe, (half - place) / safe
        enter, leave = torch.maximum(enter, torch.minimum(one, two)), torch.minimum(leave, torch.maximum(one, two))
    length = torch.sqrt(sun_x * sun_x + sun_y * sun_y)
    soft = torch.minimum(0.5 * torch.minimum(half_x, half_y), 0.5 * length).clamp(0.05, 0.6)
    box = ((leave - enter) * length / soft).clamp(0, 1)
    return torch.where(kind == CONTACT, contact, torch.where(kind == SUN, box, crown)), kind
