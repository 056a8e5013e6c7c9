"""How often something that may pass is tried again, and how long is waited between."""

import errno
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from worldmodel.errors import Unreachable

T = TypeVar("T")

PASSING_ERRORS = frozenset(
    {
        *(errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ESTALE, errno.EPIPE, errno.ETIMEDOUT),
        *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.ENETUNREACH, errno.ENETDOWN),
        *(errno.ENETRESET, errno.EHOSTUNREACH, errno.EHOSTDOWN, getattr(errno, "EREMOTEIO", errno.EIO)),
    }
)
PASSING_CODES = frozenset(  # of object stores; those that say 'try again', and bodies that were cut on their way
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "OperationAborted", "RequestTimeout", "BadDigest"),
        *("IncompleteBody", "Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException"),
        *("ConditionalRequestConflict", "XAmzContentSHA256Mismatch", "408", "409", "429", "500", "502", "503", "504"),
    }
)
NEVER = frozenset({"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "ParamValidationError"})


def _own_dice() -> random.Random:
    """Differs between processes, so that workers do not all come back at the same moment."""
    return random.Random(f"{socket.gethostname()}:{os.getpid()}")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often and after how long to try again.

    Attributes:
        attempts: Tries in all.
        first_s, longest_s: The wait doubles from the first to the longest; each is shortened by up to half at random.
        dice: For that.
        sleep: Waits so many seconds.
    """

    attempts: int = 8
    first_s: float = 0.25
    longest_s: float = 15.0
    dice: random.Random = field(default_factory=_own_dice)
    sleep: Callable[[float], None] = time.sleep

    def waits_s(self) -> Iterator[float]:
        """Seconds to wait after each try but the last."""
        for number in range(self.attempts - 1):
            yield min(self.longest_s, self.first_s * 2.0**number) * (1.0 - 0.5 * self.dice.random())

    def call(self, what: str, action: Callable[[], T], kinds: tuple[type[Exception], ...] = (OSError,)) -> T:
        """What the action returns, tried again after failures that may pass.

        Args:
            what: Is done, for the message, such as "read 's3://bucket/a'".
            action: May run several times.
            kinds: Of failures to look at; others go through.

        Raises:
            Unreachable: if the last try failed like the others.
        """
        for wait_s in (*self.waits_s(), None):
            try:
                return action()
            except kinds as error:
                if not may_pass(error):
                    raise
                if wait_s is None:
                    raise Unreachable(
                        f"cannot {what}: {_words(error)}, {self.attempts} times. "
                        "The storage must answer; check the network and the storage, then run the same command again."
                    ) from error
                self.sleep(wait_s)
        raise AssertionError("a try either returns or raises")


def may_pass(error: BaseException) -> bool:
    """Whether the same action may well succeed a little later."""
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, FileNotFoundError | FileExistsError | PermissionError):
        return False
    if isinstance(error, OSError) and error.errno is None and _is_of_network(error):
        return True
    if isinstance(error, OSError):
        return error.errno in PASSING_ERRORS or _code(error.__cause__) in PASSING_CODES
    code = _code(error)
    return code in PASSING_CODES if code else type(error).__name__ not in NEVER


def _is_of_network(error: OSError) -> bool:
    """Whether a network library's own error, which has no number, speaks of a timeout or a lost connection."""
    return any(word in kind.__name__ for kind in type(error).__mro__ for word in ("Timeout", "Connection"))


def _code(error: BaseException | None) -> str:
    """What an object store answered: 'SlowDown', '503'; '' if it did not answer, or not to the end."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "code", "")) if type(error).__name__ == "HttpError" else ""


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300].rstrip(": .")
