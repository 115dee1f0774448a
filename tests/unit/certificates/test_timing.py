"""Renewals come in time, at the authority's suggestion where it makes one, and retries come ever more rarely."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.orders.fulfilment import Window
from edgeward.certificates.timing import margins, next_try, renewal, renewal_of_own
from tests.unit.certificates.issuing import DAY, START

lives = st.floats(0.01 * DAY, 400 * DAY)
spreads = st.floats(0, 0.999)


@given(lives, spreads)
def test_renewal_lies_at_a_third_of_life_left_or_half_of_a_short_one(life, spread):
    left = START + life - renewal(START, START + life, spread)
    share = 1 / 2 if life < 10 * DAY else 1 / 3

    assert life * share - 1e-3 <= left <= life * (share + 0.1) + 1e-3


@given(lives, spreads)
def test_it_is_told_of_before_the_end_and_after_the_renewal_was_due(life, spread):
    short, of_short, of_long = margins()
    told = START + life - life * (of_short if life < short else of_long)

    assert renewal(START, START + life, spread) < told < START + life
    assert renewal_of_own(START, START + life, spread) < told


def test_what_our_own_authority_signed_is_renewed_at_a_third_of_life_left_or_a_tenth_before():
    assert renewal_of_own(0, 30, 0) == 20
    assert 17 <= renewal_of_own(0, 30, 0.999) < 17.01


@given(lives, spreads, st.floats(-2, 2), st.floats(0, 2))
def test_a_suggested_window_is_kept_to_unless_it_begins_after_the_end(life, spread, begins, lasts):
    start = START + life * begins
    window = Window(start, start + life * lasts, START)
    at = renewal(START, START + life, spread, window)

    if window.start < START + life:
        assert window.start <= at <= max(window.end, window.start)
        assert at <= START + life
    else:
        assert at == renewal(START, START + life, spread)


def test_what_failed_is_tried_after_1_10_and_100_minutes_and_then_each_day():
    waits = [next_try(attempts, START, None) - START for attempts in range(1, 7)]

    assert waits == [60, 600, 6000, DAY, DAY, DAY]


def test_an_outage_of_the_authority_is_not_held_against_the_name():
    assert [next_try(n, START, None, outage=True) - START for n in range(1, 5)] == [60, 600, 600, 600]


@given(st.integers(1, 100), st.floats(1, 100 * DAY))
def test_a_certificate_that_ends_soon_is_not_waited_for_until_it_has(attempts, left):
    wait = next_try(attempts, START, START + left) - START

    assert wait >= 60 - 1e-3
    assert wait <= max(60, left / 8) + 1e-3
