from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.launcher.backoff import LONGEST, STEADY, Backoff


def delays(*ran: float) -> list[float]:
    backoff, found = Backoff(), []
    for seconds in ran:
        backoff = backoff.after_death(seconds)
        found.append(backoff.delay)
    return found


def test_the_first_start_again_is_at_once_then_it_takes_longer() -> None:
    assert delays(*[0.1] * 9) == [0, 0.5, 1, 2, 4, 8, 10, 10, 10]


def test_whoever_ran_steadily_starts_again_at_once() -> None:
    assert delays(0, 0, 0, STEADY, 0) == [0, 0.5, 1, 0, 0.5]


@given(st.lists(st.floats(min_value=0, max_value=STEADY - 0.001), max_size=2000))
def test_short_lives_never_wait_less_than_before_nor_beyond_the_bound(ran: list[float]) -> None:
    found = delays(*ran)

    assert found == sorted(found)
    assert all(0 <= delay <= LONGEST for delay in found)
