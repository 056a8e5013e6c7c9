"""Contact sheets: whole folders or none, one picture per scene and moment, and a page that links them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio import gallery
from studio.gallery import CELL_PX, Sheet, page, rig_sheet, situation_sheet, weather_sheet, write_gallery
from worldmodel.errors import BadInput
from worldmodel.town.rigs import RIGS


def test_a_situation_has_a_row_per_scene_and_a_column_per_moment() -> None:
    sheet, picture = situation_sheet("street", rows=2, columns=2)
    assert sheet.group == "situations"
    assert picture.shape[0] > 2 * CELL_PX[1]
    assert 2 * CELL_PX[0] < picture.shape[1] < 3 * CELL_PX[0]
    assert sheet.text.endswith(".")


def test_a_rig_shows_every_camera_in_four_ways() -> None:
    sheet, picture = rig_sheet("front")
    assert sheet.name == "rig-front"
    assert picture.shape[0] > 4 * CELL_PX[1]
    assert len(RIGS["front"](*CELL_PX)) == 1


def test_night_is_darker_than_noon() -> None:
    _, picture = weather_sheet("clear")
    third = picture.shape[0] // 3
    assert picture[2 * third :].mean() < picture[:third].mean() - 30


def test_the_folder_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Sheet(name="situation-street", title="street", text="A street.", group="situations")
    blank = np.full((20, 30, 3), 200, np.uint8)
    monkeypatch.setattr(gallery, "_sheets", lambda rows, columns: iter([(one, blank)]))
    counted = []
    sheets = write_gallery(tmp_path / "g", progress=lambda done, total: counted.append((done, total)))
    assert sheets == [one]
    assert counted[0][0] == 1
    text = (tmp_path / "g" / "README.md").read_text()
    assert "![street](situation-street.jpg)" in text
    with Image.open(tmp_path / "g" / "situation-street.jpg") as saved:
        assert saved.size == (30, 20)
    with pytest.raises(BadInput, match="exists"):
        write_gallery(tmp_path / "g")

    def broken(rows: int, columns: int):  # type: ignore[no-untyped-def]
        yield one, blank
        raise OSError("disk full")

    monkeypatch.setattr(gallery, "_sheets", broken)
    with pytest.raises(OSError, match="disk full"):
        write_gallery(tmp_path / "h")
    assert list(tmp_path.iterdir()) == [tmp_path / "g"]


def test_the_page_groups_its_sheets() -> None:
    sheets = [
        Sheet(name=f"{group}-x", title="x", text="Y.", group=group) for group in ("rigs", "situations", "weather")
    ]
    text = page(sheets)
    assert text.index("## Situations") < text.index("## Weather") < text.index("## Rigs")
