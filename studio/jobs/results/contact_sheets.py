"""Contact sheets of a batch: the posters of its units on pages, with captions."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from studio.jobs.folder.manifest import place_of
from studio.jobs.folder.unit_folder import in_threads
from studio.jobs.unit_words import clip_words, more_words, told_words
from studio.jobs.units import Unit
from studio.runs import NOTICE

if TYPE_CHECKING:
    from PIL.Image import Image

    from studio.jobs.folder.batch_folder import BatchFolder
    from studio.jobs.folder.storage import Storage

FOLDER = "sheets"
COLUMNS, ROWS = 2, 12
PER_SHEET = COLUMNS * ROWS
MOST_SHEETS = 200  # 4,800 units; who wants to see more looks at the index
CELL_PX = (720, 84)  # of a poster, at most
GAP_PX, LINE_PX, HEAD_PX = 12, 16, 30
PAPER, INK, SOFT, EMPTY = (250, 249, 246), (40, 40, 44), (100, 100, 108), (222, 222, 220)
MOST_LETTERS = 110  # of a caption's line
JPEG_QUALITY = 85


def write_sheets(folder: "BatchFolder") -> tuple[str, ...]:
    """Write pages with the posters of all finished units into a batch's folder; says their names.

    A poster that cannot be read leaves its place empty; nothing else depends on it.

    Raises:
        OutputExists, Unreachable: if the folder cannot be written.
    """
    keys = {row["key"] for row in folder.rows()}
    units = [unit for unit in folder.batch.units if unit.key in keys]
    pages = [units[start : start + PER_SHEET] for start in range(0, len(units), PER_SHEET)]
    names = [f"{FOLDER}/sheet-{number:03d}.jpg" for number in range(1, min(len(pages), MOST_SHEETS) + 1)]
    for number, (name, page) in enumerate(zip(names, pages, strict=False), start=1):
        posters = list(in_threads(folder.storage, lambda unit: _poster(folder.storage, unit), page))
        title = f"Batch {folder.batch.digest[:12]}, sheet {number} of {len(pages)}. {NOTICE}"
        folder.storage.write(name, _sheet(page, posters, title))
    for old in set(folder.storage.names(FOLDER)) - {name.rpartition("/")[2] for name in names}:
        folder.storage.remove(f"{FOLDER}/{old}")
    return tuple(names)


def _poster(storage: "Storage", unit: Unit) -> "Image | None":
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(BytesIO(storage.read(f"{place_of(unit.key)}/poster.jpg"))).convert("RGB")
    except (FileNotFoundError, UnidentifiedImageError, OSError):
        return None
    picture.thumbnail(CELL_PX)
    return picture


def _sheet(units: Sequence[Unit], posters: "Sequence[Image | None]", title: str) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    rows = -(-len(units) // COLUMNS)
    step_x, step_y = CELL_PX[0] + GAP_PX, CELL_PX[1] + 2 * LINE_PX + GAP_PX
    sheet = Image.new("RGB", (COLUMNS * step_x + GAP_PX, HEAD_PX + rows * step_y + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((GAP_PX, GAP_PX), title, SOFT, font=font)
    for place, (unit, poster) in enumerate(zip(units, posters, strict=True)):
        x, y = GAP_PX + place % COLUMNS * step_x, HEAD_PX + place // COLUMNS * step_y
        if poster is None:
            draw.rectangle((x, y, x + CELL_PX[0], y + CELL_PX[1]), fill=EMPTY)
            draw.text((x + GAP_PX, y + GAP_PX), "no poster", INK, font=font)
        else:
            sheet.paste(poster, (x, y))
        first, second = _caption(unit)
        draw.text((x, y + CELL_PX[1] + 1), first, INK, font=font)
        draw.text((x, y + CELL_PX[1] + 1 + LINE_PX), second, SOFT, font=font)
    file = BytesIO()
    sheet.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _caption(unit: Unit) -> tuple[str, str]:
    request = unit.request
    first = f"{unit.number}  ·  {clip_words(request)}  ·  seed {request.seed}  ·  {unit.key[:12]}"
    second = "  ·  ".join(part for part in (told_words(request) or "as recorded", more_words(request)) if part)
    return _short(first), _short(second)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 1]}…"
