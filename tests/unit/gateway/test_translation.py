"""A translation that follows one state after another says what one from nothing says."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeward.domain_name import wildcard_of
from edgeward.gateway.envoy import Gateway, Translation, routes, translate
from edgeward.gateway.envoy.gateway import ClientCertificates, Edge
from edgeward.gateway.envoy.table import wildcards_above
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from edgeward.xds import messages as m

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
    st.lists(st.sampled_from([*HOSTS, "*"]), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["/", "=/x", "~/y.*", "/api"]), min_size=1, max_size=2, unique=True),
    st.sampled_from(SERVICES),
    st.sampled_from(["terminate", "terminate", "passthrough"]),
)
a_service = st.tuples(
    st.just("service"), st.sampled_from(PROJECTS), st.sampled_from(SERVICES), st.sampled_from([1, 2])
)
a_domain = st.tuples(st.just("domain"), st.sampled_from(PROJECTS), st.sampled_from([*HOSTS, "*"]))
a_removal = st.tuples(
    st.just("remove"), st.sampled_from(PROJECTS), st.sampled_from(["r1", "r2", "r3", "s", "t", *HOSTS])
)
an_edge = st.tuples(st.just("edge"), st.sampled_from(HOSTS), st.sampled_from([None, True, False]))
a_listen = st.tuples(st.just("listen"), st.sampled_from([None, "a.x.example"]), st.sampled_from([443, 8443]))


class Declared:
    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Route] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.domains: dict[str, str] = {}
        self.edges: dict[str, Edge] = {}
        self.listen = Listen(https=":443", http=":80")
        self.doubtful: set[str] = set()

    def take(self, change: tuple[Any, ...]) -> None:
        kind, *said = change
        if kind == "route":
            project, name, hosts, paths, service, tls = said
            tls = "terminate" if "*" in hosts else tls
            value = {"name": name, "project": project, "hosts": hosts, "service": service, "tls": tls}
            value |= {"paths": paths, "http": "serve"} if tls == "terminate" else {}
            self.routes[project, name] = parse(Route, value)
        elif kind == "service":
            project, name, port = said
            value = {"name": name, "project": project, "backends": [f"http://10.0.0.1:{port}"]}
            self.services[project, name] = parse(Service, value)
        elif kind == "domain":
            self.domains[said[1]] = said[0]
            self.doubtful.add(said[1])
        elif kind == "edge" and said[1] is None:
            self.edges.pop(said[0], None)
        elif kind == "edge":
            self.edges[said[0]] = Edge(ClientCertificates(required=said[1]))
            self.domains.setdefault(said[0], "p")
            self.doubtful.add(said[0])
        elif kind == "listen":
            self.listen = Listen(https=f":{said[1]}", http=":80", default_domain=said[0])
        else:
            self.routes.pop((said[0], said[1]), None)
            self.services.pop((said[0], said[1]), None)
            self.domains.pop(said[1], None)
            self.edges.pop(said[1], None)
            self.doubtful.add(said[1])

    def gateway(self) -> Gateway:
        services, led = tuple(self.services.values()), tuple(self.routes.values())
        return Gateway(self.listen, services, led, domains=self.domains, edges=dict(self.edges))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.lists(a_route | a_service | a_domain | a_removal | an_edge | a_listen, max_size=5), max_size=10
    ),
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


@settings(max_examples=150, deadline=None)
@given(st.lists(a_route | a_domain | an_edge, max_size=12), st.sampled_from([*HOSTS[:2], HOSTS[3], HOSTS[5]]))
def test_nobody_gets_without_a_certificate_to_what_is_behind_one(
    changes: list[tuple[Any, ...]], host: str
) -> None:
    declared = Declared()
    for change in changes:
        declared.take(change)
    gateway = declared.gateway()
    assume(host in gateway.domains or wildcard_of(host) in gateway.domains)  # others get no certificate
    configurations = {
        r.name: m.RouteConfiguration.FromString(r.body) for r in translate(gateway) if r.type_url == m.ROUTES
    }

    def guard(pattern: str) -> str | None:
        for name in (pattern, None if pattern.startswith("*.") else wildcard_of(pattern)):
            if name in gateway.domains or name in gateway.edges:
                return name if name in gateway.edges else None
        return None

    patterns = [host, *wildcards_above(host)]
    led = {f"{r.project}/{r.name}": r for r in gateway.routes}
    for name, configuration in configurations.items():
        virtual = {d: v for v in configuration.virtual_hosts for d in v.domains}
        found = next((virtual[p] for p in patterns if p in virtual), None)
        for message in found.routes if found else ():
            if not message.HasField("route"):
                continue
            said = [p for p in patterns if p in led[message.name].hosts]
            assert any(guard(p) in (None, guard(host)) for p in said)
            edge = gateway.edges.get(guard(host) or "")
            assert name == "https" or edge is None or edge.client is None or not edge.client.required


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
