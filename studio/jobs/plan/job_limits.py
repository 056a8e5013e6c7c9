"""How a job is done: tries, limits, and what decides bits besides the request."""

from typing import Annotated, Literal

from pydantic import Field

from studio.jobs.plan.job_values import Size, Strict

MAX_UNITS = 1_000_000


class Retry(Strict):
    """Tries of units that fail for a reason that may pass: a lost worker, a storage that does not answer.

    Attributes:
        attempts: In all.
        wait_s: Before the second one; each further one waits `factor` times longer, `longest_wait_s` at most.
    """

    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    wait_s: Annotated[float, Field(ge=0, le=3600)] = 1.0
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    longest_wait_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0


class Limits(Strict):
    """Where a batch stops; running it again goes on.

    Attributes:
        units: More are refused before anything begins.
        seconds_per_unit: A unit that takes longer is ended and has failed.
        bytes: Of all outputs, a number or text such as '50 GB'; nothing new begins beyond it.
        hours: Of one run; nothing new begins afterwards.
    """

    units: Annotated[int, Field(ge=1, le=MAX_UNITS)] = 100_000
    seconds_per_unit: Annotated[float, Field(gt=0)] | None = None
    bytes: Size | None = None
    hours: Annotated[float, Field(gt=0)] | None = None


class Execution(Strict):
    """What decides bits besides the request, and is part of every unit's key.

    Attributes:
        batch: Rollouts that go through the network together.
        threads: Of the processor, of each worker.
        device: Kind of device.
    """

    batch: Annotated[int, Field(ge=1, le=256)] = 1
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    device: Literal["cpu", "cuda"] = "cpu"
