"""LPIPS v0.1: a learned distance of two pictures. The head is a pure function; the AlexNet below it is a local file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from eval_fid_fvd.networks.weight_files import file_sha256
from worldmodel.errors import BadCheckpoint, BadRequest, BadVideo

Array = np.ndarray
NORM_EPS = 1e-10
ALEXNET_SHA256_PREFIX = "7be5be79"
ALEXNET_SOURCE = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
TAPS = (1, 4, 7, 9, 11)  # layers of torchvision's alexnet.features behind each ReLU
SMALLEST_PX = 31  # below this AlexNet's second pooling has nothing left

Lpips = Callable[[Array, Array], Array]


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


def lpips_alex(backbone: Path, *, device: torch.device | str = "cpu") -> Lpips:
    """LPIPS v0.1 with AlexNet: a function of two uint8 RGB arrays [n, 3, h, w] that gives [n].

    Args:
        backbone: Local copy of torchvision's `alexnet-owt-7be5be79.pth`; the head comes with the `lpips` package.
    Raises:
        BadCheckpoint: if the file is missing, has another hash, or does not fit.
    """
    layers = _alexnet_layers(_backbone_state(backbone)).to(device)
    weights = _head_weights()

    def score(a: UInt8[Array, "n 3 h w"], b: UInt8[Array, "n 3 h w"]) -> Float[Array, " n"]:
        _check_pictures(a, b)
        return lpips_head(_features(layers, a, device), _features(layers, b, device), weights)

    return score


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


def _backbone_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise BadCheckpoint(
            f"'{path}' is not there; LPIPS needs AlexNet's ImageNet weights. Download {ALEXNET_SOURCE} and pass its path "
            "with --weights FILE, or use PSNR and SSIM, which need no file."
        )
    got = file_sha256(path)
    if not got.startswith(ALEXNET_SHA256_PREFIX):
        raise BadCheckpoint(
            f"'{path}' is another file: its sha256 starts with {got[:8]}, but the published weights' with "
            f"{ALEXNET_SHA256_PREFIX}. Get {ALEXNET_SOURCE}."
        )
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _alexnet_layers(state: dict[str, Tensor]) -> nn.Sequential:
    from torchvision.models import alexnet  # slow to import

    network = alexnet(weights=None)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BadCheckpoint(f"the AlexNet weights do not fit: {error}. Get the file from {ALEXNET_SOURCE}.") from error
    layers: nn.Sequential = network.features.eval().requires_grad_(False)
    return layers


def _head_weights() -> list[Array]:
    import lpips  # slow to import

    path = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"].flatten().double().numpy() for i in range(len(TAPS))]


def _features(layers: nn.Sequential, frames: Array, device: torch.device | str) -> list[Array]:
    x = torch.from_numpy(np.ascontiguousarray(frames)).to(device).float() / 127.5 - 1
    x = (x - x.new_tensor(SHIFT).view(3, 1, 1)) / x.new_tensor(SCALE).view(3, 1, 1)
    found = []
    with torch.inference_mode():
        for i, layer in enumerate(layers):
            x = layer(x)
            if i in TAPS:
                found.append(x.double().cpu().numpy())
    return found


def _check_pictures(a: Array, b: Array) -> None:
    fits = a.dtype == b.dtype == np.uint8 and a.ndim == 4 and a.shape == b.shape and a.shape[1] == 3
    if not fits or min(a.shape[2:]) < SMALLEST_PX:
        raise BadVideo(
            f"LPIPS: got {a.dtype} {a.shape} and {b.dtype} {b.shape}; it needs uint8 RGB [n, 3, h, w] twice, at least "
            f"{SMALLEST_PX} pixels high and wide. Resize both alike first."
        )
