import lpips
import numpy as np
import pytest
import torch

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


@pytest.mark.filterwarnings(
    "ignore:The parameter .pretrained:UserWarning", "ignore:Arguments other than a weight:UserWarning"
)
def test_alexnet_path_agrees_with_the_lpips_package(rng, tmp_path, monkeypatch):
    from torchvision.models import alexnet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = alexnet(weights=None)
    path = tmp_path / "alexnet.pth"
    torch.save(backbone.state_dict(), path)
    monkeypatch.setattr(perceptual, "ALEXNET_SHA256_PREFIX", file_sha256(path)[:8])
    reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    for i in range(5):
        for name, parameter in getattr(reference.net, f"slice{i + 1}").named_parameters():
            parameter.data.copy_(backbone.features.state_dict()[name])
    a, b = (rng.integers(0, 256, size=(2, 3, 64, 80), dtype=np.uint8) for _ in range(2))
    with torch.inference_mode():
        tensors = [torch.from_numpy(x).float() / 127.5 - 1 for x in (a, b)]
        expected = reference(*tensors).flatten().double().numpy()
    np.testing.assert_allclose(lpips_alex(path)(a, b), expected, rtol=1e-4)
    with pytest.raises(BadVideo, match="at least 31 pixels"):
        lpips_alex(path)(a[..., :20], b[..., :20])
    with pytest.raises(BadVideo, match="uint8 RGB"):
        lpips_alex(path)(a / 255, b / 255)


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


def test_absent_or_wrong_backbone_says_where_to_get_it(tmp_path):
    with pytest.raises(BadCheckpoint, match=r"is not there.*alexnet-owt-7be5be79\.pth.*PSNR and SSIM"):
        lpips_alex(tmp_path / "none.pth")
    (tmp_path / "wrong.pth").write_bytes(b"x")
    with pytest.raises(BadCheckpoint, match=r"its sha256 starts with 2d711642, but .* 7be5be79"):
        lpips_alex(tmp_path / "wrong.pth")
