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
    turns, done = Turns(), []
    tickets = [turns.draw(name) for name in "abcdefgh"]
    for _ in range(40):
        (mine,) = [ticket for ticket in tickets if ticket.ready()]
        done.append(mine.visitor)
        mine.leave()
        tickets[tickets.index(mine)] = turns.draw(mine.visitor)
    assert "".join(done) == "abcdefgh" * 5


def test_threads_hold_the_model_one_at_a_time_and_all_get_it() -> None:
    turns, done, holding = Turns(), [], []

    def work(name: str) -> None:
        for chunk in range(5):
            with turns.turn(name) as mine:
                assert mine
                holding.append(name)
                time.sleep(0.002)
                done.append((chunk, name, tuple(holding)))
                holding.clear()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((chunk, name) for chunk, name, _ in done) == [(c, n) for c in range(5) for n in "abcdefgh"]
    assert all(held == (name,) for _, name, held in done)
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
