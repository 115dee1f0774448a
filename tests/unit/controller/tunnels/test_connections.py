"""Declared connections are found by name, id and page, whatever changes, as if all were looked through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.controller.tunnels.connections import KnownSites, place
from tests.unit.vpn.tunnels import connection, gateway

NAMES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "red"]), st.sampled_from(["office", "b", "x"])), max_size=12
)


def declared(names):
    some = [connection(n, name="/".join(name)) for n, name in enumerate(names)]
    return [gateway(*some)] if some else []


@given(st.lists(NAMES, min_size=1, max_size=3), st.integers(1, 5), st.sampled_from([None, "a", "b", "none"]))
def test_pages_give_each_once_in_order_and_lookups_find_what_is_there(course, limit, project):
    known, now = KnownSites(), [[]]
    known.gateways = lambda: now[0]
    for names in course:
        now[0] = declared(names)
        wanted = [site for site in known.all() if project in (None, site.project)]
        found, after = [], None
        while page := known.behind(after, limit, project):
            found += page
            after = place(page[-1])
        assert found == wanted == sorted(wanted, key=place)
        assert len(known.all()) == len(names)
        for site in wanted:
            assert site in known.named(site.name) and known.named(site.connection.id) == [site]
            assert site in known.named(f"{site.project}/{site.name}")
