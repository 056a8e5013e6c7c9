"""FID's network: TensorFlow's Inception of 2015-12-05."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.features import FeatureNetwork, overlapped
from eval_fid_fvd.networks.weight_files import WeightsFile
from worldmodel.errors import BadCheckpoint

Array = np.ndarray
SIZE_PX = 299
WEIGHTS = WeightsFile(
    what="FID's Inception network",
    source="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    kind="sha256",
    digest="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)


def inception_2015(weights: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The FID network: TensorFlow's Inception of 2015-12-05, 2048 features of the last pooling layer.

    Frames are squashed to 299 x 299 by TensorFlow 1's bilinear rule, as torch-fidelity and torchmetrics do.

    Args:
        weights: Local copy of `weights-inception-2015-12-05-6726825d.pth` (the same file as pytorch-fid's).
    Raises:
        BadCheckpoint: if the file is missing, has another hash, or does not fit.
    """
    sha256 = WEIGHTS.checked(weights)
    return inception_features(WEIGHTS.state(weights), name="inception-2015", file_hash=sha256, device=device)


def inception_features(
    state: dict[str, Tensor], *, name: str, file_hash: str, device: torch.device | str = "cpu"
) -> FeatureNetwork:
    """The FID network with any weights; only those of the published file make it FID.

    Args:
        state: By the names of the published file.
        name: As printed behind a score.
        file_hash: Of the weights.
    Raises:
        BadCheckpoint: if the state does not fit.
    """
    network = fid_inception(state).to(device).to(memory_format=torch.channels_last)

    def prepared(frames: Array) -> Tensor:
        with torch.inference_mode():
            return inception_input(torch.from_numpy(frames).to(device))

    def batch_features(x: Tensor) -> Array:
        with torch.inference_mode():
            return np.asarray(network(x).double().cpu().numpy())

    return FeatureNetwork(
        name=name,
        file_hash=file_hash,
        value_range="[-1, 1), (x - 128) / 128",
        resize="squash to 299x299, TensorFlow 1 bilinear, no antialias",
        frames_needed=1,
        layer="pool3",
        width=2048,
        compute=lambda frames: overlapped(prepared, batch_features, frames),
    )


def inception_input(frames: Tensor) -> Tensor:
    """uint8 [n, 3, h, w] to Inception's float [n, 3, 299, 299] in [-1, 1)."""
    squashed = (tf1_bilinear(frames.float(), SIZE_PX) - 128) / 128
    return squashed.contiguous(memory_format=torch.channels_last)


def tf1_bilinear(frames: Tensor, size: int) -> Tensor:
    """Resize float [n, c, h, w] to size x size as TensorFlow 1 does: source = target * scale, corners not aligned."""
    for axis in (3, 2):
        length = frames.shape[axis]
        source = torch.arange(size, dtype=torch.float32, device=frames.device) * (length / size)
        low = source.long()
        high = (low + 1).clamp_max(length - 1)
        share = (source - low).reshape([-1, 1] if axis == 2 else [-1])
        first = frames.index_select(axis, low)
        frames = first + (frames.index_select(axis, high) - first) * share
    return frames


def fid_inception(state: dict[str, Tensor]) -> nn.Module:
    """FID's Inception from its state dict: prepared frames [n, 3, 299, 299] -> float [n, 2048].

    torchvision's blocks, with the pooling of the 2015 TensorFlow graph: averages leave the padding out, and the last
    block takes a maximum.

    Raises:
        BadCheckpoint: if the state does not fit.
    """
    from torchvision.models.inception import Inception3  # slow to import

    with torch.device("meta"):  # none is drawn at random before
        network: nn.Module = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise BadCheckpoint(
            f"the Inception weights do not fit the 2015 network: {error}. Get the file from {WEIGHTS.source}."
        ) from error
    averaged = ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b")
    for block in averaged:
        setattr(network, f"Mixed_{block}", _Repooled(getattr(network, f"Mixed_{block}"), _average_inside))
    network.Mixed_7c = _Repooled(network.Mixed_7c, _maximum)
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False)


class _Repooled(nn.Module):
    """A torchvision Inception block whose pooling branch pools in another way."""

    def __init__(self, block: Any, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.block, self.pool = block, pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self.block._forward(x)[:-1], self.block.branch_pool(self.pool(x))], dim=1)


def _average_inside(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, kernel_size=3, stride=1, padding=1)
