"""A unit at a glance: what was seen last and what was imagined, in a row of small pictures."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from studio.jobs.work.sinks import Piece
from studio.overlays import COLORS, labelled, with_path
from worldmodel.geometry import Array, Rig
from worldmodel.plans import Observation, Plan

TILE_PX = 192  # width of one picture
IMAGINED = 4  # pictures of the future, evenly spaced; the last one is the end
QUALITY = 88


@dataclass(eq=False, kw_only=True)
class Poster:
    """Collects the pictures while they are made; a `studio.jobs.work.sinks.Sink`, written once it is joined.

    Attributes:
        rig: The cameras; the one that looks ahead is shown.
        frames: How many will be imagined.
        frequency_hz: Of them.
        tiles: Small pictures by frame number; those of what was seen are negative.
        name: Of its parts.
    """

    rig: Rig
    frames: int
    frequency_hz: float
    tiles: dict[int, UInt8[Array, "3 height width"]] = field(default_factory=dict)
    name: str = "poster.npz"

    @property
    def wanted(self) -> tuple[int, ...]:
        """Numbers of the imagined frames that are shown."""
        if not self.frames:
            return ()
        places = np.linspace(0, self.frames, IMAGINED + 1)[1:]
        return tuple(sorted({max(0, round(place) - 1) for place in places.tolist()}))

    @property
    def tile_px(self) -> tuple[int, int]:
        """Width and height of each picture."""
        return TILE_PX, max(2, round(TILE_PX * self.rig.height_px / self.rig.width_px))

    def see(self, observation: Observation, *, edited: bool = False, plans: Mapping[str, Plan] | None = None) -> None:
        """The newest frame, before anything is imagined; with the paths of plans, if there are any."""
        ahead = _ahead(observation.rig)
        picture, camera = observation.video[-1, ahead], observation.rig.cameras[ahead]
        tile, small = _small(picture, self.tile_px), camera.scaled(*self.tile_px)
        for plan in (plans or {}).values():
            tile = with_path(tile, small, plan.trajectory.poses[:, :2], COLORS["after" if edited else "before"])
        self.tiles[-1 - len([n for n in self.tiles if n < 0])] = labelled(tile, "edited" if edited else "seen")

    @contextmanager
    def writing(self, part: Path) -> Iterator[Callable[[Piece], None]]:
        """The pictures of one part; see `studio.jobs.work.sinks.Sink`."""
        found: dict[str, Array] = {}
        yield lambda piece: found.update(self._of(piece))
        with part.open("wb") as file:
            np.savez(file, **found)  # type: ignore[arg-type]  # names are numbers, never its own options

    def join(self, parts: Iterable[Path]) -> None:
        """Collect the pictures of all parts."""
        for part in parts:
            with np.load(part, allow_pickle=False) as found:
                self.tiles |= {int(name): found[name] for name in found.files}

    def _of(self, piece: Piece) -> Iterator[tuple[str, Array]]:
        for number in self.wanted:
            if piece.first <= number < piece.first + len(piece.video):
                picture = _small(piece.video[number - piece.first, _ahead(self.rig)], self.tile_px)
                yield str(number), labelled(picture, f"imagined {(number + 1) / self.frequency_hz:.1f} s")

    def write(self, path: Path) -> None:
        """A JPEG of all pictures from left to right, the seen ones first."""
        from PIL import Image

        seen = sorted((number for number in self.tiles if number < 0), reverse=True)
        order = [*seen, *sorted(number for number in self.tiles if number >= 0)]
        row = np.concatenate([self.tiles[number] for number in order], axis=2)
        Image.fromarray(np.ascontiguousarray(row.transpose(1, 2, 0))).save(path, "JPEG", quality=QUALITY)


def _ahead(rig: Rig) -> int:
    """The camera that looks ahead most."""
    return int(np.argmax([camera.ego_from_camera[0, 2] for camera in rig.cameras]))


def _small(picture: UInt8[Array, "3 h w"], size_px: tuple[int, int]) -> UInt8[Array, "3 height width"]:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    return np.asarray(image.resize(size_px, Image.Resampling.BILINEAR)).transpose(2, 0, 1)
