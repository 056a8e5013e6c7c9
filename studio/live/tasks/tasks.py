"""Work that goes on in the background: `detour` commands of each visitor, a bounded number at once, in fair order.

A task is a list of units, each of which is one command with an output of its own. Stopping ends the command at hand; going on
starts the units that are not done again, and commands that can resume (studies) go on where they were.
"""

import itertools
import math
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from studio.live.tasks.orders import ENDED, Order, State, TaskView, Unit, UnitView
from studio.live.tasks.processes import GRACE_S, Count, Ended, Process
from worldmodel.errors import BadRequest, Busy

AT_ONCE = max(1, (os.cpu_count() or 2) // 2)
MOST_OF_ONE = 8  # unfinished tasks of a visitor
MOST = 64  # unfinished tasks in all
MOST_REMEMBERED = 24  # tasks of a visitor that are shown
LOG_LINES = 60
LEAVING_S = 1.0  # that a command has to end when its visitor has left
Launch = Callable[[Sequence[str], Callable[[str], None]], Process]


@dataclass(eq=False, kw_only=True)
class _Task:
    """What changes; only touched with the lock held."""

    id: str
    session: str
    order: Order
    units: list[UnitView]
    state: State = "waiting"
    process: Process | None = None
    began: float = 0.0
    before_s: float = 0.0  # of earlier goes
    unit_began: float = 0.0
    count: Count | None = None
    counted: float = 0.0
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))


class Tasks:
    """The tasks of all visitors. At most one of a visitor runs, and `at_once` of all; the others wait, visitors in turn.

    Attributes:
        at_once: Commands side by side.
    """

    def __init__(self, at_once: int = AT_ONCE, launch: Launch = Process) -> None:
        self.at_once = at_once
        self._launch = launch
        self._tasks: list[_Task] = []
        self._changed = threading.Condition()
        self._begun: dict[str, int] = {}  # how many a visitor has started
        self._turns = itertools.count(1)
        self._served: dict[str, int] = {}  # when a visitor's turn was last
        self._closed = False

    def start(self, session: str, order: Order) -> str:
        """Put something to be done at the end of the queue; returns the task's id.

        Raises:
            BadRequest: if nothing is to be done.
            Busy: if the visitor, or all together, have too much waiting.
        """
        if not order.units:
            raise BadRequest("nothing is to be done: the list is empty. Name at least one seed or clip.")
        with self._changed:
            self._check_room(session)
            units = [UnitView(unit=unit, state="waiting") for unit in order.units]
            self._begun[session] = self._begun.get(session, 0) + 1
            task = _Task(id=str(self._begun[session]), session=session, order=order, units=units)
            self._tasks.append(task)
            self._forget_oldest(session)
            self._begin_next()
            return task.id

    def stop(self, session: str, task_id: str) -> None:
        """End a task; what is done stays. A gentle one finishes what it is at, unless it is stopped a second time."""
        with self._changed:
            task = self._find(session, task_id)
            if task.state == "waiting":
                task.state = "stopped"
            elif task.state == "running":
                task.state = "stopping"
                if task.process is not None:
                    task.process.stop(math.inf if task.order.gentle else GRACE_S)
            elif task.state == "stopping" and task.order.gentle and task.process is not None:
                task.process.stop()
            self._changed.notify_all()

    def resume(self, session: str, task_id: str) -> None:
        """Go on with a task that was stopped or failed: units that are not done are done again.

        Raises:
            Busy: as `start`.
        """
        with self._changed:
            task = self._find(session, task_id)
            if task.state not in ("stopped", "failed"):
                return
            self._check_room(session)
            task.units = [u if u.state == "done" else UnitView(unit=u.unit, state="waiting") for u in task.units]
            task.state, task.count = "waiting", None
            self._tasks.remove(task)
            self._tasks.append(task)
            self._begin_next()

    def forget(self, session: str, task_id: str) -> None:
        """Remove a task that has ended, with its outputs unless they are to stay."""
        with self._changed:
            task = self._find(session, task_id)
            if task.state in ENDED:
                self._tasks.remove(task)
                _clean(task.order)

    def of(self, session: str) -> tuple[TaskView, ...]:
        """The visitor's tasks, the newest first."""
        with self._changed:
            return tuple(self._view(task) for task in reversed(self._tasks) if task.session == session)

    def view(self, session: str, task_id: str) -> TaskView:
        """How one of the visitor's tasks stands.

        Raises:
            BadRequest: if there is none of this name.
        """
        with self._changed:
            return self._view(self._find(session, task_id))

    def wait(self, session: str, task_id: str, patience_s: float) -> TaskView:
        """`view` when the task has ended, or after some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._find(session, task_id).state in ENDED, patience_s)
            return self._view(self._find(session, task_id))

    def close(self, session: str) -> None:
        """The tab was closed: end the visitor's tasks and forget them. Returns when nothing of them runs any more."""
        self._end(lambda task: task.session == session)

    def close_all(self) -> None:
        """The studio ends: nothing runs afterwards, and nothing can be started."""
        with self._changed:
            self._closed = True
        self._end(lambda _task: True)

    def _end(self, chosen: Callable[[_Task], bool]) -> None:
        with self._changed:
            ending = [task for task in self._tasks if chosen(task)]
            for task in ending:
                task.state = "stopping" if task.state in ("running", "stopping") else task.state
                if task.process is not None:
                    task.process.stop(LEAVING_S)
            self._changed.wait_for(lambda: all(task.state != "stopping" for task in ending), 10 * LEAVING_S)
            self._tasks = [task for task in self._tasks if task not in ending]
            for session in {task.session for task in ending}:
                self._begun.pop(session, None)
                self._served.pop(session, None)
            self._begin_next()

    def _check_room(self, session: str) -> None:
        waiting = [task for task in self._tasks if task.state not in ENDED]
        own = sum(task.session == session for task in waiting)
        if self._closed or own >= MOST_OF_ONE or len(waiting) >= MOST:
            whose, most = ("your", MOST_OF_ONE) if own >= MOST_OF_ONE else ("all visitors'", MOST)
            raise Busy(
                f"{whose} tasks that are not done yet are {most}, and no more may wait. Stop one, or come back later."
            )

    def _forget_oldest(self, session: str) -> None:
        ended = [task for task in self._tasks if task.session == session and task.state in ENDED]
        for task in ended[: max(0, len(ended) - MOST_REMEMBERED)]:
            self._tasks.remove(task)
            _clean(task.order)

    def _find(self, session: str, task_id: str) -> _Task:
        for task in self._tasks:
            if task.session == session and task.id == task_id:
                return task
        raise BadRequest("this task is not there any more. Choose another one, or start it anew.")

    def _queue(self) -> list[_Task]:
        """Waiting tasks in the order in which they will run: everybody's first before anybody's second, and whoever waited
        longest first."""
        rank: dict[str, int] = {task.session: 1 for task in self._tasks if task.state in ("running", "stopping")}
        placed: list[tuple[int, int, int, _Task]] = []
        for task in self._tasks:
            if task.state == "waiting":
                place = rank.setdefault(task.session, 0)
                placed.append((place, self._served.get(task.session, 0), len(placed), task))
                rank[task.session] += 1
        return [task for *_, task in sorted(placed, key=lambda place: place[:3])]

    def _begin_next(self) -> None:
        running = [task for task in self._tasks if task.state in ("running", "stopping")]
        busy = {task.session for task in running}
        for task in self._queue():
            if len(busy) >= self.at_once or self._closed:
                break
            if task.session not in busy:
                busy.add(task.session)
                self._served[task.session] = next(self._turns)
                task.state, task.began = "running", time.monotonic()
                threading.Thread(target=self._work, args=(task,), name=f"task-{task.id}", daemon=True).start()
        self._changed.notify_all()

    def _work(self, task: _Task) -> None:
        for number in range(len(task.units)):
            self._do(task, number)
        with self._changed:
            task.before_s += time.monotonic() - task.began
            states = {unit.state for unit in task.units}
            task.state = "stopped" if "waiting" in states else "failed" if "failed" in states else "done"
            self._begin_next()

    def _do(self, task: _Task, number: int) -> None:
        with self._changed:
            before = task.units[number]
            if task.state != "running" or before.state != "waiting":
                return
            task.units[number] = UnitView(unit=before.unit, state="running")
            task.count, task.unit_began = None, time.monotonic()
            try:
                task.process = process = self._launch(before.unit.words, lambda line: self._heard(task, line))
            except OSError as error:
                ended = Ended(code=1, reason=f"it could not be started ({error}). Try again later.", printed="")
                process = None
        if process is not None:
            ended = process.wait(task.order.limit_s)
        with self._changed:
            task.process = None
            task.units[number] = _after(task, before.unit, ended)

    def _heard(self, task: _Task, line: str) -> None:
        with self._changed:
            count = Count.of(line)
            if count is None:
                task.log.append(line)
            else:
                task.count, task.counted = count, time.monotonic()

    def _view(self, task: _Task) -> TaskView:
        now, queue = time.monotonic(), self._queue()
        running = sum(other.state in ("running", "stopping") for other in self._tasks)
        return TaskView(
            id=task.id,
            order=task.order,
            state=task.state,
            units=tuple(task.units),
            ahead=running + queue.index(task) if task in queue else 0,
            count=task.count,
            left_s=_left_s(task, now) if task.state == "running" else None,
            seconds=task.before_s + (now - task.began if task.state in ("running", "stopping") else 0.0),
            log=tuple(task.log),
        )


def _after(task: _Task, unit: Unit, ended: Ended) -> UnitView:
    """A unit whose command has ended; one that was stopped waits to be done again."""
    state: State = "done" if ended.code == 0 else "waiting" if task.state == "stopping" else "failed"
    reason = ended.reason if state == "failed" else ""
    seconds = 0.0 if state == "waiting" else time.monotonic() - task.unit_began
    return UnitView(unit=unit, state=state, reason=reason, printed=ended.printed, seconds=seconds)


def _left_s(task: _Task, now: float) -> float | None:
    """What the present unit says, and for those after it the mean of those before."""
    waiting = sum(unit.state == "waiting" for unit in task.units)
    took = [unit.seconds for unit in task.units if unit.state in ("done", "failed")]
    own = None if task.count is None else max(0.0, task.count.left_s - (now - task.counted))
    mean = sum(took) / len(took) if took else None
    if own is None and mean is not None:
        own = max(0.0, mean - (now - task.unit_began))
    if own is None or (waiting and mean is None):
        return None
    return own + waiting * (mean or 0.0)


def _clean(order: Order) -> None:
    """Remove outputs, and what an unfinished command left to resume with."""
    for unit in () if order.keeps else order.units:
        if unit.out is not None:
            for path in (unit.out, unit.out.with_name(f"{unit.out.name}.partial")):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
