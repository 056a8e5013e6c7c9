import threading

import numpy as np
import pytest

from eval_fid_fvd.features import in_batches, overlapped
from eval_fid_fvd.networks.tokenizer import tokenizer_features
from worldmodel.errors import BadVideo


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 3, 32, 32)), r"got float64.*uint8 RGB \[n, 3, h, w\]"),
        (np.zeros((2, 5, 3, 32, 32), np.uint8), r"\[n, 3, h, w\]"),
        (np.zeros((0, 3, 32, 32), np.uint8), r"\(0, 3, 32, 32\)"),
    ],
)
def test_bad_frames_are_refused_with_advice(tokenizer, frames, message):
    with pytest.raises(BadVideo, match=message):
        tokenizer_features(tokenizer).pictures.features(frames)


@pytest.mark.parametrize("count", [1, 4, 5, 13])
def test_batches_prepared_meanwhile_give_the_rows_of_plain_batches(rng, count):
    frames = rng.integers(0, 256, size=(count, 3, 2, 2), dtype=np.uint8)
    prepared, computed, threads = [], [], set()

    def prepare(batch):
        threads.add(threading.get_ident())
        prepared.append(len(batch))
        return batch / 255

    def compute(batch):
        assert len(prepared) - len(computed) <= 2  # the one at hand and the next
        computed.append(len(batch))
        return batch.sum(axis=(2, 3))

    got = overlapped(prepare, compute, frames, 4)
    np.testing.assert_array_equal(got, in_batches(lambda batch: (batch / 255).sum(axis=(2, 3)), frames, 3))
    assert computed == prepared
    assert max(computed) <= 4
    assert threading.get_ident() not in threads


def test_an_error_of_preparing_reaches_the_caller():
    def broken(batch):
        raise BadVideo("no picture")

    with pytest.raises(BadVideo, match="no picture"):
        overlapped(broken, lambda batch: batch, np.zeros((9, 3, 2, 2), np.uint8), 4)
