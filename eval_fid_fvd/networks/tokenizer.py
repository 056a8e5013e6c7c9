"""Features from the tokenizer that ships with the model: no file needed, but they flatter what that tokenizer made."""

from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from eval_fid_fvd.features import BATCH_FRAMES, FeatureNetwork, FeatureNetworks, in_batches
from worldmodel.errors import BadCheckpoint

Array = np.ndarray


class Tokenizer(Protocol):
    """What this module needs of a tokenizer: frames to latents, and the hash of its weights."""

    @property
    def hash(self) -> str:
        """Hash of the weights, hexadecimal, at least 8 digits."""

    def encode(self, frames: UInt8[Array, "n 3 h w"]) -> Tensor:
        """Latents of frames, float, shape [n, c, h', w']."""


def tokenizer_features(tokenizer: Tokenizer) -> FeatureNetworks:
    """Features from the tokenizer that ships with the model; no download, named `tokenizer-<hash8>`.

    Pictures: mean and standard deviation over space of each latent channel, [2 c]. Clips: mean over time of these two,
    then per channel the mean absolute difference of consecutive latents and the standard deviation over time of the
    spatial mean, [4 c].

    Raises:
        BadCheckpoint: if the tokenizer's hash has fewer than 8 digits.
    """
    if len(tokenizer.hash) < 8:
        raise BadCheckpoint(f"the tokenizer's hash is '{tokenizer.hash}'; 8 digits are needed. Load it from its file.")
    channels = _latents(tokenizer, np.zeros((1, 3, 64, 64), np.uint8)).shape[1]
    common: dict[str, Any] = {
        "name": f"tokenizer-{tokenizer.hash[:8]}",
        "file_hash": tokenizer.hash,
        "value_range": "uint8 RGB, as the tokenizer takes it",
        "resize": "none",
    }
    pictures = FeatureNetwork(
        **common,
        frames_needed=1,
        layer="latents: spatial mean, std",
        width=2 * channels,
        compute=lambda frames: in_batches(lambda batch: _picture_pool(_latents(tokenizer, batch)), frames),
    )
    clips = FeatureNetwork(
        **common,
        frames_needed=2,
        layer="latents: spatial mean, std over time; mean |frame difference|; std over time of mean",
        width=4 * channels,
        compute=lambda videos: np.stack([_clip_pool(_latents_of_clip(tokenizer, video)) for video in videos]),
    )
    return FeatureNetworks(pictures=pictures, clips=clips)


def _latents(tokenizer: Tokenizer, frames: Array) -> Tensor:
    with torch.inference_mode():
        return tokenizer.encode(frames).double().cpu()


def _latents_of_clip(tokenizer: Tokenizer, video: Array) -> Tensor:
    pieces = range(0, len(video), BATCH_FRAMES)
    return torch.cat([_latents(tokenizer, video[start : start + BATCH_FRAMES]) for start in pieces])


def _picture_pool(latents: Tensor) -> Array:
    return np.asarray(torch.cat([latents.mean(dim=(2, 3)), latents.std(dim=(2, 3), correction=0)], dim=1).numpy())


def _clip_pool(latents: Tensor) -> Array:
    mean = latents.mean(dim=(2, 3))
    spread = latents.std(dim=(2, 3), correction=0)
    change = latents.diff(dim=0).abs().mean(dim=(0, 2, 3))
    return np.asarray(torch.cat([mean.mean(0), spread.mean(0), change, mean.std(0, correction=0)]).numpy())
