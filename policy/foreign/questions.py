"""What a foreign policy is shown: the observation in its own frame, with its cameras and picture size, as one JSON object."""

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from policy.foreign.convention import OURS, Convention
from policy.foreign.declaration import Declaration, Needs
from worldmodel.errors import ClipTooShort
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.observing import at_rate, frames_between
from worldmodel.pictures import resize_video
from worldmodel.plans import Observation

PROTOCOL = 1
JPEG_QUALITY = 95


def shown(observation: Observation, needs: Needs) -> Observation:
    """The observation as the policy wants to see it: its cameras, size, rate and number of pictures.

    With `cameras` empty the pictures stay, but are not sent.

    Raises:
        UnknownName: for a camera that the rig lacks.
        BadRequest: if the recording's rate is no whole multiple of `pictures_hz`.
        ClipTooShort: if there are fewer pictures than wanted.
    """
    if needs.pictures_hz is not None:
        observation = at_rate(observation, needs.pictures_hz)
    if needs.pictures is not None:
        observation = _newest(observation, needs.pictures)
    if needs.cameras:
        chosen = [observation.rig.index(name) for name in needs.cameras]
        cameras = tuple(observation.rig.cameras[index] for index in chosen)
        observation = replace(observation, video=observation.video[:, chosen], rig=Rig(cameras=cameras))
    if needs.width_px is not None and needs.height_px is not None and needs.cameras != ():
        size = needs.width_px, needs.height_px
        observation = replace(
            observation, video=resize_video(observation.video, *size), rig=observation.rig.scaled(*size)
        )
    return observation


def frames_needed(needs: Needs, frequency_hz: float, otherwise: int) -> int:
    """Frames of a recording that the policy needs to know of; `otherwise` where it wants all there are.

    Raises:
        BadRequest: if the recording's rate is no whole multiple of `pictures_hz`.
    """
    every = 1 if needs.pictures_hz is None else frames_between(frequency_hz, needs.pictures_hz)
    seen = otherwise if needs.pictures is None else (needs.pictures - 1) * every + 1
    driven = 0 if needs.ego_history_s is None else round(needs.ego_history_s * frequency_hz) + 1
    return max(seen, driven, 2)


def way_here(observation: Observation, seen: Observation, needs: Needs) -> Motion | None:
    """The steps that a policy is told: as many as `ego_history_s` wants, else those between its pictures, at least the newest.

    Raises:
        ClipTooShort: if fewer are known.
    """
    motion = observation.motion
    if motion is None:
        return None
    if needs.ego_history_s is None:
        return seen.motion if len(seen.video) > 1 else motion[-1:]
    steps = round(needs.ego_history_s * observation.frequency_hz)
    if len(motion) < steps:
        raise ClipTooShort(
            f"the observation has {len(motion)} ego steps at {observation.frequency_hz:g} Hz, and the policy wants {steps}. Start "
            "later in the clip, ask for more history, or declare less."
        )
    return Motion(deltas=motion.deltas[len(motion) - steps :], period_s=motion.period_s)


def _newest(observation: Observation, count: int) -> Observation:
    got = len(observation.video)
    if got < count:
        raise ClipTooShort(
            f"the observation has {got} pictures at {observation.frequency_hz:g} Hz, and the policy wants {count}. Start later in "
            "the clip, or declare fewer."
        )
    motion = observation.motion
    if motion is not None:
        motion = Motion(deltas=motion.deltas[len(motion) - count + 1 :], period_s=motion.period_s)
    return replace(observation, video=observation.video[got - count :], motion=motion)


def question_of(
    observation: Observation,
    seed: int,
    number: int,
    declared: Declaration,
    folder: Path,
    *,
    hosted: bool = False,
) -> dict[str, Any]:
    """One request, ready for JSON.

    Args:
        observation: Whole; it is cut to what the policy wants to see.
        number: Its id.
        folder: Where pictures are written that are sent as paths.
        hosted: For `host`, which makes our own `Observation` of it again: our frame, raw pictures, the very steps.
    Raises:
        UnknownName, BadRequest, ClipTooShort: if the observation lacks what the policy wants to see.
    """
    seen = shown(observation, declared.needs)
    convention = OURS if hosted or declared.convention is None else declared.convention
    needs = replace(declared.needs, pictures_as="raw") if hosted else declared.needs
    count, looks, motion = len(seen.video), needs.cameras != (), seen.motion
    return {
        "type": "plan",
        "id": number,
        "seed": seed,
        "instruction": observation.instruction,
        "frequency_hz": seen.frequency_hz,
        "times_s": ((np.arange(count) - (count - 1)) / seen.frequency_hz).tolist(),
        "cameras": _calibration(seen, convention) if looks or hosted else [],
        **(_pictures(seen, needs, folder) if looks else {}),
        "ego": _ego(observation, way_here(observation, seen, needs), convention),
        **({"steps": None if motion is None else [motion.period_s, motion.deltas.tolist()]} if hosted else {}),
    }


def _calibration(observation: Observation, convention: Convention) -> list[dict[str, Any]]:
    return [
        {
            "name": camera.name,
            "width_px": camera.width_px,
            "height_px": camera.height_px,
            "intrinsics": camera.intrinsics.tolist(),
            "ego_from_camera": convention.camera_from_ours(camera.ego_from_camera).tolist(),
            "nominal": observation.rig.nominal,
        }
        for camera in observation.rig.cameras
    ]


def _ego(observation: Observation, way: Motion | None, convention: Convention) -> dict[str, Any] | None:
    """Speed and yaw rate of the newest step (positive to the left), and the way here, oldest first; None when nobody knows."""
    if way is None or not len(way):
        return None
    whole = way.trajectory()
    past = whole.seen_from(whole.poses[-1])
    return {
        "speed_mps": observation.speed_mps,
        "yaw_rate_radps_to_the_left": observation.yaw_rate_radps,
        "times_s": (past.times_s - past.times_s[-1]).tolist(),
        "poses": convention.from_ours(past.poses).tolist(),
    }


def _pictures(observation: Observation, needs: Needs, folder: Path) -> dict[str, Any]:
    """`pictures`: per camera a list, oldest first; or `raw`."""
    video = np.ascontiguousarray(observation.video.transpose(0, 1, 3, 4, 2))
    if needs.pictures_as == "raw":
        return {"raw": {"shape": list(video.shape), "base64": base64.b64encode(video.tobytes()).decode("ascii")}}
    found: dict[str, list[str]] = {}
    for index, name in enumerate(observation.rig.names):
        found[name] = [
            _sent(encoded(picture, needs.encoding), needs, folder / f"{index}-{moment}.{needs.encoding}")
            for moment, picture in enumerate(video[:, index])
        ]
    return {"pictures": found}


def _sent(content: bytes, needs: Needs, path: Path) -> str:
    if needs.pictures_as == "base64":
        return base64.b64encode(content).decode("ascii")
    path.write_bytes(content)
    return str(path)


def encoded(picture: UInt8[Array, "h w 3"], encoding: str) -> bytes:
    """A picture as the bytes of a PNG or JPEG file."""
    from PIL import Image

    buffer = io.BytesIO()
    options: dict[str, Any] = {"compress_level": 1} if encoding == "png" else {"quality": JPEG_QUALITY}
    Image.fromarray(picture).save(buffer, encoding.upper(), **options)
    return buffer.getvalue()
