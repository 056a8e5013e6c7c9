"""VideoMAE for clips: the V2-g network of content-debiased FVD, and any VideoMAE of the transformers library."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.features import FeatureNetwork
from eval_fid_fvd.networks.hub_folders import HubFolder
from eval_fid_fvd.networks.weight_files import WeightsFile
from worldmodel.errors import BadCheckpoint

Array = np.ndarray
SIZE_PX, WINDOW_FRAMES = 224, 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
FRAMES_RULE = f"windows of {WINDOW_FRAMES} frames in a row, their features averaged; a rest of fewer is left out"
GIANT = WeightsFile(
    what="VideoMAE V2-g, fine-tuned on Something-Something V2 (FVD-VideoMAE)",
    source="https://huggingface.co/OpenGVLab/VideoMAE2/resolve/main/mae-g/vit_g_hybrid_pt_1200e_ssv2_ft.pth",
    kind="sha256",
    digest="5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",
)
GIANT_CONFIG: dict[str, Any] = {
    "image_size": SIZE_PX,
    "patch_size": 14,
    "num_frames": WINDOW_FRAMES,
    "tubelet_size": 2,
    "hidden_size": 1408,
    "num_hidden_layers": 40,
    "num_attention_heads": 16,
    "intermediate_size": 6144,
    "layer_norm_eps": 1e-6,
}
FOLDER = HubFolder(
    what="VideoMAE",
    source="https://huggingface.co/MCG-NJU/videomae-base-finetuned-kinetics (config.json, model.safetensors)",
    model_type="videomae",
    published={},
)


def videomae_v2_g(weights: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The network of content-debiased FVD: VideoMAE V2-g, mean over all tokens and norm, 1408 features.

    Frames are squashed to 224 x 224 (bilinear, no antialias) and stay in [0, 1]: the cd-fvd package normalises no further.

    Args:
        weights: Local copy of `vit_g_hybrid_pt_1200e_ssv2_ft.pth` (2.0 GB).
    Raises:
        BadCheckpoint: if the file is missing, has another hash, or does not fit.
    Source: Ge et al. 2024, github.com/songweige/content-debiased-fvd; Wang et al. 2023 (VideoMAE V2).
    """
    sha256 = GIANT.checked(weights)
    network = giant_network(GIANT.state(weights), GIANT_CONFIG).to(device)
    return FeatureNetwork(
        name="videomae-v2-g-ssv2",
        file_hash=sha256,
        value_range="[0, 1]",
        resize="squash to 224x224, bilinear (half-pixel centres), no antialias",
        frames_needed=WINDOW_FRAMES,
        frames_rule=FRAMES_RULE,
        layer="mean over all tokens, norm; before the classifier",
        width=GIANT_CONFIG["hidden_size"],
        compute=lambda videos: _of_videos(network, giant_input, videos, device),
    )


def videomae(folder: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """Any fine-tuned VideoMAE of the transformers library: mean over all tokens and norm. Not cd-fvd's FVD-VideoMAE.

    Frames are prepared as the library's own processor does: short side to 224 (bilinear, antialias, 8 bits), centre crop
    (a 16:9 picture keeps 56% of its width), ImageNet's mean and deviation.

    Args:
        folder: Local copy of, for example, `MCG-NJU/videomae-base-finetuned-kinetics`.
    Raises:
        BadCheckpoint: if the folder is missing, incomplete, of another family, or does not fit; also for one of another
            size or number of frames.
    Source: Tong et al. 2022.
    """
    name, sha256 = FOLDER.checked(folder)
    from transformers import VideoMAEForVideoClassification  # slow to import

    model = FOLDER.load(VideoMAEForVideoClassification, folder)
    if (model.config.image_size, model.config.num_frames) != (SIZE_PX, WINDOW_FRAMES) or model.fc_norm is None:
        raise BadCheckpoint(
            f"'{folder}' is a VideoMAE of {model.config.num_frames} frames at {model.config.image_size} pixels "
            f"{'with' if model.fc_norm is not None else 'without'} mean pooling; {WINDOW_FRAMES} at {SIZE_PX} with it are "
            f"needed. Get {FOLDER.source}."
        )
    network = PooledTokens(model.videomae, model.fc_norm).to(device)
    return FeatureNetwork(
        name=name,
        file_hash=sha256,
        value_range="[0, 1], then (x - ImageNet mean) / ImageNet deviation",
        resize="short side to 224, bilinear, antialias, 8 bits; centre crop 224x224",
        frames_needed=WINDOW_FRAMES,
        frames_rule=FRAMES_RULE,
        layer="mean over all tokens, norm; before the classifier",
        width=int(model.config.hidden_size),
        compute=lambda videos: _of_videos(network, videomae_input, videos, device),
    )


class PooledTokens(nn.Module):
    """A VideoMAE encoder, the mean over its tokens, and a norm: float [n, time, 3, h, w] -> [n, width]."""

    def __init__(self, encoder: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.encoder, self.norm = encoder, norm

    def forward(self, clips: Tensor) -> Tensor:
        """One row per clip."""
        features: Tensor = self.norm(self.encoder(clips).last_hidden_state.mean(dim=1))
        return features


def giant_network(state: dict[str, Any], config: dict[str, Any]) -> PooledTokens:
    """The encoder and norm of a checkpoint of VideoMAE V2's own code, in the transformers library's modules.

    Args:
        state: The tensors by their names there, bare or under 'module' or 'model'.
        config: Sizes, as `VideoMAEConfig` takes them.
    Raises:
        BadCheckpoint: if tensors are missing, left over, or of another shape.
    """
    from transformers import VideoMAEConfig, VideoMAEModel  # slow to import

    tensors = next((state[key] for key in ("module", "model") if key in state), state)
    width = config["hidden_size"]
    with torch.device("meta"):  # a billion numbers need not be drawn before they are read
        network = PooledTokens(
            VideoMAEModel(VideoMAEConfig(**config)), nn.LayerNorm(width, eps=config["layer_norm_eps"])
        )
    try:
        renamed = _renamed({name: value.float() for name, value in tensors.items()}, width)
        network.load_state_dict(renamed, assign=True)
    except (RuntimeError, KeyError, AttributeError) as error:
        raise BadCheckpoint(
            f"the VideoMAE V2 weights do not fit: {error}. Get the file from {GIANT.source}."
        ) from error
    return network.eval().requires_grad_(False)


def giant_input(video: Tensor) -> Tensor:
    """uint8 [time, 3, h, w] to float [time, 3, 224, 224] in [0, 1], squashed."""
    size = (SIZE_PX, SIZE_PX)
    return functional.interpolate(video.float() / 255, size=size, mode="bilinear", align_corners=False)


def videomae_input(video: Tensor) -> Tensor:
    """uint8 [time, 3, h, w] to float [time, 3, 224, 224] as the transformers library's processor of VideoMAE does."""
    from torchvision.transforms.v2 import functional as pictures  # slow to import

    height, width = video.shape[-2:]
    short = min(height, width)
    size = [int(SIZE_PX * height / short), int(SIZE_PX * width / short)]
    small = pictures.resize(video, size, interpolation=pictures.InterpolationMode.BILINEAR, antialias=True)
    return pictures.normalize(pictures.center_crop(small, [SIZE_PX, SIZE_PX]).float() / 255, list(MEAN), list(STD))


def _of_videos(
    network: nn.Module, prepare: Callable[[Tensor], Tensor], videos: Array, device: torch.device | str
) -> Array:
    with torch.inference_mode():
        return np.stack([_of_video(network, prepare, torch.from_numpy(video), device) for video in videos])


def _of_video(
    network: nn.Module, prepare: Callable[[Tensor], Tensor], video: Tensor, device: torch.device | str
) -> Array:
    starts = range(0, len(video) - WINDOW_FRAMES + 1, WINDOW_FRAMES)
    windows = (prepare(video[start : start + WINDOW_FRAMES])[None].to(device) for start in starts)
    rows = [network(window)[0].double().cpu() for window in windows]
    return np.asarray(torch.stack(rows).mean(dim=0).numpy())


def _renamed(tensors: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Names of VideoMAE V2's code to those of transformers; one joint projection becomes three; the classifier goes."""
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.startswith("head."):
            continue
        if name.endswith("attn.qkv.weight"):
            for part, rows in zip(("query", "key", "value"), value.split(width), strict=True):
                renamed[_renamed_one(name.replace("attn.qkv", f"attention.attention.{part}"))] = rows
        else:
            renamed[_renamed_one(name)] = value
    return renamed


def _renamed_one(name: str) -> str:
    for old, new in (
        ("patch_embed.proj", "encoder.embeddings.patch_embeddings.projection"),
        ("blocks.", "encoder.encoder.layer."),
        ("fc_norm", "norm"),
        ("norm1", "layernorm_before"),
        ("norm2", "layernorm_after"),
        ("attn.q_bias", "attention.attention.query.bias"),
        ("attn.v_bias", "attention.attention.value.bias"),
        ("attn.proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        name = name.replace(old, new)
    return name
