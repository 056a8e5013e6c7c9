"""What can go wrong, as one small tree.

DetourError
├── BadInput            the user gave something we cannot use; the command line exits with 2
│   ├── BadVideo        a video or picture file is broken, too long or of the wrong size
│   ├── BadTable        a CSV, Parquet or JSON table has wrong, missing or impossible values
│   ├── BadRig          a calibration is missing or is not a calibration
│   ├── BadMotion       poses, deltas or times that do not describe a drive
│   ├── BadDataset      a dataset folder is missing, incomplete or of another version
│   ├── BadRequest      an argument is out of range (horizon, steps, instruction, seed, ...)
│   ├── BadEdit         an edit that cannot be applied to this clip
│   ├── BadCheckpoint   model weights are missing, of the wrong shape, not finite or not safetensors
│   ├── BadPolicy       a user's own policy cannot be started, or does not say in which frame and units it answers
│   ├── ClipTooShort    fewer frames than the work at hand needs
│   ├── MissingMotion   the clip has no ego motion and the work at hand needs it
│   ├── UnknownName     a preset, camera, planner, metric or kind that does not exist
│   └── OutputExists    the output is there already, or cannot be written
│       └── DiskFull    nothing more fits where it is written
├── PolicyError         a user's own policy gave no usable answer to one observation; `kind` says how it failed
├── Diverged            the model produced values that are not finite
├── Unreachable         a storage elsewhere did not answer; the same request may work later
└── Busy                too much is waiting already; the same request works later

A message has three parts: what we got, what we need, what to do.
"""

import difflib
from collections.abc import Iterable


class DetourError(Exception):
    """Every error that Detour raises on purpose."""


class BadInput(DetourError):
    """The input cannot be used; the message says what was found, where, and what to do."""


class BadVideo(BadInput):
    """A video or picture is broken, empty, too large, or differs from what goes with it."""


class BadTable(BadInput):
    """A table holds wrong, missing or impossible values."""


class BadRig(BadInput):
    """A camera calibration is missing or impossible."""


class BadMotion(BadInput):
    """Poses, deltas or times do not describe a drive."""


class BadDataset(BadInput):
    """A dataset folder is missing, incomplete, or of another version."""


class BadRequest(BadInput):
    """An argument is outside the range that makes sense."""


class BadEdit(BadInput):
    """An edit cannot be applied to this clip."""


class BadCheckpoint(BadInput):
    """A checkpoint is missing, incomplete, wrongly shaped, not finite, or not safetensors."""


class BadPolicy(BadInput):
    """A user's own policy cannot be started, or does not declare what its answers mean."""


class ClipTooShort(BadInput):
    """The clip has fewer frames than the work at hand needs."""


class MissingMotion(BadInput):
    """The clip has no ego motion, and the work at hand needs it."""


class OutputExists(BadInput):
    """The output exists already or cannot be written."""


class DiskFull(OutputExists):
    """Nothing more fits where the output is written; it goes on once there is space."""


class UnknownName(BadInput):
    """A name that does not exist; the closest existing name is offered."""

    def __init__(self, what: str, got: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(got, names, n=1, cutoff=0.4)
        hint = f"Did you mean '{close[0]}'? " if close else ""
        super().__init__(f"unknown {what} '{got}'. {hint}Known: {', '.join(names) or 'none'}.")


class PolicyError(DetourError):
    """A user's own policy gave no usable answer to one observation; the next one may go well.

    Attributes:
        kind: How it failed, in two or three words that are the same each time, so that failures can be counted.
        stderr: The end of what it wrote to standard error; '' for nothing.
    """

    def __init__(self, message: str, kind: str = "failed", stderr: str = "") -> None:
        super().__init__(message)
        self.kind, self.stderr = kind, stderr


class Diverged(DetourError):
    """The model produced values that are not finite."""


class Unreachable(DetourError):
    """A storage elsewhere did not answer, again and again; the same request may work later."""


class Busy(DetourError):
    """Too much is waiting already; nothing is wrong with the request."""
