"""DINOv2 for pictures: what FD-DINOv2 stands on (Stein et al. 2023)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eval_fid_fvd.features import FeatureNetwork, overlapped
from eval_fid_fvd.networks.hub_folders import HubFolder

Array = np.ndarray
SIZE_PX = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
FOLDER = HubFolder(
    what="DINOv2",
    source="https://huggingface.co/facebook/dinov2-large (config.json, model.safetensors)",
    model_type="dinov2",
    published={
        "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23": "dinov2-large",
        "d73036b56966966d07975d696bde331762f37297e2f095de8cea0040c3aa0841": "dinov2-base",
    },
)


def dinov2(folder: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """DINOv2's class token after the last norm. FD-DINOv2 is made with the large one, ViT-L/14, 1024 features.

    Frames are squashed to 224 x 224, bicubic with antialias, in 8 bits (as the dgm-eval repository does through Pillow; the
    two are within two grey levels), then normalised by ImageNet's mean and deviation.

    Args:
        folder: Local copy of `facebook/dinov2-large` in the form of the transformers library.
    Raises:
        BadCheckpoint: if the folder is missing, incomplete, of another family, or does not fit.
    Source: Oquab et al. 2023; layer and resize of github.com/layer6ai-labs/dgm-eval.
    """
    name, sha256 = FOLDER.checked(folder)
    from transformers import Dinov2Model  # slow to import

    network = FOLDER.load(Dinov2Model, folder).to(device)

    def batch_features(x: Tensor) -> Array:
        with torch.inference_mode():
            tokens: Tensor = network(pixel_values=x.to(device)).last_hidden_state
            return np.asarray(tokens[:, 0].double().cpu().numpy())

    return FeatureNetwork(
        name=name,
        file_hash=sha256,
        value_range="[0, 1], then (x - ImageNet mean) / ImageNet deviation",
        resize="squash to 224x224, bicubic, antialias, 8 bits",
        frames_needed=1,
        layer="class token after the last norm",
        width=int(network.config.hidden_size),
        compute=lambda frames: overlapped(_prepared, batch_features, frames),
    )


def _prepared(frames: Array) -> Tensor:
    return dinov2_input(torch.from_numpy(frames))


def dinov2_input(frames: Tensor) -> Tensor:
    """uint8 [n, 3, h, w] to DINOv2's float [n, 3, 224, 224]."""
    from torchvision.transforms.v2 import functional as pictures  # slow to import

    size = [SIZE_PX, SIZE_PX]
    small = pictures.resize(frames, size, interpolation=pictures.InterpolationMode.BICUBIC, antialias=True)
    return pictures.normalize(small.float() / 255, list(MEAN), list(STD))
