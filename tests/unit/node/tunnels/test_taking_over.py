"""When what a former daemon left may end, and when all goes back to it."""

from __future__ import annotations

import time

import pytest

from edgeward.node.tunnels.taking_over import MOST_SECONDS, TakingOver
from edgeward.vpn.driver import State
from tests.unit.vpn.values import connection, gateway

ONE, OTHER = connection(), connection(id="00000000-0000-4000-8000-000000000002")
NEW = gateway(ONE, OTHER, driver="libreswan")


def state(phase: str, id_: str = ONE.id, reason: str = "") -> dict[str, State]:
    said = {"connection": id_, "phase": phase, "since": 1.0, "reason": reason}
    return {id_: State.model_validate(said)}


class Begun(TakingOver):
    """``now`` is what time it is for it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        super().__init__(lambda: self.now)
        self.begin(state("active") | state("down", OTHER.id), "strongswan")


def begun() -> Begun:
    return Begun()


def test_it_is_over_once_what_was_up_is_up_again_whatever_else_is_down() -> None:
    made = begun()
    assert made.left and made.wait()
    assert not made.is_over(NEW, {}, ())
    assert not made.is_over(NEW, state("connecting"), ())
    assert made.is_over(NEW, state("active"), ())
    assert made.judged(NEW) == (NEW, "")


def test_what_the_daemon_does_not_take_or_is_to_stand_by_is_not_waited_for() -> None:
    assert begun().is_over(NEW, {}, (ONE.id,))
    assert begun().is_over(NEW.model_copy(update={"active": False}), {}, ())


def test_what_does_not_come_up_in_time_goes_back_once_and_stays_until_something_else_is_declared() -> None:
    made = begun()
    made.now += MOST_SECONDS + 1
    assert not made.is_over(NEW, state("error", reason="the peer refused our proposals"), ())
    back, why = made.judged(NEW)
    assert back is not None and back.driver == "strongswan"
    assert why.startswith("libreswan cannot take over, all goes back to strongswan: default/")
    assert why.endswith("the peer refused our proposals")

    made.begin({}, "libreswan")
    made.now += MOST_SECONDS + 1
    assert made.is_over(back, state("error"), ())  # nowhere to go any more
    assert made.judged(NEW)[1] == why
    other = NEW.model_copy(update={"connections": (ONE,)})
    assert made.judged(other) == (other, "")


def test_a_daemon_that_was_just_started_has_its_time_and_one_that_does_not_start_has_it_too() -> None:
    made = begun()
    made.now += MOST_SECONDS + 1
    made.opened()
    assert not made.is_over(NEW, {}, ())
    assert made.judged(NEW) == (NEW, "")
    never = begun()
    never.now += MOST_SECONDS + 1
    assert not never.is_over(NEW, {}, ())
    assert never.judged(NEW)[0] != NEW
    never.opened()  # the former one again, which has its time, too
    assert not never.is_over(NEW, {}, ())


def test_nothing_is_over_where_nothing_was_left() -> None:
    made = TakingOver()
    assert not made.is_over(NEW, state("active"), ())
    assert made.wait() is None


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_somebody_sets_gives_neither_more_time_nor_less(
    hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = begun()
    now = time.time() + 3600 * hours
    monkeypatch.setattr(time, "time", lambda: now)
    assert not made.is_over(NEW, {}, ())
    assert made.judged(NEW) == (NEW, "")
    assert MOST_SECONDS <= (made.wait() or 0) <= MOST_SECONDS + 1

    made.now += MOST_SECONDS + 1
    assert not made.is_over(NEW, {}, ())
    assert made.judged(NEW)[0] != NEW


def test_what_is_found_left_after_a_restart_has_its_time_once_and_not_each_time_it_is_found() -> None:
    made = begun()
    made.found(0.0)
    made.now += 5 * MOST_SECONDS
    made.found(7.0)
    assert not made.is_over(NEW, {}, ())
    made.now += MOST_SECONDS + 1
    made.found(7.5)  # as rootd noted it
    assert not made.is_over(NEW, {}, ())
    assert made.judged(NEW)[0] != NEW
