"""Failures are counted by address, forgiven with time, and never fill the memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.access.limit import FailureLimit


def test_after_the_burst_a_client_waits_and_is_let_in_again():
    limit = FailureLimit(burst=3, seconds=10)
    for _ in range(3):
        assert limit.wait("192.0.2.1", 0) == 0
        limit.failed("192.0.2.1", 0)

    assert limit.wait("192.0.2.1", 0) == 10
    assert limit.wait("192.0.2.1", 9.5) == 1
    assert limit.wait("192.0.2.1", 10) == 0
    assert limit.wait("192.0.2.2", 0) == 0


def test_one_ipv6_network_is_one_client_and_a_mapped_address_is_its_ipv4():
    limit = FailureLimit(burst=1, seconds=10)
    limit.failed("2001:db8::1", 0)
    limit.failed("::ffff:192.0.2.9", 0)

    assert limit.wait("2001:db8::ffff:1", 0) > 0
    assert limit.wait("2001:db8:0:1::1", 0) == 0
    assert limit.wait("192.0.2.9", 0) > 0


def test_the_memory_is_bounded_and_the_oldest_goes_first():
    limit = FailureLimit(burst=1, clients=100)
    for index in range(1000):
        limit.failed(f"10.0.{index // 256}.{index % 256}", index)

    assert len(limit) == 100
    assert limit.wait("10.0.0.0", 1000) == 0


def test_a_clock_that_is_put_back_costs_nobody_more_than_the_wait_that_is_told():
    limit = FailureLimit(burst=3, seconds=10)
    for _ in range(4):
        limit.failed("192.0.2.1", 1e6)

    told = limit.wait("192.0.2.1", 0)
    assert told > 0
    assert limit.wait("192.0.2.1", told) == 0


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.booleans()), max_size=50))
def test_no_clock_locks_anybody_out_for_good(steps):
    """Also one that jumps back and forth: the wait is never longer than one failure's worth."""
    limit = FailureLimit(burst=2, seconds=6)
    for now, fails in steps:
        if fails:
            limit.failed("a", now)
        assert 0 <= limit.wait("a", now) <= 12
