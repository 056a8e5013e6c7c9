"""What a unit asks for, in a few words, for lists and captions."""

from functools import lru_cache

from studio.jobs.units import ActionChoice, UnitRequest
from worldmodel.guidance import parse_schedule
from worldmodel.sampling import Sampling

BY = ("text", "actions", "edit", "memory", "guidance", "seconds", "steps")  # that units of a sweep may differ in

MEMORY_SIZES = ("sink", "recent", "video_budget", "action_budget", "balance")
SCALES = ("history", "motion", "text")


def clip_words(request: UnitRequest) -> str:
    """Which moment: 'clip @ 2.5 s'."""
    return f"{request.clip.id} @ {request.clip.at_s:g} s"


def told_words(request: UnitRequest) -> str:
    """What the driver is told; '' for the recording's own instruction."""
    if not request.schedule:
        return request.text or ""
    return "; ".join(f"{start_s:g} s: {text}" for start_s, text in parse_schedule(request.schedule).texts)


def unit_words(request: UnitRequest) -> str:
    """All of it in a line: 'clip @ 2.5 s · as recorded · seed 0 · 4 s · memory full'."""
    told = told_words(request) or "as recorded"
    length = f"{request.seconds:g} s" if request.seconds else "plans only"
    parts = (clip_words(request), told, f"seed {request.seed}", length, more_words(request))
    return " · ".join(part for part in parts if part)


def value_words(request: UnitRequest, by: str) -> str:
    """The value of one of BY, the same words for the same value."""
    edit, actions = request.edit, request.actions
    if by == "text":
        return told_words(request) or "as recorded"
    if by == "actions":
        return actions.name or _motion_words(actions)
    if by == "edit":
        return "none" if edit is None else f"{edit.kind} {edit.variant}"
    return f"{request.seconds:g} s" if by == "seconds" else _sampling_words(request.sampling, by)


@lru_cache(maxsize=4096)  # units of a sweep share them
def _sampling_words(sampling: Sampling, by: str) -> str:
    usual = _usual()
    if by == "memory":
        sizes = [
            f"{name} {getattr(sampling, name)}"
            for name in MEMORY_SIZES
            if getattr(sampling, name) != getattr(usual, name)
        ]
        return ", ".join([sampling.memory, *sizes])
    if by == "guidance":
        scales = {name: getattr(sampling, f"guidance_{name}") for name in SCALES}
        return ", ".join(f"{name} {scale:g}" for name, scale in scales.items() if scale != 1) or "plain"
    return str(sampling.steps)


@lru_cache(maxsize=1)
def _usual() -> Sampling:
    return Sampling()


def more_words(request: UnitRequest) -> str:
    """What is unlike the default: actions, edit, memory, guidance, steps."""
    found = {by: value_words(request, by) for by in ("actions", "edit")}
    found |= {by: _sampling_words(request.sampling, by) for by in ("memory", "guidance", "steps")}
    usual = {"actions": "policy", "edit": "none"} | {
        by: _sampling_words(_usual(), by) for by in ("memory", "guidance", "steps")
    }
    return " · ".join(f"{by} {words}" for by, words in found.items() if words != usual[by])


def _motion_words(actions: ActionChoice) -> str:
    if actions.kind != "constant":
        return actions.kind
    speed = "" if actions.speed_mps is None else f" {actions.speed_mps:g} m/s"
    turn = f" {actions.yaw_rate_dps:g} deg/s" if actions.yaw_rate_dps else ""
    return f"constant{speed}{turn}"
