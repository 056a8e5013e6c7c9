"""What a unit asks for, in a few words, for lists and captions."""

from collections.abc import Iterator

from studio.jobs.units import UnitRequest
from worldmodel.sampling import Sampling

BY = ("text", "actions", "edit", "memory", "guidance", "seconds", "steps")  # that units of a sweep may differ in

MEMORY_SIZES = ("sink", "recent", "video_budget", "action_budget", "balance")
SCALES = ("history", "motion", "text")


def clip_words(request: UnitRequest) -> str:
    """Which moment: 'clip @ 2.5 s'."""
    return f"{request.clip.id} @ {request.clip.at_s:g} s"


def told_words(request: UnitRequest) -> str:
    """What the driver is told; '' for the recording's own instruction."""
    return request.schedule or request.text or ""


def value_words(request: UnitRequest, by: str) -> str:
    """The value of one of BY, the same words for the same value."""
    sampling, edit, actions = request.sampling, request.edit, request.actions
    if by == "text":
        return told_words(request) or "as recorded"
    if by == "actions":
        return actions.name or actions.kind
    if by == "edit":
        return "none" if edit is None else f"{edit.kind} {edit.variant}"
    if by == "memory":
        sizes = [f"{name} {getattr(sampling, name)}" for name in MEMORY_SIZES if _differs(sampling, name)]
        return ", ".join([sampling.memory, *sizes])
    if by == "guidance":
        scales = [
            f"{name} {getattr(sampling, f'guidance_{name}'):g}"
            for name in SCALES
            if _differs(sampling, f"guidance_{name}")
        ]
        return ", ".join(scales) or "plain"
    return f"{request.seconds:g} s" if by == "seconds" else f"{sampling.steps} steps"


def _differs(sampling: Sampling, name: str) -> bool:
    return getattr(sampling, name) != getattr(Sampling(), name)


def more_words(request: UnitRequest) -> str:
    """What is unlike the default: actions, edit, memory."""
    return " · ".join(_more(request))


def _more(request: UnitRequest) -> Iterator[str]:
    usual = UnitRequest(clip=request.clip)
    for by in BY:
        if by not in ("text", "seconds") and value_words(request, by) != value_words(usual, by):
            yield f"{by} {value_words(request, by)}"
