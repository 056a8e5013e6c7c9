"""Workers as Ray's actors: the same happenings as with local ones."""

import signal
import sys
from pathlib import Path

import pytest
from job_workers import ObedientWorker, a_plan, a_work, ended, until

from studio.jobs.engines.engine import Advanced, Began, Ended, Lost, Ready
from studio.jobs.engines.ray_engine import RayEngine
from worldmodel.errors import BadRequest


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadRequest, match="extra 'ray'"):
        RayEngine(a_plan(tmp_path), 1)


@pytest.mark.slow
def test_actors_do_works_tell_progress_and_are_replaced_when_killed(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # where the obedient worker is
    before = signal.getsignal(signal.SIGTERM)
    engine = RayEngine(a_plan(tmp_path), 2, make=ObedientWorker, pause_s=0.01)
    try:
        assert signal.getsignal(signal.SIGTERM) is before
        assert engine.free == 4
        work = a_work(0, "chunks", units=2)
        engine.give(work, frozenset({work.units[0].key}))
        seen = until(engine, ended)
        assert [one.chunk for one in seen if isinstance(one, Advanced)] == [0, 1, 2]
        assert [outcome.key for outcome in seen[-1].outcomes] == [work.units[1].key]
        engine.give(a_work(1, "threads"))
        assert until(engine, ended)[-1].outcomes[0].message == "1"
        engine.give(a_work(2, "die once"))
        lost = until(engine, lambda now: any(isinstance(one, Lost) for one in now))[-1]
        assert lost.work == 2
        engine.give(a_work(2, "die once"))
        engine.give(a_work(3))
        seen = until(engine, lambda now: ended(now, 2) and any(isinstance(one, Ready) for one in now))
        assert {one.work for one in seen if isinstance(one, Ended)} == {2, 3}
        engine.give(a_work(4, "wait"))
        until(engine, lambda now: Began in map(type, now))
        engine.drop(4)
        lost = until(engine, lambda now: any(isinstance(one, Lost) for one in now))[-1]
        assert lost.why == "it took too long and was ended"
        assert engine.facts()["machines"]
    finally:
        engine.close()
