"""R(2+1)D-18 and R3D-18 of torchvision, trained on Kinetics-400: small published networks for clips."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.features import FeatureNetwork
from eval_fid_fvd.networks.weight_files import WeightsFile

Array = np.ndarray
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
RESIZED_PX, CROP_PX = (128, 171), 112
FEWEST_FRAMES = 8  # time is halved three times
R2P1D = WeightsFile(
    what="torchvision's R(2+1)D-18",
    source="https://download.pytorch.org/models/r2plus1d_18-91a641e6.pth",
    kind="sha256",
    digest="91a641e6c2ab531d1aca5f4321b4d802ec5c3babc15df855cdb6e39c6a1107c8",
)
R3D = WeightsFile(
    what="torchvision's R3D-18",
    source="https://download.pytorch.org/models/r3d_18-b3b3357e.pth",
    kind="sha256",
    digest="b3b3357ead25631ec9c57362ff2128a92d0427e01e2cd184951a44380c3f2e9d",
)


def r2p1d_18(weights: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """R(2+1)D-18 of torchvision, 512 features of its last pooling.

    Frames are prepared by torchvision's own rule: to 128 x 171 (bilinear, no antialias, 8 bits), centre crop 112 x 112,
    Kinetics' mean and deviation. Clips of any length from 8 frames on go in whole; time is averaged at the end.

    Args:
        weights: Local copy of `r2plus1d_18-91a641e6.pth`.
    Raises:
        BadCheckpoint: if the file is missing, has another hash, or does not fit.
    Source: Tran et al. 2018.
    """
    from torchvision.models.video import r2plus1d_18  # slow to import

    return _network("r2p1d-18-k400", R2P1D, r2plus1d_18, weights, device)


def r3d_18(weights: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """R3D-18 of torchvision, 512 features of its last pooling; otherwise as `r2p1d_18`.

    Args:
        weights: Local copy of `r3d_18-b3b3357e.pth`.
    Raises:
        BadCheckpoint: if the file is missing, has another hash, or does not fit.
    """
    from torchvision.models.video import r3d_18 as architecture  # slow to import

    return _network("r3d-18-k400", R3D, architecture, weights, device)


def r3d_input(videos: Tensor) -> Tensor:
    """uint8 [n, time, 3, h, w] to float [n, 3, time, 112, 112], as torchvision's transform of these weights does."""
    n, time = videos.shape[:2]
    frames = videos.flatten(0, 1).float()
    small = functional.interpolate(frames, size=RESIZED_PX, mode="bilinear", align_corners=False).round()
    top, left = (round((side - CROP_PX) / 2) for side in RESIZED_PX)
    cut = small[..., top : top + CROP_PX, left : left + CROP_PX] / 255
    mean, std = (cut.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((cut - mean) / std).unflatten(0, (n, time)).transpose(1, 2).contiguous()


def _network(
    name: str, file: WeightsFile, architecture: Callable[[], nn.Module], weights: Path, device: torch.device | str
) -> FeatureNetwork:
    sha256 = file.checked(weights)
    network = file.filled(architecture, weights).to(device)
    network.fc = nn.Identity()

    def clip_features(video: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(network(r3d_input(torch.from_numpy(video[None]).to(device)))[0].double().cpu().numpy())

    return FeatureNetwork(
        name=name,
        file_hash=sha256,
        value_range="[0, 1], then (x - Kinetics mean) / Kinetics deviation",
        resize="128x171, bilinear, no antialias, 8 bits; centre crop 112x112",
        frames_needed=FEWEST_FRAMES,
        layer="last pooling, before the classifier",
        width=512,
        compute=lambda videos: np.stack([clip_features(video) for video in videos]),
    )
