"""LPIPS v0.1: a learned distance of two pictures. The head is a pure function; the backbone below it is a local file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from eval_fid_fvd.features import PairNetwork
from eval_fid_fvd.networks.weight_files import WeightsFile, file_sha256
from worldmodel.errors import BadCheckpoint, BadRequest, BadVideo

Array = np.ndarray
NORM_EPS = 1e-10
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
BATCH_PICTURES = 16
ALEXNET = WeightsFile(
    what="AlexNet trained on ImageNet (LPIPS)",
    source="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    kind="sha256",
    digest="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
)
VGG16 = WeightsFile(
    what="VGG-16 trained on ImageNet (LPIPS)",
    source="https://download.pytorch.org/models/vgg16-397923af.pth",
    kind="sha256",
    digest="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
HEADS = {  # SHA-256 of the heads that come with the lpips package, v0.1
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
}

Lpips = Callable[[Array, Array], Array]


@dataclass(frozen=True, kw_only=True)
class _Backbone:
    """How a torchvision network is cut into LPIPS's five layers.

    Attributes:
        name: The head's name in the lpips package.
        file: Its weights.
        taps: Layers of its `features` behind whose ReLU the five maps are taken.
        smallest_px: Below this height or width the last map would be empty.
    """

    name: str
    file: WeightsFile
    taps: tuple[int, ...]
    smallest_px: int


ALEX = _Backbone(name="alex", file=ALEXNET, taps=(1, 4, 7, 9, 11), smallest_px=31)
VGG = _Backbone(name="vgg", file=VGG16, taps=(3, 8, 15, 22, 29), smallest_px=16)


def lpips_head(
    features_a: Sequence[Float[Array, "n c h w"]],
    features_b: Sequence[Float[Array, "n c h w"]],
    weights: Sequence[Float[Array, " c"]],
) -> Float[Array, " n"]:
    """LPIPS from backbone features: unit-length channels, weighted squared difference, spatial mean, sum over layers.

    Args:
        features_a: One array per layer, shape [n, c, h, w]; c, h and w may differ from layer to layer.
        features_b: The same shapes.
        weights: One list per layer, shape [c], none negative.
    Returns:
        Shape [n], float64, never negative.
    Raises:
        BadRequest: for unlike shapes, values that are not finite, or negative weights.
    Source: Zhang et al. 2018; normalised as x / (|x| + 1e-10) as in the `lpips` package (torchmetrics differs on
    features that are nearly zero).
    """
    if not len(features_a) == len(features_b) == len(weights) or not len(weights):
        raise BadRequest(
            f"{len(features_a)} and {len(features_b)} layers of features with {len(weights)} lists of weights; they "
            "must be equally many, at least one. Pass every layer once."
        )
    layers = [_layer_distance(i, *layer) for i, layer in enumerate(zip(features_a, features_b, weights, strict=True))]
    return np.asarray(np.sum(layers, axis=0))


def lpips_alex(weights: Path, *, device: torch.device | str = "cpu") -> PairNetwork:
    """LPIPS v0.1 with AlexNet, the variant for reports.

    Args:
        weights: Local copy of torchvision's `alexnet-owt-7be5be79.pth`; the head comes with the `lpips` package.
    Raises:
        BadCheckpoint: if the file is missing, has another hash, or does not fit.
    Source: Zhang et al. 2018; spatial mean of each layer, v0.1 heads.
    """
    from torchvision.models import alexnet  # slow to import

    return _pair_network(ALEX, alexnet, weights, device)


def lpips_vgg(weights: Path, *, device: torch.device | str = "cpu") -> PairNetwork:
    """LPIPS v0.1 with VGG-16; its values are another scale than AlexNet's. Otherwise as `lpips_alex`.

    Args:
        weights: Local copy of torchvision's `vgg16-397923af.pth`.
    Raises:
        BadCheckpoint: if the file is missing, has another hash, or does not fit.
    """
    from torchvision.models import vgg16  # slow to import

    return _pair_network(VGG, vgg16, weights, device)


def _pair_network(
    backbone: _Backbone, architecture: Callable[[], nn.Module], weights: Path, device: torch.device | str
) -> PairNetwork:
    sha256 = backbone.file.checked(weights)
    network: Any = backbone.file.filled(architecture, weights)
    layers: nn.Sequential = network.features[: backbone.taps[-1] + 1].to(device)
    head = _head_weights(backbone.name)

    def batch_distance(a: UInt8[Array, "n 3 h w"], b: UInt8[Array, "n 3 h w"]) -> Float[Array, " n"]:
        return lpips_head(_features(layers, backbone, a, device), _features(layers, backbone, b, device), head)

    def distance(a: UInt8[Array, "n 3 h w"], b: UInt8[Array, "n 3 h w"]) -> Float[Array, " n"]:
        _check_pictures(backbone, a, b)
        pieces = [slice(start, start + BATCH_PICTURES) for start in range(0, len(a), BATCH_PICTURES)]
        return np.concatenate([batch_distance(a[piece], b[piece]) for piece in pieces])

    return PairNetwork(
        name=f"{backbone.name}-v0.1",
        file_hash=f"{sha256}, head {HEADS[backbone.name][:8]}",
        value_range="[-1, 1], then (x - shift) / scale",
        layer="five layers behind their ReLU, unit length over channels, spatial mean, sum",
        compute=distance,
    )


def _layer_distance(layer: int, a: Array, b: Array, weights: Array) -> Array:
    x, y, w = (np.asarray(values, np.float64) for values in (a, b, weights))
    if x.ndim != 4 or x.shape != y.shape or w.shape != (x.shape[1],) or not x.size:
        raise BadRequest(
            f"layer {layer}: features {x.shape} and {y.shape} with weights {w.shape}; they must be [n, c, h, w] twice "
            "and [c]. Use one backbone and its own head."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(w).all()) or (w < 0).any():
        raise BadRequest(
            f"layer {layer}: features and weights must be finite and weights not negative. Check the weights file."
        )
    difference = (_unit(x) - _unit(y)) ** 2
    return np.asarray(np.einsum("nchw,c->nhw", difference, w).mean(axis=(1, 2)))


def _unit(x: Array) -> Array:
    return np.asarray(x / (np.sqrt((x * x).sum(axis=1, keepdims=True)) + NORM_EPS))


def _head_weights(name: str) -> list[Array]:
    import lpips  # slow to import

    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{name}.pth"
    if not path.is_file() or file_sha256(path) != HEADS[name]:
        raise BadCheckpoint(
            f"'{path}' is not the v0.1 head of LPIPS ({HEADS[name]}); the number would not be LPIPS. Install lpips 0.1.4 again."
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"].flatten().double().numpy() for i in range(len(state))]


def _features(layers: nn.Sequential, backbone: _Backbone, frames: Array, device: torch.device | str) -> list[Array]:
    x = torch.from_numpy(np.ascontiguousarray(frames)).to(device).float() / 127.5 - 1
    x = (x - x.new_tensor(SHIFT).view(3, 1, 1)) / x.new_tensor(SCALE).view(3, 1, 1)
    found = []
    with torch.inference_mode():
        for i, layer in enumerate(layers):
            x = layer(x)
            if i in backbone.taps:
                found.append(x.double().cpu().numpy())
    return found


def _check_pictures(backbone: _Backbone, a: Array, b: Array) -> None:
    fits = a.dtype == b.dtype == np.uint8 and a.ndim == 4 and a.shape == b.shape and a.shape[1] == 3 and len(a)
    if not fits or min(a.shape[2:]) < backbone.smallest_px:
        raise BadVideo(
            f"LPIPS: got {a.dtype} {a.shape} and {b.dtype} {b.shape}; it needs uint8 RGB [n, 3, h, w] twice, at least "
            f"{backbone.smallest_px} pixels high and wide. Resize both alike first."
        )
