import importlib.util
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from worldmodel.errors import BadRequest, BadVideo, OutputExists
from worldmodel.io import video as video_module
from worldmodel.io.video import Backend, probe, read_frames, write_video

HAS_DECORD = importlib.util.find_spec("decord") is not None
ORDERS = [[0], [39], [5, 3, 3, 38, 0], list(range(39, -1, -1)), [17, 18, 19], [8, 7, 16, 15, 24, 23]]


def moving_pictures(frames: int = 40, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth pictures whose brightness names the frame, so that a wrong frame cannot pass."""
    y, x = np.mgrid[0:height, 0:width]
    pictures = [np.stack([x * 2 + 3 * i, y * 3 + i, np.full_like(x, 6 * i)]) for i in range(frames)]
    return (
        (np.stack(pictures) % 251).astype(np.uint8) if frames > 40 else np.stack(pictures).clip(0, 255).astype(np.uint8)
    )


def write_with_b_frames(
    path: Path, pictures: np.ndarray, *, b_frames: int = 3, open_groups: int = 0, pixel_format: str = "yuv420p"
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10))
        stream.height, stream.width = pictures.shape[2:]
        stream.pix_fmt = pixel_format
        options = {
            "crf": "10",
            "g": "12",
            "bf": str(b_frames),
            "x264-params": f"b-adapt=0:open-gop={open_groups}:scenecut=0",
        }
        stream.options = options
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def decode_in_order(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24").transpose(2, 0, 1) for f in container.decode(video=0)])


@pytest.fixture(scope="module")
def b_frame_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "b.mp4"
    write_with_b_frames(path, moving_pictures())
    return path


@pytest.fixture(scope="module")
def open_group_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "open.mp4"
    write_with_b_frames(path, moving_pictures(), open_groups=1)
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pictures = moving_pictures(12)
    write_video(tmp_path / "a.mp4", pictures, 8)
    info = probe(tmp_path / "a.mp4")
    assert (info.frames, info.width_px, info.height_px, info.frequency_hz) == (12, 64, 48, 8.0)
    read = read_frames(tmp_path / "a.mp4")
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - pictures).mean() < 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_the_test_video_really_has_b_frames(b_frame_video: Path) -> None:
    with av.open(str(b_frame_video)) as container:
        kinds = {av.video.frame.PictureType(frame.pict_type) for frame in container.decode(video=0)}
    assert av.video.frame.PictureType.B in kinds


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("backend", ["pyav", "auto"])
@pytest.mark.parametrize("video", ["b_frame_video", "open_group_video"])
def test_any_order_gives_the_frames_of_sequential_decoding(
    video: str, backend: Backend, order: list[int], request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(video)
    np.testing.assert_array_equal(read_frames(path, order, backend=backend), decode_in_order(path)[order])


def test_open_groups_are_never_read_with_decord(open_group_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "_read_with_decord", lambda *_: pytest.fail("decord decodes these wrongly"))
    assert len(read_frames(open_group_video, [24, 23])) == 2


@pytest.mark.skipif(not HAS_DECORD, reason="no decord wheel")
def test_decord_is_really_used_where_it_agrees(b_frame_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "_read_with_pyav", lambda *_: pytest.fail("PyAV was used"))
    assert len(read_frames(b_frame_video, [3, 4])) == 2


@pytest.mark.skipif(not HAS_DECORD, reason="no decord wheel")
def test_without_decord_the_frames_are_the_same(b_frame_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_decord = read_frames(b_frame_video)
    monkeypatch.setattr(video_module.importlib.util, "find_spec", lambda _name: None)
    np.testing.assert_array_equal(read_frames(b_frame_video), with_decord)
    with pytest.raises(BadRequest, match="decord is not installed"):
        read_frames(b_frame_video, backend="decord")


def test_odd_sizes_and_other_formats_are_read(tmp_path: Path) -> None:
    pictures = moving_pictures(8, 45, 63)
    write_with_b_frames(tmp_path / "odd.mp4", pictures, pixel_format="yuv444p")
    np.testing.assert_array_equal(
        read_frames(tmp_path / "odd.mp4", [7, 2]), decode_in_order(tmp_path / "odd.mp4")[[7, 2]]
    )


def test_no_indices_give_no_frames(b_frame_video: Path) -> None:
    assert read_frames(b_frame_video, []).shape == (0, 3, 48, 64)


def test_a_frame_that_does_not_exist_is_named(b_frame_video: Path) -> None:
    with pytest.raises(BadRequest, match="frames 0 to 39"):
        read_frames(b_frame_video, [40])
    with pytest.raises(BadRequest):
        read_frames(b_frame_video, [-1])


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.95])
def test_a_truncated_file_is_refused(b_frame_video: Path, tmp_path: Path, keep: float) -> None:
    data = b_frame_video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BadVideo, match=r"cut\.mp4.*"):
        read_frames(tmp_path / "cut.mp4")


def test_a_truncated_file_with_its_index_in_front_is_refused(b_frame_video: Path, tmp_path: Path) -> None:
    with (
        av.open(str(b_frame_video)) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as to,
    ):
        stream = to.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                to.mux(packet)
    assert probe(tmp_path / "fast.mp4").frames == 40
    data = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * 0.8)])
    with pytest.raises(BadVideo, match="cut off"):
        probe(tmp_path / "cut.mp4")


def test_text_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video" * 100)
    for name in ("text.mp4", "missing.mp4", "."):
        with pytest.raises(BadVideo, match=r"copy|path|Record"):
            probe(tmp_path / name)


def test_limits_hold_before_decoding(b_frame_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "MAX_DECODED_BYTES", 1000)
    with pytest.raises(BadVideo, match="GiB"):
        read_frames(b_frame_video)
    for limit in ("MAX_PIXELS", "MAX_FRAMES", "MAX_DURATION_S"):
        video_module._list_packets.cache_clear()
        monkeypatch.setattr(video_module, limit, 1)
        with pytest.raises(BadVideo, match="at most"):
            probe(b_frame_video)
        monkeypatch.undo()
    video_module._list_packets.cache_clear()


def test_odd_sizes_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match="even sides"):
        write_video(tmp_path / "a.mp4", np.zeros((2, 3, 31, 32), np.uint8), 8)
    for wrong in (np.zeros((2, 3, 32, 32), np.float32), np.zeros((0, 3, 32, 32), np.uint8)):
        with pytest.raises(BadVideo):
            write_video(tmp_path / "a.mp4", wrong, 8)
    with pytest.raises(BadRequest):
        write_video(tmp_path / "a.mp4", np.zeros((2, 3, 32, 32), np.uint8), 0)


def test_an_interrupted_writer_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", moving_pictures(4), 8)
    before = (tmp_path / "a.mp4").read_bytes()

    def interrupted(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(video_module, "_encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", moving_pictures(4), 8)
    assert (tmp_path / "a.mp4").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputExists, match="cannot write"):
        write_video(tmp_path / "no" / "a.mp4", moving_pictures(2), 8)


def test_a_comment_goes_into_the_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving_pictures(2), 8, comment="imagined")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["comment"] == "imagined"
