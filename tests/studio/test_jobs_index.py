import json
import re
from dataclasses import replace
from io import BytesIO

import pytest
from made_batches import NASTY, Made, shared_batch
from PIL import Image

from studio.jobs.exports.selection import ALL
from studio.jobs.folder.manifest import place_of
from studio.jobs.results.contact_sheets import PER_SHEET, write_sheets
from studio.jobs.results.index import index_content, write_index
from studio.jobs.results.index_page import Card, IndexContent, render_index
from studio.jobs.unit_words import more_words, unit_words, value_words
from studio.jobs.units import ActionChoice
from worldmodel.io.lerobot import Dataset
from worldmodel.sampling import Sampling


@pytest.fixture(scope="module")
def made(drives: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = shared_batch(drives, tmp_path_factory)
    write_sheets(made.folder)
    write_index(made.folder)
    return made


def page(made: Made) -> str:
    return (made.out / "index.html").read_text(encoding="utf-8")


def data_of(html: str) -> dict:
    return json.loads(re.search(r'id="units-data">(.*?)</script>', html)[1])


def test_the_index_lists_what_is_done_and_what_failed_with_its_reason(made):
    html = page(made)
    assert "5 of 7 units are done, 1 failed, 1 not done yet. 5 s were imagined" in html
    data = data_of(html)
    assert [row[:2] for row in data["units"]] == [
        [made.batch.units[i].number, made.batch.units[i].key] for i in (0, 1, 2, 3, 6)
    ]
    assert data["texts"] == ["", NASTY]
    assert data["mores"] == ["", "edit car near"]
    failures = html.split('id="failures"')[1].split("</section>")[0]
    assert "unit 5: two @ 2 s" in failures
    assert "&#x27;front.mp4&#x27; has &lt;12&gt; frames" in failures
    assert html.index('id="slowest"') < html.index('id="how-it-was-made"')
    assert html.split('id="slowest"')[1].index("unit 6") < html.split('id="slowest"')[1].index("unit 0")


def test_the_index_escapes_everything_and_loads_nothing_from_elsewhere(made):
    html = page(made)
    assert "<b>" not in html
    assert html.count("</script>") == 2
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy


def test_files_that_the_index_names_are_there(made):
    data = data_of(page(made))
    for row in data["units"]:
        for name in [*data["files"][row[6]], "unit.json"]:
            assert (made.out / place_of(row[1]) / name).is_file()
    links = re.findall(r'href="(sheets/[^"]*)"', page(made))
    assert links == ["sheets/sheet-001.jpg"]
    assert all((made.out / link).is_file() for link in links)


def test_means_of_units_leave_out_what_was_not_measured(made):
    section = page(made).split('id="scores-of-units"')[1].split("</section>")[0]
    # psnr is 20 + number: units 0 to 3 and 6
    assert "22.4 (5)" in section
    assert "22.5 (2)" in section  # of the two with a text


def test_an_index_of_many_units_stays_small(made):
    units = [replace(made.batch.units[0], number=number, key=f"{number:032x}") for number in range(5000)]
    cards = [Card(unit=unit, files=("mosaic.mp4", "poster.jpg"), scores={"psnr": 20.123}) for unit in units]
    html = render_index(IndexContent(title="t", lead="l", cards=cards, sections=(), sheets=("sheets/1.jpg",), facts={}))
    assert len(html) < 600_000
    assert "Posters of the first 24 units" in html


def test_what_the_page_cannot_list_is_said(made, monkeypatch):
    monkeypatch.setattr("studio.jobs.results.index.MOST_LISTED", 3)
    content = index_content(made.folder)
    assert len(content.cards) == 3
    assert content.lead.startswith("5 of 7 units are done")
    assert content.lead.endswith("The first 3 are listed; the manifest has all.")


def test_contact_sheets_show_posters_and_survive_a_missing_one(made, tmp_path):
    name = write_sheets(made.folder)[0]
    with Image.open(made.out / name) as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width > 1400
    poster = made.out / place_of(made.batch.units[0].key) / "poster.jpg"
    kept = poster.read_bytes()
    (made.out / "sheets" / "sheet-099.jpg").write_bytes(b"of an earlier run with more units")
    for broken in (b"", kept[:50]):
        poster.write_bytes(broken)
        assert write_sheets(made.folder) == (name,)
    poster.write_bytes(kept)
    assert [file.name for file in (made.out / "sheets").iterdir()] == ["sheet-001.jpg"]
    assert PER_SHEET >= 12
    assert Image.open(BytesIO(kept)).size == (576, 96)


def test_values_of_a_sweep_are_told_apart_in_words(made):
    request = made.batch.units[0].request
    assert [value_words(request, by) for by in ("text", "actions", "memory", "guidance", "seconds")] == [
        "as recorded", "policy", "window", "plain", "1 s",
    ]  # fmt: skip
    other = replace(
        request,
        sampling=Sampling(memory="selective", recent=4, guidance_text=2.0, steps=4),
        actions=ActionChoice(kind="constant", speed_mps=3.0),
    )
    assert more_words(other) == "actions constant 3 m/s · memory selective, recent 4 · guidance text 2 · steps 4"
    told = replace(other, text=None, schedule='[[0.0, "go on"], [2.0, "turn left"]]', seconds=0.0)
    assert "0 s: go on; 2 s: turn left · seed 0 · plans only · actions constant" in unit_words(told)
    assert ALL.takes(made.batch.units[0], {})
