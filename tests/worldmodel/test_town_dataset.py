"""Datasets of the town: what goes in comes back, killed runs go on, and the number of workers changes nothing."""

import errno
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldmodel.errors import BadDataset, BadRequest, BadTable, DetourError, OutputExists, UnknownName
from worldmodel.io.check import check_dataset
from worldmodel.io.lerobot import Dataset
from worldmodel.io.lerobot_language import Text
from worldmodel.io.lerobot_meta import read_json
from worldmodel.town import dataset as dataset_module
from worldmodel.town.dataset import clip_of, language_of, town_clip, write_town
from worldmodel.town.language import narration
from worldmodel.town.mixes import SPLITS, scene_list
from worldmodel.town.records.request import TownRequest
from worldmodel.town.records.shelf import new_piece, open_shelf
from worldmodel.town.records.workers import in_order
from worldmodel.town.rigs import rig_named
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

RIG = rig_named("front", 32, 16)
REQUEST = TownRequest(scenes=3, seed=1, seconds=1.0, situations=("street", "empty_road"))


@pytest.fixture
def fake_render(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey frames instead of the ray caster; of every body the camera sees a half."""

    def render(scene, rig, frames=None, *, supersample=2, device="cpu"):  # type: ignore[no-untyped-def]
        rgb = np.full((len(scene), len(rig), 3, rig.height_px, rig.width_px), 127, np.uint8)
        return types.SimpleNamespace(rgb=rgb)

    def visibility(scene, rig, frames=None, *, device="cpu"):  # type: ignore[no-untyped-def]
        return np.full((len(scene), len(rig), len(scene.bodies)), 0.5)

    for name, function in (("render", render), ("masks", visibility)):
        module = types.ModuleType(f"worldmodel.town.{name}")
        setattr(module, function.__name__, function)
        monkeypatch.setitem(sys.modules, module.__name__, module)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its bytes."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


# -- clips ------------------------------------------------------------------------------------------------------


def test_a_town_clip_has_motion_boxes_and_instructions(fake_render: None) -> None:
    rig = town_rig(3, 32, 16)
    clip = town_clip("street", 5, rig=rig, seconds=2)
    scene = simulate("street", 5, seconds=2)
    assert clip.video.shape == (16, 3, 3, 16, 32)
    assert clip.motion_origin == "town"
    assert clip.motion is not None
    np.testing.assert_allclose(clip.motion.trajectory().poses, scene.trajectory().poses, atol=1e-9)
    assert clip.boxes is not None
    assert len(clip.boxes[0]) == scene.body_present[0].sum()
    assert clip.instructions == scene.instructions
    assert clip.observation(1.0, 1.0).speed_mps == pytest.approx(scene.ego_speeds_mps[8], abs=0.5)


# -- what comes back --------------------------------------------------------------------------------------------


@pytest.fixture
def town(tmp_path: Path, fake_render: None) -> Dataset:
    return write_town(tmp_path / "town", REQUEST, rig=RIG, rig_name="front")


def test_a_town_dataset_holds_its_scenes(town: Dataset) -> None:
    pairs = scene_list(3, 1, situations=REQUEST.situations)
    assert town.ids == tuple(f"{name}-{seed}" for name, seed in pairs)
    assert check_dataset(town.path) == []
    for episode, pair in enumerate(pairs):
        scene, clip = REQUEST.scene(pair), town.clip(episode)
        assert clip.motion is not None
        np.testing.assert_allclose(clip.motion.trajectory().poses, scene.trajectory().poses, atol=1e-3)
        assert clip.instructions == scene.instructions
        assert clip.boxes is not None
        assert [box.track for box in clip.boxes[3]] == [box.track for box in scene.boxes(3)]
        assert all(box.visibility == 0.5 for there in clip.boxes for box in there)
    assert not list(town.path.parent.glob("*.partial"))


def test_language_comes_back(town: Dataset) -> None:
    scene = REQUEST.scene(scene_list(3, 1, situations=REQUEST.situations)[1])
    said, stored = narration(scene), town.language(1)
    assert stored == language_of(scene)
    assert stored.description == said.description
    assert [hint.text for hint in stored.of("hint")] == [hint.text for hint in said.hints]
    assert [(q.text, q.answer) for q in stored.of("question")] == [(q.question, q.answer) for q in said.questions]
    assert stored.decisions == said.decisions
    assert stored.to_be_followed == scene.to_be_followed
    assert stored.of("hint", 0.6)[0].text == said.hints[1].text
    with pytest.raises(BadRequest, match="episode 3"):
        town.language(3)


def test_a_misleading_instruction_is_marked() -> None:
    scene = simulate("street", 5, seconds=1)
    assert language_of(scene).to_be_followed
    assert not language_of(replace(scene, to_be_followed=False)).to_be_followed


def test_the_card_says_what_is_in_it_and_how_it_was_made(town: Dataset) -> None:
    card, facts = (town.path / "README.md").read_text(), read_json(town.path / "meta" / "town.json")
    assert card.startswith("---\nlicense: apache-2.0\n")
    for words in (
        "detour town OUT --scenes 3 --seed 1 --split train --seconds 1 --frequency 8 --situation street",
        "--rig front --width 32 --height 16",
        "| val | 1,000,000 | 1,999,999 |",
        "| street | 2 |",
        "evidence of road safety",
        "Simulated",
    ):
        assert words in card
    assert facts["situations"] == {"empty_road": 1, "street": 2}
    assert sum(facts["weathers"].values()) == sum(facts["hours"].values()) == facts["scenes"] == 3
    assert facts["moments"]["count"] == 0  # too short for a moment
    ranges = sorted(facts["seed_ranges"].values())
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
    assert set(facts["seed_ranges"]) == set(SPLITS)


def test_the_card_counts_decisions_and_the_ego_status_gap(tmp_path: Path, fake_render: None) -> None:
    longer = replace(REQUEST, scenes=2, seconds=4.5)
    facts = read_json(write_town(tmp_path / "town", longer, rig=RIG).path / "meta" / "town.json")
    moments = facts["moments"]
    assert moments["count"] == 2 * 3
    assert 0 <= moments["critical_share"] <= 1
    for row in moments["decisions"].values():
        assert sum(row[name] for name in ("stop", "slow", "keep", "accelerate")) == pytest.approx(1)
        assert sum(row.values()) == pytest.approx(2)


def test_broken_language_is_found(town: Dataset) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = town.path / "meta" / "language.parquet"
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[0]["kind"], rows[1]["text"], rows[2]["start_s"], rows[3]["episode_index"] = "shout", " ", 99.0, 7
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    found = [str(problem) for problem in check_dataset(town.path)]
    for words in ("no known kind", "no words", "ends before it begins", "no moment of a clip"):
        assert any(words in text for text in found), (words, found)
    with pytest.raises(BadDataset, match="detour check"):
        town.language(0)
    decisions = town.path / "meta" / "decisions.parquet"
    table = pq.read_table(decisions)
    rows = table.to_pylist()
    rows[0]["lateral_1s"], rows[1]["frame_index"] = "up", 99
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), decisions)
    found = [str(problem) for problem in check_dataset(town.path)]
    assert any("no decision" in text for text in found)
    assert any("belongs to no frame" in text for text in found)
    decisions.write_bytes(b"no table")
    assert any("cannot be read" in str(problem) for problem in check_dataset(town.path))


def test_boxes_of_older_datasets_have_no_visibility(town: Dataset) -> None:
    import pyarrow.parquet as pq

    file = town.path / "meta" / "boxes.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["visibility"]), file)
    boxes = town.clip(0).boxes
    assert boxes is not None
    assert all(box.visibility is None for there in boxes for box in there)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "shout", "text": "hey"}, "one of instruction, description"),
        ({"kind": "hint", "text": " "}, "needs words"),
        ({"kind": "hint", "text": "stop", "start_s": 2.0, "end_s": 1.0}, "not before its start"),
        ({"kind": "hint", "text": "stop", "start_s": -1.0}, "not before its start"),
    ],
)
def test_texts_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadTable, match=message):
        Text(**values)


def test_datasets_without_language_say_nothing(tmp_path: Path) -> None:
    from makers import make_clip

    from worldmodel.io.lerobot import write_dataset

    plain = write_dataset([make_clip()], tmp_path / "plain", name="plain")
    assert plain.language(0).texts == ()
    assert plain.language(0).description == ""
    assert plain.language(0).decisions == ()


# -- bad requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seconds": 1e6}, BadRequest, "lasts? up to|last up to"),
        ({"scenes": 0}, BadRequest, "0 scenes"),
        ({"scenes": 10**9}, BadRequest, "1000000000 scenes"),
        ({"seed": -1}, BadRequest, "seed"),
        ({"seed": 2**63}, BadRequest, "seed"),
        ({"situations": ("stret",)}, UnknownName, "Did you mean 'street'"),
        ({"split": "trian"}, UnknownName, "Did you mean 'train'"),
        ({"mix": "rihc"}, UnknownName, "Did you mean 'rich'"),
        ({"mix": "rich"}, BadRequest, "Choose 4 s or more"),
        ({"frequency_hz": 1.5, "seconds": 2.0}, BadDataset, "whole number"),
    ],
)
def test_a_bad_request_leaves_nothing_behind(
    tmp_path: Path, fake_render: None, change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_town(tmp_path / "out", replace(REQUEST, **change), rig=RIG)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_bad_numbers_of_workers_are_refused(tmp_path: Path, fake_render: None) -> None:
    for workers in (0, -1, 1000):
        with pytest.raises(BadRequest, match="workers"):
            write_town(tmp_path / "out", REQUEST, rig=RIG, workers=workers)
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_refused(tmp_path: Path, fake_render: None) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputExists, match="exists already"):
        write_town(tmp_path / "out", REQUEST, rig=RIG)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExists, match="Choose a folder you may write to"):
        write_town(tmp_path / "file" / "out", REQUEST, rig=RIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


# -- going on ---------------------------------------------------------------------------------------------------


def interrupted(
    monkeypatch: pytest.MonkeyPatch, out: Path, error: BaseException, after: int, message: str | None = None
) -> None:
    """Write a dataset until an error comes after some scenes."""
    made = []

    def failing(scene, **options):  # type: ignore[no-untyped-def]
        if len(made) == after:
            raise error
        made.append(scene.id)
        return clip_of(scene, **options)

    monkeypatch.setattr(dataset_module, "clip_of", failing)
    try:
        with pytest.raises(BaseException, match=message):
            write_town(out, REQUEST, rig=RIG, rig_name="front")
    finally:
        monkeypatch.setattr(dataset_module, "clip_of", clip_of)


def test_an_interrupted_run_goes_on_and_equals_an_undisturbed_one(
    tmp_path: Path, town: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again"
    interrupted(monkeypatch, out, KeyboardInterrupt(), after=2)
    assert not out.exists()
    done: list[tuple[int, int]] = []
    write_town(out, REQUEST, rig=RIG, rig_name="front", progress=lambda i, n: done.append((i, n)))
    assert done == [(2, 3), (3, 3)]
    assert files_of(out) == files_of(town.path)
    assert not list(tmp_path.glob("*.partial"))


def test_a_full_disk_keeps_what_is_done(tmp_path: Path, town: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "again"
    full = OSError(errno.ENOSPC, "No space left on device")
    message = r"space left.*1 of 3 scenes are kept in .*; free some space and run the same command again"
    interrupted(monkeypatch, out, full, after=1, message=message)
    assert not out.exists()
    write_town(out, REQUEST, rig=RIG, rig_name="front")
    assert files_of(out) == files_of(town.path)


def test_a_run_that_made_nothing_leaves_nothing(
    tmp_path: Path, fake_render: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, tmp_path / "out", KeyboardInterrupt(), after=0)
    assert not list(tmp_path.iterdir())


def test_another_request_does_not_go_on(tmp_path: Path, fake_render: None, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    interrupted(monkeypatch, out, KeyboardInterrupt(), after=1)
    with pytest.raises(OutputExists, match="another request: seed was 1 and is 2"):
        write_town(out, replace(REQUEST, seed=2), rig=RIG, rig_name="front")
    with pytest.raises(OutputExists, match="another request: rig was"):
        write_town(out, REQUEST, rig=rig_named("three", 32, 16))
    monkeypatch.setattr(dataset_module, "town_fingerprint", lambda: "0123456789ab")
    with pytest.raises(OutputExists, match="another version of the town"):
        write_town(out, REQUEST, rig=RIG, rig_name="front")
    assert len(list((tmp_path / "out.partial").glob("0*"))) == 1


def test_two_processes_do_not_write_to_one_place(tmp_path: Path) -> None:
    with open_shelf(tmp_path / "out", {"a": 1}, 2) as shelf:
        with pytest.raises(OutputExists, match="another process"), open_shelf(tmp_path / "out", {"a": 1}, 2):
            pass
        with new_piece(shelf, 0) as piece:
            (piece / "x").write_text("1")
    with open_shelf(tmp_path / "out", {"a": 1}, 2) as shelf:
        assert shelf.missing() == [1]


def test_unfinished_pieces_are_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "out.partial"
    (folder / ".000001.99").mkdir(parents=True)
    (folder / "whole").mkdir()
    (folder / "000000").mkdir()
    (folder / "request.json").write_text('{"a": 1}')
    with open_shelf(tmp_path / "out", {"a": 1}, 2) as shelf:
        assert shelf.missing() == [1]
        assert sorted(path.name for path in folder.iterdir()) == ["000000", "lock", "request.json"]


# -- processes --------------------------------------------------------------------------------------------------


def double(number: int) -> int:
    return 2 * number


def die(number: int) -> int:
    os._exit(9)


@pytest.mark.slow
def test_results_come_in_order_from_any_number_of_workers() -> None:
    assert list(in_order(double, range(7), 1)) == list(in_order(double, range(7), 3)) == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.slow
def test_a_killed_worker_is_explained() -> None:
    with pytest.raises(DetourError, match="worker process was killed"):
        list(in_order(die, [1, 2, 3], 2))


COMMAND = [
    *(sys.executable, "-m", "studio.cli", "town"),
    *("--scenes", "4", "--seconds", "1", "--rig", "front", "--width", "32", "--height", "16"),
    *("--situation", "street", "--situation", "empty_road"),
]


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    for workers in (1, 2):
        subprocess.run([*COMMAND, str(tmp_path / str(workers)), "--workers", str(workers)], check=True)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_is_completed_by_the_same_command(tmp_path: Path, workers: int) -> None:
    subprocess.run([*COMMAND, str(tmp_path / "whole")], check=True)
    out = tmp_path / "killed"
    process = subprocess.Popen([*COMMAND, str(out), "--workers", str(workers)])
    waited = time.monotonic() + 240
    while not list((tmp_path / "killed.partial").glob("00*")) and time.monotonic() < waited:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert list((tmp_path / "killed.partial").glob("00*"))
    subprocess.run([*COMMAND, str(out)], check=True)
    assert files_of(out) == files_of(tmp_path / "whole")
    assert not (tmp_path / "killed.partial").exists()
