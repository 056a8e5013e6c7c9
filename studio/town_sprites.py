"""Objects of the town to be stitched, rendered in perspective from where they are seen, and a harmless lookalike."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from studio.sprites import Eye, ScaledSprite, Sprite, SpriteView
from worldmodel.errors import BadEdit, UnknownName
from worldmodel.geometry import Array
from worldmodel.town.scene import Body, Prop

MIN_RENDER_PX, MAX_RENDER_PX = 32, 512
ANGLE_STEP_RAD, DISTANCE_STEP, HEIGHT_STEP_M = math.radians(3.0), 0.08, 0.1  # views closer than this share a picture
TURNS = round(2 * math.pi / ANGLE_STEP_RAD)
NEAREST_M, FARTHEST_SIZES = 1.0, 12.0  # perspective of a nearer eye is not drawn; beyond, perspective is gone
BUSH_PX = 128
HEIGHTS_M = (0.2, 6.0)  # an object may be given
LOOKALIKE_STYLE = 3  # of the bush that harmless lookalikes are

# kind: length, width, height in metres; colour. Sizes of common models.
KINDS: dict[str, tuple[float, float, float, tuple[float, float, float]]] = {
    "car": (4.5, 1.8, 1.5, (0.62, 0.12, 0.10)),
    "van": (5.2, 2.0, 2.1, (0.85, 0.85, 0.82)),
    "truck": (8.0, 2.5, 3.2, (0.20, 0.32, 0.55)),
    "pedestrian": (0.5, 0.6, 1.75, (0.20, 0.25, 0.50)),
    "cyclist": (1.8, 0.6, 1.75, (0.15, 0.45, 0.30)),
    "cone": (0.4, 0.4, 0.75, (0.95, 0.40, 0.08)),
    "box": (1.2, 1.0, 1.0, (0.55, 0.40, 0.25)),
}


@dataclass(frozen=True, kw_only=True)
class BodySprite:
    """An object of the town, rendered from the side it is seen from."""

    body: Body

    @property
    def name(self) -> str:
        """The body's kind."""
        return self.body.kind

    @property
    def footprint_m(self) -> tuple[float, float]:
        """Length and width of the body."""
        return (self.body.length_m, self.body.width_m)

    @property
    def height_m(self) -> float:
        """Height of the body."""
        return self.body.height_m

    def reach_m(self, angle_rad: float) -> float:
        """Between the two parallels across the line of sight that touch its footprint."""
        return self.body.length_m * abs(math.cos(angle_rad)) + self.body.width_m * abs(math.sin(angle_rad))

    def view(self, eye: Eye) -> SpriteView:
        """The body in perspective, from nearly there: angles to 3 degrees, distances to 8 %, heights to 0.1 m."""
        size = math.hypot(*self.footprint_m, self.height_m)
        turn = round((eye.azimuth_rad - math.pi) / ANGLE_STEP_RAD) % TURNS  # the renderer counts from behind
        steps = round(math.log(min(max(eye.distance_m, NEAREST_M), FARTHEST_SIZES * size)) / DISTANCE_STEP)
        raised = max(1, round(eye.height_m / HEIGHT_STEP_M))
        return _rendered(self.body, turn, steps, raised, _fineness(eye.pixels_per_m * self.height_m))


def _fineness(pixels: float) -> int:
    """Height of the rendered picture: as fine as it is shown or a little finer, in powers of two."""
    return int(min(MAX_RENDER_PX, max(MIN_RENDER_PX, 2 ** math.ceil(math.log2(max(pixels, 1.0))))))


@lru_cache(maxsize=512)
def _rendered(body: Body, turn: int, steps: int, raised: int, height_px: int) -> SpriteView:
    from worldmodel.town.looks.portrait import Viewer, render_cutout

    viewer = Viewer(
        azimuth_rad=turn * ANGLE_STEP_RAD, distance_m=math.exp(steps * DISTANCE_STEP), eye_m=raised * HEIGHT_STEP_M
    )
    cut = render_cutout(body, viewer, height_px)
    return SpriteView(
        rgba=cut.rgba,
        width_m=cut.width_m,
        height_m=cut.height_m,
        middle_m=cut.left_m + cut.width_m / 2,
        bottom_m=cut.bottom_m,
    )


def sprite_of(kind: str) -> BodySprite:
    """The town's own object of a kind.

    Raises:
        UnknownName: if there is none; the closest kind is offered.
    """
    if kind not in KINDS:
        raise UnknownName("kind of sprite", kind, KINDS)
    length, width, height, color = KINDS[kind]
    return BodySprite(
        body=Body(track=f"stitched-{kind}", kind=kind, length_m=length, width_m=width, height_m=height, color_rgb=color)
    )


def sized_sprite(kind: str, height_m: float | None) -> Sprite | None:
    """The town's object of a kind in another height; None for its own.

    Raises:
        UnknownName: for a kind that does not exist.
        BadEdit: for an impossible height.
    """
    own = sprite_of(kind)
    if height_m is None or math.isclose(height_m, own.height_m, rel_tol=1e-3):
        return None
    low, high = HEIGHTS_M
    if not low <= height_m <= high:
        raise BadEdit(
            f"the {kind} is to be {height_m:g} m high; it must be {low:g} to {high:g} m. Choose another size."
        )
    return ScaledSprite(own=own, factor=height_m / own.height_m)


@dataclass(frozen=True, kw_only=True)
class Lookalike:
    """Something harmless, from everywhere as large in the picture as another object is from behind: a bush."""

    other: Sprite

    @property
    def name(self) -> str:
        """What it is, and as large as what."""
        return f"bush as large as a {self.other.name}"

    @property
    def footprint_m(self) -> tuple[float, float]:
        """As wide as the other, and round."""
        width = self.other.footprint_m[1]
        return (width, width)

    @property
    def height_m(self) -> float:
        """Of the other."""
        return self.other.height_m

    def reach_m(self, angle_rad: float) -> float:
        """The same from all sides."""
        del angle_rad
        return self.other.footprint_m[1]

    def view(self, eye: Eye) -> SpriteView:
        """The bush, stretched to the other's picture."""
        return replace(self.other.view(replace(eye, azimuth_rad=math.pi)), rgba=_bush())


@lru_cache(maxsize=1)
def _bush() -> Array:
    from worldmodel.town.looks.portrait import Viewer, render_cutout

    bush = Prop(kind="bush", x_m=0.0, y_m=0.0, height_m=1.2, radius_m=0.7, style=LOOKALIKE_STYLE)
    return render_cutout(bush, Viewer(azimuth_rad=0.0, distance_m=12.0, eye_m=1.5), BUSH_PX).rgba


def lookalike_of(sprite: Sprite) -> Lookalike:
    """A harmless thing of equal size."""
    return Lookalike(other=sprite)
