import io
import json
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_batches import NASTY, Made, finish, made_batch, pictures, shared_batch

from studio.jobs.exports import export_batch
from studio.jobs.exports.selection import ScoreLimit, Selection
from studio.jobs.exports.webdataset import member_endings
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.manifest import place_of
from worldmodel.errors import BadDataset, BadRequest, OutputExists, UnknownName
from worldmodel.geometry import Rig
from worldmodel.io.check import check_dataset
from worldmodel.io.lerobot import Dataset


@pytest.fixture(scope="module")
def made(drives: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return shared_batch(drives, tmp_path_factory)


def test_a_lerobot_export_holds_the_films_motion_and_texts_and_says_they_are_imagined(made, tmp_path):
    found = export_batch(str(made.out), tmp_path / "set", "lerobot")
    assert (found.units, found.missing, found.filtered) == (5, 2, 0)
    assert "2 units of the batch are not finished" in "\n".join(found.lines())
    assert check_dataset(tmp_path / "set") == []
    dataset = Dataset.open(tmp_path / "set")
    first = made.batch.units[0]
    clip = dataset.clip(0)
    assert (clip.id, clip.motion_origin, clip.frequency_hz) == (f"one-{first.key}", "imagined", 8.0)
    assert np.abs(clip.video.astype(int) - pictures(first, made.dataset)).mean() < 8
    np.testing.assert_allclose(clip.motion.deltas, [[1.0, 0, 0]] * 7, atol=1e-6)
    assert [clip.instruction_at(t) for t in (0.0, 0.4, 0.5, 0.9)] == ["turn left at the crossing"] * 2 + [
        "slow down"
    ] * 2
    assert dataset.clip(2).instruction_at(0) == NASTY
    assert "nothing here was recorded" in " ".join(dataset.notes)
    entry = json.loads((tmp_path / "set" / "meta" / "clips.json").read_text())["episodes"][0]
    assert (entry["imagined"], entry["unit"]) == (True, first.key)
    video = "videos/observation.images.front/chunk-000/file-000.mp4"
    source = made.out / place_of(first.key) / "cameras" / "front.mp4"
    assert (tmp_path / "set" / video).read_bytes() == source.read_bytes()  # not encoded again
    assert not os.path.samefile(tmp_path / "set" / video, source)  # changing the set cannot harm the batch


def test_unlike_rigs_are_refused_naming_both_units(made, tmp_path):
    folder = BatchFolder.begin(str(tmp_path / "out"), made.batch)
    first, second = made.batch.units[:2]
    rig = made.dataset.rig
    turned = Rig(
        cameras=tuple(replace(camera, intrinsics=camera.intrinsics * [[2], [2], [1]]) for camera in rig.cameras)
    )
    with folder.lock():
        finish(folder, [first], made.dataset, tmp_path / "a")
        finish(folder, [second], made.dataset, tmp_path / "b", turned)
    with pytest.raises(BadDataset, match=rf"unit 0 \({first.key[:12]}.*unit 1 \({second.key[:12]}.*unlike rigs"):
        export_batch(str(tmp_path / "out"), tmp_path / "set")
    assert not (tmp_path / "set").exists()
    assert export_batch(str(tmp_path / "out"), tmp_path / "tars", "webdataset").units == 2


def test_webdataset_shards_are_read_as_webdataset_groups_them(made, tmp_path):
    found = export_batch(str(made.out), tmp_path / "set", "webdataset")
    samples: list[tuple[str, dict[str, bytes]]] = []
    for shard in sorted((tmp_path / "set").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                stem, _, ending = member.name.partition(".")
                if not samples or samples[-1][0] != stem:
                    samples.append((stem, {}))
                assert ending not in samples[-1][1]
                samples[-1][1][ending] = tar.extractfile(member).read()
                assert (member.mtime, member.uid, member.uname, member.isfile()) == (0, 0, "", True)
    assert [stem for stem, _ in samples] == sorted(unit.key for unit in made.batch.units[:4] + made.batch.units[6:])
    key, sample = samples[0]
    assert set(sample) == {"json", "mp4", "jpg", "parquet", "front.mp4", "front_left.mp4", "front_right.mp4"}
    record = json.loads(sample["json"])
    assert record["request"]["clip"]["dataset"] == made.dataset.path.name
    assert (record["key"], record["imagined"]) == (key, True)
    assert not {"timings_s", "peak_bytes", "made"} & set(record)
    assert sample["front.mp4"] == (made.out / place_of(key) / "cameras" / "front.mp4").read_bytes()
    index = json.loads((tmp_path / "set" / "index.json").read_text())
    assert index["imagined"]
    assert sum(shard["samples"] for shard in index["shards"]) == found.units == 5


def test_shards_are_the_same_bytes_again_bounded_and_never_split_a_sample(made, tmp_path, monkeypatch):
    monkeypatch.setattr("studio.jobs.exports.MB", 1000)
    samples = [sum(f.stat().st_size for f in place.rglob("*")) for place in (made.out / "units").glob("*/*")]
    room = 2 * max(samples) // 1000 + 30  # of two samples and their headers
    for name in "ab":
        export_batch(str(made.out), tmp_path / name, "webdataset", shard_mb=room)
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert names == ["00000.tar", "00001.tar", "00002.tar", "index.json"]
    for name in names:
        data = (tmp_path / "a" / name).read_bytes()
        assert data == (tmp_path / "b" / name).read_bytes()
        assert len(data) <= room * 1000
    export_batch(str(made.out), tmp_path / "c", "webdataset", shard_mb=1)
    assert len(list((tmp_path / "c").glob("*.tar"))) == 5


def test_units_are_chosen_by_text_recording_and_score(made, tmp_path):
    takes = {unit.number for unit in made.batch.units if Selection.parse(text="LEFT").takes(unit, {})}
    assert takes == {2, 3}
    by_episode = Selection.parse(episodes="1-3, nobody")
    assert {unit.number for unit in made.batch.units if by_episode.takes(unit, {})} == {1, 3, 5}
    assert Selection.parse(episodes="two").takes(made.batch.units[1], {})
    some = Selection.parse(text="left", scores=["psnr>=23", "ade < 1"])
    found = export_batch(str(made.out), tmp_path / "set", "webdataset", selection=some)
    assert (found.units, found.missing, found.filtered) == (1, 2, 4)
    assert "4 finished units were not asked for" in found.lines()[-1]
    planned = replace(made.batch.units[0], request=replace(made.batch.units[0].request, seconds=0.0))
    assert Selection().takes(planned, {})
    assert not Selection(imagining=True).takes(planned, {})
    assert not ScoreLimit.parse("lpips<1").holds({"psnr": 3})  # what was not measured is not chosen
    with pytest.raises(BadRequest, match=r"'psnr=20' is no limit of a score.*psnr>=20"):
        Selection.parse(scores=["psnr=20"])
    with pytest.raises(BadDataset, match=r"no unit is to be exported: 2 are not finished, and 5 finished .*'nothing'"):
        export_batch(str(made.out), tmp_path / "none", selection=Selection(text="nothing"))
    assert not (tmp_path / "none").exists()


def test_a_damaged_unit_is_named_and_nothing_is_left(made, tmp_path):
    shutil.copytree(made.out, tmp_path / "out")
    key = made.batch.units[1].key
    video = tmp_path / "out" / place_of(key) / "cameras" / "front.mp4"
    video.write_bytes(video.read_bytes()[:-1] + b"x")
    for form in ("lerobot", "webdataset"):
        with pytest.raises(
            BadDataset, match=rf"'cameras/front.mp4' of unit 1 \({key[:12]}.*not what was written.*Run the batch"
        ):
            export_batch(str(tmp_path / "out"), tmp_path / "set", form)
    video.unlink()
    with pytest.raises(BadDataset, match="is missing"):
        export_batch(str(tmp_path / "out"), tmp_path / "set")
    assert {file.name for file in tmp_path.iterdir()} == {"out"}


def test_an_export_refuses_what_makes_no_sense(made, tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'lerobot'"):
        export_batch(str(made.out), tmp_path / "set", "lerobo")
    with pytest.raises(OutputExists, match="lies in the batch's own folder"):
        export_batch(str(made.out), made.out / "set")
    with pytest.raises(OutputExists, match="exists already"):
        export_batch(str(made.out), tmp_path)
    with pytest.raises(BadRequest, match="shards of 0 MB"):
        export_batch(str(made.out), tmp_path / "set", "webdataset", shard_mb=0)


def test_units_without_camera_films_cannot_become_a_lerobot_dataset(made, tmp_path):
    shutil.copytree(made.out, tmp_path / "out")
    from studio.jobs.folder.unit_folder import record_digest

    file = tmp_path / "out" / place_of(made.batch.units[0].key) / "unit.json"
    record = json.loads(file.read_text())
    record["files"] = [fact for fact in record["files"] if "cameras" not in fact["name"]]
    file.write_text(json.dumps(record | {"digest": record_digest(record)}))
    with pytest.raises(BadDataset, match=r"unit 0 .*no videos of single cameras. Add 'cameras' to the job's outputs"):
        export_batch(str(tmp_path / "out"), tmp_path / "set")


def test_an_export_from_an_object_store_equals_one_from_a_disk(made, drives, tmp_path):
    made_batch(tmp_path, drives, address="memory://exports/batch")
    export_batch(str(made.out), tmp_path / "disk", "webdataset")
    export_batch("memory://exports/batch", tmp_path / "memory", "webdataset")
    for file in (tmp_path / "disk").iterdir():
        assert file.read_bytes() == (tmp_path / "memory" / file.name).read_bytes()


@pytest.mark.slow
def test_exports_sheets_index_and_scores_come_whole_out_of_an_object_store_that_fails_now_and_then(
    made, drives, tmp_path
):
    from flaky_s3 import BUCKET, flaky_s3, options_of

    from studio.jobs.results.contact_sheets import write_sheets
    from studio.jobs.results.index import write_index
    from studio.jobs.results.scores import score_batch

    with flaky_s3(seed=11) as server:
        address, options = f"s3://{BUCKET}/a batch", options_of(server)
        made_batch(tmp_path, drives, address=address, options=options)
        server.share = 0.1
        export_batch(address, tmp_path / "s3", "webdataset", options=options)
        folder = BatchFolder.open(address, options)
        assert write_sheets(folder) == ("sheets/sheet-001.jpg",)
        write_index(folder)
        found = score_batch(address, ("psnr",), options=options)
        assert sum(server.faults.values()) - server.faults[""] > 3
        server.share = 0.0
        assert len(folder.storage.read("index.html")) > 10_000
    export_batch(str(made.out), tmp_path / "disk", "webdataset")
    for file in (tmp_path / "disk").iterdir():
        assert file.read_bytes() == (tmp_path / "s3" / file.name).read_bytes()
    assert found.groups[0].scores.clips == 4


def test_endings_in_shards_are_plain_and_differ():
    names = ["cameras/Vorn links ü.mp4", "cameras/vorn_links__.mp4", "cameras/json.mp4", "mosaic.mp4", "cameras/.mp4"]
    endings = member_endings(names)
    assert len(set(endings.values())) == len(names)
    assert all(ending.isascii() and " " not in ending and ending == ending.lower() for ending in endings.values())
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for ending in endings.values():
            tar.addfile(tarfile.TarInfo(f"key.{ending}"))
    assert Path(f"key.{endings['mosaic.mp4']}").name == "key.mp4"
