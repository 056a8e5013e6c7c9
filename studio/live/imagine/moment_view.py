"""A moment before anything is imagined: what was recorded around it, from above, and what the driver was told."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from studio.live.imagine.drawn_paths import Waypoints, straight_on
from studio.live.imagine.pictures import Painter
from studio.live.imagine.recorded import Recorded
from studio.live.imagine.results import known_cars, known_layers
from studio.moments import Wish
from studio.web.components.birds_eye import scene
from studio.web.components.tiles import tiles_of
from studio.web.shelf import Choice
from worldmodel.geometry import Array
from worldmodel.io.lerobot import Dataset

PAST_S, FUTURE_S = 2.0, 4.0
ABOUT_HZ, MOST_WIDTH_PX = 8.0, 320  # enough to look at


@dataclass(frozen=True, eq=False, kw_only=True)
class MomentView:
    """What was recorded around a moment.

    Attributes:
        frames: Mosaics; the first is at `start_s` from now.
        rate_hz, start_s: Of the frames.
        alt: What they show.
        tiles: Where the cameras are in each frame.
        recorded: The recording.
    """

    frames: UInt8[Array, "n 3 height width"]
    rate_hz: float
    start_s: float
    alt: str
    tiles: list[dict[str, Any]]
    recorded: Recorded

    @property
    def told(self) -> str:
        """What the driver was told at that moment; '' for nothing."""
        return self.recorded.moment.observation().instruction

    def waypoints(self, seconds: float) -> Waypoints:
        """A path to begin drawing with: on as the car drives now."""
        seen = self.recorded.moment.observation()
        return straight_on(seconds, seen.speed_mps, seen.yaw_rate_radps)

    def from_above(self, waypoints: Waypoints = ()) -> dict[str, Any]:
        """History, what was driven and boxes, as the bird's-eye view takes it; with waypoints to drag."""
        clip, now = self.recorded.moment.clip, self.recorded.moment.now
        return scene(
            list(known_layers(self.recorded)),
            boxes=() if clip.boxes is None else clip.boxes[now],
            cars=list(known_cars(self.recorded, FUTURE_S)),
            waypoints=np.array(waypoints) if waypoints else None,
            title="Paths from above: history and recorded future",
        )


def recorded_around(choice: Choice) -> Recorded:
    """The recording around a moment, at a rate and size for looking at; needs no model.

    Raises:
        BadInput: as `studio.moments.find_moment`.
    """
    dataset = Dataset.open(choice.dataset)
    every = max(1, math.ceil(dataset.frequency_hz / ABOUT_HZ - 1e-6))
    rate, share = dataset.frequency_hz / every, min(1.0, MOST_WIDTH_PX / dataset.rig.width_px)
    size = round(dataset.rig.width_px * share), round(dataset.rig.height_px * share)
    wish = Wish(history=max(1, round(PAST_S * rate)), chunk=1, future_s=0.0, rate_hz=rate)
    return Recorded.around(choice.text, wish, size)


def moment_view(choice: Choice) -> MomentView:
    """What was recorded around a moment.

    Raises:
        BadInput: as `studio.moments.find_moment`.
    """
    recorded = recorded_around(choice)
    clip = recorded.moment.clip
    painter = Painter.of(clip.rig.scaled(*recorded.size_px))
    past = recorded.past(painter)
    after = recorded.follows(0, round(FUTURE_S * clip.frequency_hz))
    frames = np.concatenate([past, recorded.pictures(painter, after, 0)]) if len(after) else past
    return MomentView(
        frames=frames,
        rate_hz=clip.frequency_hz,
        start_s=-(len(past) - 1) / clip.frequency_hz,
        alt=f"Recorded drive '{clip.id}', {len(clip.rig)} cameras",
        tiles=tiles_of(painter.rig, painter.tile_px),
        recorded=recorded,
    )
