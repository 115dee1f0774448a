"""Changes are shown object by object and field by field."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.cli.printing.changes import flat, headline, lines, summary

CREATE = {
    "action": "create",
    "key": "domains/default/a.example",
    "before": None,
    "after": {"name": "a.example"},
}
CHANGE = {
    "action": "change",
    "key": "services/default/s",
    "before": {"name": "s", "backends": [{"url": "http://a:1"}]},
    "after": {"name": "s", "backends": [{"url": "http://b:1"}, {"url": "http://c:1"}]},
    "taken_from": "file:old.yaml",
}
DELETE = {"action": "delete", "key": "routes/default/r", "before": {"name": "r"}, "after": None}


def test_only_what_differs_is_shown():
    assert list(lines(CHANGE)) == [
        ("~", "services/default/s  (taken over from file:old.yaml)"),
        ("-", "    backends[0].url: http://a:1"),
        ("+", "    backends[0].url: http://b:1"),
        ("+", "    backends[1].url: http://c:1"),
    ]


def test_new_and_deleted_objects_are_shown_whole():
    assert list(lines(CREATE)) == [("+", "domains/default/a.example"), ("+", "    name: a.example")]
    assert list(lines(DELETE)) == [("-", "routes/default/r"), ("-", "    name: r")]


def test_the_summary_counts():
    assert summary([CREATE, CHANGE, DELETE, DELETE]) == "1 created, 1 changed, 2 deleted"


data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), data, max_size=4))
def test_nothing_unprintable_reaches_the_terminal(value):
    change = {"action": "change", "key": "a/\x1b[31m/c", "before": {}, "after": value, "taken_from": "\x1b"}

    assert headline(change)[1].isprintable()
    assert all(line.isprintable() for _, line in lines(change))
    assert all(path.isprintable() for path in flat(value))
