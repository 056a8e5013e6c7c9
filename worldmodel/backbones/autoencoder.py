"""Frames <-> latents with Wan's causal autoencoder, chunk after chunk, as if the video had been coded whole.

Its first latent frame holds one picture, every later one holds four. A chunk of ours is four frames, so a latent frame is a
chunk, and of the very first chunk it holds the last frame alone (the three before it are not coded; decoding repeats the one
that is). The convolutions look back in time: what they saw travels in `CodecState`, a value like the memory, never inside
the module. Source: Wan (arXiv 2503.20314); the layers are diffusers'.

Shape suffixes: B batch, T frames, L latent frames, C cameras.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldmodel.backbones.config import WanTokenizerConfig
from worldmodel.backbones.files import TEMPORAL_STRIDE, WanFiles, load_part
from worldmodel.errors import BadVideo
from worldmodel.tokenizer import Tokenizer

Cache = tuple[
    Any, ...
]  # per convolution: what it saw last, diffusers' mark for "repeat", or None before the first frame


@dataclass(frozen=True, eq=False, kw_only=True)
class CodecState:
    """What the causal convolutions remember of a stream.

    Attributes:
        encoder: After the frames encoded so far; None once imagined chunks follow, which nobody encodes.
        decoder: After the latents decoded so far; None before the first.
        pending: Encoded latents [B, L, C, ...] that the decoder has not seen yet; it reads them when it is first needed.
    """

    encoder: Cache | None = None
    decoder: Cache | None = None
    pending: Tensor | None = None


class WanTokenizer(Tokenizer):
    """diffusers' `AutoencoderKLWan` with the latent statistics of its config.

    Single pictures (`encode`, `decode`) are coded as streams of one frame.
    """

    temporal_stride = TEMPORAL_STRIDE

    def __init__(self, config: WanTokenizerConfig, autoencoder: Any) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.autoencoder = autoencoder.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(autoencoder.config.latents_mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(autoencoder.config.latents_std, dtype=torch.float32))
        self._convolutions = {
            side: sum(type(m).__name__ == "WanCausalConv3d" for m in autoencoder.get_submodule(side).modules())
            for side in ("encoder", "decoder")
        }

    @staticmethod
    def of(files: WanFiles, dtype: torch.dtype = torch.float32) -> "WanTokenizer":
        """The autoencoder of a Wan folder.

        Raises:
            BadCheckpoint: if its weights are not whole.
        """
        from diffusers import AutoencoderKLWan

        config = WanTokenizerConfig(stride=files.spatial_stride, channels=int(files.vae["z_dim"]))
        return WanTokenizer(config, load_part(AutoencoderKLWan, files, "vae", dtype))

    # -- single pictures ------------------------------------------------------------------------------------------

    def to_latents(self, pictures: Tensor) -> Tensor:
        """Raw latents [n, channels, h, w] of pictures [n, 3, height, width] in [-1, 1], each a stream of its own."""
        return self._encoded(pictures[:, :, None], None)[0][:, :, 0]

    def to_pictures(self, latents: Tensor) -> Tensor:
        """Pictures [n, 3, height, width] of raw latents, each a stream of its own."""
        return self._decoded(latents[:, :, None], None)[0][:, :, 0]

    # -- streams --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode_on(self, videos: np.ndarray, state: CodecState | None = None) -> tuple[Tensor, CodecState]:
        """See `Tokenizer.encode_on`; whole chunks, of the first of which only the last frame is coded.

        Raises:
            BadVideo: if the frames are no whole chunks, or a side does not fit the stride.
        """
        self._check(videos)
        return self.encode_tensor(torch.from_numpy(np.ascontiguousarray(videos)), state)

    @torch.no_grad()
    def encode_tensor(self, videos: Tensor, state: CodecState | None = None) -> tuple[Tensor, CodecState]:
        """`encode_on` for a uint8 tensor on any device, unchecked."""
        state = state or CodecState()
        frames = videos if state.encoder is not None else videos[:, TEMPORAL_STRIDE - 1 :]
        raw, cache = self._encoded(_folded(frames.to(self.device).float() / 127.5 - 1), state.encoder)
        latents = self.normalise(_unfolded(raw, videos.shape[0]))
        waiting = latents if state.pending is None else torch.cat([state.pending, latents], dim=1)
        return latents, replace(state, encoder=cache, pending=waiting)

    @torch.no_grad()
    def decode_on(self, latents: Tensor, state: CodecState | None = None) -> tuple[np.ndarray, CodecState]:
        """See `Tokenizer.decode_on`; four frames for each latent frame, the very first of which repeats its only one."""
        cache = None if state is None else state.decoder
        if state is not None and state.pending is not None:
            _, cache = self._decoded(self._raw(state.pending), cache)
        begins = cache is None
        pictures, cache = self._decoded(self._raw(latents), cache)
        if begins:
            pictures = torch.cat([pictures[:, :, :1].expand(-1, -1, TEMPORAL_STRIDE - 1, -1, -1), pictures], dim=2)
        video = ((_unfolded(pictures, latents.shape[0]).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
        return video, CodecState(decoder=cache)

    def encode_video(self, video: np.ndarray) -> Tensor:
        """Latents [L, C, channels, h, w] of a video [T, C, 3, height, width] of whole chunks."""
        return self.encode_on(video[None])[0][0]

    def decode_video(self, latents: Tensor) -> np.ndarray:
        """Video [4 L, C, 3, height, width] of latents [L, C, channels, h, w]."""
        return self.decode_on(latents[None])[0][0]

    def _check(self, videos: np.ndarray) -> None:
        stride, shape = self.config.stride, videos.shape
        if (
            videos.dtype != np.uint8
            or len(shape) != 6
            or shape[1] % TEMPORAL_STRIDE
            or shape[4] % stride
            or shape[5] % stride
        ):
            raise BadVideo(
                f"videos are {videos.dtype} {shape}; the autoencoder needs uint8 [batch, time, camera, 3, height, width] with "
                f"times that are multiples of {TEMPORAL_STRIDE} and sides that are multiples of {stride}. Cut and resize them."
            )

    def _raw(self, latents: Tensor) -> Tensor:
        return _folded(latents.float().to(self.device) * self.std[:, None, None] + self.mean[:, None, None])

    # -- diffusers' layers ----------------------------------------------------------------------------------------

    def _encoded(self, pictures: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """Raw latents (the mode of their distribution) of pictures [n, 3, T, height, width]; T is 1 + 4 k at the start."""
        from diffusers.models.autoencoders.autoencoder_kl_wan import patchify

        x = pictures.to(self._dtype)
        if self.autoencoder.config.patch_size is not None:
            x = patchify(x, patch_size=self.autoencoder.config.patch_size)
        parts = [x] if cache is not None else [x[:, :, :1], x[:, :, 1:]]
        kept = list(cache) if cache is not None else [None] * self._convolutions["encoder"]
        pieces = [piece for part in parts if part.shape[2] for piece in _pieces(part)]
        moments = [self.autoencoder.encoder(piece, feat_cache=kept, feat_idx=[0]) for piece in pieces]
        mode = self.autoencoder.quant_conv(torch.cat(moments, dim=2)).chunk(2, dim=1)[0]
        return mode.float(), tuple(kept)

    def _decoded(self, raw: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """Pictures [n, 3, T, height, width] of raw latents [n, channels, L, h, w]; the first latent gives one picture."""
        from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

        x = self.autoencoder.post_quant_conv(raw.to(self._dtype))
        kept = list(cache) if cache is not None else [None] * self._convolutions["decoder"]
        pictures = [
            self.autoencoder.decoder(
                x[:, :, i : i + 1], feat_cache=kept, feat_idx=[0], first_chunk=cache is None and i == 0
            )
            for i in range(x.shape[2])
        ]
        whole = torch.cat(pictures, dim=2)
        if self.autoencoder.config.patch_size is not None:
            whole = unpatchify(whole, patch_size=self.autoencoder.config.patch_size)
        return whole.float(), tuple(kept)

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.autoencoder.quant_conv.weight.dtype
        return dtype


def _pieces(x: Tensor) -> tuple[Tensor, ...]:
    return x.split(TEMPORAL_STRIDE, dim=2)


def _folded(x: Tensor) -> Tensor:
    """[B, T, C, channels, h, w] to [B C, channels, T, h, w]: every camera is a stream."""
    return x.transpose(1, 2).flatten(0, 1).transpose(1, 2)


def _unfolded(x: Tensor, batch: int) -> Tensor:
    """The inverse of `_folded`."""
    return x.transpose(1, 2).unflatten(0, (batch, -1)).transpose(1, 2)
