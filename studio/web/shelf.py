"""The recordings a visitor can choose from: clips of a dataset folder, their thumbnails and moments."""

import shlex
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from studio.overlays import grid_of, mosaic
from worldmodel.errors import BadDataset, BadRequest
from worldmodel.geometry import Array
from worldmodel.io.lerobot import Dataset

MAX_THUMBNAILS = 24
EARLIEST_S = 2.0  # a moment with as much past as the model uses, where the clip has it
FUTURE_S = 4.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A moment of a clip, as the widgets say it.

    Attributes:
        dataset: Folder.
        episode: Number from 0.
        at_s: Seconds from the clip's start; the newest frame that is seen.
    """

    dataset: str
    episode: int
    at_s: float

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, str) or not self.dataset.strip():
            raise BadDataset("no dataset is chosen. Type the folder of a LeRobot dataset, or use the clips that ship.")
        if not isinstance(self.episode, int):
            raise BadRequest("no clip is chosen. Choose one in the gallery.")
        if not isinstance(self.at_s, int | float):
            raise BadRequest("no moment is chosen. Move the slider 'Moment'.")

    @property
    def text(self) -> str:
        """DATASET:EPISODE@SECONDS, as every `detour` command reads it."""
        return f"{self.dataset}:{self.episode}@{self.at_s:g}"

    def quoted(self) -> str:
        """`text` for a shell."""
        return shlex.quote(self.text)


@dataclass(frozen=True, kw_only=True)
class ClipCard:
    """One clip in the gallery: thumbnail uint8 [height, width, 3] and caption."""

    thumbnail: UInt8[Array, "height width 3"]
    caption: str


def clip_names(dataset: Dataset) -> list[tuple[str, int]]:
    """(shown name, episode) of every clip."""
    return [
        (f"{i} · {name} · {dataset.length(i) / dataset.frequency_hz:.0f} s", i) for i, name in enumerate(dataset.ids)
    ]


def clip_cards(dataset: Dataset) -> list[ClipCard]:
    """The first MAX_THUMBNAILS clips: the middle frame of the camera that looks ahead, and the clip's name."""
    row = grid_of(dataset.rig)[0]
    ahead = row[len(row) // 2]
    cards = []
    for i, name in enumerate(dataset.ids[:MAX_THUMBNAILS]):
        picture = dataset.frames(i, [dataset.length(i) // 2])[0, ahead]
        cards.append(ClipCard(thumbnail=np.ascontiguousarray(picture.transpose(1, 2, 0)), caption=f"{i} · {name}"))
    return cards


def moment_range(dataset: Dataset, episode: int) -> tuple[float, float, float]:
    """First and last moment that can be chosen, and the one to begin with, seconds."""
    period = 1 / dataset.frequency_hz
    last = (dataset.length(episode) - 1) * period
    return 0.0, last, min(last, max(min(EARLIEST_S, last), last - FUTURE_S))


def moment_picture(dataset: Dataset, choice: Choice) -> UInt8[Array, "3 height width"]:
    """All cameras at the chosen moment."""
    frame = min(round(choice.at_s * dataset.frequency_hz), dataset.length(choice.episode) - 1)
    video = dataset.frames(choice.episode, [frame])
    picture: UInt8[Array, "3 height width"] = mosaic(video, dataset.rig, title="recorded")[0]
    return picture


def instruction_of(dataset: Dataset, choice: Choice) -> str:
    """What the driver was told at the chosen moment; '' for nothing."""
    frame = min(round(choice.at_s * dataset.frequency_hz), dataset.length(choice.episode) - 1)
    clip = dataset.clip(choice.episode, frame / dataset.frequency_hz, 1 / dataset.frequency_hz)
    return clip.instruction_at(0.0)
