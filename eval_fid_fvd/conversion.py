"""Clips brought to one size, one rate and one order of cameras before they are scored; what changes them is on the card."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from eval_fid_fvd.picture_steps import PictureStep
from eval_fid_fvd.sources import ClipSource
from worldmodel.errors import BadRequest

Array = np.ndarray
RATE_TOLERANCE = 1e-3


class ConvertedClips:
    """A source whose frames are thinned to a rate, then resized and cropped.

    Args:
        source: Where the frames come from.
        steps: How pictures are resized and cropped, in this order.
        frequency_hz: Of frame k the nearest in time is taken; None leaves the rate.
        cameras: The order that cameras are wanted in; where their names are others, they stay as they are.
    Raises:
        BadRequest: if the rate is unknown or lower than wanted: frames are never invented.
    """

    def __init__(
        self,
        source: ClipSource,
        steps: Sequence[PictureStep],
        frequency_hz: float | None,
        cameras: Sequence[str] | None = None,
    ) -> None:
        self._source, self._steps, self._done = source, tuple(steps), set[str]()
        self._every = self._thinning(source, frequency_hz)
        self.label, self.names, self.codec = source.label, source.names, source.codec
        named_alike = cameras is not None and sorted(cameras) == sorted(source.cameras)
        self.cameras = tuple(cameras) if named_alike and cameras else source.cameras
        self._order = [source.cameras.index(camera) for camera in self.cameras]
        self.rig = source.rig
        self.frequency_hz = source.frequency_hz if frequency_hz is None else frequency_hz

    def length(self, name: str) -> int:
        """Frames of one clip at the new rate."""
        frames = self._source.length(name)
        return int((frames - 1) / self._every + 1e-9) + 1 if frames else 0

    def read(self, name: str, indices: Array) -> UInt8[Array, "time camera 3 h w"]:
        """Frames of one clip by their numbers at the new rate."""
        video = self._source.read(name, np.floor(np.asarray(indices) * self._every + 0.5).astype(np.int64))
        if self.cameras != tuple(self._source.cameras):
            video = video[:, self._order]
        for step in self._steps:
            before, video = video, step(video)
            if video is not before:
                self._done.add(str(step))
        return video

    @property
    def done(self) -> str:
        """What was changed, in words for the card; '' for nothing."""
        thinned = [f"nearest frames of {self._source.frequency_hz:g} Hz"] if self._every != 1 else []
        return "; ".join([*thinned, *(str(step) for step in self._steps if str(step) in self._done)])

    @staticmethod
    def _thinning(source: ClipSource, frequency_hz: float | None) -> float:
        if frequency_hz is None:
            return 1.0
        if source.frequency_hz is None or source.frequency_hz < frequency_hz * (1 - RATE_TOLERANCE):
            rate = "an unknown rate" if source.frequency_hz is None else f"{source.frequency_hz:g} Hz"
            raise BadRequest(
                f"{source.label} has {rate}, but {frequency_hz:g} Hz are wanted; frames are left out, never invented. "
                "Ask for a lower --frequency."
            )
        every = source.frequency_hz / frequency_hz
        return 1.0 if abs(every - 1) <= RATE_TOLERANCE else every


def conversion_of(a: ConvertedClips, b: ConvertedClips) -> str:
    """What was done to both sides, for the card."""
    if a.done == b.done:
        return a.done or "none"
    return f"generated: {a.done or 'none'}; real: {b.done or 'none'}"
