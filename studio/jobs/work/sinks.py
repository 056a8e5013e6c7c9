"""Where the chunks of a rollout go: videos and latents on disk, written in parts so that no horizon has to fit in memory."""

import json
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from studio.overlays import mosaic, upscaled
from studio.runs import NOTICE
from worldmodel.geometry import Array, Rig
from worldmodel.io.video_writer import join_videos, video_writer

IMAGINED = f"imagined by Detour. {NOTICE}"  # the comment in every video


@dataclass(frozen=True, eq=False, kw_only=True)
class Piece:
    """One chunk of one sample, as sinks get it.

    Attributes:
        first: Number of its first frame; 0 is the one after now.
        video: RGB uint8 [time, camera, 3, height, width]; of the last chunk only what lies within the horizon.
        latents: What it was decoded from, normalised, float32 [latent frame, camera, channel, h, w].
        poses: Of the ego at each frame, [time, 3], in the ego frame of now.
        text: What steered it.
    """

    first: int
    video: UInt8[Array, "time camera 3 height width"]
    latents: Float[Tensor, "frame camera channel h w"]
    poses: Float[Array, "time 3"]
    text: str


class Sink(Protocol):
    """Takes the chunks of one sample in order and makes an output of them.

    A rollout is cut into segments. In each the sink writes one part: a file that is all it keeps of that segment, for the
    next one may be made by another process. At the end the parts are joined.
    """

    @property
    def name(self) -> str:
        """Of its parts: a plain file name with its ending, unlike those of the sample's other sinks."""

    def writing(self, part: Path) -> AbstractContextManager[Callable[[Piece], None]]:
        """Write one part: the block gets the function that takes its chunks; the file is complete when it has ended well."""

    def join(self, parts: Sequence[Path]) -> None:
        """Make the output of all parts, in order; they are not changed."""


# -- videos -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class VideoSink:
    """One mp4; its parts are joined without encoding them again.

    Attributes:
        name: Of its parts.
        out: The video that is made.
        frequency_hz: Frames per second.
        picture: From cameras' pictures [time, camera, 3, h, w] to those of the video [time, 3, height, width].
        comment: In the file's metadata.
    """

    name: str
    out: Path
    frequency_hz: float
    picture: Callable[[Array], Array]
    comment: str = IMAGINED

    @contextmanager
    def writing(self, part: Path) -> Iterator[Callable[[Piece], None]]:
        """See `Sink.writing`."""
        with video_writer(part, self.frequency_hz, comment=self.comment) as add:
            yield lambda piece: add(self.picture(piece.video))

    def join(self, parts: Sequence[Path]) -> None:
        """See `Sink.join`; a video of one part is that part."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if len(parts) == 1:
            shutil.copyfile(parts[0], self.out)
        else:
            join_videos(parts, self.out, comment=self.comment)


def mosaic_sink(out: Path, rig: Rig, frequency_hz: float, tile_width_px: int = 320) -> VideoSink:
    """All cameras side by side, as `detour imagine` shows them; smaller pictures are enlarged to a width."""
    return VideoSink(
        name="mosaic.mp4",
        out=out,
        frequency_hz=frequency_hz,
        picture=lambda video: mosaic(video, rig, title="imagined", tile_width_px=tile_width_px),
    )


def camera_sink(out: Path, camera: int, frequency_hz: float) -> VideoSink:
    """One camera by its number, at the model's size; odd sides grow by a pixel, as H.264 wants them even."""

    def picture(video: Array) -> Array:
        height, width = (max(2, side + side % 2) for side in video.shape[-2:])
        return upscaled(video[:, camera], width, height)

    return VideoSink(name=f"camera-{camera}.mp4", out=out, frequency_hz=frequency_hz, picture=picture)


# -- latents ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LatentsSink:
    """All latents as one tensor 'latents', float32 [frame, camera, channel, h, w], in a safetensors file.

    Attributes:
        out: The file that is made.
        facts: Strings for its header, such as the tokenizer's hash.
        name: Of its parts.
    """

    out: Path
    facts: Mapping[str, str] = field(default_factory=dict)
    name: str = "latents.npy"

    @contextmanager
    def writing(self, part: Path) -> Iterator[Callable[[Piece], None]]:
        """See `Sink.writing`."""
        pieces: list[Array] = []
        yield lambda piece: pieces.append(piece.latents.numpy())
        with part.open("wb") as file:
            np.save(file, np.concatenate(pieces).astype("<f4"), allow_pickle=False)

    def join(self, parts: Sequence[Path]) -> None:
        """See `Sink.join`; one part is in memory at a time."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        shapes = [np.load(part, mmap_mode="r", allow_pickle=False).shape for part in parts]
        whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        with self.out.open("wb") as file:
            file.write(_header(whole, self.facts))
            for part in parts:
                file.write(np.load(part, allow_pickle=False).tobytes())


def _header(shape: tuple[int, ...], facts: Mapping[str, str]) -> bytes:
    """The beginning of a safetensors file with one float32 tensor (the library writes only what fits in memory)."""
    entry = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * int(np.prod(shape, dtype=np.int64))]}
    text = json.dumps({"__metadata__": {"imagined": "true", **facts}, "latents": entry}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
