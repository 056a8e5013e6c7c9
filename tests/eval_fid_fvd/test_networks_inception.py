from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from eval_fid_fvd.networks import inception
from eval_fid_fvd.networks.inception import fid_inception, inception_2015, tf1_bilinear
from eval_fid_fvd.networks.weight_files import file_sha256
from worldmodel.errors import BadCheckpoint


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
    monkeypatch.setattr(inception, "WEIGHTS", replace(inception.WEIGHTS, digest=file_sha256(weights)))
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


def test_files_from_before_batches_were_counted_are_read(random_inception):
    state = {name: value for name, value in random_inception.items() if not name.endswith("num_batches_tracked")}
    assert len(state) < len(random_inception)
    assert not any(value.is_meta for value in fid_inception(state).state_dict().values())


def test_inception_refuses_weights_that_do_not_fit(random_inception):
    state = {name: value for name, value in random_inception.items() if name != "fc.bias"}
    with pytest.raises(BadCheckpoint, match=r"do not fit(.|\n)*fc\.bias(.|\n)*Get the file from https"):
        fid_inception(state)
