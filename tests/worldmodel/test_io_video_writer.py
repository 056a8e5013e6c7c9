"""Videos written as their frames come, and joined without encoding them again."""

import errno
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from worldmodel.errors import BadRequest, BadVideo, DiskFull, OutputExists
from worldmodel.io.video import frame_times, probe, read_frames, write_video
from worldmodel.io.video_writer import join_videos, video_writer

SIZES = (16, 16, 5)  # frames of three parts


def pictures(frames: int, seed: int = 0, height: int = 32, width: int = 48) -> np.ndarray:
    """Noise that drifts, so that frames differ and depend on each other."""
    noise = np.random.default_rng(seed).integers(0, 200, (3, height, width), dtype=np.uint8)
    return np.stack([np.roll(noise, i, axis=2) for i in range(frames)])


def parts_in(folder: Path, rate: float = 8.0) -> list[Path]:
    paths = [folder / f"{i}.mp4" for i in range(len(SIZES))]
    for i, (path, frames) in enumerate(zip(paths, SIZES, strict=True)):
        write_video(path, pictures(frames, seed=i), rate)
    return paths


@pytest.mark.parametrize("piece", [1, 4, 7])
def test_frames_that_come_in_pieces_give_the_bytes_of_all_at_once(tmp_path: Path, piece: int) -> None:
    whole = pictures(18)
    write_video(tmp_path / "whole.mp4", whole, 8, comment="imagined")
    with video_writer(tmp_path / "pieces.mp4", 8, comment="imagined") as add:
        for start in range(0, len(whole), piece):
            add(whole[start : start + piece])
    assert (tmp_path / "pieces.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize("rate", [8.0, 29.97, 0.3])
def test_joined_videos_show_every_frame_as_its_part_does(tmp_path: Path, rate: float) -> None:
    parts = parts_in(tmp_path, rate)
    assert join_videos(parts, tmp_path / "joined.mp4", comment="imagined") == sum(SIZES)
    decoded = np.concatenate([read_frames(part) for part in parts])
    for backend in ("auto", "pyav"):
        np.testing.assert_array_equal(read_frames(tmp_path / "joined.mp4", backend=backend), decoded)
    np.testing.assert_array_equal(read_frames(tmp_path / "joined.mp4", [17, 3, 36, 15]), decoded[[17, 3, 36, 15]])
    assert probe(tmp_path / "joined.mp4").frequency_hz == pytest.approx(rate, rel=1e-4)
    np.testing.assert_allclose(frame_times(tmp_path / "joined.mp4"), np.arange(sum(SIZES)) / rate, rtol=1e-3, atol=1e-3)


def test_a_joined_video_plays_everywhere(tmp_path: Path) -> None:
    join_videos(parts_in(tmp_path), tmp_path / "joined.mp4", comment="imagined")
    content = (tmp_path / "joined.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(tmp_path / "joined.mp4")) as container:
        [stream] = container.streams
        assert container.metadata["comment"] == "imagined"
        assert (stream.codec_context.name, stream.pix_fmt, stream.frames) == ("h264", "yuv420p", sum(SIZES))
        assert float(stream.duration * stream.time_base) == pytest.approx(sum(SIZES) / 8)
        times = [(packet.pts, packet.dts) for packet in container.demux(stream) if packet.size]
    steps = {b[0] - a[0] for a, b in pairwise(times)}
    assert len(steps) == 1
    assert all(pts == dts for pts, dts in times)


def test_joining_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    parts = parts_in(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        join_videos(iter(parts), tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_parts_that_differ_or_cannot_be_read_are_refused(tmp_path: Path) -> None:
    [first, *_] = parts_in(tmp_path)
    write_video(tmp_path / "large.mp4", pictures(3, height=64), 8)
    write_video(tmp_path / "fast.mp4", pictures(3), 10)
    (tmp_path / "broken.mp4").write_bytes(first.read_bytes()[:400])
    for name in ("large", "fast"):
        with pytest.raises(BadVideo, match="not written like the part before"):
            join_videos([first, tmp_path / f"{name}.mp4"], tmp_path / "joined.mp4")
    for name in ("broken", "missing"):
        with pytest.raises(BadVideo, match="cannot be joined"):
            join_videos([first, tmp_path / f"{name}.mp4"], tmp_path / "joined.mp4")
    with pytest.raises(BadVideo, match="from no videos"):
        join_videos([], tmp_path / "joined.mp4")
    assert not list(tmp_path.glob("*joined*"))


def write(path: Path, pieces: Iterable[np.ndarray], rate: float = 8.0) -> None:
    with video_writer(path, rate) as add:
        for piece in pieces:
            add(piece)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    for wrong, pieces in {
        "got no pictures": [],
        "one size": [pictures(3), pictures(3, height=64)],
        "even sides": [pictures(3), pictures(3, height=33)],
    }.items():
        with pytest.raises(BadVideo, match=wrong):
            write(tmp_path / "a.mp4", pieces)
    with pytest.raises(BadRequest, match="rate"):
        write(tmp_path / "a.mp4", [pictures(3)], rate=float("nan"))
    with pytest.raises(OutputExists, match="cannot write"):
        write(tmp_path / "nowhere" / "a.mp4", [pictures(3)])
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"old")

    def interrupted() -> Iterator[np.ndarray]:
        yield pictures(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.mp4", interrupted())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.mp4", b"old")]


def test_a_full_disk_is_told_from_other_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object, __: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("worldmodel.io.video_writer.os.replace", full)
    with pytest.raises(DiskFull, match="with free space"):
        write(tmp_path / "a.mp4", [pictures(3)])
    assert list(tmp_path.iterdir()) == []
