"""What a batch may use: hours, bytes, seconds of a unit, and the disk."""

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.jobs.units import Outcome
from worldmodel.errors import DiskFull

RESERVE_BYTES = 64 << 20  # of a disk that is left alone: manifests, events and other people need some
MB = 1e6
FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))  # from libraries that write themselves


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one run of a driver may use; None for no limit.

    Attributes:
        seconds_per_unit: A unit that takes longer is ended and has failed.
        bytes: Of all outputs of the shard, those that were there counted.
        hours: After which no more work is given.
    """

    seconds_per_unit: float | None = None
    bytes: int | None = None
    hours: float | None = None

    @staticmethod
    def of(job: Mapping[str, Any]) -> "Limits":
        """Those that a job names under 'limits'."""
        asked = {name: (job.get("limits") or {}).get(name) for name in Limits.__dataclass_fields__}
        if isinstance(asked["bytes"], str):
            from studio.jobs.plan.job_values import bytes_of

            asked["bytes"] = bytes_of(asked["bytes"])
        return Limits(**asked)

    def reached(self, elapsed_s: float, written: int) -> str:
        """Why no more work may be given; '' while it may."""
        if self.hours is not None and elapsed_s >= self.hours * 3600:
            return f"the limit of {self.hours:g} hours is reached. Run the same command again to go on."
        if self.bytes is not None and written >= self.bytes:
            return (
                f"{written / MB:.0f} MB are written and the limit is {self.bytes / MB:.0f} MB. Raise 'limits: bytes' in the "
                "job file and run it again."
            )
        return ""


def disk_full(outcomes: Sequence[Outcome]) -> bool:
    """Whether a try failed because a disk or quota is full: the fault of no unit."""
    failed = [one for one in outcomes if one.state != "done"]
    return any(one.kind == DiskFull.__name__ or any(text in one.message for text in FULL) for one in failed)


def free_bytes(folder: Path) -> int:
    """Bytes left on the disk of a folder."""
    return shutil.disk_usage(folder).free


def too_little_room(folders: Sequence[Path], coming: int) -> str:
    """Why the disk is too full to begin more work; '' while there is room.

    Args:
        folders: On local disks, where outputs and unfinished work lie.
        coming: Bytes that the works under way and the next one will need, about.
    """
    for folder in folders:
        free, need = free_bytes(folder), coming + RESERVE_BYTES
        if free < need:
            return (
                f"the disk of '{folder}' has {free / MB:.0f} MB left and {need / MB:.0f} MB are needed to go on safely. Free "
                "some space and run the same command again."
            )
    return ""
