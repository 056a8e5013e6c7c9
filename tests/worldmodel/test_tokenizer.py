import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_clip
from torch.testing import assert_close

from worldmodel.errors import BadCheckpoint, BadVideo
from worldmodel.tokenizer import Tokenizer, TokenizerConfig


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    """With statistics that do something."""
    made = Tokenizer(tiny_model.config.tokenizer).eval()
    made.load_state_dict(tiny_model.tokenizer.state_dict())
    made.mean[:], made.std[:] = torch.tensor([0.1, -0.2, 0.3, 0.0]), torch.tensor([1.0, 2.0, 0.5, 0.1])
    return made


def test_a_video_becomes_latents_and_pictures_again(tokenizer):
    video = make_clip(3, cameras=2).video
    latents = tokenizer.encode_video(video)
    assert latents.shape == (3, 2, *tokenizer.latent_shape(32, 64)) == (3, 2, 4, 2, 4)
    decoded = tokenizer.decode_video(latents)
    assert decoded.shape == video.shape
    assert decoded.dtype == np.uint8


def test_every_picture_is_read_on_its_own(tokenizer):
    frames = make_clip(5, cameras=1).video[:, 0]
    together = tokenizer.encode(frames)
    assert_close(tokenizer.encode(frames, batch=2), together, atol=1e-4, rtol=0)
    assert_close(tokenizer.encode(frames[3:4]), together[3:4], atol=1e-4, rtol=0)


def test_latents_are_normalised_by_the_stored_statistics(tokenizer):
    frames = make_clip(2, cameras=1).video[:, 0]
    raw = tokenizer.to_latents(torch.from_numpy(frames).float() / 127.5 - 1).detach()
    expected = (raw - tokenizer.mean[:, None, None]) / tokenizer.std[:, None, None]
    assert_close(tokenizer.encode(frames), expected, atol=1e-5, rtol=1e-5)
    decoded = tokenizer.to_pictures(raw).detach()
    pictures = ((decoded.clamp(-1, 1) + 1) * 127.5).round().numpy()
    assert np.abs(tokenizer.decode(tokenizer.encode(frames)).astype(float) - pictures).max() <= 1


def test_a_clip_keeps_its_name_and_the_tokenizers(tokenizer):
    latents = tokenizer.encode_clip(make_clip(2))
    assert latents.clip_id == "clip-0"
    assert latents.tokenizer_hash == tokenizer.hash
    assert latents.values.dtype == np.float32


@pytest.mark.parametrize(
    "frames", [np.zeros((1, 3, 30, 64), np.uint8), np.zeros((1, 3, 32, 64)), np.zeros((3, 32, 64), np.uint8)]
)
def test_pictures_that_do_not_fit_the_stride_are_refused(tokenizer, frames):
    with pytest.raises(BadVideo, match=r"multiples of 16\. Resize the clip"):
        tokenizer.encode(frames)


@pytest.mark.parametrize("changes", [{"stride": 32}, {"widths": (8, 16)}, {"blocks": (1, 1)}])
def test_sizes_that_contradict_each_other_are_refused(changes):
    with pytest.raises(BadCheckpoint, match="one width and one block count"):
        TokenizerConfig(**changes)


def test_a_stride_of_32_has_one_more_stage():
    config = TokenizerConfig(stride=32, channels=4, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1))
    assert Tokenizer(config).eval().encode(np.zeros((1, 3, 32, 64), np.uint8)).shape == (1, 4, 1, 2)


def test_saving_and_loading_keeps_everything(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    loaded = Tokenizer.from_pretrained(tmp_path / "tokenizer")
    assert loaded.hash == tokenizer.hash
    assert loaded.config == tokenizer.config
    frames = make_clip(1).video[0]
    assert torch.equal(loaded.encode(frames), tokenizer.encode(frames))


def test_other_statistics_are_another_tokenizer(tokenizer, tmp_path):
    before = tokenizer.hash
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    other = Tokenizer.from_pretrained(tmp_path / "tokenizer")
    other.mean[0] += 1
    assert other.hash != before == tokenizer.hash


def test_a_config_that_does_not_fit_the_tensors_is_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"channels": 8}))
    with pytest.raises(BadCheckpoint, match=r"mean is \[4\] and should be \[8\]"):
        Tokenizer.from_pretrained(tmp_path / "tokenizer")
    assert replace(tokenizer.config, channels=8).channels == 8
