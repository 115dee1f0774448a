"""Times and cells as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.cli.printing import show
from edgeward.cli.printing.kinds import KINDS, addressed, find
from edgeward.errors import Invalid

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NOW - 12, "12 s ago"),
        (NOW + 600, "in 10 min"),
        (NOW + 7 * 86400, "in 7 d"),
        ("2027-01-15T11:00:00+00:00", "in 3 h"),
        ("2027-01-15T05:00:00", "3 h ago"),
        (None, ""),
        ("soon", "soon"),
    ],
)
def test_a_moment_is_told_by_its_distance(value, text):
    assert show.moment(value, NOW) == text


@given(st.text() | st.lists(st.text(max_size=5)) | st.none() | st.booleans() | st.floats())
def test_no_cell_holds_a_control_character(value):
    assert show.shown(value).isprintable()


@pytest.mark.parametrize("length", [8, 100, 180, 181, 199, 200, 240])
def test_the_longest_name_there_is_costs_no_column(capsys, length):
    show.table(["name", "project", "issuer"], [["x" * length, "default", "local"], ["short", "p", None]])

    out = capsys.readouterr().out
    assert out.count("x") == length
    assert all(word in out for word in ("NAME", "PROJECT", "ISSUER", "default", "local", "short"))
    assert length > 180 or "x" * length in out


def test_kinds_are_found_in_the_singular_and_the_plural():
    for kind in KINDS:
        assert find(kind.name) is kind
    assert find("Domain").name == "domains"
    with pytest.raises(Invalid, match="there are listen, cache"):
        find("domians")


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (("domains", "a.example"), ("domains", "a.example", None)),
        (("domains", "a.example", "red"), ("domains", "a.example", "red")),
        (("domains/default/a.example",), ("domains", "a.example", "default")),
        (("service/app",), ("services", "app", None)),
        (("nodes/edge1",), ("nodes", "edge1", None)),
        (("listen/default/listen",), ("listen", "listen", None)),
    ],
)
def test_an_object_is_named_in_one_word_too_as_messages_print_it(said, means):
    kind, name, project = addressed(*said)

    assert (kind.name, name, project) == means


@pytest.mark.parametrize(
    "said",
    [
        ("gadgets/default/x",),
        ("domains/default/",),
        ("domains/a.example", "b"),
        ("domains/red/a", "", "blue"),
    ],
)
def test_an_object_is_named_once(said):
    with pytest.raises(Invalid):
        addressed(*said)


def test_a_path_needs_its_name_and_stays_below_its_kind():
    assert find("domain").path("*.a.example") == "/v1/domains/*.a.example"
    assert find("service").path("../nodes") == "/v1/services/..%2Fnodes"
    assert find("listen").path() == "/v1/listen"
    for kind, name in (("domain", ""), ("listen", "x"), ("service", "..")):
        with pytest.raises(Invalid):
            find(kind).path(name)
