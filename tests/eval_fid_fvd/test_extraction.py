import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from eval_fid_fvd import extraction
from eval_fid_fvd.extraction import FrameWindow, decoded, extracted
from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.networks.tokenizer import tokenizer_features
from eval_fid_fvd.results import Unreadable
from eval_fid_fvd.sources import ArrayClips, open_source
from worldmodel.errors import BadRequest, BadVideo, ClipTooShort
from worldmodel.io.video import write_video


class MadeClips:
    """Clips that are made when they are read, and what was read when by whom."""

    label, codec, frequency_hz = "made clips", "arrays", 8.0

    def __init__(self, count, shape=(4, 1, 3, 32, 48), broken=()):
        self.names = tuple(f"c{i}" for i in range(count))
        self.shape, self.broken, self.read_so_far, self.threads = shape, broken, [], set()

    def length(self, name):
        return self.shape[0]

    def read(self, name, indices):
        self.read_so_far.append(name)
        self.threads.add(threading.get_ident())
        if name in self.broken:
            raise BadVideo(f"'{name}' is truncated; a whole file is needed. Copy it again.")
        return np.full((len(indices), *self.shape[1:]), int(name[1:]) % 251, np.uint8)


@pytest.fixture
def networks(tokenizer):
    return tokenizer_features(tokenizer)


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
def test_features_are_those_of_the_network_in_order_however_far_ahead_clips_are_read(ahead, networks, moving_clips):
    a, b = moving_clips(5), moving_clips(5)
    rows = list(extracted([ArrayClips(a, None), ArrayClips(b, None)], networks, ahead=ahead))
    assert [row.name for row in rows] == [f"clip {i}" for i in range(5)]
    for i, row in enumerate(rows):
        for side, video in enumerate((a[i], b[i])):
            np.testing.assert_array_equal(row.videos[side], video)
            frame = networks.pictures.features(video[1, 1][None])[0]  # row t * cameras + c
            np.testing.assert_allclose(row.pictures[side][3], frame, atol=1e-12)
            camera = networks.clips.features(video[None, :, 1])[0]
            np.testing.assert_allclose(row.clips[side][1], camera, atol=1e-12)
        assert row.pictures[0].shape == (12, networks.pictures.width)
        assert row.clips[0].shape == (2, networks.clips.width)


def test_only_what_was_asked_for_is_computed(networks, moving_clips):
    source = ArrayClips(moving_clips(2), None)
    only = next(extracted([source], replace(networks, pictures=None), names=["clip 1"]))
    assert (only.name, only.pictures, len(only.clips)) == ("clip 1", (), 1)
    assert next(extracted([source], FeatureNetworks())).clips == ()


def test_frames_before_the_window_are_left_out(networks, moving_clips):
    clips = moving_clips(1)
    row = next(extracted([ArrayClips(clips, None)], networks, window=FrameWindow(start=2, frames=3)))
    np.testing.assert_array_equal(row.videos[0], clips[0, 2:5])
    with pytest.raises(ClipTooShort, match=r"'clip 0' of the arrays has 6 frames; 5 after 2 condition.*--frames"):
        list(decoded([ArrayClips(clips, None)], window=FrameWindow(start=2, frames=5)))
    with pytest.raises(ClipTooShort, match="1 after 6 condition"):
        list(decoded([ArrayClips(clips, None)], window=FrameWindow(start=6)))
    with pytest.raises(ClipTooShort, match=r"clips have 1 frames.*at least 2"):
        list(extracted([ArrayClips(clips, None)], networks, window=FrameWindow(frames=1)))
    for bad in ({"start": -1}, {"frames": 0}):
        with pytest.raises(BadRequest, match="Change --condition-frames or --frames"):
            FrameWindow(**bad)


def test_an_unreadable_clip_is_listed_for_all_sources_and_the_others_go_on(networks):
    fine, broken = MadeClips(5), MadeClips(5, broken=("c1", "c4"))
    rows = list(extracted([fine, broken], networks))
    assert [isinstance(row, Unreadable) for row in rows] == [False, True, False, False, True]
    assert rows[1].clip == "c1"
    assert "truncated" in rows[1].message
    assert rows[2].videos[0][0, 0, 0, 0, 0] == 2


def test_broken_files_of_a_folder_are_listed(networks, moving_clips, tmp_path):
    for i, clip in enumerate(moving_clips(3, cameras=1)):
        write_video(tmp_path / f"{i}.mp4", clip[:, 0], 8)
    (tmp_path / "1.mp4").write_bytes((tmp_path / "1.mp4").read_bytes()[:300])
    rows = list(extracted([open_source(tmp_path)], networks))
    assert [type(row).__name__ for row in rows] == ["ClipFeatures", "Unreadable", "ClipFeatures"]


def test_reading_happens_in_threads_and_never_further_ahead_than_asked():
    source = MadeClips(40)
    stream = decoded([source], ahead=3)
    for i, clip in enumerate(stream):
        assert clip.name == f"c{i}"
        assert len(source.read_so_far) <= i + 1 + 3
    assert threading.get_ident() not in source.threads
    assert len(source.threads) <= extraction.DECODERS


def test_large_clips_are_read_when_they_are_needed(monkeypatch):
    monkeypatch.setattr(extraction, "AHEAD_BYTES", 1000)
    source = MadeClips(6)
    for i, _ in enumerate(decoded([source], ahead=3)):
        assert len(source.read_so_far) == i + 1


def test_a_stream_that_is_closed_stops_reading():
    source = MadeClips(100)
    stream = decoded([source], ahead=2)
    next(stream)
    stream.close()
    assert len(source.read_so_far) <= 3
    assert all("decode" not in thread.name for thread in threading.enumerate())


def test_memory_does_not_grow_with_the_number_of_clips(networks):
    def peak(count):
        source = MadeClips(count, shape=(4, 1, 3, 128, 256))
        tracemalloc.start()
        for _ in extracted([source, source], networks):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    few, many = peak(6), peak(60)
    pair = 2 * 4 * 3 * 128 * 256
    assert many < few + pair
    assert many < 8 * pair


def test_errors_of_reading_that_are_no_broken_file_are_raised():
    class Refusing(MadeClips):
        def read(self, name, indices):
            raise BadRequest("another rate; all must be equal. Convert it first.")

    with pytest.raises(BadRequest, match="another rate"):
        list(decoded([Refusing(3)]))
    with pytest.raises(BadRequest, match="0 sources"):
        decoded([])
