"""A feature network for town frames that shares nothing with any world model: what FID and FVD stand on where no published
weights are at hand.

A tokenizer's own features flatter its reconstructions (encoding them again gives nearly the same latents) and so make the
floor meaningless. This network is trained on real town frames alone (`benchmarks/train_town_features.py`): where road users
are, which situation and camera it is, how blurred or noisy a picture was made, and how the car moved between two frames.
Its numbers are printed with its name and hash, and are never plain FID or FVD.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from worldmodel.checkpoints import check_tensors, content_hash, load_folder, save_folder
from worldmodel.errors import BadCheckpoint
from worldmodel.geometry import Array

KIND = "detour-town-features"
HEIGHT_PX, WIDTH_PX = 64, 128
FINE, COARSE, PAIRS = 32, 96, 48  # channels after the second and the last convolution, and of two frames together
BATCH = 48


class TownNetwork(nn.Module):
    """Four convolutions over a picture, one more over the maps of two consecutive pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            nn.Conv2d(3, 24, 5, 2, 2), nn.GELU(), nn.Conv2d(24, FINE, 3, 2, 1), nn.BatchNorm2d(FINE), nn.GELU()
        )
        self.coarse = nn.Sequential(
            nn.Conv2d(FINE, 64, 3, 1, 1), nn.GELU(), nn.Conv2d(64, COARSE, 3, 2, 1), nn.BatchNorm2d(COARSE), nn.GELU()
        )
        self.pair = nn.Sequential(nn.Conv2d(2 * COARSE, PAIRS, 3, 1, 1), nn.BatchNorm2d(PAIRS), nn.GELU())

    def maps(self, pictures: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor]:
        """Fine [n, 32, h/4, w/4] and coarse maps [n, 96, h/8, w/8] of pictures in [-1, 1]."""
        fine = self.fine(pictures)
        return fine, self.coarse(fine)

    def pair_maps(self, before: Tensor, after: Tensor) -> Tensor:
        """Maps [n, 48, h/8, w/8] of the coarse maps of two frames."""
        joined: Tensor = self.pair(torch.cat([before, after], dim=1))
        return joined

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over all weights."""
        return content_hash(dict(self.state_dict()))

    def save_pretrained(self, folder: Path | str, card: str, *, overwrite: bool = False) -> None:
        """Write config, float32 weights and a card."""
        config = {"kind": KIND, "height_px": HEIGHT_PX, "width_px": WIDTH_PX}
        save_folder(Path(folder), dict(self.state_dict()), config, card, overwrite=overwrite)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "TownNetwork":
        """Read the network's folder.

        Raises:
            BadCheckpoint: if it is not there or does not fit.
        """
        data, tensors = load_folder(folder, None)
        if data.get("kind") != KIND:
            raise BadCheckpoint(
                f"'{folder}' is no town feature network (its config.json has another kind). Give `assets/features`."
            )
        network = cls().eval()
        state = network.state_dict()
        check_tensors(tensors, {name: value.shape for name, value in state.items()}, where=str(folder))
        network.load_state_dict(tensors)
        return network


def fitted(frames: UInt8[Array, "n 3 h w"]) -> Float[Tensor, "n 3 64 128"]:
    """Frames in [-1, 1] at the network's size: area-averaged when larger, bilinear when smaller."""
    pictures = torch.from_numpy(np.array(frames)).float() / 127.5 - 1
    height, width = pictures.shape[2:]
    if (height, width) == (HEIGHT_PX, WIDTH_PX):
        return pictures
    mode = "area" if height >= HEIGHT_PX and width >= WIDTH_PX else "bilinear"
    return functional.interpolate(pictures, size=(HEIGHT_PX, WIDTH_PX), mode=mode)


def town_features(folder: Path | str) -> FeatureNetworks:
    """Features of the town network, named `town-<hash8>`.

    Pictures: spatial means of the fine and coarse maps, [128]. Clips: means over space and time of the pairs' maps, their
    standard deviation over time, and the mean over time of the coarse maps, [192].

    Raises:
        BadCheckpoint: as `TownNetwork.from_pretrained`.
    """
    network = TownNetwork.from_pretrained(folder)
    reader = _Reader(network=network)
    common = {
        "name": f"town-{network.hash[:8]}",
        "file_hash": network.hash,
        "value_range": "[-1, 1]",
        "resize": f"to {WIDTH_PX}x{HEIGHT_PX}, area average (bilinear if smaller)",
    }
    pictures = FeatureNetwork(
        **common, frames_needed=1, layer="spatial mean of two maps", width=FINE + COARSE, compute=reader.pictures
    )
    clips = FeatureNetwork(
        **common,
        frames_needed=2,
        layer="pairs of frames: mean, std over time; mean of the coarse map",
        width=2 * PAIRS + COARSE,
        compute=lambda videos: np.stack([reader.clip(video) for video in videos]),
    )
    return FeatureNetworks(pictures=pictures, clips=clips)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reader:
    network: TownNetwork

    @torch.inference_mode()
    def pictures(self, frames: Array) -> Array:
        rows = []
        for start in range(0, len(frames), BATCH):
            maps = self.network.maps(fitted(frames[start : start + BATCH]))
            rows.append(torch.cat([one.mean(dim=(2, 3)) for one in maps], dim=1))
        return torch.cat(rows).double().numpy()

    @torch.inference_mode()
    def clip(self, video: Array) -> Array:
        coarse = torch.cat([self.network.maps(fitted(video[i : i + BATCH]))[1] for i in range(0, len(video), BATCH)])
        pairs = self.network.pair_maps(coarse[:-1], coarse[1:]).mean(dim=(2, 3))
        parts = [pairs.mean(0), pairs.std(0, correction=0), coarse.mean(dim=(0, 2, 3))]
        return torch.cat(parts).double().numpy()
