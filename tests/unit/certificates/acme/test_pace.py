"""How long is waited between two looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from edgeward.certificates.acme.pace import obeying, pauses


@given(st.floats(0, 10_000))
def test_pauses_grow_are_bounded_and_add_up_to_the_patience(patience):
    found = list(pauses(patience))

    assert sum(found) == approx(patience)
    assert found[:-1] == sorted(found[:-1])
    assert all(0 < pause <= 10 for pause in found)


def test_the_first_looks_come_soon():
    first = list(pauses(300))

    assert first[0] <= 0.1
    assert sum(first[:5]) < 1


@given(st.floats(0, 10), st.none() | st.floats(0, 1e9))
def test_the_authoritys_wait_is_obeyed_up_to_two_minutes(pause, retry_after):
    waited = obeying(pause, retry_after)

    assert pause <= waited <= 120
    assert waited >= min(retry_after or 0, 120)
