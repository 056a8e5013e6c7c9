"""The past of the last moment that was asked about: seeds, texts and actions of a sweep go on from the same one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from studio.jobs.units import UnitRequest
from studio.jobs.work.questions import Question

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.past import Past

_MEMORY = ("memory", "sink", "recent", "video_budget", "action_budget", "balance")  # fields of Sampling that shape it


class KeptPast:
    """Reads a moment into a memory, unless the last one was read from the same pictures into the same kind of memory.

    A past is never changed by what is imagined from it, and what the driver is told is not in its memory.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._past: Past | None = None

    def of(self, model: "WorldModel", questions: Sequence[Question]) -> "Past":
        """The past of questions about one moment, one sample each.

        Raises:
            BadRequest, ClipTooShort, Diverged: as `WorldModel.remember`.
        """
        request = questions[0].unit.request
        key = _key(request, len(questions))
        if self._past is None or self._key != key:
            self._past = None  # two at once may not fit
            memory = request.sampling.empty_memory(model.config.history_chunks)
            self._past = model.remember([question.observation for question in questions], memory)
            self._key = key
        told = zip(self._past.newest, questions, strict=True)
        newest = tuple(replace(seen, instruction=question.observation.instruction) for seen, question in told)
        return replace(self._past, newest=newest)


def _key(request: UnitRequest, samples: int) -> object:
    memory = tuple(getattr(request.sampling, name) for name in _MEMORY)
    return request.clip, request.edit, memory, samples
