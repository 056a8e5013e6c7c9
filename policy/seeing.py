"""What a learned planner reads of an observation: latents of the newest pictures, ego status, the instruction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from policy.planner_config import STEPS_SEEN, PlannerConfig
from worldmodel.errors import BadCheckpoint, BadRig, ClipTooShort, MissingMotion
from worldmodel.geometry import Array
from worldmodel.observing import at_rate
from worldmodel.pictures import resize_video
from worldmodel.plans import Observation
from worldmodel.sequence import ray_features
from worldmodel.text_encoders import TextEncoder, make_text_encoder
from worldmodel.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """Network inputs, batch first.

    Attributes:
        cells: Normalised latents [B, picture, camera, channel, h, w], the newest picture last.
        rays: Camera rays of the latent cells [B, camera, h, w, RAY_FEATURES].
        ego: Newest ego steps, normalised and flattened [B, 3 STEPS_SEEN].
        text: Mean features of the instruction's tokens [B, text width].
    """

    cells: Tensor
    rays: Tensor
    ego: Tensor
    text: Tensor

    @staticmethod
    def of(values: Mapping[str, Tensor]) -> "Seen":
        """From a batch that has these entries among others."""
        return Seen(cells=values["cells"], rays=values["rays"], ego=values["ego"], text=values["text"])

    @property
    def now(self) -> Tensor:
        """Latents of the newest picture [B, camera, channel, h, w]."""
        return self.cells[:, -1]


def text_means(encoder: TextEncoder, texts: list[str]) -> Tensor:
    """Mean of each text's token features [n, width]."""
    features, valid = encoder.encode(texts)
    weights = valid[..., None].float()
    return (features * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def ego_status(config: PlannerConfig, deltas: Array) -> Array:
    """The newest steps [STEPS_SEEN, 3] (m, m, rad) normalised and flattened, float32."""
    values = (deltas - np.array(config.step_mean)) / np.array(config.step_std)
    return np.asarray(values.reshape(-1), np.float32)


class Eyes:
    """Turns observations into network inputs.

    Args:
        tokenizer: The one that the planner was trained with; None for a planner without pixels.
    Raises:
        BadCheckpoint: if the tokenizer is missing or another one.
    """

    def __init__(self, config: PlannerConfig, tokenizer: Tokenizer | None, encoder: TextEncoder | None = None) -> None:
        if config.needs_pixels and (tokenizer is None or tokenizer.hash != config.tokenizer):
            got = "none was given" if tokenizer is None else f"tokenizer {tokenizer.hash} was given"
            raise BadCheckpoint(
                f"the planner '{config.kind}' sees through tokenizer {config.tokenizer}, but {got}. Name the world model that it "
                "was trained with (--model)."
            )
        self.config, self.tokenizer, self._encoder = config, tokenizer, encoder

    @property
    def frames_needed(self) -> int:
        """Frames that an observation must have."""
        return max(*self.config.history_frames, STEPS_SEEN) + 1

    @property
    def picture_size(self) -> tuple[int, int]:
        """Width and height that pictures are brought to; something small for a planner without pixels."""
        stride = 1 if self.tokenizer is None else self.tokenizer.config.stride
        return self.config.columns * stride, self.config.rows * stride

    def look(self, observation: Observation) -> Seen:
        """The inputs of one observation, batch of one.

        Raises:
            MissingMotion: if the observation has no ego motion.
            ClipTooShort: if it is shorter than half a second.
            BadRig: if it has another number of cameras than the planner was trained with.
            BadRequest: if its rate is no whole multiple of the planner's.
        """
        observation = at_rate(observation, self.config.frequency_hz)
        self._check(observation)
        assert observation.motion is not None
        ego = ego_status(self.config, observation.motion.deltas[-STEPS_SEEN:])
        return Seen(
            cells=self._cells(observation)[None],
            rays=ray_features(observation.rig, (self.config.rows, self.config.columns))[None],
            ego=torch.from_numpy(ego)[None],
            text=text_means(self._text_encoder(), [observation.instruction]),
        )

    def _check(self, observation: Observation) -> None:
        needed = self.frames_needed
        if observation.motion is None:
            raise MissingMotion(
                f"the observation has no ego motion, and planner '{self.config.kind}' reads speed and yaw rate. Give a clip "
                "with motion, or use a planner that needs none."
            )
        if len(observation.video) < needed:
            raise ClipTooShort(
                f"the observation has {len(observation.video)} frames at {self.config.frequency_hz:g} Hz; planner "
                f"'{self.config.kind}' needs at least {needed}. Start later in the clip or ask for more history."
            )
        if self.config.needs_pixels and len(observation.rig) != self.config.cameras:
            raise BadRig(
                f"the observation has {len(observation.rig)} cameras; planner '{self.config.kind}' was trained with "
                f"{self.config.cameras}. Train one for this rig."
            )

    def _cells(self, observation: Observation) -> Tensor:
        config = self.config
        if self.tokenizer is None:
            return torch.zeros(len(config.history_frames), config.cameras, config.channels, config.rows, config.columns)
        newest = len(observation.video) - 1
        video = observation.video[[newest - age for age in config.history_frames]]
        return self.tokenizer.encode_video(resize_video(video, *self.picture_size))

    def _text_encoder(self) -> TextEncoder:
        if self._encoder is None:
            self._encoder = make_text_encoder(self.config.text_encoder)
        return self._encoder


def repeated(seen: Seen, count: int) -> Seen:
    """The same inputs `count` times."""
    rows = {name: getattr(seen, name).repeat_interleave(count, dim=0) for name in ("cells", "rays", "ego", "text")}
    return replace(seen, **rows)
