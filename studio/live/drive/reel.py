"""What was seen on a drive: raw pictures on disk, so that memory stays flat, with the poses they were taken from."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from worldmodel.clips import Clip, Instruction
from worldmodel.errors import ClipTooShort, OutputExists
from worldmodel.geometry import Array, Rig, Trajectory

LEAST_FRAMES = 8  # of a clip that is worth keeping, and that can be imagined from


@dataclass(eq=False, kw_only=True)
class Reel:
    """Pictures and poses of a drive, in the order in which they were seen.

    Attributes:
        path: File with the raw pictures; it grows, and goes with the visitor's folder.
        rig: The cameras, at the size of the pictures.
        rate_hz: Pictures per second.
        poses: Of each picture, in the ego frame of the drive's beginning.
        texts: What the driver was told as each was taken.
    """

    path: Path
    rig: Rig
    rate_hz: float
    poses: list[Float[Array, " 3"]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.poses)

    def add(self, frames: UInt8[Array, "n camera 3 h w"], poses: Float[Array, "n 3"], text: str) -> None:
        """Append pictures.

        Raises:
            OutputExists: if the disk is full.
        """
        try:
            with self.path.open("ab") as file:
                file.write(np.ascontiguousarray(frames).tobytes())
        except OSError as error:
            raise OutputExists(
                f"the drive cannot be recorded: {error}. Free some space, and begin the drive again."
            ) from error
        self.poses += list(poses)
        self.texts += [text] * len(frames)

    def video(self) -> UInt8[Array, "n camera 3 h w"]:
        """All pictures; read from the disk as they are looked at."""
        shape = (len(self), len(self.rig), 3, self.rig.height_px, self.rig.width_px)
        return np.memmap(self.path, np.uint8, mode="r", shape=shape)

    def path_driven(self) -> Trajectory:
        """From the drive's beginning, time 0, over all pictures."""
        times = np.arange(len(self) + 1) / self.rate_hz
        return Trajectory(poses=np.concatenate([np.zeros((1, 3)), *(pose[None] for pose in self.poses)]), times_s=times)

    def clip(self, name: str, *, imagined: bool, source: str) -> Clip:
        """The drive as a clip, with its motion and what the driver was told.

        Raises:
            ClipTooShort: for less than a second.
        """
        if len(self) < LEAST_FRAMES:
            raise ClipTooShort(
                f"the drive has {len(self)} pictures; a clip needs at least {LEAST_FRAMES}. Drive on for a moment, then keep it."
            )
        driven = self.path_driven()
        steps = Trajectory(poses=driven.poses[1:], times_s=driven.times_s[1:]).motion()
        return Clip(
            id=name,
            video=self.video(),
            rig=self.rig,
            motion=steps,
            motion_origin="imagined" if imagined else "town",
            frequency_hz=self.rate_hz,
            instructions=tuple(self._instructions()),
            source=source,
        )

    def schedule(self) -> list[tuple[float, str]]:
        """(seconds from the beginning, text) wherever the text changed."""
        starts = [i for i, text in enumerate(self.texts) if i == 0 or text != self.texts[i - 1]]
        return [(i / self.rate_hz, self.texts[i]) for i in starts]

    def _instructions(self) -> list[Instruction]:
        said = self.schedule()
        ends = [*(start for start, _ in said[1:]), float("inf")]
        return [
            Instruction(text=text, start_s=start, end_s=end)
            for (start, text), end in zip(said, ends, strict=True)
            if text
        ]
