"""When all that waits will have been done, as the authority's limit and our pace allow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.model import AcmeIssuer, Limit, Limits
from edgeward.certificates.orders.progress import Waiting, finish
from tests.unit.certificates.issuing import START

SLOW = AcmeIssuer(directory="https://ca.example/dir", limits=Limits(orders=Limit(most=300, seconds=10800)))
FREE = AcmeIssuer(directory="https://ca.example/dir", limits=Limits(orders=None))


def test_within_the_limit_the_pace_decides():
    assert finish(Waiting(100, START, 0), SLOW, 2.0, START) == START + 50
    assert finish(Waiting(10_000, START, 0), FREE, 2.0, START) == START + 5000
    assert finish(Waiting(5, START, 0), None, 1.0, START) == START + 5


def test_beyond_it_one_window_follows_the_other():
    assert finish(Waiting(301, START, 0), SLOW, 1000.0, START) == START + 10800
    assert finish(Waiting(10, START, 300), SLOW, 1000.0, START) == START + 10800
    assert finish(Waiting(3300, START, 0), SLOW, 1000.0, START) == START + 10 * 10800


@given(st.integers(1, 10_000), st.integers(0, 400), st.floats(0, 1e6), st.floats(0.01, 100))
def test_it_is_never_before_the_last_may_begin_and_more_take_no_less(number, issued, last, rate):
    one = finish(Waiting(number, START + last, issued), SLOW, rate, START)

    assert one >= START + last
    assert finish(Waiting(number + 1, START + last, issued), SLOW, rate, START) >= one


def test_where_orders_might_begin_and_none_does_nobody_knows_when_they_are_done():
    assert finish(Waiting(3, START, 0, 0, START - 60), FREE, 2.0, START) is None
    assert finish(Waiting(3, START, 0, 1, START - 60), FREE, 2.0, START) is not None
    assert finish(Waiting(3, START, 0, 0, START - 5), FREE, 2.0, START) is not None
    assert finish(Waiting(3, START, 300, 0, START - 60), SLOW, 2.0, START) == START + 10800
