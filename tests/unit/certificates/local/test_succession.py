"""Over decades, whatever the intervals: there is always an authority that signs and that is trusted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.certificates.local.succession import (
    Held,
    due,
    signing_intermediate,
    signing_root,
    unexpired_roots,
)

DAY = 86400.0
START = 1_800_000_000.0


def test_the_first_day_makes_a_root_and_an_intermediate_and_the_second_nothing():
    held = due([], START)

    assert [h.role for h in held] == ["root", "intermediate"]
    assert held[0].signed(held[1])
    assert due(held, START + DAY) == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=40, max_size=120))
def test_visits_at_least_each_hundred_days_keep_everything_going_for_decades(steps):
    held: list[Held] = []
    published: dict[str, float] = {}
    now = START
    for days in steps:
        now += days * DAY
        held += due(held, now)
        roots = unexpired_roots(held, now)
        for root in roots:
            published.setdefault(root.signer.fingerprint, now)
        signs = signing_root(roots, now)
        intermediate = signing_intermediate(held, signs)

        assert intermediate is not None
        assert intermediate.not_after - now > 20 * DAY
        assert len(roots) <= 2
        if len(published) > 1:
            assert now - published[signs.signer.fingerprint] >= 90 * DAY or signs is held[0]
        assert due(held, now) == []


def test_a_new_root_is_published_two_years_before_the_old_ones_end_and_signs_after_ninety_days():
    held = due([], START)
    day = START + (3652 - 730 + 1) * DAY
    held += due(held, day)

    old, new = unexpired_roots(held, day)
    assert signing_root([old, new], day) is old
    assert signing_root([old, new], day + 89 * DAY) is old
    assert signing_root([old, new], day + 90 * DAY) is new
    held += due(held, day + 91 * DAY)
    assert signing_intermediate(held, new) is held[-1]


def test_after_a_long_absence_a_new_root_signs_at_once():
    held = due([], START)
    late = START + 4000 * DAY
    held += due(held, late)

    (root,) = unexpired_roots(held, late)
    assert signing_root([root], late) is root
    assert signing_intermediate(held, root) is not None


def test_the_intermediate_is_renewed_with_a_third_of_its_life_left():
    held = due([], START)

    assert due(held, START + 240 * DAY) == []
    (fresh,) = due(held, START + 246 * DAY)
    assert held[0].signed(fresh)
