"""A clip: what was recorded. Its observation at a moment, its instructions and boxes, and its latents."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from worldmodel.errors import BadRequest, BadTable, BadVideo, ClipTooShort
from worldmodel.geometry import Array, Motion, Rig, wrap_angle
from worldmodel.plans import Observation

MAX_INSTRUCTION_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """What the driver was told, and when it holds: start_s <= t < end_s (seconds from the clip's start)."""

    text: str
    start_s: float = 0.0
    end_s: float = math.inf

    def __post_init__(self) -> None:
        check_instruction(self.text)
        if not self.start_s < self.end_s:
            raise BadRequest(
                f"instruction '{self.text}' holds from {self.start_s} to {self.end_s} s; the end must be later."
            )


def check_instruction(text: str) -> str:
    """Return the text, or say why it cannot be an instruction.

    Raises:
        BadRequest: if it is empty or longer than MAX_INSTRUCTION_CHARACTERS.
    """
    if not text.strip():
        raise BadRequest(
            "the instruction is empty. Write a few words such as 'turn left at the crossing', or leave the option out."
        )
    if len(text) > MAX_INSTRUCTION_CHARACTERS:
        raise BadRequest(
            f"the instruction has {len(text)} characters; at most {MAX_INSTRUCTION_CHARACTERS} are read. Shorten it."
        )
    return text


@dataclass(frozen=True, eq=False, kw_only=True)
class Box:
    """A 3D box around one object at one frame, in the ego frame of that frame.

    Attributes:
        track: The object's identity over time.
        kind: 'car', 'truck', 'pedestrian', ...
        center: Shape [3], metres (x forward, y left, z up; the middle of the box).
        size: Shape [3], metres: length, width, height.
        yaw_rad: Heading against the ego's x axis.
        velocity_mps: Shape [2], metres per second over ground, in the ego frame's axes; None where unknown.
        visibility: Share of its pixels that nothing in front of it hides, in the camera that sees most of it; 0 where no
            camera sees it; None where unknown.
    """

    track: str
    kind: str
    center: Float[Array, " 3"]
    size: Float[Array, " 3"]
    yaw_rad: float
    velocity_mps: Float[Array, " 2"] | None = None
    visibility: float | None = None

    def __post_init__(self) -> None:
        center, size = np.asarray(self.center, np.float64), np.asarray(self.size, np.float64)
        if center.shape != (3,) or size.shape != (3,) or not (np.isfinite(center).all() and (size > 0).all()):
            raise BadTable(
                f"box '{self.track}': center {center}, size {size}; need three finite numbers and three positive ones."
            )
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "yaw_rad", float(wrap_angle(self.yaw_rad)))

    def corners(self) -> Float[Array, "8 3"]:
        """The eight corners in the ego frame, metres; the first four lie on the bottom, counter-clockwise."""
        length, width, height = self.size / 2
        x = np.array([1, 1, -1, -1] * 2) * length
        y = np.array([-1, 1, 1, -1] * 2) * width
        z = np.repeat([-1.0, 1.0], 4) * height
        cos, sin = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1) + self.center


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
    """A multi-camera recording with ego motion: the past, and the logged future.

    Attributes:
        id: Unique in its dataset.
        video: RGB uint8, shape [time, camera, 3, height, width], cameras in the order of `rig`.
        rig: The calibrated cameras, for exactly this picture size.
        motion: Ego steps between frames, or None when the recording has none (never zeros).
        motion_origin: 'poses', 'yaw_rate', 'steering (estimated)', 'town' or 'none'.
        frequency_hz: Frames per second.
        instructions: What the driver was told, with time ranges; may be empty.
        boxes: One tuple of boxes per frame, or None when nobody labelled the recording.
        source: Where the recording comes from, in words.
    """

    id: str
    video: UInt8[Array, "time camera 3 height width"]
    rig: Rig
    motion: Motion | None
    frequency_hz: float
    motion_origin: str = "none"
    instructions: tuple[Instruction, ...] = ()
    boxes: tuple[tuple[Box, ...], ...] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        shape = self.video.shape
        expected = (len(self.rig), 3, self.rig.height_px, self.rig.width_px)
        if self.video.dtype != np.uint8 or len(shape) != 5 or shape[1:] != expected or not shape[0]:
            raise BadVideo(
                f"clip '{self.id}': video is {self.video.dtype} {shape}; the rig needs uint8 [time, {expected}]."
            )
        if not self.frequency_hz > 0:
            raise BadVideo(f"clip '{self.id}' has a rate of {self.frequency_hz} Hz; it must be positive.")
        if self.motion is not None and len(self.motion) != shape[0] - 1:
            raise BadTable(
                f"clip '{self.id}' has {shape[0]} frames and {len(self.motion)} steps; it needs one step less than frames."
            )
        if self.motion is not None and abs(self.motion.period_s * self.frequency_hz - 1) > 1e-6:
            raise BadTable(
                f"clip '{self.id}': steps last {self.motion.period_s} s but frames come at {self.frequency_hz} Hz."
            )
        if self.boxes is not None and len(self.boxes) != shape[0]:
            raise BadTable(
                f"clip '{self.id}' has {shape[0]} frames and boxes for {len(self.boxes)}; it needs one entry per frame."
            )

    def __len__(self) -> int:
        return len(self.video)

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return len(self) / self.frequency_hz

    def instruction_at(self, time_s: float) -> str:
        """The text that holds at a time; '' when nothing was said."""
        texts = [i.text for i in self.instructions if i.start_s <= time_s + 1e-9 < i.end_s]
        return texts[-1] if texts else ""

    def sliced(self, start_s: float, end_s: float) -> "Clip":
        """The frames with start_s <= t < end_s (nearest frames), with motion, boxes and instructions to match."""
        first, last = round(start_s * self.frequency_hz), round(end_s * self.frequency_hz)
        if not 0 <= first < last <= len(self):
            raise ClipTooShort(
                f"seconds {start_s:g} to {end_s:g} of clip '{self.id}' are wanted, but it lasts {self.duration_s:.2f} s. Choose times inside it."
            )
        offset = first / self.frequency_hz
        kept = [i for i in self.instructions if i.end_s > offset and i.start_s < last / self.frequency_hz]
        return replace(
            self,
            video=self.video[first:last],
            motion=None if self.motion is None else self.motion[first : last - 1],
            boxes=None if self.boxes is None else self.boxes[first:last],
            instructions=tuple(replace(i, start_s=max(0.0, i.start_s - offset), end_s=i.end_s - offset) for i in kept),
        )

    def thinned(self, every: int) -> "Clip":
        """The first of every `every` frames, with motion and boxes to match."""
        return replace(
            self,
            video=self.video[::every],
            motion=None if self.motion is None else self.motion.thinned(every),
            boxes=None if self.boxes is None else self.boxes[::every],
            frequency_hz=self.frequency_hz / every,
        )

    def observation(self, at_s: float, history_s: float) -> Observation:
        """What a planner may see at a moment: the frames of the last `history_s` seconds up to and including `at_s`.

        Raises:
            ClipTooShort: if the clip does not reach back (or forward) that far.
        """
        now = round(at_s * self.frequency_hz)
        frames = max(1, round(history_s * self.frequency_hz))
        first = now - frames + 1
        if first < 0 or now >= len(self):
            raise ClipTooShort(
                f"clip '{self.id}' has frames for 0 to {(len(self) - 1) / self.frequency_hz:.2f} s; an observation at {at_s:g} s "
                f"with {history_s:g} s of history needs {frames} frames ending there. Choose another moment or less history."
            )
        motion = None if self.motion is None or frames < 2 else self.motion[first:now]
        return Observation(
            video=self.video[first : now + 1],
            rig=self.rig,
            motion=motion,
            frequency_hz=self.frequency_hz,
            instruction=self.instruction_at(at_s),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Latents:
    """A clip in the tokenizer's space.

    Attributes:
        values: Normalised latents, float32, shape [time, camera, channel, h, w].
        clip_id: The clip they come from.
        tokenizer_hash: First 16 hex digits of the SHA-256 of the tokenizer's weights.
    """

    values: Float[Array, "time camera channel h w"]
    clip_id: str
    tokenizer_hash: str
