import numpy as np
import pytest

from eval_fid_fvd.sources import ArrayClips, open_source
from worldmodel.errors import BadDataset, BadRequest, BadVideo
from worldmodel.io.video import write_video


def clip(rng, frames=4, height=16, width=32):
    return rng.integers(0, 256, size=(frames, 3, height, width), dtype=np.uint8)


def test_a_folder_of_folders_holds_one_video_per_camera(rng, tmp_path):
    for name in ("drive-2", "drive-1"):
        (tmp_path / name).mkdir()
        for camera, frames in (("left", 5), ("front", 4), ("mosaic", 9)):
            write_video(tmp_path / name / f"{camera}.mp4", clip(rng, frames), 8.0)
    (tmp_path / "notes").mkdir()
    source = open_source(tmp_path)
    assert (source.names, source.cameras, source.codec) == (("drive-1", "drive-2"), ("front", "left"), "mp4")
    assert source.length("drive-1") == 4
    assert source.read("drive-1", np.arange(3)).shape == (3, 2, 3, 16, 32)


def test_clips_with_unlike_cameras_are_refused(rng, tmp_path):
    for name, cameras in (("one", ("front", "left")), ("two", ("front",))):
        (tmp_path / name).mkdir()
        for camera in cameras:
            write_video(tmp_path / name / f"{camera}.mp4", clip(rng), 8.0)
    with pytest.raises(BadDataset, match=r"clip 'two' of folder .* has cameras front, clip 'one' has front, left"):
        open_source(tmp_path)


def test_cameras_of_unlike_sizes_cannot_be_read(rng, tmp_path):
    (tmp_path / "one").mkdir()
    write_video(tmp_path / "one" / "front.mp4", clip(rng), 8.0)
    write_video(tmp_path / "one" / "left.mp4", clip(rng, width=64), 8.0)
    with pytest.raises(BadVideo, match="cameras of clip 'one' have sizes 32x16, 64x16"):
        open_source(tmp_path).read("one", np.arange(2))


def test_files_of_unlike_rates_are_refused(rng, tmp_path):
    write_video(tmp_path / "a.mp4", clip(rng), 8.0)
    write_video(tmp_path / "b.mp4", clip(rng), 10.0)
    source = open_source(tmp_path)
    with pytest.raises(BadRequest, match=r"'b\.mp4' of folder .* runs at 10 Hz, others at 8 Hz"):
        source.length("b.mp4")


def test_arrays_name_clips_and_cameras_by_number(rng):
    source = ArrayClips(rng.integers(0, 256, size=(2, 4, 3, 3, 16, 16), dtype=np.uint8), 8.0)
    assert (source.names, source.cameras, source.rig) == (("clip 0", "clip 1"), ("0", "1", "2"), None)


@pytest.mark.parametrize("make", [lambda p: p / "none", lambda p: (p / "empty").mkdir() or p / "empty"])
def test_what_holds_no_clips_is_refused(make, tmp_path):
    with pytest.raises(BadDataset, match=r"is not there|holds no videos"):
        open_source(make(tmp_path))
