import numpy as np
import pytest

from eval_fid_fvd.networks.tokenizer import tokenizer_features
from worldmodel.errors import BadCheckpoint


def test_tokenizer_features_pool_pictures_and_clips(tokenizer, rng):
    networks = tokenizer_features(tokenizer)
    frames = rng.integers(0, 256, size=(40, 3, 32, 48), dtype=np.uint8)  # more than one batch
    latents = tokenizer.encode(frames).double().numpy()
    pooled = np.concatenate([latents.mean(axis=(2, 3)), latents.std(axis=(2, 3))], axis=1)
    got = networks.pictures.features(frames)
    assert got.shape == (40, networks.pictures.width)
    np.testing.assert_allclose(got, pooled, atol=1e-12)

    clips = frames.reshape(2, 20, 3, 32, 48)
    by_time = latents.reshape(2, 20, 6, 2, 3)
    got = networks.clips.features(clips)
    assert got.shape == (2, networks.clips.width)
    np.testing.assert_allclose(got[:, :12], pooled.reshape(2, 20, 12).mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(got[:, 12:18], np.abs(np.diff(by_time, axis=1)).mean(axis=(1, 3, 4)), atol=1e-12)
    np.testing.assert_allclose(got[:, 18:], by_time.mean(axis=(3, 4)).std(axis=1), atol=1e-12)
    assert networks.pictures.name == networks.clips.name == "tokenizer-01234567"


def test_clip_features_see_a_frozen_and_a_shuffled_clip(tokenizer, moving_clips, rng):
    network = tokenizer_features(tokenizer).clips
    clip = moving_clips(1, time=12, cameras=1)[:, :, 0]
    changed = slice(12, 18)
    normal = network.features(clip)[0, changed]
    assert np.allclose(network.features(clip[:, :1].repeat(12, axis=1))[0, changed], 0)
    assert (network.features(clip[:, rng.permutation(12)])[0, changed] > normal).all()


def test_a_tokenizer_without_a_hash_is_refused(tokenizer):
    tokenizer.hash = ""
    with pytest.raises(BadCheckpoint, match="8 digits are needed"):
        tokenizer_features(tokenizer)
