import threading
import time

import pytest

from studio.web.turns import Turns
from worldmodel.errors import Busy


def test_first_come_first_served() -> None:
    turns = Turns()
    first, second, third = (turns.draw(name) for name in "abc")
    assert [ticket.ahead for ticket in (first, second, third)] == [0, 1, 2]
    assert first.ready()
    assert not second.ready(0.01)
    first.leave()
    assert [second.ahead, third.ahead] == [0, 1]
    second.leave()
    second.leave()
    assert third.ready()


def test_visitors_who_draw_anew_for_each_chunk_advance_together() -> None:
    turns, done, everybody = Turns(), [], threading.Barrier(8)

    def work(name: str) -> None:
        everybody.wait()
        for chunk in range(5):
            with turns.turn(name) as mine:
                assert mine
                time.sleep(0.002)
                done.append((chunk, name))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 40
    for name in "abcdefgh":
        others = [chunk for chunk, who in done[: done.index((2, name))] if who != name]
        assert min(others.count(chunk) for chunk in (0, 1)) >= 6  # nobody was left behind by more than a round
    assert turns.waiting() == 0


def test_who_stops_while_waiting_does_not_wait_on() -> None:
    turns = Turns()
    holder = turns.draw("a")
    with turns.turn("b", stopped=lambda: True) as mine:
        assert not mine
    assert turns.waiting() == 1
    holder.leave()


def test_place_is_given_up_when_the_work_fails() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.draw("a"):
        1 / 0  # noqa: B018
    assert turns.waiting() == 0


def test_too_many_are_sent_away_with_a_sentence() -> None:
    turns = Turns(most=2)
    tickets = [turns.draw(name) for name in "ab"]
    with pytest.raises(Busy, match="Try again"):
        turns.draw("c")
    tickets[0].leave()
    assert turns.draw("c").ahead == 1


def test_one_visitor_cannot_fill_the_queue() -> None:
    turns = Turns(most_of_one=2)
    tickets = [turns.draw("a") for _ in range(2)]
    with pytest.raises(Busy, match="of yours"):
        turns.draw("a")
    assert turns.draw("b").ahead == 2
    tickets[0].leave()
    assert turns.draw("a").ahead == 2
