"""A moment of a recording, counted in frames of the rate that is wished."""

from dataclasses import replace

import numpy as np
import pytest
from makers import make_clip

from studio.moments import Wish, moment_of
from worldmodel.errors import BadRequest, ClipTooShort

WISH = Wish(history=8, chunk=4, future_s=1.0, rate_hz=8.0)


class Recording:
    """The part of a dataset that moments read: one clip."""

    def __init__(self, clip):
        self._clip, self.ids, self.frequency_hz = clip, [clip.id], clip.frequency_hz

    def length(self, episode):
        return len(self._clip)

    def clip(self, episode, start_s, seconds):
        return self._clip.sliced(start_s, start_s + seconds)


@pytest.fixture
def recording():
    """Three seconds at 24 Hz: three frames for one that is wished."""
    return Recording(make_clip(72, frequency_hz=24.0))


@pytest.mark.parametrize("at_s", [None, 1.25, 1.5])
def test_a_fast_recording_is_thinned_around_now_and_says_so(recording, at_s):
    moment = moment_of(recording, 0, at_s, WISH)
    whole = recording._clip
    assert moment.clip.frequency_hz == 8
    now = round((moment.start_s + moment.at_s) * 24)
    assert (moment.clip.video[moment.now] == whole.video[now]).all()
    assert (moment.clip.video == whole.video[now % 3 :: 3][round(moment.start_s * 8) :][: len(moment.clip)]).all()
    assert len(moment.clip) == moment.now + 1 + 8
    assert moment.observation().frequency_hz == 8
    assert len(moment.observation().video) == 8
    assert moment.driven().times_s[-1] == pytest.approx(1.0)
    [note] = moment.notes
    assert "has 24 Hz and 8 Hz are needed: of 3 frames one was used" in note


def test_a_recording_at_the_rate_is_left_alone():
    moment = moment_of(Recording(make_clip(24)), 0, 2.0, WISH)
    assert moment.notes == ()
    assert len(moment.clip) == 8 + 7


def test_another_rate_is_refused_before_frames_are_read():
    recording = Recording(replace(make_clip(24), motion=None, frequency_hz=10.0))
    with pytest.raises(BadRequest, match="--frequency 8"):
        moment_of(recording, 0, 1.0, WISH)


def test_too_little_past_is_said_in_seconds_of_the_recording(recording):
    with pytest.raises(ClipTooShort, match=r"Choose a moment from 0\.375 s on"):
        moment_of(recording, 0, 0.2, WISH)
    short = Recording(make_clip(10, frequency_hz=24.0))
    with pytest.raises(ClipTooShort, match="has 10 frames; at least 11 are needed"):
        moment_of(short, 0, None, WISH)


def test_without_a_rate_frames_are_counted_as_they_come(recording):
    moment = moment_of(recording, 0, 2.0, replace(WISH, rate_hz=None))
    assert np.isclose(moment.clip.frequency_hz, 24)
    assert moment.now == 7
