"""`town-r2p1d`: a small R(2+1)D trained on clips of the town, so that scores work with no download.

A tokenizer's own features flatter its reconstructions (encoding them again gives nearly the same latents). This network
shares nothing with any world model: `benchmarks/train_town_features.py` trains it on true town frames alone to read
motion, decisions, weather, road users and known damage from clips of one camera. Every number carries its name and hash,
and none is a plain FID or FVD.

Source: the factorised blocks are those of Tran et al. 2018 ('A Closer Look at Spatiotemporal Convolutions'); own code,
own widths. Legend of shapes: n clips, t frames, h rows, w columns.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from worldmodel.checkpoints import check_tensors, content_hash, load_folder, save_folder
from worldmodel.errors import BadCheckpoint
from worldmodel.geometry import Array

KIND = "detour-town-r2p1d"
SHIPPED = Path(__file__).resolve().parent.parent.parent / "assets" / "features"
HEIGHT_PX, WIDTH_PX = 64, 128
FEWEST_FRAMES = 8
STEM, MIDDLE, DEEP, WIDTH = 24, 64, 112, 160  # channels after each halving of the picture
BATCH_FRAMES = 128
CHANGE = 3.0  # how much louder than the picture its change since the frame before is told


class Factorised(nn.Module):
    """A convolution over space, then one over time; each with its norm. At both ends of the clip its frame goes on."""

    def __init__(self, inputs: int, outputs: int, *, size: int = 3, stride: int = 1, time_stride: int = 1) -> None:
        super().__init__()
        self.space = nn.Conv3d(
            inputs, outputs, (1, size, size), (1, stride, stride), (0, size // 2, size // 2), bias=False
        )
        self.space_norm = nn.BatchNorm3d(outputs)
        self.time = nn.Conv3d(outputs, outputs, (3, 1, 1), (time_stride, 1, 1), bias=False)
        self.time_norm = nn.BatchNorm3d(outputs)

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n d s i j"]:
        """A single frame is seen as a clip that stands still."""
        x = functional.relu(self.space_norm(self.space(x)), inplace=True)
        x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
        joined: Tensor = self.time_norm(self.time(x))
        return joined


class TownR2p1d(nn.Module):
    """Four halvings of the picture and two of time; one block adds to what it is given."""

    clip_mean: Tensor
    clip_spread: Tensor
    picture_mean: Tensor
    picture_spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = Factorised(6, STEM, size=5, stride=2)
        self.middle = Factorised(STEM, MIDDLE, stride=2)
        self.deep = Factorised(MIDDLE, DEEP, stride=2, time_stride=2)
        self.deep_more = Factorised(DEEP, DEEP)
        self.last = Factorised(DEEP, WIDTH, stride=2, time_stride=2)
        for name in ("clip_mean", "picture_mean"):
            self.register_buffer(name, torch.zeros(WIDTH))
        for name in ("clip_spread", "picture_spread"):
            self.register_buffer(name, torch.ones(WIDTH))

    def forward(self, clips: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 160 t/4 h/16 w/16"]:
        """Maps of clips in [-1, 1]; the network is told each frame beside its change since the frame before."""
        before = torch.cat([clips[:, :, :1], clips[:, :, :-1]], dim=2)
        x = functional.relu(self.stem(torch.cat([clips, CHANGE * (clips - before)], dim=1)), inplace=True)
        x = functional.relu(self.middle(x), inplace=True)
        x = functional.relu(self.deep(x), inplace=True)
        x = functional.relu(x + self.deep_more(x))
        return functional.relu(self.last(x))

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over all weights."""
        return content_hash(dict(self.state_dict()))

    def save_pretrained(self, folder: Path | str, card: str, *, overwrite: bool = False) -> None:
        """Write config, float32 weights and a card."""
        config = {"kind": KIND, "height_px": HEIGHT_PX, "width_px": WIDTH_PX, "fewest_frames": FEWEST_FRAMES}
        save_folder(Path(folder), dict(self.state_dict()), config, card, overwrite=overwrite)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "TownR2p1d":
        """Read the network's folder.

        Raises:
            BadCheckpoint: if it is not there or does not fit.
        """
        data, tensors = load_folder(folder, None)
        if data.get("kind") != KIND:
            raise BadCheckpoint(
                f"'{folder}' is no town-r2p1d (its config.json says kind '{data.get('kind')}'). Give a folder that "
                "benchmarks/train_town_features.py wrote, or none for the shipped one."
            )
        with torch.device("meta"):  # nothing is drawn for weights that are replaced at once
            network = cls()
        check_tensors(tensors, {name: value.shape for name, value in network.state_dict().items()}, where=str(folder))
        network.load_state_dict(tensors, assign=True)
        return network.eval().requires_grad_(False)


def fitted(frames: UInt8[Array, "n 3 h w"]) -> Float[Tensor, "n 3 64 128"]:
    """Frames in [-1, 1] at the network's size: area-averaged when larger, bilinear when smaller."""
    pictures = torch.from_numpy(np.array(frames)).float() / 127.5 - 1
    height, width = pictures.shape[2:]
    if (height, width) == (HEIGHT_PX, WIDTH_PX):
        return pictures
    mode = "area" if height >= HEIGHT_PX and width >= WIDTH_PX else "bilinear"
    return functional.interpolate(pictures, size=(HEIGHT_PX, WIDTH_PX), mode=mode)


def town_r2p1d(folder: Path | None = None, *, device: torch.device | str = "cpu") -> FeatureNetworks:
    """The town's own feature networks, named `town-r2p1d-<hash8>`.

    Clips [n, time >= 8, 3, h, w] go through whole, however long; pictures as clips that stand still. Features: the mean of
    the last map over time and space, [160], each in standard deviations of true town clips (pictures: of true pictures).

    Args:
        folder: Written by `benchmarks/train_town_features.py`; None for the one that ships in `assets/features`.
    Raises:
        BadCheckpoint: as `TownR2p1d.from_pretrained`.
    """
    network = TownR2p1d.from_pretrained(SHIPPED if folder is None else folder)
    reader = _Reader(network=network.to(device).to(memory_format=torch.channels_last_3d), device=torch.device(device))
    common: dict[str, Any] = {
        "name": f"town-r2p1d-{network.hash[:8]}",
        "file_hash": network.hash,
        "value_range": "[-1, 1]",
        "resize": f"to {WIDTH_PX}x{HEIGHT_PX}, area average (bilinear if smaller)",
        "width": WIDTH,
    }
    return FeatureNetworks(
        pictures=FeatureNetwork(
            **common, frames_needed=1, layer="last map of a still clip, mean, standardised", compute=reader.pictures
        ),
        clips=FeatureNetwork(
            **common, frames_needed=FEWEST_FRAMES, layer="last map, mean, standardised", compute=reader.clips
        ),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reader:
    network: TownR2p1d
    device: torch.device

    def pictures(self, frames: Array) -> Array:
        pooled = self._pooled(frames[:, None], BATCH_FRAMES)
        return _rows((pooled - self.network.picture_mean) / self.network.picture_spread)

    def clips(self, videos: Array) -> Array:
        pooled = self._pooled(videos, max(1, BATCH_FRAMES // videos.shape[1]))
        return _rows((pooled - self.network.clip_mean) / self.network.clip_spread)

    @torch.inference_mode()
    def _pooled(self, videos: Array, batch: int) -> Tensor:
        rows = [self.network(self._input(videos[i : i + batch])) for i in range(0, len(videos), batch)]
        return torch.cat([maps.mean(dim=(2, 3, 4)) for maps in rows])

    def _input(self, videos: Array) -> Tensor:
        frames = fitted(videos.reshape(-1, *videos.shape[2:])).to(self.device)
        clips = frames.unflatten(0, videos.shape[:2]).transpose(1, 2)
        return clips.contiguous(memory_format=torch.channels_last_3d)


def _rows(values: Tensor) -> Array:
    return np.asarray(values.double().cpu().numpy())
