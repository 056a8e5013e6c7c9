"""How each unit of a batch stands, read from the events that `detour jobs run` appends to its folder."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

UnitState = Literal["waiting", "running", "again", "done", "failed"]
MOST_BYTES = 200_000_000  # of events that are read


@dataclass(frozen=True, kw_only=True)
class Followed:
    """One unit.

    Attributes:
        key: Of the unit; '' before anything was heard of it.
        number: Its place in the batch.
        state: 'again' while it waits for another try.
        reason: Why it failed, or failed last.
        share: Of its chunks that are done while it runs, 0 to 1.
        seconds: That it took.
        bytes: Of its output.
    """

    key: str
    number: int
    state: UnitState = "waiting"
    reason: str = ""
    share: float = 0.0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(eq=False)
class Follower:
    """Follows one file of events; only what was appended is read.

    Attributes:
        path: `OUT/events/all.jsonl`; it need not be there yet.
        notes: What the driver warned of, the newest last.
        kept: Units that were done before the newest run began.
    """

    path: Path
    notes: list[str] = field(default_factory=list)
    kept: int = 0
    _units: dict[str, Followed] = field(default_factory=dict)
    _works: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _read: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> dict[str, Followed]:
        """All units that were heard of, by key."""
        with self._lock:
            for line in self._new_lines():
                self._hear(line)
            return dict(self._units)

    def _new_lines(self) -> list[bytes]:
        """Whole lines that were appended since the last look."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._read:  # another batch has taken its place
                    self._units, self._works, self._read = {}, {}, 0
                file.seek(self._read)
                text = file.read(max(0, min(size, MOST_BYTES) - self._read))
        except OSError:
            return []
        whole = text.rfind(b"\n") + 1
        self._read += whole
        return text[:whole].splitlines()

    def _hear(self, line: bytes) -> None:
        """One line; one that is torn or strange says nothing."""
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            event = json.loads(line)
            hear = HEARD.get(str(event.get("event")))
            if hear is not None:
                hear(self, event)

    def _change(self, key: str, **changes: Any) -> None:
        self._units[key] = replace(self._units.get(key) or Followed(key=key, number=-1), **changes)

    def _run_began(self, event: dict[str, Any]) -> None:
        """What an earlier run left unfinished is not at work any more."""
        self._works, self.kept = {}, int(event.get("kept") or 0)
        for key, unit in self._units.items():
            if unit.state in ("running", "again"):
                self._units[key] = replace(unit, state="waiting", share=0.0)

    def _work_began(self, event: dict[str, Any]) -> None:
        keys = tuple(str(key) for key in event.get("keys", ()))
        self._works[int(event["work"])] = keys
        for key in keys:
            self._change(key, state="running", share=0.0)

    def _advanced(self, event: dict[str, Any]) -> None:
        for key in self._works.get(int(event["work"]), ()):
            self._change(key, share=event["chunk"] / max(1, event["chunks"]))

    def _left(self, event: dict[str, Any]) -> None:
        """The worker is gone; its units wait until they are begun again or given up."""
        if event.get("work") is None:
            return
        for key in self._works.pop(int(event["work"]), ()):
            if self._units[key].state == "running":
                self._change(key, state="waiting", share=0.0, reason=str(event.get("why", "")))

    def _done(self, event: dict[str, Any]) -> None:
        self._change(
            event["key"], number=int(event["number"]), state="done", reason="", share=1.0,
            seconds=float(event.get("seconds") or 0.0), bytes=int(event.get("bytes") or 0),
        )  # fmt: skip

    def _failed(self, event: dict[str, Any]) -> None:
        reason = f"{event.get('kind', '')}: {event.get('message', '')}"
        self._change(event["key"], number=int(event["number"]), state="failed", reason=reason, share=0.0)

    def _again(self, event: dict[str, Any]) -> None:
        self._change(
            event["key"], number=int(event["number"]), state="again", reason=str(event.get("message", "")), share=0.0
        )

    def _warned(self, event: dict[str, Any]) -> None:
        self.notes.append(str(event.get("message", "")))


HEARD = {
    "run_began": Follower._run_began,
    "work_began": Follower._work_began,
    "work_advanced": Follower._advanced,
    "worker_lost": Follower._left,
    "work_dropped": Follower._left,
    "unit_done": Follower._done,
    "unit_failed": Follower._failed,
    "unit_again": Follower._again,
    "warned": Follower._warned,
}


@lru_cache(maxsize=64)
def follower_of(out: Path) -> Follower:
    """The one who follows the batch in a folder."""
    return Follower(out / "events" / "all.jsonl")
