"""A translation that follows one state after another says what one from nothing says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.gateway.envoy import Gateway, Translation, routes, translate
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse

HOSTS = [
    "a.x.example",
    "b.x.example",
    "*.x.example",
    "c.b.x.example",
    "*.b.x.example",
    "y.example",
    "*.example.org",
]
SERVICES = ["s", "t"]
PROJECTS = ["p", "q"]

a_route = st.tuples(
    st.just("route"),
    st.sampled_from(PROJECTS),
    st.sampled_from(["r1", "r2", "r3", "r4"]),
    st.lists(st.sampled_from(HOSTS), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["/", "=/x", "~/y.*", "/api"]), min_size=1, max_size=2, unique=True),
    st.sampled_from(SERVICES),
    st.sampled_from(["terminate", "terminate", "passthrough"]),
)
a_service = st.tuples(
    st.just("service"), st.sampled_from(PROJECTS), st.sampled_from(SERVICES), st.sampled_from([1, 2])
)
a_domain = st.tuples(st.just("domain"), st.sampled_from(PROJECTS), st.sampled_from(HOSTS))
a_removal = st.tuples(
    st.just("remove"), st.sampled_from(PROJECTS), st.sampled_from(["r1", "r2", "r3", "s", "t", *HOSTS])
)
a_listen = st.tuples(st.just("listen"), st.sampled_from([None, "a.x.example"]), st.sampled_from([443, 8443]))


class Declared:
    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Route] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.domains: dict[str, str] = {}
        self.listen = Listen(https=":443", http=":80")
        self.doubtful: set[str] = set()

    def take(self, change: tuple[Any, ...]) -> None:
        kind, *said = change
        if kind == "route":
            project, name, hosts, paths, service, tls = said
            value = {"name": name, "project": project, "hosts": hosts, "service": service, "tls": tls}
            value |= {"paths": paths} if tls == "terminate" else {}
            self.routes[project, name] = parse(Route, value)
        elif kind == "service":
            project, name, port = said
            value = {"name": name, "project": project, "backends": [f"http://10.0.0.1:{port}"]}
            self.services[project, name] = parse(Service, value)
        elif kind == "domain":
            self.domains[said[1]] = said[0]
            self.doubtful.add(said[1])
        elif kind == "listen":
            self.listen = Listen(https=f":{said[1]}", http=":80", default_domain=said[0])
        else:
            self.routes.pop((said[0], said[1]), None)
            self.services.pop((said[0], said[1]), None)
            self.domains.pop(said[1], None)
            self.doubtful.add(said[1])

    def gateway(self) -> Gateway:
        services, led = tuple(self.services.values()), tuple(self.routes.values())
        return Gateway(self.listen, services, led, domains=self.domains)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(a_route | a_service | a_domain | a_removal | a_listen, max_size=5), max_size=10),
    st.sampled_from([1000, 4]),
)
def test_following_changes_gives_the_same_bytes_as_beginning_anew(
    steps: list[list[tuple[Any, ...]]], most_own: int
) -> None:
    declared, following = Declared(), Translation()
    before, routes._MOST_OWN = routes._MOST_OWN, most_own
    try:
        for step in steps:
            for change in step:
                declared.take(change)
            followed = following.update(declared.gateway(), declared.doubtful)
            declared.doubtful = set()
            assert followed == translate(declared.gateway())
    finally:
        routes._MOST_OWN = before


def test_what_did_not_change_is_not_made_again() -> None:
    declared, following = Declared(), Translation()
    declared.take(("service", "p", "s", 1))
    for number in range(2000):
        declared.take(("route", "p", f"r{number}", [f"h{number}.example"], ["/"], "s", "terminate"))
    assert following.distance(declared.gateway()) == 2001
    following.update(declared.gateway())
    kept = {group.hosts[0]: group.made for group in following._table.groups()}

    declared.take(("route", "p", "r7", ["h7.example", "more.example"], ["/"], "s", "terminate"))
    assert following.distance(declared.gateway()) == 2
    following.update(declared.gateway())

    again = {group.hosts[0]: group.made for group in following._table.groups()}
    assert [host for host in kept if again[host] is not kept[host]] == ["h7.example"]
