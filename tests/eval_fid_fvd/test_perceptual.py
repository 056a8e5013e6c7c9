from dataclasses import replace

import lpips
import numpy as np
import pytest
import torch
from torchvision import models

from eval_fid_fvd import perceptual
from eval_fid_fvd.networks.weight_files import file_sha256
from eval_fid_fvd.perceptual import lpips_alex, lpips_head
from worldmodel.errors import BadCheckpoint, BadRequest, BadVideo


def layers(rng, n=3):
    shapes = [(n, 5, 7, 9), (n, 8, 3, 4)]
    return [rng.normal(size=shape) for shape in shapes], [rng.uniform(size=shape[1]) for shape in shapes]


def test_head_follows_the_lpips_package(rng):
    (a, weights), (b, _) = layers(rng), layers(rng)
    expected = np.zeros(3)
    for x, y, w in zip(a, b, weights, strict=True):
        unit = [lpips.normalize_tensor(torch.from_numpy(side)) for side in (x, y)]
        squared = (unit[0] - unit[1]) ** 2
        weighted = (squared * torch.from_numpy(w).view(1, -1, 1, 1)).sum(1)
        expected += weighted.mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(lpips_head(a, b, weights), expected, rtol=1e-12)


def test_head_has_its_closed_form_and_ignores_feature_length(rng):
    a, b = np.zeros((1, 2, 1, 1)), np.zeros((1, 2, 1, 1))
    a[0, 0], b[0, 1] = 3.0, 0.5
    np.testing.assert_allclose(lpips_head([a], [b], [np.array([2.0, 5.0])]), [7.0])
    (x, weights), (y, _) = layers(rng), layers(rng)
    value = lpips_head(x, y, weights)
    np.testing.assert_allclose(lpips_head([10 * layer for layer in x], y, weights), value, rtol=1e-8)
    np.testing.assert_allclose(lpips_head(x, x, weights), 0)
    np.testing.assert_allclose(lpips_head(y, x, weights), value)


def test_tiny_features_are_normalised_as_in_the_lpips_package(rng):
    a, b = 1e-6 * rng.uniform(size=(1, 4, 2, 2)), 1e-6 * rng.uniform(size=(1, 4, 2, 2))
    big = lpips_head([1e6 * a], [1e6 * b], [np.ones(4)])
    np.testing.assert_allclose(
        lpips_head([a], [b], [np.ones(4)]), big, rtol=1e-3
    )  # 1e-8 under the root would shrink it


def random_backbone(architecture, path):
    """Random weights in a file, and the network they came from; its classifier is left empty."""
    with torch.device("meta"):
        network = architecture(weights=None)
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        value.zero_()
        if name.startswith("features") and value.ndim > 1:
            value.copy_(torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5)
    torch.save(network.state_dict(), path)
    return network.eval()


CASES = [
    ("lpips_alex", "ALEX", "alex", models.alexnet, 31),
    pytest.param("lpips_vgg", "VGG", "vgg", models.vgg16, 16, marks=pytest.mark.slow),
]


@pytest.mark.filterwarnings(
    "ignore:The parameter .pretrained:UserWarning", "ignore:Arguments other than a weight:UserWarning"
)
@pytest.mark.parametrize(("load", "cut", "name", "architecture", "smallest"), CASES)
def test_the_whole_path_agrees_with_the_lpips_package(
    load, cut, name, architecture, smallest, rng, tmp_path, monkeypatch
):
    path = tmp_path / "backbone.pth"
    backbone = random_backbone(architecture, path)
    known = getattr(perceptual, cut)
    monkeypatch.setattr(perceptual, cut, replace(known, file=replace(known.file, digest=file_sha256(path))))
    reference = lpips.LPIPS(net=name, pnet_rand=True, verbose=False).eval()
    for i in range(5):
        for key, parameter in getattr(reference.net, f"slice{i + 1}").named_parameters():
            parameter.data.copy_(backbone.features.state_dict()[key])
    network = getattr(perceptual, load)(path)
    for count, size in ((3, (64, 80)), (1, (smallest, smallest + 9))):
        a, b = (rng.integers(0, 256, size=(count, 3, *size), dtype=np.uint8) for _ in range(2))
        with torch.inference_mode():
            tensors = [torch.from_numpy(x).float() / 127.5 - 1 for x in (a, b)]
            expected = reference(*tensors).flatten().double().numpy()
        assert (expected > 1e-3).all()
        np.testing.assert_allclose(network.compute(a, b), expected, rtol=1e-4)
    assert network.name == f"{name}-v0.1"
    assert network.file_hash.startswith(file_sha256(path))
    with pytest.raises(BadVideo, match=f"at least {smallest} pixels"):
        network.compute(a[..., : smallest - 1], b[..., : smallest - 1])
    with pytest.raises(BadVideo, match="uint8 RGB"):
        network.compute(a / 255, b / 255)
    with pytest.raises(BadVideo, match="uint8 RGB"):
        network.compute(a[:0], b[:0])


def test_many_pictures_are_compared_in_batches(rng, tmp_path, monkeypatch):
    path = tmp_path / "backbone.pth"
    random_backbone(models.alexnet, path)
    known = perceptual.ALEX
    monkeypatch.setattr(perceptual, "ALEX", replace(known, file=replace(known.file, digest=file_sha256(path))))
    monkeypatch.setattr(perceptual, "BATCH_PICTURES", 2)
    network = lpips_alex(path)
    a, b = (rng.integers(0, 256, size=(5, 3, 40, 40), dtype=np.uint8) for _ in range(2))
    alone = [network.compute(a[i : i + 1], b[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(network.compute(a, b), alone, rtol=1e-5)


def test_a_head_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(perceptual.HEADS, "alex", "0" * 64)
    with pytest.raises(BadCheckpoint, match=r"is not the v0\.1 head of LPIPS.*Install lpips 0\.1\.4 again"):
        perceptual._head_weights("alex")


@pytest.mark.parametrize(
    ("a", "weights", "message"),
    [
        ([np.zeros((1, 2, 3, 3))], [], r"1 and 1 layers of features with 0 lists"),
        ([np.zeros((1, 2, 3, 3))], [np.zeros(3)], r"layer 0: .* \[c\]. Use one backbone"),
        ([np.zeros((1, 2, 3, 3))], [np.array([1.0, -1])], "weights not negative"),
        ([np.full((1, 2, 3, 3), np.nan)], [np.ones(2)], "must be finite"),
    ],
)
def test_bad_features_are_refused_with_advice(a, weights, message):
    with pytest.raises(BadRequest, match=message):
        lpips_head(a, [np.zeros((1, 2, 3, 3))], weights)
