"""How futures are sampled, as one value: model, commands, pages and reports all take and show this.

It imports nothing heavy, so that command lines can read its fields, defaults and help at once.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    from worldmodel.memory import AnyMemory

MAX_SCALE = 20.0


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How futures are sampled; checked when made. The help of every field is in its metadata.

    Attributes:
        steps: Sampling steps per chunk.
        sampler: 'euler' or 'heun'.
        guidance_history, guidance_motion, guidance_text: Scales of classifier-free guidance; 1 costs no pass.
        history_noise: Noise level of imagined chunks when they become memory, 0 to below 1; None: the one trained.
        memory: Name of the memory, as `worldmodel.memory.make_memory` knows it.
        sink: First chunks that a bounded memory always keeps.
        recent: Newest chunks that a bounded memory always keeps; None: as many as were trained.
        video_budget, action_budget, balance: Of a selective memory, see `worldmodel.memory.selective.Selective`.

    Raises:
        BadRequest: if a number is out of range.
        UnknownName: if there is no such sampler or memory.
    """

    steps: int = _option(8, "Sampling steps per chunk; more is slower and finer.")
    sampler: str = _option("euler", "euler, or heun (two passes per step).")
    guidance_history: float = _option(1.0, "How strongly the past counts; 1 is plain, 0 ignores it.")
    guidance_motion: float = _option(1.0, "How strongly the steps driven count; 1 is plain, 0 ignores them.")
    guidance_text: float = _option(1.0, "How strongly the text counts; 1 is plain, 0 ignores it.")
    history_noise: float | None = _option(None, "Noise on imagined chunks as they are remembered; default: as trained.")
    memory: str = _option("window", "full, window or selective.")
    sink: int = _option(1, "First chunks that a bounded memory always keeps.")
    recent: int | None = _option(None, "Newest chunks that a bounded memory always keeps; default: as trained.")
    video_budget: int = _option(4, "Video that a selective memory keeps of the chunks between, in chunks' worth.")
    action_budget: int = _option(16, "Steps that a selective memory keeps of the chunks between, in chunks' worth.")
    balance: float = _option(0.5, "A selective memory weighs relevance (1) against redundancy (0).")

    def __post_init__(self) -> None:
        from worldmodel.sampler import find_sampler, sampling_times

        if not isinstance(self.steps, int):
            raise BadRequest(
                f"the sampling steps are {self.steps!r}; a whole number is needed. 4 is quick, 16 is thorough."
            )
        sampling_times(self.steps)
        find_sampler(self.sampler)
        self.empty_memory(1)
        for name in ("history", "motion", "text"):
            _check_scale(name, getattr(self, f"guidance_{name}"))
        if self.history_noise is not None and not 0 <= self.history_noise < 1:
            raise BadRequest(
                f"a history noise of {self.history_noise:g} was asked for; it must be from 0 to below 1. "
                "Leave it out for the level that was trained."
            )

    def empty_memory(self, trained_chunks: int) -> "AnyMemory":
        """A new memory of the kind and sizes asked for.

        Args:
            trained_chunks: Chunks of history that were trained, for a size that was left out.
        """
        from worldmodel.memory import make_memory

        recent = trained_chunks if self.recent is None else self.recent
        return make_memory(
            self.memory,
            sink=self.sink,
            recent=recent,
            video_budget=self.video_budget,
            action_budget=self.action_budget,
            balance=self.balance,
        )

    def words(self) -> list[str]:
        """The options of `detour imagine` that ask for the same, as words; what is as by default is left out."""
        values = ((item, getattr(self, item.name)) for item in fields(self))
        changed = [(item.name.replace("_", "-"), value) for item, value in values if value != item.default]
        return [word for name, value in changed for word in (f"--{name}", f"{value}")]

    def to_json(self) -> dict[str, Any]:
        """All fields by name, for records of runs."""
        return asdict(self)


def _check_scale(name: str, scale: float) -> None:
    if not (isinstance(scale, int | float) and math.isfinite(scale) and 0 <= scale <= MAX_SCALE):
        raise BadRequest(
            f"a guidance scale of {scale} was asked for the {name}; it must be from 0 to {MAX_SCALE:g}. "
            "1 is plain, 2 is strong."
        )
