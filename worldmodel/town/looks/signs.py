"""Traffic signs: what there is, what each looks like, and the painter of their faces."""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import torch
from torch import Tensor

from worldmodel.town.looks.hits import Hits, Paint
from worldmodel.town.looks.shading import Mood, Rgb, Tone, above, mix
from worldmodel.town.looks.shapes import Builder, Form, Material

WHITE: Tone = (0.96, 0.96, 0.94)
RED: Tone = (0.84, 0.07, 0.07)
BLUE: Tone = (0.08, 0.28, 0.70)
YELLOW: Tone = (0.99, 0.80, 0.12)
BLACK: Tone = (0.07, 0.07, 0.07)
GREY: Tone = (0.48, 0.49, 0.50)

WALKER = (
    "....##...",
    "....##...",
    "...###...",
    "..####.#.",
    ".#.##.#..",
    "...###...",
    "..##.#...",
    ".##..##..",
    ".#....#..",
)
WORKER = (
    "...##....",
    "...##....",
    "..###....",
    ".####.#..",
    ".##.##...",
    ".##..##..",
    ".###..#.#",
    ".#.#..###",
    "##.##.###",
)
CIRCLE = (
    "...###...",
    "..#...#.#",
    ".#.....##",
    ".#....###",
    ".........",
    "###....#.",
    "##.....#.",
    "#.#...#..",
    "...###...",
)
BEND = (
    "....#....",
    "...##....",
    "..#####..",
    "...##..#.",
    "....#..#.",
    ".......#.",
    "......##.",
    ".....##..",
    ".....##..",
)
LETTER_P = (
    ".######..",
    ".##...##.",
    ".##...##.",
    ".##...##.",
    ".######..",
    ".##......",
    ".##......",
    ".##......",
    ".##......",
)
DIGITS = {
    "0": ("###", "#.#", "#.#", "#.#", "###"),
    "1": (".#.", "##.", ".#.", ".#.", "###"),
    "5": ("###", "#..", "###", "..#", "###"),
}
LETTERS = ("##.###.##.##.", "#...#.#.#.#.#", "##..#.#.#.##.", ".#..#.#.#.#..", "##..#..##.#..")  # STOP
GLYPH_CELLS = 13


@dataclass(frozen=True, kw_only=True)
class Sign:
    """One traffic sign.

    Attributes:
        name: What it says.
        shape: 'disc', 'square', 'diamond', 'triangle' (point up) or 'yield' (point down).
        field, rim, ink: Colours of the face, its border and what is drawn on it.
        glyph: Rows of '#' and '.', at most 13 x 13, drawn in the middle (five rows are drawn twice as tall).
        rim_share: Width of the border as a share of the radius.
    """

    name: str
    shape: str
    field: Tone
    rim: Tone
    ink: Tone = BLACK
    glyph: tuple[str, ...] = ()
    rim_share: float = 0.22


def _number(text: str) -> tuple[str, ...]:
    return tuple(".".join(DIGITS[digit][row] for digit in text) for row in range(5))


def _limit(text: str) -> Sign:
    return Sign(name=f"limit_{text}", shape="disc", field=WHITE, rim=RED, glyph=_number(text))


SIGNS: tuple[Sign, ...] = (
    Sign(name="give_way", shape="yield", field=WHITE, rim=RED),
    Sign(name="stop", shape="disc", field=RED, rim=WHITE, ink=WHITE, glyph=LETTERS, rim_share=0.1),
    Sign(name="priority", shape="diamond", field=YELLOW, rim=WHITE, rim_share=0.36),
    Sign(name="crosswalk", shape="square", field=BLUE, rim=WHITE, ink=WHITE, glyph=WALKER, rim_share=0.1),
    Sign(name="roundabout", shape="disc", field=BLUE, rim=WHITE, ink=WHITE, glyph=CIRCLE, rim_share=0.08),
    Sign(name="works", shape="triangle", field=WHITE, rim=RED, glyph=WORKER),
    Sign(name="bend", shape="triangle", field=WHITE, rim=RED, glyph=BEND),
    Sign(name="parking", shape="square", field=BLUE, rim=WHITE, ink=WHITE, glyph=LETTER_P, rim_share=0.08),
    *(_limit(text) for text in ("50", "100")),
)
SIGN_NUMBERS = {sign.name: number for number, sign in enumerate(SIGNS)}
SHAPES = ("disc", "square", "diamond", "triangle", "yield")


def sign_face(b: Builder, number: int, centre: tuple[float, float, float], radius: float) -> None:
    """A sign that is read by those who look along -x, and its grey back."""
    sign = SIGNS[number]
    u, v = (0.0, radius, 0.0), (0.0, 0.0, radius)
    form, taper = Form.QUAD, (0.0, 0.0)
    if sign.shape == "disc":
        form = Form.DISC
    elif sign.shape == "square":
        u, v = (0.0, 0.8 * radius, 0.0), (0.0, 0.0, 0.8 * radius)
    elif sign.shape == "diamond":
        u, v = (0.0, 0.72 * radius, 0.72 * radius), (0.0, -0.72 * radius, 0.72 * radius)
    elif sign.shape == "triangle":
        taper = (0.5, 0.5)
    else:
        u, v, taper = (0.0, -radius, 0.0), (0.0, 0.0, -radius), (0.5, 0.5)
    x, y, z = centre
    b.patch((x + 0.07, y, z), u, v, sign.field, Material.SIGN, second=sign.rim, form=form, taper=taper, seed=number)
    u = (-u[0], -u[1], -u[2])
    b.patch((x + 0.06, y, z), u, v, GREY, form=form, taper=taper)


def painted(h: Hits, _: Mood) -> Paint:
    """The face of a sign: field, border and glyph; `seed` is its place in SIGNS."""
    number = h.seed.long()
    table = _looks(str(h.u.device))[number].unbind(1)
    shape, share = table[0], table[1]
    edge = _edge(h.u, h.v, shape)
    rim = above(share - edge, 0.0, torch.maximum(h.du, h.dv))
    color: Rgb = mix(h.color, h.second, rim)
    ink = _glyph(h, number, shape)
    color = mix(color, (table[2], table[3], table[4]), ink * (1 - rim))
    return color, torch.full_like(h.u, 0.45)


def _edge(u: Tensor, v: Tensor, shape: Tensor) -> Tensor:
    """Distance from the border, in shares of the half size."""
    disc = 1 - torch.sqrt(u * u + v * v)
    square = 1 - torch.maximum(u.abs(), v.abs())
    rise = (v + 1) / 2
    slope = 2 / sqrt(5.0)
    triangle = torch.minimum(v + 1, (1 - rise - u.abs()) * slope)
    return torch.where(shape == 0, disc, torch.where(shape <= 2, square, triangle))


def _glyph(h: Hits, number: Tensor, shape: Tensor) -> Tensor:
    """Share of ink; glyphs fill the middle of a face, lower in a triangle."""
    upright = shape == SHAPES.index("triangle")
    scale = torch.where(upright, 0.56, 0.66)
    u, v = h.u / scale, (h.v + torch.where(upright, 0.36, 0.0)) / scale
    column, row = (u + 1) / 2 * GLYPH_CELLS, (1 - v) / 2 * GLYPH_CELLS
    inside = (column >= 0) & (row >= 0) & (column < GLYPH_CELLS) & (row < GLYPH_CELLS)
    i, j = (x.long().clamp(0, GLYPH_CELLS - 1) for x in (column, row))
    return _atlas(str(h.u.device))[number, j, i] * inside


@lru_cache(maxsize=4)
def _looks(device: str) -> Tensor:
    rows = [[SHAPES.index(sign.shape), sign.rim_share, *sign.ink] for sign in SIGNS]
    return torch.tensor(rows, dtype=torch.float32).to(device)


@lru_cache(maxsize=4)
def _atlas(device: str) -> Tensor:
    """Every glyph in the middle of GLYPH_CELLS x GLYPH_CELLS cells, [sign, row, column]."""
    atlas = torch.zeros(len(SIGNS), GLYPH_CELLS, GLYPH_CELLS)
    for number, sign in enumerate(SIGNS):
        rows = [row for row in sign.glyph for _ in range(2)] if len(sign.glyph) == 5 else list(sign.glyph)
        for j, row in enumerate(rows, start=(GLYPH_CELLS - len(rows)) // 2):
            for i, cell in enumerate(row, start=(GLYPH_CELLS - len(row)) // 2):
                atlas[number, j, i] = float(cell == "#")
    return atlas.to(device)
