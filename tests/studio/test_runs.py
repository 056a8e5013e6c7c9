"""A run folder is there whole or not at all."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from studio.runs import RunWriter, new_folder, versions, write_json_file
from worldmodel.errors import OutputExists
from worldmodel.geometry import Trajectory
from worldmodel.io.video import probe
from worldmodel.town.scene import town_rig


def test_a_run_appears_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    with new_folder(out) as folder:
        (folder / "a.txt").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a.txt"]
    assert [path.name for path in out.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("trouble", [ValueError("broken"), KeyboardInterrupt(), SystemExit(143)])
def test_nothing_is_left_when_it_breaks(tmp_path: Path, trouble: BaseException) -> None:
    def break_off() -> None:
        with new_folder(tmp_path / "run") as folder:
            (folder / "a.txt").write_text("a")
            raise trouble

    with pytest.raises(type(trouble)):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    with pytest.raises(OutputExists, match="remove it first"), new_folder(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep"


def test_an_output_that_appears_meanwhile_is_refused(tmp_path: Path) -> None:
    def race() -> None:
        with new_folder(tmp_path / "run") as folder:
            (folder / "a.txt").write_text("a")
            (tmp_path / "run").mkdir()

    with pytest.raises(OutputExists):
        race()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert list((tmp_path / "run").iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputExists, match="Choose a folder"), new_folder(tmp_path / "file" / "run"):
        pass


def test_a_json_file_is_whole_or_absent(tmp_path: Path) -> None:
    write_json_file(tmp_path / "a.json", {"a": np.float64(1.5)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1.5}
    with pytest.raises(OutputExists):
        write_json_file(tmp_path / "a.json", {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_file(tmp_path / "b.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_run_holds_videos_paths_and_says_what_is_imagined(tmp_path: Path) -> None:
    import av

    rig = town_rig(3, 33, 17)  # odd sides: made even on the way out
    video = np.zeros((4, 3, 3, 17, 33), np.uint8)
    with new_folder(tmp_path / "run") as folder:
        run = RunWriter(folder=folder, command="detour test", request={"a": 1}, seed=3)
        run.add_video("seen", video, rig, 8.0, imagined=False)
        run.add_video("future", video, rig, 8.0, imagined=True)
        run.paths["p"] = Trajectory(poses=np.zeros((2, 3)), times_s=np.array([0.0, 1.0]))
        run.finish([{"metric": "PSNR", "value": 1.0}], {"extra": [1]})
    out = tmp_path / "run"
    record = json.loads((out / "run.json").read_text())
    assert record["seed"] == 3
    assert record["imagined"] is True
    assert record["videos"]["future"]["imagined"] is True
    assert record["videos"]["seen"]["imagined"] is False
    assert record["versions"] == versions()
    assert record["commit"]
    assert "no evidence of road safety" in record["notice"]
    names = sorted(path.name for path in (out / "videos" / "future").iterdir())
    assert names == ["front.mp4", "front_left.mp4", "front_right.mp4", "mosaic.mp4"]
    assert probe(out / "videos" / "future" / "front.mp4").frames == 4
    with av.open(str(out / "videos" / "future" / "front.mp4")) as container:
        assert container.metadata["comment"].startswith("imagined by Detour")
    table = pq.read_table(out / "trajectory.parquet")
    assert table.column_names == ["name", "t_s", "x_m", "y_m", "yaw_rad"]
    assert table.num_rows == 2
