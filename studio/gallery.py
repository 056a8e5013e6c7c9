"""Contact sheets of the town: one per situation, weather and rig, and a page that shows them all.

Source: own layout.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from worldmodel.edits import ChangeWeather
from worldmodel.errors import OutputExists
from worldmodel.geometry import Array, Rig
from worldmodel.town.dataset import SPLITS
from worldmodel.town.language import narration
from worldmodel.town.masks import SEMANTICS, semantic
from worldmodel.town.render import Rendering, render
from worldmodel.town.rigs import RIGS
from worldmodel.town.scene import SIGNAL_NAMES, WEATHERS, Scene
from worldmodel.town.situations import SITUATIONS
from worldmodel.town.traffic import simulate

Picture = UInt8[Array, "height width 3"]
HOURS = {"noon": 12.0, "dusk": 18.9, "night": 22.0}
WEATHER_SCENES = (("street", 0), ("intersection", 3), ("highway", 1))
RIG_SCENE = ("intersection", 3)
SECONDS = 10.0
CELL_PX = (256, 144)
GAP_PX, LINE_PX = 6, 18
PAPER, INK = (250, 249, 246), (60, 60, 64)
JPEG_QUALITY = 84


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One contact sheet.

    Attributes:
        name: Of its file, without the ending.
        title, text: For the page.
        group: 'situations', 'weather' or 'rigs'.
    """

    name: str
    title: str
    text: str
    group: str


def write_gallery(
    out: Path, *, rows: int = 3, columns: int = 4, progress: Callable[[int, int], None] | None = None
) -> list[Sheet]:
    """Render all contact sheets and the page that shows them.

    Args:
        out: A folder that does not exist yet; gets README.md and one JPEG per sheet.
        rows, columns: Scenes and moments on the sheet of a situation.
        progress: Called with (sheets done, sheets in all).
    Raises:
        OutputExists: if `out` exists.
    """
    if out.exists():
        raise OutputExists(f"'{out}' exists; a gallery is written to a new folder. Remove it, or name another.")
    temporary = out.with_name(out.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    sheets = []
    total = len(SITUATIONS) + len(WEATHERS) + len(RIGS)
    try:
        for sheet, picture in _sheets(rows, columns):
            _save(picture, temporary / f"{sheet.name}.jpg")
            sheets.append(sheet)
            if progress is not None:
                progress(len(sheets), total)
        (temporary / "README.md").write_text(page(sheets), encoding="utf-8")
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sheets


def _sheets(rows: int, columns: int) -> Iterator[tuple[Sheet, Picture]]:
    for name in SITUATIONS:
        yield situation_sheet(name, rows, columns)
    for weather in WEATHERS:
        yield weather_sheet(weather)
    for name in RIGS:
        yield rig_sheet(name)


def situation_sheet(name: str, rows: int, columns: int) -> tuple[Sheet, Picture]:
    """A few scenes of a situation, each at some moments, through the front camera; below, what the driver was told."""
    longest = SITUATIONS[name].max_seconds
    seconds = longest if longest > 30 else SECONDS
    lines = []
    for seed in range(rows):
        scene = simulate(name, SPLITS["test"] + seed, seconds=seconds)
        frames = np.linspace(0, len(scene) - 1, columns).round().astype(int).tolist()
        seen = render(scene, RIGS["front"](*CELL_PX), frames)
        times = "  ".join(f"{frame / scene.frequency_hz:g}" for frame in frames)
        lines.append(_row([_rgb(seen, k, 0) for k in range(columns)], f"{caption(scene)}  ·  at {times} s"))
    text = SITUATIONS[name].description
    sheet = Sheet(name=f"situation-{name}", title=name, text=text[:1].upper() + text[1:] + ".", group="situations")
    return sheet, _stacked(lines)


def weather_sheet(weather: str) -> tuple[Sheet, Picture]:
    """The same scenes at noon, dusk and night."""
    lines = []
    for hour_name, hour in HOURS.items():
        cells = []
        for situation, seed in WEATHER_SCENES:
            scene = simulate(
                situation, SPLITS["test"] + seed, seconds=3, edits=[ChangeWeather(weather=weather, hour=hour)]
            )
            cells.append(_rgb(render(scene, RIGS["front"](320, 180), [len(scene) - 1]), 0, 0))
        lines.append(_row(cells, f"{hour_name}, {hour:g} h"))
    text = "The same three scenes at noon, dusk and night."
    return Sheet(name=f"weather-{weather}", title=weather, text=text, group="weather"), _stacked(lines)


def rig_sheet(name: str) -> tuple[Sheet, Picture]:
    """All cameras of a rig at one moment: colour, depth, instances and semantic classes."""
    rig: Rig = RIGS[name](*CELL_PX)
    situation, seed = RIG_SCENE
    edits = [ChangeWeather(weather="clear", hour=10.0)]
    scene = simulate(situation, SPLITS["test"] + seed, seconds=3, edits=edits)
    seen = render(scene, rig, [len(scene) - 1])
    classes = semantic(scene, rig, [len(scene) - 1])[0]
    kinds = (
        ("colour", [_rgb(seen, 0, c) for c in range(len(rig))]),
        ("depth, near is bright", [_depth(seen.depth_m[0, c]) for c in range(len(rig))]),
        ("instances", [_labels(seen.instance[0, c]) for c in range(len(rig))]),
        (f"{len(SEMANTICS)} semantic classes", [_labels(classes[c]) for c in range(len(rig))]),
    )
    lines = [_row(cells, f"{what}: {', '.join(rig.names)}") for what, cells in kinds]
    text = f"{len(rig)} camera{'s' if len(rig) > 1 else ''}: {', '.join(rig.names)}."
    return Sheet(name=f"rig-{name}", title=name, text=text, group="rigs"), _stacked(lines)


def caption(scene: Scene) -> str:
    """One line about a scene."""
    told = f"“{scene.instructions[0].text}”" if scene.instructions else ""
    lights = f"  ·  light {SIGNAL_NAMES[scene.signal_states[0, 0]]} at first" if scene.signal_states.size else ""
    return f"{scene.light.weather}, {scene.light.hour:.0f} h  ·  {told}{lights}"


def page(sheets: Sequence[Sheet]) -> str:
    """The page, in Markdown."""
    first = simulate("street", SPLITS["test"], seconds=4)
    parts = [
        "# The town, in pictures",
        "Every picture here is rendered by `worldmodel/town/` on a CPU, with no asset but code; made by\n"
        "`uv run detour gallery docs/gallery`. Scenes are a pure function of (situation, seed); these are from the test seeds.",
        f"What the town can say about a scene, here the first one of `street`: *{narration(first).description}*",
    ]
    for group in ("situations", "weather", "rigs"):
        parts.append(f"## {group.capitalize()}")
        for sheet in sheets:
            if sheet.group == group:
                parts += [f"### {sheet.title}", sheet.text, f"![{sheet.title}]({sheet.name}.jpg)"]
    return "\n\n".join(parts) + "\n"


# -- paper ------------------------------------------------------------------------------------------------------


def _rgb(seen: Rendering, frame: int, camera: int) -> Picture:
    return np.ascontiguousarray(seen.rgb[frame, camera].transpose(1, 2, 0))


def _depth(depth_m: Array) -> Picture:
    """Inverse depth on a warm ramp; the sky is dark blue."""
    near = np.clip(np.where(np.isfinite(depth_m), 4.0 / np.maximum(depth_m, 1e-3), 0.0), 0, 1)[..., None] ** 0.5
    low, high = np.array([28.0, 30.0, 66.0]), np.array([255.0, 214.0, 140.0])
    return (low + (high - low) * near).round().astype(np.uint8)


def _labels(numbers: Array) -> Picture:
    """A colour for each whole number, the same everywhere."""
    palette = np.random.default_rng(11).integers(60, 245, (257, 3))
    palette[256] = 30
    return palette[np.where(numbers < 0, 256 + numbers.astype(int) + 1, numbers % 250)].astype(np.uint8)


def _row(cells: Sequence[Picture], text: str) -> Picture:
    """Pictures side by side with a line of text below."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = cells[0].shape[:2]
    sheet = Image.new("RGB", (len(cells) * (width + GAP_PX) + GAP_PX, height + LINE_PX + GAP_PX), PAPER)
    for i, cell in enumerate(cells):
        sheet.paste(Image.fromarray(cell), (GAP_PX + i * (width + GAP_PX), GAP_PX))
    ImageDraw.Draw(sheet).text((GAP_PX, height + GAP_PX + 2), text, INK, font=ImageFont.load_default(12))
    return np.asarray(sheet)


def _stacked(rows: Sequence[Picture]) -> Picture:
    width = max(row.shape[1] for row in rows)
    wide = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=PAPER[0]) for row in rows]
    return np.concatenate(wide)


def _save(picture: Picture, path: Path) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path, quality=JPEG_QUALITY, optimize=True)
