"""Answers that are missing, in words that can be counted."""

from worldmodel.errors import DetourError, PolicyError


def unusable(error: DetourError) -> str:
    """Why there is no answer; a foreign policy's failures begin with their kind."""
    if isinstance(error, PolicyError):
        return f"{type(error).__name__}, {error.kind}: {error}"
    return f"{type(error).__name__}: {error}"


def cause_of(told: str) -> str:
    """What failures of one kind have in common: of a foreign policy the kind, else the words up to a place.

    >>> cause_of("PolicyError, timeout: the policy gave no answer within 2 s")
    'PolicyError, timeout'
    >>> cause_of("BadMotion: not a number at 0.5 s")
    'BadMotion: not a number'
    """
    if told.startswith(f"{PolicyError.__name__}, "):
        return told.split(": ")[0]
    return told.split(" at ")[0][:200]
