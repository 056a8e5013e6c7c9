"""What stands in the town and never moves: parts of houses, props and traffic lights, in the world."""

import math
from collections.abc import Callable

from worldmodel.errors import UnknownName
from worldmodel.town.looks import furniture, plants
from worldmodel.town.looks.houses import building_parts
from worldmodel.town.looks.shapes import Builder, Color, Material, Parts
from worldmodel.town.looks.signs import SIGNS, sign_face
from worldmodel.town.scene import Prop, Signal, Stage


def stage_parts(stage: Stage) -> Parts:
    """All parts of a stage, in the world frame.

    Raises:
        UnknownName: for a kind of prop that does not exist.
    """
    houses = [building_parts(building).labelled("building") for building in stage.buildings]
    signals = [signal_parts(signal, number).labelled("signal") for number, signal in enumerate(stage.signals)]
    return Parts.joined([*houses, *map(prop_parts, stage.props), *signals])


def prop_parts(prop: Prop) -> Parts:
    """The parts of something that stands beside the road, in the world.

    Raises:
        UnknownName: for a kind that is not in PROPS.
    """
    if prop.kind not in PROPS:
        raise UnknownName("kind of prop", prop.kind, PROPS)
    make, label = PROPS[prop.kind]
    b = Builder()
    make(b, prop)
    turn = 0.7 * abs(prop.style) % (2 * math.pi) if prop.kind in ("tree", "bush") else prop.yaw_rad
    return b.build().placed((prop.x_m, prop.y_m, turn)).labelled(label)


def _sign(b: Builder, prop: Prop) -> None:
    furniture.sign_post(b, prop)
    radius = min(max(prop.radius_m, 0.35), 0.6)
    sign_face(b, abs(prop.style) % len(SIGNS), (0.0, 0.0, prop.height_m - radius), radius)


def signal_parts(signal: Signal, number: int) -> Parts:
    """A traffic light: pole, head and board; its lamps face against the driving direction.

    The part with the lamps carries the signal's number as its seed.
    """
    b = Builder()
    height = signal.height_m
    b.pole((0, 0, 0), height, 0.07, furniture.STEEL)
    half_w, half_h = 0.40, 0.74
    middle = (-0.12, 0, height - half_h)
    dark: Color = (0.06, 0.06, 0.07)
    b.patch(middle, (0, -half_w, 0), (0, 0, half_h), dark, Material.SIGNAL, second=(0.96, 0.96, 0.96), seed=number)
    b.patch(middle, (0, half_w, 0), (0, 0, half_h), dark)
    return b.build().placed((signal.x_m, signal.y_m, signal.yaw_rad))


PROPS: dict[str, tuple[Callable[[Builder, Prop], None], str]] = {  # how it is built, and its label
    "tree": (plants.tree, "vegetation"),
    "bush": (plants.bush, "vegetation"),
    "hedge": (plants.hedge, "vegetation"),
    "lamp": (furniture.lamp, "pole"),
    "pole": (furniture.pole, "pole"),
    "sign": (_sign, "sign"),
    "fence": (furniture.fence, "furniture"),
    "wall": (furniture.wall, "furniture"),
    "bench": (furniture.bench, "furniture"),
    "bin": (furniture.bin_, "furniture"),
    "shelter": (furniture.shelter, "furniture"),
    "rail": (furniture.rail, "furniture"),
    "overhead": (furniture.overhead, "sign"),
}
