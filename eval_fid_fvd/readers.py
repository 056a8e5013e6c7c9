"""Readers: small networks that read from pixels what a model was told, and share nothing with any world model.

They are trained on true town frames alone (`benchmarks/train_readers.py`) with blurred and noisy copies, so that they do
not mistake a soft picture for another motion, and ship in `assets/readers`. What they reach on held-out true frames is part
of their config and belongs beside every number that they read.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.crops import CUT_PX, Sight, cut_outs
from eval_fid_fvd.matching import FEATURES, matches
from worldmodel.checkpoints import check_tensors, content_hash, load_folder, save_folder
from worldmodel.errors import BadCheckpoint, BadVideo, ClipTooShort
from worldmodel.geometry import Array, Motion, wrap_angle
from worldmodel.pictures import resize_video
from worldmodel.town.scene import WEATHERS

KIND = "detour-readers"
FRONT = 1  # of the three cameras
SIDES = 3
BANDS, PER_BAND = 8, 13


@dataclass(frozen=True, kw_only=True)
class ReadersConfig:
    """What the readers were made for, and how well they read.

    Attributes:
        height_px, width_px: Of the pictures; others are resized first.
        frequency_hz: Rate of the training frames; steps are read as metres and radians per frame.
        hidden: Widths of the motion reader's layers.
        accuracy: What was reached on held-out true frames, by name.
    """

    height_px: int = 64
    width_px: int = 128
    frequency_hz: float = 8.0
    hidden: tuple[int, int] = (192, 96)
    accuracy: dict[str, float] = field(default_factory=dict)


class MotionReader(nn.Module):
    """Steps from pairs of frames: matched patches (`matching.py`) of three cameras through three layers."""

    mean: Tensor
    spread: Tensor
    scale: Tensor

    def __init__(self, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(SIDES * FEATURES))
        self.register_buffer("spread", torch.ones(SIDES * FEATURES))
        self.register_buffer("scale", torch.ones(2, 3))  # mean and spread of the steps
        self.layers = nn.Sequential(
            nn.Linear(SIDES * FEATURES, hidden[0]),
            nn.ReLU(),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
            nn.Linear(hidden[1], 3),
        )

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n 3"]:
        """Forward m, left m, yaw rad per frame."""
        steps: Tensor = self.layers((features - self.mean) / self.spread)
        return steps * self.scale[1] + self.scale[0]


class WeatherReader(nn.Module):
    """Scores of `WEATHERS` from front pictures: colours, contrasts and edges of BANDS strips through two layers."""

    mean: Tensor
    spread: Tensor

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(BANDS * PER_BAND))
        self.register_buffer("spread", torch.ones(BANDS * PER_BAND))
        self.layers = nn.Sequential(
            nn.Linear(BANDS * PER_BAND, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, len(WEATHERS)),
        )  # fmt: skip

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n weathers"]:
        """Unnormalised log probabilities."""
        scores: Tensor = self.layers((features - self.mean) / self.spread)
        return scores


def bands(pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
    """What a picture in [0, 1] looks like, strip by strip from top to bottom.

    Per strip the mean and spread of each colour, how colourful it is, mean edges across, down and along both diagonals (rain
    falls aslant), and the mean and largest distance from its surroundings (flakes and drops).
    """
    grey = pictures.mean(1, keepdim=True)
    edges = [
        functional.pad((grey[..., rows, 1:] - grey[..., other, :-1]).abs(), (0, 1, 0, 1))
        for rows, other in (
            (slice(1, None), slice(1, None)),
            (slice(1, None), slice(0, -1)),
            (slice(0, -1), slice(1, None)),
        )
    ]
    down = functional.pad((grey[..., 1:, :] - grey[..., :-1, :]).abs(), (0, 0, 0, 1))
    apart = (grey - functional.avg_pool2d(grey, 5, 1, 2, count_include_pad=False)).abs()
    colourful = pictures.amax(1, keepdim=True) - pictures.amin(1, keepdim=True)
    maps = torch.cat([pictures, colourful, *edges, down, apart], dim=1)
    strips = maps.unflatten(2, (BANDS, -1)).transpose(1, 2).flatten(3)  # n, band, map, pixels
    spread = strips[:, :, :3].std(3)
    return torch.cat([strips.mean(3), spread, strips[:, :, -1:].amax(3)], dim=2).flatten(1)


class CutOutReader(nn.Module):
    """One yes-or-no question about square cut-outs, [n, 3, CUT_PX, CUT_PX]."""

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 48)) -> None:
        super().__init__()
        a, b, c = widths
        self.layers = nn.Sequential(
            nn.Conv2d(3, a, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(a, b, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(b, c, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(c * (CUT_PX // 8) ** 2, 48),
            nn.ReLU(),
            nn.Linear(48, 1),
        )

    def forward(self, pictures: Float[Tensor, "n 3 s s"]) -> Float[Tensor, " n"]:
        """Log odds of yes."""
        odds: Tensor = self.layers(pictures - 0.5)
        return odds[:, 0]


class Readers(nn.Module):
    """All readers: motion, weather, brake lights, and whether a vehicle is where one should be."""

    def __init__(self, config: ReadersConfig) -> None:
        super().__init__()
        self.config = config
        self.motion = MotionReader(config.hidden)
        self.weather = WeatherReader()
        self.brakes = CutOutReader()
        self.vehicles = CutOutReader()
        self.eval()

    # -- on disk ----------------------------------------------------------------------------------------------

    def save_pretrained(self, folder: Path | str, card: str, *, overwrite: bool = False) -> None:
        """Write config, float16 weights and a card."""
        config = {"kind": KIND, **asdict(self.config)}
        save_folder(Path(folder), dict(self.state_dict()), config, card, dtype=torch.float16, overwrite=overwrite)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "Readers":
        """Read the readers' folder.

        Raises:
            BadCheckpoint: if it is not there or does not fit.
        """
        data, tensors = load_folder(folder, None)
        if data.pop("kind", None) != KIND:
            raise BadCheckpoint(
                f"'{folder}' holds no readers (its config.json has another kind). Give `assets/readers`."
            )
        try:
            readers = cls(ReadersConfig(**{**data, "hidden": tuple(data["hidden"])}))
        except (KeyError, TypeError) as error:
            raise BadCheckpoint(
                f"config.json in '{folder}' does not fit this version: {error}. Train again."
            ) from error
        state = readers.state_dict()
        check_tensors(tensors, {name: tuple(value.shape) for name, value in state.items()}, where=str(folder))
        readers.load_state_dict({name: value.float() for name, value in tensors.items()})
        return readers

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over all weights."""
        return content_hash(dict(self.state_dict()))

    # -- reading ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def read_motion(self, video: UInt8[Array, "time camera 3 h w"], frequency_hz: float) -> Motion:
        """The steps between consecutive frames of the three town cameras, left to right.

        Raises:
            BadVideo: for another rate or number of cameras.
            ClipTooShort: for a single frame.
        """
        self._check(video, frequency_hz)
        if len(video) < 2:
            raise ClipTooShort("a single frame was given, but motion is read from pairs. Give at least two frames.")
        steps = self.motion(matches(self._fitted(video))).double().numpy()
        steps[:, 2] = wrap_angle(steps[:, 2])
        return Motion(deltas=steps, period_s=1 / frequency_hz)

    @torch.no_grad()
    def weather_scores(self, video: UInt8[Array, "time camera 3 h w"]) -> Float[Array, " weathers"]:
        """Probability of each of `WEATHERS`, from the front camera, mean over the frames."""
        self._check(video, self.config.frequency_hz)
        pictures = torch.from_numpy(np.array(self._fitted(video)[:, FRONT])).float() / 255
        return self.weather(bands(pictures)).softmax(1).mean(0).double().numpy()

    def read_weather(self, video: UInt8[Array, "time camera 3 h w"]) -> str:
        """The likeliest of `WEATHERS`."""
        return WEATHERS[int(self.weather_scores(video).argmax())]

    @torch.no_grad()
    def brake_lights(self, pictures: UInt8[Array, "n 3 h w"], places: Sequence[Sight]) -> Float[Array, " n"]:
        """Probability that the vehicle in each picture's place, seen from behind, shows brake lights."""
        return self.brakes(cut_outs(pictures, places)).sigmoid().double().numpy()

    @torch.no_grad()
    def vehicle_there(self, pictures: UInt8[Array, "n 3 h w"], places: Sequence[Sight]) -> Float[Array, " n"]:
        """Probability that each picture shows a vehicle in its place."""
        return self.vehicles(cut_outs(pictures, places)).sigmoid().double().numpy()

    def _check(self, video: Array, frequency_hz: float) -> None:
        if video.dtype != np.uint8 or video.ndim != 5 or video.shape[1] != SIDES or video.shape[2] != 3:
            raise BadVideo(
                f"the readers got {video.dtype} {video.shape}; they read uint8 [time, {SIDES} cameras, 3, h, w] of the town's "
                "rig with three cameras. Use that rig."
            )
        if abs(frequency_hz / self.config.frequency_hz - 1) > 0.01:
            raise BadVideo(
                f"the frames come at {frequency_hz:g} Hz, but the readers know {self.config.frequency_hz:g} Hz. "
                "Resample the video, or train readers at this rate."
            )

    def _fitted(self, video: Array) -> Array:
        return resize_video(video, self.config.width_px, self.config.height_px)
