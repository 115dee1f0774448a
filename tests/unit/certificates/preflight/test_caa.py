from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.preflight.caa import climb, refusal
from edgeward.certificates.preflight.lookups import Caa

OURS = ("letsencrypt.org", "le.example")
BOTH = ("http-01", "dns-01")


def allowed(*records: Caa, wildcard: bool = False, authorities=OURS, methods=BOTH) -> bool:
    return refusal(records, wildcard, authorities, methods) is None


@pytest.mark.parametrize(
    ("records", "plain", "wild"),
    [
        ([], True, True),
        ([Caa("issue", "letsencrypt.org")], True, True),
        ([Caa("issue", "LetsEncrypt.ORG")], True, True),
        ([Caa("issue", "  le.example ; cansignhttpexchanges=yes")], True, True),
        ([Caa("issue", "other.example")], False, False),
        ([Caa("issue", "other.example"), Caa("issue", "letsencrypt.org")], True, True),
        ([Caa("issue", ";")], False, False),
        ([Caa("issue", "")], False, False),
        ([Caa("issue", "; policy=ev")], False, False),
        ([Caa("issuewild", "other.example")], True, False),
        ([Caa("issuewild", ";"), Caa("issue", "letsencrypt.org")], True, False),
        ([Caa("issuewild", "letsencrypt.org"), Caa("issue", "other.example")], False, True),
        ([Caa("iodef", "mailto:a@b.example", critical=True)], True, True),
        ([Caa("tbs", "unknown")], True, True),
        ([Caa("tbs", "unknown", critical=True)], False, False),
        ([Caa("issue", "letsencrypt.org; validationmethods=dns-01")], True, True),
        ([Caa("issue", "letsencrypt.org; validationmethods=tls-alpn-01")], False, False),
        ([Caa("issue", "letsencrypt.org; accounturi=https://x/1; validationmethods=http-01,x")], True, True),
    ],
)
def test_records_are_judged_as_the_rfc_says(records: list[Caa], plain: bool, wild: bool) -> None:
    assert allowed(*records) is plain
    assert allowed(*records, wildcard=True) is wild


def test_an_authority_that_does_not_say_who_it_is_is_stopped_by_nobody_may_issue_only() -> None:
    assert allowed(Caa("issue", "other.example"), authorities=())
    assert not allowed(Caa("issue", ";"), authorities=())


def test_names_are_climbed_up_to_the_top_level_and_not_beyond() -> None:
    assert list(climb("a.b.example.com")) == ["a.b.example.com", "b.example.com", "example.com", "com"]
    assert list(climb("*.example.com")) == ["example.com", "com"]


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
values = texts | st.sampled_from(["letsencrypt.org", ";", "letsencrypt.org; validationmethods=http-01"])
records = st.sets(st.builds(Caa, st.sampled_from(["issue", "issuewild", "iodef"]), values, st.booleans()))


@given(records, st.booleans())
def test_a_record_for_us_never_takes_away_what_another_gave(found: set[Caa], wildcard: bool) -> None:
    tag = "issuewild" if wildcard else "issue"

    assert refusal({*found, Caa(tag, "letsencrypt.org")}, wildcard, OURS, BOTH) is None


@given(records, st.booleans())
def test_reasons_are_one_line_whatever_records_say(found: set[Caa], wildcard: bool) -> None:
    why = refusal(found, wildcard, OURS, BOTH)

    assert why is None or (why.isprintable() and "\n" not in why)
