"""What views see and the colours of samples: what is prepared once, and how every kind of hit is shaded."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldmodel.town.looks.casting import (
    GROUND,
    GROUND_RANGE_M,
    SKY,
    Sights,
    Views,
    cast,
    dot,
    hit,
    inverse_lens,
    keys,
    plane_matrix,
    see,
    times,
)
from worldmodel.town.looks.glare import dazzled
from worldmodel.town.looks.ground import ground_color
from worldmodel.town.looks.hits import Hits
from worldmodel.town.looks.lightmap import LightMap
from worldmodel.town.looks.mirror import Mirror, reflections
from worldmodel.town.looks.paint import paint
from worldmodel.town.looks.shading import Mood, Rgb, hazed, lit, mix, noise
from worldmodel.town.looks.shadows import Shade, shade_map
from worldmodel.town.looks.shapes import COLUMN, Facing, Form
from worldmodel.town.looks.sky import sky
from worldmodel.town.looks.weather import weathered, weathered_part
from worldmodel.town.looks.world import World

WRAP = 0.25  # how far around an edge the sun reaches; softens the dark sides
KNEE = 0.62
RIPPLE_PX = 2.0  # how far ripples move a reflection
NUMBERS_AT = 6  # columns of `Batch.looks` before the parts' numbers


@dataclass(frozen=True, eq=False, kw_only=True)
class Shot:
    """Views of one scene; `views.frame` counts in `frames`."""

    world: World
    frames: list[int]
    views: Views


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Everything known about the views of some shots while they are rendered.

    Attributes:
        views: The views of all shots, in order.
        shot: Number of the shot of each view.
        first: Number of each shot's first view.
        sights: What they may see; `part` counts in the world of its shot.
        looks: Both colours and the numbers of each sight's part, [sight, 6 + len(NUMBERS)].
        codes: Instance of each sight.
        lamps: Which lamps of each sight shine, see `lamps.py`.
        sun: The sun along each sight's axes, [sight, 3].
        ground, rays: Matrices from pixel to ground and to world direction, [view, 9].
        lights, mirrors, shade: Of each shot, and per pixel; see `grounded`.
    """

    shots: tuple[Shot, ...]
    views: Views
    shot: Tensor
    first: tuple[int, ...]
    sights: Sights
    looks: Tensor
    codes: Tensor
    lamps: Tensor
    sun: Tensor
    ground: Tensor
    rays: Tensor
    lights: tuple[LightMap | None, ...]
    mirrors: tuple[Mirror | None, ...]
    shade: Shade | None = None


def prepared(shots: tuple[Shot, ...]) -> Batch:
    """What some views may see, and all that shading needs to know about it; for the ground see `grounded`."""
    views = Views.joined([shot.views for shot in shots])
    first = [sum(len(shot.views) for shot in shots[:k]) for k in range(len(shots))]
    seen = [_seen(shot) for shot in shots]
    back = views.turn.transpose(1, 2)
    unit = torch.eye(3, dtype=views.turn.dtype, device=views.turn.device).expand(len(views), 3, 3)
    ground, _ = plane_matrix(views.lens, times(back, -views.eye), times(back, unit[:, 0]), times(back, unit[:, 1]))
    inverse = inverse_lens(views.lens)
    rays = torch.stack([times(views.turn, inverse[:, :, k]) for k in range(3)], dim=-1)
    counts = torch.tensor([len(shot.views) for shot in shots], device=views.turn.device)
    looks, codes, lamps, sun = (torch.cat([table[k] for _, table in seen]) for k in range(4))
    return Batch(
        shots=shots,
        views=views,
        shot=torch.arange(len(shots), device=views.turn.device).repeat_interleave(counts),
        first=tuple(first),
        sights=Sights.joined([sights for sights, _ in seen], first),
        looks=looks,
        codes=codes,
        lamps=lamps,
        sun=sun,
        ground=ground.float(),
        rays=rays.reshape(-1, 9).float(),
        lights=(None,) * len(shots),
        mirrors=(None,) * len(shots),
    )


def _seen(shot: Shot) -> tuple[Sights, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """What the views of a shot may see, and looks, codes, lamps and sun of it."""
    world, frames, views = shot.world, shot.frames, shot.views
    there = world.rows(world.scene.body_present, frames, True)
    sights = see(views, world.vectors(frames), world.numbers, there)
    to_sun = torch.tensor(world.mood.to_sun, device=views.turn.device)
    looks = torch.cat([world.colors[sights.part], world.numbers[sights.part].float()], dim=1)
    lamps = world.lamps(frames)[views.frame[sights.view], sights.part]
    sun = torch.stack([dot(sights.axes[:, k], to_sun) for k in range(3)], dim=-1)
    return sights, (looks, world.codes[sights.part], lamps, sun)


def grounded(batch: Batch) -> Batch:
    """The batch with what the ground and the night need: shadows, lamp light, and reflections where it is wet."""
    lights = tuple(
        LightMap.of(shot.world.scene, shot.frames, shot.views.turn.device) if shot.world.mood.lamps > 0 else None
        for shot in batch.shots
    )
    shades = [shade_map(shot.world.casters, shot.views, shot.world.scene, shot.frames) for shot in batch.shots]
    mirrors = tuple(
        _mirror(shot, light) if shot.world.mood.wet else None for shot, light in zip(batch.shots, lights, strict=True)
    )
    shade = Shade(contact=torch.cat([each.contact for each in shades]), sun=torch.cat([each.sun for each in shades]))
    return replace(batch, lights=lights, mirrors=mirrors, shade=shade)


def _mirror(shot: Shot, light: LightMap | None) -> Mirror | None:
    def exposed(views: Views) -> Tensor:
        batch = replace(prepared((replace(shot, views=views),)), lights=(light,))
        everything, x, y = pixel_centres(views)
        best = cast(views, batch.sights, nothing(everything), None, [(0.0, 0.0)])
        color = torch.stack(shaded(batch, everything, x, y, best & 0x7FFFFFFF))
        return dazzled(color, depth_of(best), views, shot.world.scene, shot.frames, shot.world.mood)

    return reflections(shot.views, exposed)


def background(batch: Batch, pixel: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Keys of the ground, or of the sky above the horizon."""
    m = batch.ground[:, 6:].index_select(0, pixel // batch.views.pixels).unbind(1)
    closeness = m[0] * x + m[1] * y + m[2]
    below = closeness > 1 / GROUND_RANGE_M
    depth = torch.where(below, 1 / closeness.clamp(min=1e-6), torch.inf)
    return keys(depth, torch.where(below, GROUND, SKY))


def nothing(pixel: Tensor) -> Tensor:
    """Keys of the sky for every pixel."""
    return torch.full_like(pixel, (0x7F800000 << 32) | SKY)


def depth_of(key: Tensor) -> Tensor:
    """The depth in keys."""
    return (key >> 32).int().view(torch.float32)


def pixel_centres(views: Views) -> tuple[Tensor, Tensor, Tensor]:
    """Number, x and y of every pixel of a batch."""
    everything = torch.arange(len(views) * views.pixels, device=views.turn.device)
    return everything, (everything % views.width).float(), (everything % views.pixels // views.width).float()


@dataclass(frozen=True, eq=False, kw_only=True)
class _Rays:
    """Samples of one shot: pixel of the batch, view, exact position in the picture, and what is hit there."""

    batch: Batch
    number: int
    pixel: Tensor
    view: Tensor
    x: Tensor
    y: Tensor
    winner: Tensor

    @property
    def mood(self) -> Mood:
        return self.batch.shots[self.number].world.mood

    def directions(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Unit world directions, and the length of the ray to depth 1."""
        m = self.batch.rays.index_select(0, self.view).unbind(1)
        dx, dy, dz = (m[3 * k] * self.x + m[3 * k + 1] * self.y + m[3 * k + 2] for k in range(3))
        length = torch.sqrt(dx * dx + dy * dy + dz * dz)
        return dx / length, dy / length, dz / length, length


def shaded(batch: Batch, pixel: Tensor, x: Tensor, y: Tensor, winner: Tensor) -> list[Tensor]:
    """Colours of samples: `pixel` of the batch, exact position (x, y) in its picture, and what is hit there."""
    color = [torch.zeros_like(x) for _ in range(3)]
    view = pixel // batch.views.pixels
    for number in range(len(batch.shots)):
        for shader, chosen in (
            (_shade_sky, winner == SKY),
            (_shade_ground, winner == GROUND),
            (_shade_parts, winner < GROUND),
        ):
            mine = chosen if len(batch.shots) == 1 else chosen & (batch.shot[view] == number)
            i = torch.nonzero(mine)[:, 0]
            if not len(i):
                continue
            rays = _Rays(batch=batch, number=number, pixel=pixel[i], view=view[i], x=x[i], y=y[i], winner=winner[i])
            for whole, some in zip(color, shader(rays), strict=True):
                whole[i] = some
    return color


def _shade_sky(rays: _Rays) -> Rgb:
    dx, dy, dz, _ = rays.directions()
    return sky(dx, dy, dz, rays.mood)


def _shade_ground(rays: _Rays) -> Rgb:
    batch, at = rays.batch, rays.mood
    assert batch.shade is not None
    m = batch.ground.index_select(0, rays.view).unbind(1)
    p, q, r = (m[3 * k] * rays.x + m[3 * k + 1] * rays.y + m[3 * k + 2] for k in range(3))
    z = 1 / r.clamp(min=1e-6)
    east, north = p * z, q * z
    dx = (m[0] - east * m[6]) * z, (m[3] - north * m[6]) * z
    dy = (m[1] - east * m[7]) * z, (m[4] - north * m[7]) * z
    soil = ground_color(batch.shots[rays.number].world.index, east, north, dx, dy)
    unlit, film, puddle = weathered(soil, east, north, at)
    visible = 1 - at.shadow * batch.shade.sun[rays.pixel]
    color = lit(unlit, at.to_sun[2] * visible, 1 - batch.shade.contact[rays.pixel], at)
    color = hazed(_lamplit(rays, (east, north, 0.0), unlit, color), z, at)
    mirror = batch.mirrors[rays.number]
    if mirror is None:
        return color
    _, _, down, _ = rays.directions()
    grazing = (1 + down).clamp(0, 1)
    share = film * (0.06 + 0.80 * grazing * grazing * grazing * grazing) * (1 - 0.3 * soil.paint)
    ripple = RIPPLE_PX * (noise(east * 3.1, north * 3.1) - 0.5) * (1 - 0.7 * puddle)
    there = mirror.at(rays.view - batch.first[rays.number], rays.x, rays.y + ripple, puddle)
    return mix(color, there, share)


def _shade_parts(rays: _Rays) -> Rgb:
    batch, at, winner = rays.batch, rays.mood, rays.winner
    matrix = batch.sights.matrix.index_select(0, winner)
    z, u, v, w = hit(matrix, batch.sights.extra.index_select(0, winner), rays.x, rays.y)
    colors = batch.looks.index_select(0, winner).unbind(1)
    number = colors[NUMBERS_AT:]
    ball = number[COLUMN["form"]] == Form.ELLIPSOID
    m = matrix.unbind(1)
    du = ((m[0] - u * m[6]) * z).abs() + ((m[1] - u * m[7]) * z).abs()
    dv = ((m[3] - v * m[6]) * z).abs() + ((m[4] - v * m[7]) * z).abs()
    hits = Hits(
        u=u,
        v=torch.where(ball, w, v),
        side=torch.where(ball, v, 0.0),
        du=du.clamp(1e-4, 4.0),
        dv=dv.clamp(1e-4, 4.0),
        size_u=number[COLUMN["size_u_m"]],
        size_v=number[COLUMN["size_v_m"]],
        seed=number[COLUMN["seed"]],
        red=colors[0],
        green=colors[1],
        blue=colors[2],
        red2=colors[3],
        green2=colors[4],
        blue2=colors[5],
        lamps=batch.lamps[winner],
        turned=number[COLUMN["side"]],
    )
    unlit, shine = paint(number[COLUMN["material"]], hits, at)
    direct, up = _facing_light(batch, winner, (u, v, w), ball, number[COLUMN["facing"]] == Facing.CAMERA)
    spot = _place(rays, z)
    if at.wet or at.snow:
        unlit = mix(weathered_part(unlit, up, number[COLUMN["material"]], spot, at), unlit, shine)
    bright = _lamplit(rays, spot, unlit, lit(unlit, direct, 0.76 + 0.24 * up, at))
    return hazed(mix(bright, unlit, shine), z, at)


def _place(rays: _Rays, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """World coordinates of points at depths z."""
    dx, dy, dz, length = rays.directions()
    eye, far = rays.batch.views.eye[rays.view].float(), length * z
    return eye[:, 0] + dx * far, eye[:, 1] + dy * far, eye[:, 2] + dz * far


def _lamplit(rays: _Rays, spot: tuple[Tensor, Tensor, Tensor | float], unlit: Rgb, color: Rgb) -> Rgb:
    """Add what lamps light at night to the colour of surfaces at world places `spot`."""
    light = rays.batch.lights[rays.number]
    if light is None:
        return color
    lamps = light.at(rays.batch.views.frame[rays.view], *spot)
    red, green, blue = (c + rays.mood.lamps * u * lamp for c, u, lamp in zip(color, unlit, lamps, strict=True))
    most = torch.maximum(torch.maximum(red, green), blue).clamp(min=1e-6)
    over = (most - KNEE).clamp(min=0)  # bends towards 1, so that bright light keeps its tone and burns nothing out
    bent = (most - over + (1 - KNEE) * (1 - torch.exp(-over / (1 - KNEE)))) / most
    return red * bent, green * bent, blue * bent


def _facing_light(
    batch: Batch, winner: Tensor, spot: tuple[Tensor, Tensor, Tensor], ball: Tensor, pole: Tensor
) -> tuple[Tensor, Tensor]:
    """How much surfaces face the sun (0 to 1) and the sky (-1 to 1)."""
    sun, axes = batch.sun[winner], batch.sights.axes[winner]
    u = spot[0]
    around = torch.sqrt((1 - u * u).clamp(min=0))
    a, b, c = (part / axes[:, 3, k] for k, part in enumerate(spot))
    length = torch.sqrt(a * a + b * b + c * c).clamp(min=1e-6)
    round_sun = (a * sun[:, 0] + b * sun[:, 1] + c * sun[:, 2]) / length
    round_up = (a * axes[:, 0, 2] + b * axes[:, 1, 2] + c * axes[:, 2, 2]) / length
    flat_sun = torch.where(pole, u * sun[:, 0] + around * sun[:, 1], sun[:, 1])
    facing = torch.where(ball, round_sun, flat_sun)
    return ((facing + WRAP) / (1 + WRAP)).clamp(min=0), torch.where(ball, round_up, axes[:, 1, 2])
