"""Tracks: scene states alone, from which every scene comes back bit for bit and renders to the same bytes."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldmodel.edits import InsertActor
from worldmodel.errors import BadDataset, BadRequest, OutputExists
from worldmodel.io.lerobot_meta import read_json
from worldmodel.town import tracks as tracks_module
from worldmodel.town.dataset import clip_of
from worldmodel.town.language import narration
from worldmodel.town.mixes import scene_list
from worldmodel.town.records.request import TownRequest
from worldmodel.town.rigs import rig_named
from worldmodel.town.tracks import Tracks, save_scenes, write_tracks
from worldmodel.town.traffic import SITUATIONS, simulate

REQUEST = TownRequest(scenes=3, seed=4, seconds=1.5, situations=("pedestrian", "empty_road"))


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal bit for bit, whatever they are made of."""
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(*pair) for pair in zip(a, b, strict=True))
    return bool(a == b)


def check_round_trip(file: Path, situations: list[str], seconds: float) -> float:
    """Bytes per second of scene, once all came back."""
    scenes = [simulate(name, seed, seconds=seconds) for name in situations for seed in (0, 1)]
    save_scenes(scenes, file)
    tracks = Tracks.open(file)
    assert tracks.ids == tuple(scene.id for scene in scenes)
    for scene, restored in zip(scenes, tracks, strict=True):
        assert same(scene, restored), scene.id
    return file.stat().st_size / len(scenes) / seconds


def test_scenes_come_back_bit_for_bit(tmp_path: Path) -> None:
    check_round_trip(tmp_path / "a.parquet", ["street", "intersection", "pedestrian"], 1.0)


@pytest.mark.slow
def test_every_kind_of_scene_comes_back_and_is_small(tmp_path: Path) -> None:
    assert check_round_trip(tmp_path / "a.parquet", list(SITUATIONS), 8.0) < 12_000


def test_edited_scenes_and_scenes_without_anybody_come_back(tmp_path: Path) -> None:
    edit = InsertActor(kind="barrier", x_m=30, y_m=0, at_s=0.5)
    edited = simulate("empty_road", 1, seconds=1, frequency_hz=4, edits=[edit])
    alone = replace(
        edited,
        bodies=(),
        body_poses=np.zeros((4, 0, 3)),
        body_present=np.zeros((4, 0), bool),
        body_speeds_mps=np.zeros((4, 0)),
        body_braking=np.zeros((4, 0), bool),
        body_indicators=np.zeros((4, 0), np.int8),
    )
    save_scenes([edited, alone], tmp_path / "a.parquet")
    assert all(same(*pair) for pair in zip((edited, alone), Tracks.open(tmp_path / "a.parquet"), strict=True))


def test_a_restored_scene_renders_to_the_same_bytes_and_words(tmp_path: Path) -> None:
    scene = simulate("pedestrian", 3, seconds=0.5, frequency_hz=4)
    save_scenes([scene], tmp_path / "a.parquet")
    restored = Tracks.open(tmp_path / "a.parquet")[0]
    rig = rig_named("three", 48, 24)
    assert clip_of(restored, rig=rig).video.tobytes() == clip_of(scene, rig=rig).video.tobytes()
    assert narration(restored) == narration(scene)


def test_written_tracks_hold_the_scenes_of_the_request(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    tracks = write_tracks(tmp_path / "tracks", REQUEST, progress=lambda i, n: done.append((i, n)))
    pairs = scene_list(3, 4, situations=REQUEST.situations)
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert len(tracks) == 3
    assert same(tracks[2], REQUEST.scene(pairs[2]))
    card, facts = (tmp_path / "tracks" / "README.md").read_text(), read_json(tmp_path / "tracks" / "meta" / "town.json")
    assert "--tracks" in card
    assert facts["rig"] is None
    assert facts["scenes"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tracks"]


def test_interrupted_tracks_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_tracks(tmp_path / "whole", REQUEST).path
    save = tracks_module.save_scenes
    made = []

    def failing(scenes: list[Any], file: Path) -> None:
        made.append(scenes[0].id)
        if len(made) == 3:
            raise KeyboardInterrupt
        save(scenes, file)

    monkeypatch.setattr(tracks_module, "save_scenes", failing)
    with pytest.raises(KeyboardInterrupt):
        write_tracks(tmp_path / "again", REQUEST)
    assert not (tmp_path / "again").exists()
    again = write_tracks(tmp_path / "again", REQUEST).path
    assert len(made) == 4
    assert again.read_bytes() == whole.read_bytes()
    with pytest.raises(OutputExists, match="exists already"):
        write_tracks(tmp_path / "again", REQUEST)


@pytest.mark.slow
def test_two_workers_write_the_same_tracks_as_one(tmp_path: Path) -> None:
    one, two = (write_tracks(tmp_path / str(count), REQUEST, workers=count).path for count in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_scenes_that_are_not_there_are_refused(tmp_path: Path) -> None:
    save_scenes([simulate("empty_road", 1, seconds=0.5)], tmp_path / "a.parquet")
    tracks = Tracks.open(tmp_path / "a.parquet")
    for number in (-1, 1):
        with pytest.raises(BadRequest, match="scenes 0 to 0"):
            tracks[number]


def test_files_that_are_no_tracks_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "a.parquet"
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(BadDataset, match="detour town --tracks"):
            Tracks.open(path)
    file.write_bytes(b"no table")
    with pytest.raises(BadDataset, match="cannot be read"):
        Tracks.open(file)
    pq.write_table(pa.table({"id": ["street-1"]}), file)
    with pytest.raises(BadDataset, match="this version of the town"):
        Tracks.open(file)
    save_scenes([simulate("empty_road", 1, seconds=0.5)], file)
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[0]["ego_poses"]["shape"] = [9, 9]
    with pq.ParquetWriter(file, table.schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    with pytest.raises(BadDataset, match="scene 'empty_road-1' is broken"):
        Tracks.open(file)[0]
