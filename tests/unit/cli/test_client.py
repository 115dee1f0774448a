"""Problem documents become the errors they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.cli.client import failure
from edgeward.cli.connect import segment
from edgeward.errors import Conflict, EdgewardError, Invalid, NotFound, Refused, Unavailable


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Refused),
        (403, Refused),
        (404, NotFound),
        (409, Conflict),
        (412, Conflict),
        (422, Invalid),
        (429, Refused),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_each_status_is_its_kind_of_error(status, kind):
    error = failure(status, {"title": "T", "detail": "what happened"})

    assert type(error) is kind
    assert "what happened" in str(error)


def test_every_wrong_field_comes_back():
    entries = [
        {"field": "a", "message": "m", "line": 3, "object": "domains/default/x"},
        {"field": "b", "message": "n", "line": None, "object": None},
    ]
    error = failure(422, {"errors": entries})

    assert isinstance(error, Invalid)
    assert [(p.field, p.message, p.line, p.object) for p in error.problems] == [
        ("a", "m", 3, "domains/default/x"),
        ("b", "n", None, None),
    ]


@given(
    st.integers(300, 599),
    st.dictionaries(
        st.sampled_from(["detail", "title", "errors"]), st.none() | st.integers() | st.lists(st.none())
    ),
)
def test_whatever_a_server_answers_is_an_error_of_ours(status, problem):
    assert isinstance(failure(status, problem), EdgewardError)


@given(st.text(min_size=1, max_size=20))
def test_a_name_stays_one_segment_of_a_path(name):
    try:
        text = segment(name)
    except Invalid:
        assert name in (".", "..") or any("\ud800" <= c <= "\udfff" for c in name)
        return
    assert not set(text) & set("/?#\\ \n")
