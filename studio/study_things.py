"""What a study puts into the pictures: the variants, and the same object at other distances and in other sizes."""

from dataclasses import dataclass, replace

from studio.counterfactual import EditedClip, apply_edit
from studio.placement import DISTANCES_M, NEAR_M, ON_THE_ROAD, ROAD_TWINS
from studio.sprites import ScaledSprite
from studio.study_config import StudyConfig
from studio.town_sprites import sprite_of
from worldmodel.clips import Clip
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit
from worldmodel.geometry import Array


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing that is put into the pictures.

    Attributes:
        label: Its name in the column `variant`.
        variant: How it is placed.
        x_m: How far ahead; None for the variant's own distance.
        size: Factor on its own size.
    """

    label: str
    variant: str
    x_m: float | None = None
    size: float = 1.0

    @property
    def distance_m(self) -> float | None:
        """How far ahead its near side stands (of a twin in the sky: its twin's); None where nothing is put anywhere."""
        return None if self.variant == "empty" else DISTANCES_M[self.variant] if self.x_m is None else float(self.x_m)

    @property
    def on_the_road(self) -> bool:
        """Whether a driver would meet it."""
        return self.variant in ON_THE_ROAD

    @property
    def harmless(self) -> bool:
        """Whether a driver who knows better would change nothing: it is nowhere, or in the sky."""
        return self.variant == "empty" or self.variant in ROAD_TWINS

    def edit(self, kind: str, at_s: float) -> StitchSprite:
        """It as an edit at a moment."""
        return StitchSprite(variant=self.variant, kind=kind, at_s=at_s, x_m=self.x_m)


def things_of(config: StudyConfig) -> tuple[Thing, ...]:
    """The variants of every scene."""
    return tuple(Thing(label=variant, variant=variant) for variant in config.variants)


def swept_things(config: StudyConfig) -> tuple[Thing, ...]:
    """What the scenes of the sweep have besides; what is one of the variants anyway is left out."""
    places = {DISTANCES_M[variant] for variant in config.variants if variant in ON_THE_ROAD}
    distances = [x for x in dict.fromkeys(config.distances_m) if x not in places]
    sizes = [size for size in dict.fromkeys(config.sizes) if size != 1 or NEAR_M not in places]
    return (
        *(Thing(label=f"at {x:g} m", variant="near", x_m=x) for x in distances),
        *(Thing(label=f"size {size:g}", variant="near", size=size) for size in sizes),
    )


def stitched(
    clip: Clip, thing: Thing, kind: str, now_s: float, *, depth_m: Array | None, roadside_m: float | None
) -> EditedClip | str:
    """A clip with a thing in it, or why it has none.

    Args:
        clip: What planners see.
        kind: Of the object.
        now_s: The moment, seconds from the clip's start.
        depth_m: As of `stitch`.
        roadside_m: Where a lookalike stands, metres to the left; None for its usual place.
    """
    edit = thing.edit(kind, now_s)
    if thing.variant == "lookalike" and roadside_m is not None:
        edit = replace(edit, y_m=roadside_m)
    sprite = None if thing.size == 1 else ScaledSprite(own=sprite_of(kind), factor=thing.size)
    try:
        return apply_edit(clip, edit, sprite=sprite, depth_m=depth_m)
    except BadEdit as error:
        return str(error)
