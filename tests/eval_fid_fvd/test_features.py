import hashlib
import subprocess

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from eval_fid_fvd import features
from eval_fid_fvd.features import (
    choose_networks,
    fid_inception,
    file_sha256,
    git_blob_hash,
    i3d_input,
    i3d_k400,
    inception_2015,
    tf1_bilinear,
    tokenizer_features,
)
from worldmodel.errors import BadCheckpoint, BadVideo, ClipTooShort


@pytest.fixture(scope="module")
def random_inception():
    """A state dict with the 2015 file's names and shapes, and activations that stay lively through all blocks."""
    from torchvision.models.inception import Inception3

    generator = torch.Generator().manual_seed(0)
    state = Inception3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    for name, value in state.items():
        if value.ndim >= 2:
            value.copy_(torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5)
        elif name.endswith("running_mean"):
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    return state


def test_tensorflow_resize_agrees_with_torch_fidelity(rng):
    for height, width in ((20, 32), (299, 299), (400, 720)):
        x = torch.from_numpy(rng.uniform(0, 255, size=(1, 3, height, width)).astype(np.float32))
        expected = interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
        torch.testing.assert_close(tf1_bilinear(x, 299), expected, atol=1e-3, rtol=0)


def test_inception_agrees_with_torch_fidelity(random_inception, rng, tmp_path, monkeypatch):
    weights = tmp_path / "weights.pth"
    torch.save(random_inception, weights)
    monkeypatch.setattr(features, "INCEPTION_SHA256_PREFIX", file_sha256(weights)[:8])
    frames = rng.integers(0, 256, size=(2, 3, 48, 80), dtype=np.uint8)
    reference = FeatureExtractorInceptionV3("test", ["2048"], feature_extractor_weights_path=str(weights))
    with torch.inference_mode():
        expected = reference(torch.from_numpy(frames))[0].double().numpy()
    network = inception_2015(weights)
    got = network.features(frames)
    assert got.shape == (2, 2048)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    assert network.file_hash == file_sha256(weights)


def test_inception_refuses_weights_that_do_not_fit(random_inception):
    state = {name: value for name, value in random_inception.items() if name != "fc.bias"}
    with pytest.raises(BadCheckpoint, match=r"do not fit(.|\n)*fc\.bias(.|\n)*Get the file from https"):
        fid_inception(state)


@pytest.mark.parametrize(
    ("load", "what"), [(inception_2015, "torch-fidelity/releases"), (i3d_k400, "i3d_torchscript.pt of StyleGAN-V")]
)
def test_absent_or_wrong_weights_say_where_to_get_them(load, what, tmp_path):
    with pytest.raises(BadCheckpoint, match=f"is not there(.|\n)*{what}(.|\n)*built-in tokenizer features"):
        load(tmp_path / "none.pth")
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"something else")
    with pytest.raises(BadCheckpoint, match=f"is another file: its (sha256|git blob)(.|\n)*{what}"):
        load(wrong)


def test_weights_are_told_apart_by_hash_and_the_tokenizer_fills_in(random_inception, tokenizer, tmp_path, monkeypatch):
    weights = tmp_path / "any-name.bin"
    torch.save(random_inception, weights)
    monkeypatch.setattr(features, "INCEPTION_SHA256_PREFIX", file_sha256(weights)[:8])
    networks = choose_networks([weights], tokenizer)
    assert (networks.pictures.name, networks.clips.name) == ("inception-2015", "tokenizer-01234567")
    assert choose_networks([], None).clips is None
    (tmp_path / "wrong").write_bytes(b"x")
    with pytest.raises(BadCheckpoint, match=r"no known feature network: its sha256 is 2d711642.*leave --weights out"):
        choose_networks([tmp_path / "wrong"], tokenizer)
    with pytest.raises(BadCheckpoint, match="is not there"):
        choose_networks([tmp_path / "none"], tokenizer)


def test_hashes_are_those_of_git_and_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 9)
    git = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True)
    assert git_blob_hash(path) == git.stdout.strip()
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


class ScriptedI3d(torch.nn.Module):
    """The call signature of the published TorchScript, with 400 'logits' that depend on place, time and colour."""

    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False):
        pooled = torch.nn.functional.adaptive_avg_pool3d(x, (4, 5, 5)).flatten(1)
        assert not rescale
        assert not resize
        return torch.cat([pooled, x.amax(dim=(2, 3, 4)).repeat(1, 34)[:, :100]], dim=1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_i3d_is_fed_squashed_frames_in_minus_one_to_one(rng, tmp_path, monkeypatch):
    weights = tmp_path / "i3d.pt"
    torch.jit.script(ScriptedI3d()).save(str(weights))
    monkeypatch.setattr(features, "I3D_GIT_BLOB", git_blob_hash(weights))
    network = i3d_k400(weights)
    videos = rng.integers(0, 256, size=(2, 12, 3, 20, 32), dtype=np.uint8)
    videos[:, :, 1] = 255
    got = network.features(videos)
    assert got.shape == (2, 400)
    np.testing.assert_allclose(got[:, 100:200], 1, atol=1e-6)  # the green channel is white: 1 after scaling
    x = i3d_input(torch.from_numpy(videos))
    assert x.shape == (2, 3, 12, 224, 224)
    assert x.abs().max() <= 1 + 1e-6
    with pytest.raises(ClipTooShort, match=r"9 frames, but i3d-k400 needs at least 10.*--metrics fid"):
        network.features(videos[:, :9])


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


def test_a_tokenizer_without_a_hash_is_refused(tokenizer):
    tokenizer.hash = ""
    with pytest.raises(BadCheckpoint, match="8 digits are needed"):
        tokenizer_features(tokenizer)
