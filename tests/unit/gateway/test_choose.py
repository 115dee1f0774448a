"""What we tell people about routes is what Envoy is told to do."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.gateway.choose import Side, choose, sides
from edgeward.gateway.envoy import Gateway, translate
from edgeward.gateway.model import Canary, Listen, Route, Service
from edgeward.xds import messages as m

HOSTS = ["a.x.example", "b.x.example", "*.x.example", "c.a.x.example", "*.a.x.example", "y.example", "*"]
PATHS = ["/", "/api", "/api/", "/api/v1", "=/", "=/api", "~/api/.*", "~/[a-z]+"]
ASKED = ["/", "/api", "/api/", "/api/v1", "/apix", "/api/v1/x?q=/", "/other"]


def build(index: int, hosts: list[str], paths: list[str], methods: list[str], project: str) -> Route:
    found = {"name": f"r{index}", "project": project, "hosts": hosts, "paths": paths, "methods": methods}
    return Route.model_validate({**found, "service": "s"})


a_route = st.tuples(
    st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True),
    st.sampled_from([[], [], ["GET"], ["POST"]]),
    st.sampled_from(["p", "p", "q"]),
)


@settings(max_examples=400)
@given(
    st.lists(a_route, min_size=1, max_size=6),
    st.sampled_from([h for h in HOSTS if "*" not in h]),
    st.sampled_from(ASKED),
    st.sampled_from(["GET", "POST"]),
)
def test_the_chosen_route_is_the_first_that_matches_in_envoys_configuration(routes, host, path, method):
    declared = [build(i, *route) for i, route in enumerate(routes)]
    choice = choose(declared, host, path, method)
    taken = None if choice is None else f"{choice.route.project}/{choice.route.name}"

    assert taken == envoys_choice(declared, host, path, method)


def envoys_choice(routes: list[Route], host: str, path: str, method: str) -> str | None:
    services = tuple(Service(name="s", project=p, backends=("http://b:1",)) for p in "pq")
    state = Gateway(Listen(https=":443"), services, tuple(routes))
    found = next(r for r in translate(state) if r.type_url == m.ROUTES and r.name == "https")
    by_host = {
        pattern: virtual
        for virtual in m.RouteConfiguration.FromString(found.body).virtual_hosts
        for pattern in virtual.domains
    }
    labels = host.split(".")
    candidates = [host, *("*." + ".".join(labels[i:]) for i in range(1, len(labels))), "*"]
    virtual = next((by_host[pattern] for pattern in candidates if pattern in by_host), None)
    routes_of_it = virtual.routes if virtual is not None else ()
    return next((r.name for r in routes_of_it if matches(r.match, path, method)), None)


def matches(match: Any, path: str, method: str) -> bool:
    """Read a RouteMatch as Envoy's documentation says it is read."""
    bare = path.partition("?")[0]
    for header in match.headers:
        assert header.name == ":method"
        text = header.string_match
        wanted = [text.exact] if text.exact else re.findall("[A-Z]+", text.safe_regex.regex)
        if method not in wanted:
            return False
    kind = match.WhichOneof("path_specifier")
    if kind == "path":
        return bool(bare == match.path)
    if kind == "safe_regex":
        return re.fullmatch(match.safe_regex.regex, bare) is not None
    if kind == "path_separated_prefix":
        prefix = match.path_separated_prefix
        return bool(bare == prefix or bare.startswith(prefix + "/"))
    return bool(path.startswith(match.prefix))


def test_a_canary_is_chosen_by_headers_for_certain_and_else_by_its_share() -> None:
    canary = Canary(service="new", share=2.5, headers={"x-canary": "always"})
    route = Route(name="r", hosts=("a.example",), service="old", canary=canary)

    assert sides(route, {"x-canary": "always", "x-more": "1"}) == (Side("new", 100),)
    assert sides(route, {"x-canary": "never"}) == sides(route) == (Side("new", 2.5), Side("old", 97.5))
    by_header = Route(
        name="r", hosts=("a.example",), service="old", canary=Canary(service="new", headers={"x": "1"})
    )
    assert sides(by_header) == (Side("old", 100),)
    assert sides(Route(name="r", hosts=("a.example",), redirect={"path": "/"})) == ()


def test_a_route_that_asks_for_headers_is_chosen_with_them() -> None:
    asking = Route(name="z", hosts=("a.example",), service="s", headers={"x-beta": "1"})
    plain = Route(name="a", hosts=("a.example",), service="s")

    with_it = choose([asking, plain], "a.example", "/", headers={"x-beta": "1"})
    without = choose([asking, plain], "a.example", "/", headers={"x-beta": "2"})
    assert with_it is not None and with_it.route is asking
    assert without is not None and without.route is plain


def test_the_longer_prefix_wins_whatever_the_names():
    short, long = build(0, ["a.x.example"], ["/"], [], "p"), build(1, ["a.x.example"], ["/api"], [], "p")

    for routes in ([short, long], [long, short]):
        choice = choose(routes, "a.x.example", "/api/x")
        assert choice is not None and choice.route is long


def test_a_route_that_wants_headers_is_not_what_a_plain_visit_gets():
    declared = Route(name="r", hosts=("a.example",), headers={"x-beta": "1"}, service="s")

    assert choose([declared], "a.example", "/") is None
