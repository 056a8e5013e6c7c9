"""FVD's network: I3D trained on Kinetics-400 from scratch, as a TorchScript file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from eval_fid_fvd.features import FeatureNetwork
from eval_fid_fvd.networks.weight_files import WeightsFile

Array = np.ndarray
WEIGHTS = WeightsFile(
    what="FVD's I3D network",
    source="i3d_torchscript.pt of StyleGAN-V (github.com/universome/stylegan-v, also in "
    "JunyaoHu/common_metrics_on_video_quality)",
    kind="git blob",
    digest="93daef59c7ae0e9e8f76225521407e60cbafa6aa",
)
FEWEST_FRAMES = 10


def i3d_k400(weights: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The FVD network: I3D trained on Kinetics-400 from scratch, its 400 logits before the softmax.

    Frames are squashed to 224 x 224 (bilinear, no antialias) and mapped to [-1, 1]. Clips of any length from 10 frames on
    go in whole; the network averages over time at its end, so FVD of unlike lengths is not one scale.

    Args:
        weights: Local copy of `i3d_torchscript.pt`.
    Raises:
        BadCheckpoint: if the file is missing or is not that file.
    Source: Unterthiner et al. 2018.
    """
    blob = WEIGHTS.checked(weights)
    network = torch.jit.load(str(weights), map_location=device).eval()

    def clip_features(videos: Array) -> Array:
        with torch.inference_mode():
            x = i3d_input(torch.from_numpy(videos).to(device))
            return np.asarray(network(x, rescale=False, resize=False, return_features=True).double().cpu().numpy())

    return FeatureNetwork(
        name="i3d-k400",
        file_hash=blob,
        value_range="[-1, 1]",
        resize="squash to 224x224, bilinear (half-pixel centres), no antialias",
        frames_needed=FEWEST_FRAMES,
        layer="logits before softmax",
        width=400,
        compute=lambda videos: np.concatenate([clip_features(video[None]) for video in videos]),
    )


def i3d_input(videos: Tensor) -> Tensor:
    """uint8 [n, time, 3, h, w] to I3D's float [n, 3, time, 224, 224] in [-1, 1]."""
    n, time = videos.shape[:2]
    frames = videos.flatten(0, 1).float() / 127.5 - 1
    small = functional.interpolate(frames, size=(224, 224), mode="bilinear", align_corners=False, antialias=False)
    return small.unflatten(0, (n, time)).transpose(1, 2).contiguous()
