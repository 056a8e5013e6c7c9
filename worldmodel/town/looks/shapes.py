"""Flat parts and ellipsoids from which everything that stands in the town is built.

A part is a flat patch (quad, trapezoid, disc or ring), a patch that turns to the camera (a pole, a cone), or an
ellipsoid. A patch is the set `centre + a u + b v` with a, b in [-1, 1]; `u x v` points outward.
Local frames: x forward, y left, z up, metres.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array

STRIDE_M = 1.5  # two steps of somebody on foot
Vector = Sequence[float]
Color = Sequence[float]


class Form(IntEnum):
    """How the square of a patch is cut; `ELLIPSOID` is no patch."""

    QUAD = 0
    DISC = 1
    RING = 2
    ELLIPSOID = 3


class Facing(IntEnum):
    """From where a patch is seen: from outside, from both sides, or always (it turns about the vertical)."""

    OUTSIDE = 0
    BOTH = 1
    CAMERA = 2


class Material(IntEnum):
    """What is painted on a part; see `shading.py`."""

    PLAIN = 0
    FACADE = 1
    GLASS = 2
    SIDE_GLASS = 3
    WHEEL = 4
    TAIL = 5
    NOSE = 6
    DOORS = 7
    ROOF = 8
    CARDBOARD = 9
    CONE = 10
    LEAVES = 11
    SIGN = 12
    LAMP = 13
    BUS_GLASS = 14
    PANEL = 15
    FACE = 16
    SIGNAL = 17
    BOARD = 18
    CAB_GLASS = 19
    DRUM = 20
    DESTINATION = 21
    HEDGE = 22
    FENCE = 23
    STONES = 24
    RAIL = 25
    POSTER = 26


NUMBERS = (
    "material", "form", "facing", "left_taper", "right_taper", "size_u_m", "size_v_m", "seed", "swing_m", "lift_m", "side", "stride_m",
    "label",
)  # fmt: skip
LABELS = ("building", "vegetation", "pole", "sign", "signal", "furniture")  # what parts of a stage belong to
COLUMN = {name: i for i, name in enumerate(NUMBERS)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """A list of parts.

    Attributes:
        vectors: Centre and half axes u, v, w, shape [n, 4, 3], metres; w matters for ellipsoids alone.
        colors: First and second colour, shape [n, 2, 3], in [0, 1].
        numbers: The columns of `NUMBERS`, shape [n, 13]: `swing_m` and `lift_m` are how far a part moves back and forth
            and up and down, once per `stride_m` of the way; `side` is 1 on the left side of a hull, -1 on the right;
            `label` is a place in LABELS.
    """

    vectors: Float[Array, "n 4 3"]
    colors: Float[Array, "n 2 3"]
    numbers: Float[Array, "n 13"]

    def __len__(self) -> int:
        return len(self.vectors)

    @staticmethod
    def joined(parts: Sequence["Parts"]) -> "Parts":
        """All parts in one list, in order."""
        empty = [Parts(vectors=np.zeros((0, 4, 3)), colors=np.zeros((0, 2, 3)), numbers=np.zeros((0, len(NUMBERS))))]
        every = [*empty, *parts]
        return Parts(
            vectors=np.concatenate([part.vectors for part in every]),
            colors=np.concatenate([part.colors for part in every]),
            numbers=np.concatenate([part.numbers for part in every]),
        )

    def placed(self, pose: Vector) -> "Parts":
        """The parts turned and moved from the local frame to where `pose` (x, y, yaw) puts it."""
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        vectors = self.vectors @ turn.T
        vectors[:, 0, :2] += np.asarray(pose[:2])
        return Parts(vectors=vectors, colors=self.colors, numbers=self.numbers)

    def labelled(self, label: str) -> "Parts":
        """The same parts, said to belong to something in LABELS."""
        numbers = self.numbers.copy()
        numbers[:, COLUMN["label"]] = LABELS.index(label)
        return Parts(vectors=self.vectors, colors=self.colors, numbers=numbers)


@dataclass(frozen=True, kw_only=True)
class Slab:
    """A horizontal rectangle: from x = `rear` to x = `front`, `half` wide to either side, at height `z`; metres."""

    rear: float
    front: float
    half: float
    z: float


class Builder:
    """Collects parts; every method adds some."""

    def __init__(self) -> None:
        self._vectors: list[list[Vector]] = []
        self._colors: list[list[Color]] = []
        self._numbers: list[list[float]] = []

    def build(self) -> Parts:
        """All parts added so far."""
        count = len(self._vectors)
        return Parts(
            vectors=np.array(self._vectors, np.float64).reshape(count, 4, 3),
            colors=np.array(self._colors, np.float64).reshape(count, 2, 3),
            numbers=np.array(self._numbers, np.float64).reshape(count, len(NUMBERS)),
        )

    def extend(self, parts: Parts) -> None:
        """Add finished parts."""
        self._vectors += parts.vectors.tolist()
        self._colors += parts.colors.tolist()
        self._numbers += parts.numbers.tolist()

    def patch(
        self,
        centre: Vector,
        u: Vector,
        v: Vector,
        color: Color,
        material: Material = Material.PLAIN,
        *,
        second: Color = (1.0, 1.0, 1.0),
        form: Form = Form.QUAD,
        facing: Facing = Facing.OUTSIDE,
        taper: tuple[float, float] = (0.0, 0.0),
        seed: float = 0.0,
        side: float = 0.0,
    ) -> None:
        """A flat patch; `taper` cuts these shares of the width off the left and right end of its upper edge."""
        sizes = 2 * float(np.linalg.norm(u)), 2 * float(np.linalg.norm(v))
        self._vectors.append([centre, u, v, (0.0, 0.0, 0.0)])
        self._colors.append([color, second])
        self._numbers.append([material, form, facing, *taper, *sizes, seed, 0.0, 0.0, side, STRIDE_M, 0])

    def ellipsoid(
        self,
        centre: Vector,
        radii: Vector,
        color: Color,
        material: Material = Material.PLAIN,
        *,
        second: Color = (1.0, 1.0, 1.0),
        lean: float = 0.0,
        swing: float = 0.0,
        lift: float = 0.0,
        stride: float = STRIDE_M,
    ) -> None:
        """An ellipsoid; `lean` tips its top forward (radians).

        On the way, `swing` moves it back and forth and `lift` up and down (m), once per `stride` metres.
        """
        cos, sin = np.cos(lean), np.sin(lean)
        axes = [(radii[0] * cos, 0, -radii[0] * sin), (0, radii[1], 0), (radii[2] * sin, 0, radii[2] * cos)]
        self._vectors.append([centre, *axes])
        self._colors.append([color, second])
        self._numbers.append([material, Form.ELLIPSOID, 0, 0, 0, radii[0], radii[2], 0, swing, lift, 0, stride, 0])

    def pole(
        self,
        foot: Vector,
        height: float,
        radius: float,
        color: Color,
        material: Material = Material.PLAIN,
        *,
        second: Color = (1.0, 1.0, 1.0),
        taper: float = 0.0,
    ) -> None:
        """An upright round pole or cone; `taper` 1 ends in a point."""
        x, y, z = foot
        centre, share = (x, y, z + height / 2), taper / 2
        self.patch(
            centre,
            (0, -radius, 0),
            (0, 0, height / 2),
            color,
            material,
            second=second,
            facing=Facing.CAMERA,
            taper=(share, share),
        )

    def hull(
        self,
        low: Slab,
        high: Slab,
        color: Color,
        *,
        sides: Material = Material.PLAIN,
        front: Material = Material.PLAIN,
        rear: Material = Material.PLAIN,
        top: Material = Material.PLAIN,
        second: Color = (1.0, 1.0, 1.0),
        seed: float = 0.0,
    ) -> None:
        """A box between two slabs of different size, without a bottom; a car is two of them."""
        mid_z, half_z = (low.z + high.z) / 2, (high.z - low.z) / 2
        inset, half = (low.half - high.half) / 2, (low.half + high.half) / 2
        length = low.front - low.rear
        nose, tail = (low.front - high.front) / length, (high.rear - low.rear) / length
        mid_x = (low.front + low.rear) / 2
        end = inset / low.half

        def add(
            centre: Vector, u: Vector, v: Vector, material: Material, taper: tuple[float, float], side: float = 0.0
        ) -> None:
            self.patch(centre, u, v, color, material, second=second, taper=taper, seed=seed, side=side)

        add((mid_x, half, mid_z), (-length / 2, 0, 0), (0, -inset, half_z), sides, (nose, tail), 1.0)
        add((mid_x, -half, mid_z), (length / 2, 0, 0), (0, inset, half_z), sides, (tail, nose), -1.0)
        back = (low.rear + high.rear) / 2
        add((back, 0, mid_z), (0, -low.half, 0), ((high.rear - low.rear) / 2, 0, half_z), rear, (end, end))
        ahead = (low.front + high.front) / 2
        add((ahead, 0, mid_z), (0, low.half, 0), ((high.front - low.front) / 2, 0, half_z), front, (end, end))
        top_x, top_half = (high.front + high.rear) / 2, (high.front - high.rear) / 2
        add((top_x, 0, high.z), (0, -high.half, 0), (top_half, 0, 0), top, (0.0, 0.0))
