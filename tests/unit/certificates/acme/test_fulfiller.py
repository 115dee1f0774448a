"""Whose limits are whose, whatever authorities say."""

from __future__ import annotations

from edgeward.certificates.acme.fulfiller import counted_under

OURS = "https://ca.example/dir", "https://ca.example/account/1"


def test_an_authority_that_calls_its_account_what_another_calls_ours_is_counted_apart():
    stranger = counted_under("https://evil.example/dir", OURS[1])

    assert stranger != counted_under(*OURS)
    assert stranger != counted_under("https://worse.example/dir", OURS[1])
    assert counted_under(*OURS) == OURS[1]


def test_a_long_place_is_kept_by_its_digest():
    first, second = (counted_under(OURS[0], f"{OURS[1]}{'x' * 400}{n}") for n in range(2))

    assert first != second
    assert len(first) == len(second) == 64
