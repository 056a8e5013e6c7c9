"""Frames <-> latents: a slim convolutional autoencoder per frame, with latents normalised by stored statistics.

The network is diffusers' `AutoencoderDC` in a small configuration (residual blocks and the deep-compression
shortcuts, no attention), fed with pictures whose 4x4 pixel squares are folded into channels, so that no layer runs at
full resolution. Source: Chen et al., "Deep Compression Autoencoder for Efficient High-Resolution Diffusion Models"
(arXiv 2410.10733); the pixel folding and the sizes are ours (`docs/decisions.md`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.checkpoints import check_tensors, content_hash, load_folder, save_folder, with_later
from worldmodel.clips import Clip, Latents
from worldmodel.errors import BadCheckpoint, BadVideo

FOLD = 4  # pixels per side that are folded into channels before the first layer
KIND = "detour-tokenizer"


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Sizes of a tokenizer.

    Attributes:
        stride: Pixels per latent cell and side: 16 or 32.
        channels: Latent channels.
        widths: Channels at strides 4, 8, 16 (and 32).
        blocks: Residual blocks at those strides.
    """

    stride: int = 16
    channels: int = 16
    widths: tuple[int, ...] = (48, 96, 192)
    blocks: tuple[int, ...] = (1, 1, 2)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if FOLD * 2 ** (len(self.widths) - 1) != self.stride or len(self.blocks) != len(self.widths):
            raise BadCheckpoint(
                f"a tokenizer of stride {self.stride} needs one width and one block count for each of the strides 4, 8, "
                f"... {self.stride}; got widths {self.widths} and blocks {self.blocks}."
            )


def _autoencoder(config: TokenizerConfig) -> Any:
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

    stages = len(config.widths)
    sizes: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        sizes[f"{side}_block_types"] = "ResBlock"
        sizes[f"{side}_block_out_channels"] = config.widths
        sizes[f"{side}_layers_per_block"] = config.blocks
        sizes[f"{side}_qkv_multiscales"] = ((),) * stages
    return AutoencoderDC(
        in_channels=3 * FOLD * FOLD,
        latent_channels=config.channels,
        downsample_block_type="pixel_unshuffle",
        upsample_block_type="pixel_shuffle",
        **sizes,
    )


class Tokenizer(nn.Module):
    """An autoencoder with its latent statistics.

    `encode` and `decode` convert at the border: uint8 pictures outside, floats in [-1, 1] only in here. The temporal
    stride is 1: every frame has its own latents.
    """

    temporal_stride = 1

    mean: Tensor
    std: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.autoencoder: Any = _autoencoder(config)
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("std", torch.ones(config.channels))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over all weights."""
        return content_hash(self.state_dict())

    def forward(self, pictures: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructed pictures and raw latents; `noise`, shaped like the latents, is added before decoding."""
        latents = self.to_latents(pictures)
        return self.to_pictures(latents + noise), latents

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, int, int]:
        """Channels, rows and columns of one picture's latents."""
        return self.config.channels, height_px // self.config.stride, width_px // self.config.stride

    def to_latents(self, pictures: Tensor) -> Tensor:
        """Raw latents [n, channels, h, w] of pictures [n, 3, height, width] in [-1, 1]; differentiable."""
        encoded: Tensor = self.autoencoder.encode(functional.pixel_unshuffle(pictures, FOLD), return_dict=False)[0]
        return encoded

    def to_pictures(self, latents: Tensor) -> Tensor:
        """Pictures [n, 3, height, width], about in [-1, 1], of raw latents; differentiable."""
        decoded: Tensor = self.autoencoder.decode(latents, return_dict=False)[0]
        return functional.pixel_shuffle(decoded, FOLD)

    def normalise(self, raw: Tensor) -> Tensor:
        """Raw latents to zero mean and unit variance per channel; the channel axis is the third last."""
        return (raw - self.mean[:, None, None]) / self.std[:, None, None]

    @torch.no_grad()
    def encode(self, frames: np.ndarray, batch: int = 48) -> Tensor:
        """Normalised latents, float32 [n, channels, h, w], of uint8 frames [n, 3, height, width].

        Raises:
            BadVideo: if a side is not a multiple of the stride.
        """
        if frames.ndim != 4 or frames.dtype != np.uint8 or any(side % self.config.stride for side in frames.shape[2:]):
            raise BadVideo(
                f"frames are {frames.dtype} {frames.shape}; the tokenizer needs uint8 [n, 3, height, width] with sides "
                f"that are multiples of {self.config.stride}. Resize the clip."
            )
        parts = []
        for start in range(0, len(frames), batch):
            pictures = torch.from_numpy(np.array(frames[start : start + batch])).to(self.device)
            parts.append(self.latents(pictures.float() / 127.5 - 1))
        return torch.cat(parts)

    def latents(self, pictures: Tensor) -> Tensor:
        """Normalised latents [n, channels, h, w] of pictures [n, 3, height, width] in [-1, 1]."""
        return self.normalise(self.to_latents(pictures))

    def pictures(self, latents: Tensor) -> Tensor:
        """Pictures [n, 3, height, width], in [-1, 1], of normalised latents [n, channels, h, w]."""
        raw = latents.float().to(self.device) * self.std[:, None, None] + self.mean[:, None, None]
        return self.to_pictures(raw).clamp(-1, 1)

    @torch.no_grad()
    def decode(self, latents: Tensor, batch: int = 48) -> np.ndarray:
        """Frames, uint8 [n, 3, height, width], of normalised latents [n, channels, h, w]."""
        parts = []
        for start in range(0, len(latents), batch):
            pictures = self.pictures(latents[start : start + batch])
            parts.append(((pictures + 1) * 127.5).round().to(torch.uint8).cpu())
        return torch.cat(parts).numpy()

    def encode_on(self, videos: np.ndarray, state: Any = None) -> tuple[Tensor, Any]:
        """Latents of the next frames of some streams, and what to remember of them; this tokenizer has no memory.

        Args:
            videos: uint8 [batch, time, camera, 3, height, width], whole chunks.
            state: What the call before returned; None at the beginning.

        Returns:
            Normalised latents [batch, time / temporal_stride, camera, channels, h, w] and the state.
        """
        return self.encode(videos.reshape(-1, *videos.shape[3:])).unflatten(0, videos.shape[:3]), state

    def decode_on(self, latents: Tensor, state: Any = None) -> tuple[np.ndarray, Any]:
        """The next frames of some streams, shaped as `encode_on` takes them, and what to remember of them."""
        frames = self.decode(latents.flatten(0, 2))
        return frames.reshape(*latents.shape[:3], *frames.shape[1:]), state

    def encode_video(self, video: np.ndarray) -> Tensor:
        """Latents [time, camera, channels, h, w] of a video [time, camera, 3, height, width]."""
        return self.encode(video.reshape(-1, *video.shape[2:])).unflatten(0, video.shape[:2])

    def decode_video(self, latents: Tensor) -> np.ndarray:
        """Video [time, camera, 3, height, width] of latents [time, camera, channels, h, w]."""
        frames = self.decode(latents.flatten(0, 1))
        return frames.reshape(*latents.shape[:2], *frames.shape[1:])

    def encode_clip(self, clip: Clip) -> Latents:
        """The clip in the tokenizer's space."""
        return Latents(values=self.encode_video(clip.video).cpu().numpy(), clip_id=clip.id, tokenizer_hash=self.hash)

    def save_pretrained(
        self, folder: Path | str, card: str = "A Detour tokenizer.\n", *, overwrite: bool = False
    ) -> None:
        """Write config, weights and card (see `worldmodel.checkpoints`)."""
        tensors = {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        save_folder(Path(folder), tensors, {"kind": KIND, **asdict(self.config)}, card, overwrite=overwrite)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "Tokenizer":
        """Read what `save_pretrained` wrote.

        Raises:
            BadCheckpoint: if it is not a tokenizer, or tensors are missing, extra, wrongly shaped or not finite.
        """
        config, tensors = load_folder(folder, None)
        if config.pop("kind", None) != KIND:
            raise BadCheckpoint(f"'{folder}' is not a tokenizer. Train one with `detour train vision`.")
        tokenizer = cls(TokenizerConfig(**config))
        fill(tokenizer, tensors, str(folder))
        return tokenizer.eval()


def fill(module: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Put tensors into a module, all of them and nothing else (but see `with_later`).

    Raises:
        BadCheckpoint: naming the tensors that are missing, extra, wrongly shaped or not finite.
    """
    tensors = with_later(tensors, module)
    check_tensors(tensors, {name: tensor.shape for name, tensor in module.state_dict().items()}, where=where)
    module.load_state_dict(tensors)
