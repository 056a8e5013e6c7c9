"""The planners of a study: loaded once, and looking through shared eyes, so that no picture is encoded twice."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from torch import Tensor, nn

from policy.foreign.planner import ForeignPlanner
from policy.learned import LearnedPlanner
from policy.planner import Planner
from policy.seeing import Eyes
from studio.study_config import StudyConfig
from worldmodel.errors import BadRequest
from worldmodel.text_encoders import TextEncoder, make_text_encoder
from worldmodel.tokenizer import Tokenizer

Make = Callable[[StudyConfig], Sequence[Planner]]
KEPT = 2  # videos: the one without anything, and the one at hand
MOTION_S = 0.5  # for whoever needs no pictures


@lru_cache(maxsize=1)
def planners_of(config: StudyConfig) -> tuple[Planner, ...]:
    """The planners that a study names, loaded once per process, sharing tokenizer and text encoder.

    Raises:
        UnknownName, BadRequest, BadCheckpoint: as `make_planner`.
    """
    from studio.demo import DEFAULT_MODEL
    from studio.planners import make_planner, model_for

    model = model_for(config.planners, config.model or DEFAULT_MODEL)
    planners = tuple(make_planner(name, model, config.samples) for name in config.planners)
    share_eyes(planners)
    return planners


def check_names(planners: Sequence[Planner]) -> None:
    """Refuse planners that rows and tables could not tell apart.

    Raises:
        BadRequest: with the name that occurs twice.
    """
    names = [planner.name for planner in planners]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise BadRequest(
            f"two planners of this study call themselves '{doubles[0]}', so their rows could not be told apart. Leave one out."
        )


class SharedTokenizer(Tokenizer):
    """A tokenizer that knows the newest videos by heart: who looks at the same pictures gets the same latents.

    Args:
        own: Who encodes them.
    """

    def __init__(self, own: Tokenizer) -> None:
        nn.Module.__init__(self)  # the weights are the other's
        self.own, self.config, self._hash = own, own.config, own.hash
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    @property
    def hash(self) -> str:
        """Of the tokenizer that encodes."""
        return self._hash

    def encode_video(self, video: np.ndarray) -> Tensor:
        """Latents [time, camera, channels, h, w] of a video [time, camera, 3, height, width]; not to be written into."""
        key = hashlib.sha256(repr(video.shape).encode() + np.ascontiguousarray(video).tobytes()).digest()
        if key not in self._known:
            self._known[key] = self.own.encode_video(video)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


def share_eyes(planners: Sequence[Planner]) -> None:
    """Let learned planners that see through the same tokenizer, or hear through the same text encoder, share it."""
    tokenizers: dict[str, Tokenizer] = {}
    encoders: dict[str, TextEncoder] = {}
    for planner in planners:
        if isinstance(planner, LearnedPlanner):
            config, own = planner.config, planner.eyes.tokenizer
            if own is not None:
                own = tokenizers.setdefault(config.tokenizer, SharedTokenizer(own))
            if config.text_encoder not in encoders:
                encoders[config.text_encoder] = make_text_encoder(config.text_encoder)
            planner.eyes = Eyes(config, own, encoders[config.text_encoder])


def history_s(planner: Planner, config: StudyConfig) -> float:
    """How much of the past a planner needs: what is known of it, else what the study says."""
    if isinstance(planner, LearnedPlanner):
        return planner.eyes.frames_needed / planner.config.frequency_hz
    if isinstance(planner, ForeignPlanner):
        rate = config.frequency_hz
        return planner.frames_needed(rate, otherwise=round(config.history_s * rate)) / rate
    return config.history_s if getattr(planner, "needs_pixels", True) else min(MOTION_S, config.history_s)


def longest_history_s(planners: Sequence[Planner], config: StudyConfig) -> float:
    """What is rendered and stitched: as much as that planner needs that needs most."""
    return max(history_s(planner, config) for planner in planners)
