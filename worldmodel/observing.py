"""What a model makes of an observation: its rate, its size, its cameras; and what the user should know of the difference."""

from dataclasses import replace

from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.pictures import resize_video
from worldmodel.plans import Observation

RATE_TOLERANCE = 0.01  # of the rate: clocks differ, models do not mind
ASPECT_TOLERANCE = 0.05  # of width / height


def frames_between(got_hz: float, need_hz: float) -> int:
    """How many frames of a recording make one of the model's: a whole number, or the rate is refused.

    Raises:
        BadRequest: for any other rate.
    """
    every = max(1, round(got_hz / need_hz))
    if abs(got_hz / (every * need_hz) - 1) > RATE_TOLERANCE:
        raise BadRequest(
            f"the recording has {got_hz:g} Hz, the model was trained at {need_hz:g} Hz; it takes that rate, or a whole multiple "
            f"of it. Import the recording with `--frequency {need_hz:g}`."
        )
    return every


def at_rate(observation: Observation, need_hz: float) -> Observation:
    """The observation at a lower rate: every k-th frame, the newest one among them.

    Raises:
        BadRequest: if its rate is no whole multiple.
    """
    every = frames_between(observation.frequency_hz, need_hz)
    if every == 1:
        return observation
    first = (len(observation.video) - 1) % every
    motion = None if observation.motion is None else observation.motion[first:].thinned(every)
    rate = observation.frequency_hz / every
    return replace(observation, video=observation.video[first::every], motion=motion, frequency_hz=rate)


def fitted(observation: Observation, config: WorldModelConfig) -> Observation:
    """The observation at the model's rate and picture size, cut to whole chunks of the history that was trained.

    Raises:
        BadRequest: if its rate is no whole multiple of the model's.
        ClipTooShort: if it has less than one chunk.
    """
    observation, per_chunk = at_rate(observation, config.frequency_hz), config.network.frames_per_chunk
    chunks = min(len(observation.video) // per_chunk, config.history_chunks)
    if not chunks:
        raise ClipTooShort(
            f"the observation has {len(observation.video)} frames at {config.frequency_hz:g} Hz; the model needs at least "
            f"{per_chunk}. Start later in the clip or ask for more history."
        )
    frames = chunks * per_chunk
    motion = None if observation.motion is None else observation.motion[len(observation.motion) - frames + 1 :]
    video = resize_video(observation.video[-frames:], config.width_px, config.height_px)
    return replace(
        observation, video=video, motion=motion, rig=observation.rig.scaled(config.width_px, config.height_px)
    )


def observation_warnings(observation: Observation, config: WorldModelConfig) -> tuple[str, ...]:
    """What differs from the training data, in words: rate, number of cameras, shape and size of the pictures."""
    said, cameras = [], len(observation.rig)
    every = frames_between(observation.frequency_hz, config.frequency_hz)
    if every > 1:
        said.append(
            f"the recording has {observation.frequency_hz:g} Hz and the model {config.frequency_hz:g} Hz: of {every} frames one was "
            f"used. Import it with `--frequency {config.frequency_hz:g}` to choose the frames yourself."
        )
    if cameras != config.cameras:
        said.append(
            f"the recording has {cameras} camera{'s' if cameras > 1 else ''}, the model was trained with {config.cameras}. It works, "
            "but expect less; fine-tune the model on such recordings."
        )
    width, height = observation.rig.width_px, observation.rig.height_px
    size = f"{width}x{height} pixels", f"{config.width_px}x{config.height_px}"
    if abs((width / height) / (config.width_px / config.height_px) - 1) > ASPECT_TOLERANCE:
        said.append(
            f"the pictures have {size[0]}, the model's {size[1]}: they were stretched, and the calibration with them. It works, but "
            "expect less; crop the recording to the model's shape."
        )
    elif width < config.width_px or height < config.height_px:
        said.append(
            f"the pictures have {size[0]}, the model's {size[1]}: they were enlarged. Use the original recording."
        )
    return tuple(said)
