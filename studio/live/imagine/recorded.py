"""A recording around a moment: the past at once, what follows piece by piece, so that long ones need little memory."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from studio.live.imagine.pictures import Painter
from studio.moments import Moment, Wish, moment_of
from studio.overlays import COLORS
from studio.town_scene import town_scene
from worldmodel.errors import BadTable
from worldmodel.geometry import Array, Trajectory, relative
from worldmodel.io.lerobot import Dataset, find_clip
from worldmodel.observing import frames_between
from worldmodel.pictures import resize_video

ROUTE_M = 40.0  # how much of the route is drawn


@dataclass(frozen=True, eq=False, kw_only=True)
class Recorded:
    """What is recorded around a moment.

    Attributes:
        moment: The past up to now; its clip ends there.
        path: What was driven, in the ego frame of now: times below 0 are past; None where it is unknown.
        following: How many frames follow, at the rate that was wished.
        size_px: Width and height of the pictures that are given.
        notes: What to know of it.
    """

    moment: Moment
    path: Trajectory | None
    following: int
    size_px: tuple[int, int]
    notes: tuple[str, ...]
    _dataset: Dataset
    _episode: int
    _now: int
    _every: int

    @staticmethod
    def around(clip: str, wish: Wish, size_px: tuple[int, int]) -> "Recorded":
        """Around DATASET:EPISODE@SECONDS.

        Raises:
            BadInput: as `studio.moments.find_moment`.
        """
        dataset, episode, at_s = find_clip(clip)
        moment = moment_of(dataset, episode, at_s, replace(wish, future_s=0.0))
        every = 1 if wish.rate_hz is None else frames_between(dataset.frequency_hz, wish.rate_hz)
        now = round(moment.start_s * dataset.frequency_hz) + moment.now * every
        path, notes = _driven(dataset, episode, now)
        return Recorded(
            moment=moment, path=path, notes=(*moment.notes, *notes), size_px=size_px,
            following=(dataset.length(episode) - 1 - now) // every,
            _dataset=dataset, _episode=episode, _now=now, _every=every,
        )  # fmt: skip

    def seen(self) -> UInt8[Array, "n camera 3 h w"]:
        """The past; the last frame is now."""
        return resize_video(self.moment.clip.video, *self.size_px)

    def follows(self, first: int, last: int) -> UInt8[Array, "n camera 3 h w"]:
        """Frames first to last - 1 after now (0 is the next one); fewer where the recording ends."""
        wanted = self._now + (1 + np.arange(first, max(first, min(last, self.following)))) * self._every
        return resize_video(self._dataset.frames(self._episode, wanted), *self.size_px)

    def driven(self) -> Trajectory | None:
        """The path from now on, time 0 at now; None where it is unknown or nothing follows."""
        if self.path is None or self.path.times_s[-1] <= 0:
            return None
        ahead = self.path.times_s >= 0
        return Trajectory(poses=self.path.poses[ahead], times_s=self.path.times_s[ahead])

    def pictures(
        self, painter: Painter, video: UInt8[Array, "n camera 3 h w"], first: int
    ) -> UInt8[Array, "n 3 height width"]:
        """Mosaics of frames `first`, first + 1, ... after now, with the way that was driven."""
        hertz = self.moment.clip.frequency_hz
        at = None if self.path is None else self.path.resampled((first + 1 + np.arange(len(video))) / hertz)
        return painter.frames(video, "recorded", at, self.path, COLORS["truth"])

    def past(self, painter: Painter) -> UInt8[Array, "n 3 height width"]:
        """Mosaics of the past, with the way that was driven."""
        return painter.frames(self.seen(), "recorded", self.history(), self.path, COLORS["truth"])

    def route(self) -> Float[Array, "n 2"] | None:
        """Where the driver was sent, from now to ROUTE_M ahead, in the ego frame of now, points about a metre apart.

        None but for clips of the town, whose scene is simulated again for it: about a second.
        """
        scene = town_scene(self.moment)
        if scene is None:
            return None
        along = np.concatenate([[0.0], np.hypot(*np.diff(scene.route, axis=0).T).cumsum()])
        frame = round((self.moment.start_s + self.moment.at_s) * scene.frequency_hz)
        ahead = along - scene.route_s[frame]
        near = scene.route[(ahead >= 0) & (ahead <= ROUTE_M)]
        poses = np.concatenate([near, np.zeros((len(near), 1))], axis=1)
        return relative(scene.ego_poses[frame], poses)[:, :2]

    def history(self) -> Trajectory | None:
        """The path of the frames that are seen, times up to 0; None where it is unknown."""
        return self.moment.past()


def _driven(dataset: Dataset, episode: int, now: int) -> tuple[Trajectory | None, tuple[str, ...]]:
    try:
        motion = dataset.motion(episode)
    except BadTable as error:
        return None, (str(error),)
    if motion is None or not len(motion):
        return None, ()
    whole = motion.trajectory()
    poses = whole.seen_from(whole.poses[now]).poses
    times = (np.arange(len(poses)) - now) / dataset.frequency_hz
    return Trajectory(poses=poses, times_s=times), ()
