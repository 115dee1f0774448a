"""What refusals mean: wait, prove better, or give up; and never a pause without an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.acme.answers import Problem, read_problem
from edgeward.certificates.acme.problems import meaning, refusal
from edgeward.certificates.acme.wire import Fault
from edgeward.certificates.orders.fulfilment import Limited, Rejected, Unproven
from edgeward.errors import EdgewardError, Unavailable

PREFIX = "urn:ietf:params:acme:error:"
NOW = 1_800_000_000.0
problems = st.builds(
    Problem,
    type=st.sampled_from(("about:blank", PREFIX + "rateLimited", PREFIX + "dns", PREFIX + "new")) | st.text(),
    detail=st.none() | st.text(max_size=2000),
)


def fault(status: int, code: str, detail: str = "no", retry_after: float | None = None) -> Fault:
    return Fault(status, Problem(type=PREFIX + code, detail=detail), retry_after)


@given(
    problems, st.sampled_from((400, 401, 403, 404, 409, 429, 500, 502, 503)), st.none() | st.floats(0, 1e12)
)
def test_every_refusal_is_one_of_our_errors_and_every_pause_ends(problem, status, retry_after):
    error = refusal(Fault(status, problem, retry_after), ["a.example"], NOW)

    assert isinstance(error, EdgewardError)
    assert len(str(error)) < 1000
    assert str(error).isprintable() or "\n" not in str(error)
    if isinstance(error, Limited):
        assert NOW < error.until <= NOW + 8 * 86400


@pytest.mark.parametrize(
    "code", ["connection", "dns", "dnssec", "caa", "tls", "unknownHost", "incorrectResponse"]
)
def test_what_the_authority_could_not_see_is_unproven(code):
    assert isinstance(meaning(Problem(type=PREFIX + code, detail="x")), Unproven)


@pytest.mark.parametrize(
    "code", ["rejectedIdentifier", "unauthorized", "badCSR", "malformed", "somethingNew"]
)
def test_what_it_does_not_want_is_rejected(code):
    assert isinstance(refusal(fault(403, code), ["a.example"], NOW), Rejected)


@pytest.mark.parametrize(
    ("status", "code"), [(500, "serverInternal"), (502, "x"), (503, "x"), (403, "serverInternal")]
)
def test_faults_of_its_own_are_unavailable(status, code):
    error = refusal(fault(status, code), ["a.example"], NOW)

    assert isinstance(error, Unavailable) and not isinstance(error, Limited)


def test_one_name_of_several_that_cannot_be_proven_makes_all_unproven():
    inner = Problem.model_validate(
        {
            "type": PREFIX + "dns",
            "detail": "no such name",
            "identifier": {"type": "dns", "value": "b.example"},
        }
    )
    problem = Problem(type=PREFIX + "compound", detail="several", subproblems=[inner])

    assert isinstance(meaning(problem), Unproven)
    assert "several; b.example: no such name" in str(meaning(problem))


def test_the_end_of_a_pause_is_read_from_the_text_where_no_header_tells():
    detail = (
        "too many new orders (300) from this account in the last 3h0m0s, retry after 2027-01-15 08:10:00 UTC"
    )
    error = refusal(fault(429, "rateLimited", detail), ["a.example"], NOW)

    assert isinstance(error, Limited)
    assert error.until == 1_800_000_600.0


def test_the_header_counts_more_than_the_text():
    detail = "too many new orders, retry after 2027-01-15 08:10:00 UTC"
    error = refusal(fault(429, "rateLimited", detail, 60.0), ["a.example"], NOW)

    assert isinstance(error, Limited) and error.until == NOW + 60


def test_an_end_that_is_no_time_is_passed_over():
    detail = "too many new orders, retry after 2027-13-45 99:10:00 UTC"
    error = refusal(fault(429, "rateLimited", detail), ["a.example"], NOW)

    assert isinstance(error, Limited) and error.until == NOW + 3600


def test_several_names_of_one_set_are_not_told_apart():
    error = refusal(
        fault(429, "rateLimited", "for this exact set of identifiers"), ["a.example", "b.example"], NOW
    )

    assert isinstance(error, Limited)
    assert (error.scope, error.key) == ("exact", "")


@given(st.binary(max_size=300), st.integers(400, 599))
def test_any_bytes_are_a_problem_of_one_line(body, status):
    problem = read_problem(body, status)

    assert str(problem)
    assert str(problem).isprintable() and len(str(problem)) <= 500


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_any_json_is_a_problem_of_one_line(value):
    import json

    assert str(read_problem(json.dumps(value).encode(), 400)).isprintable()


def test_what_a_database_does_not_store_is_left_out_of_a_problem():
    said = Problem(detail="no\x00 \x1b[31maccount\r\nhere")

    assert str(said) == "no [31maccount here"
