import numpy as np
import pytest

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
