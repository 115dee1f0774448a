"""Which filter chain a server name gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.domain_name import wildcard_of
from edgeward.gateway.envoy import Gateway
from edgeward.gateway.envoy.chains import COMMON, names, own_chain, passing_chain, variants
from edgeward.gateway.envoy.gateway import Edge
from edgeward.gateway.model import Listen, Route

LABELS = st.sampled_from("ab")
EXACT = st.builds(lambda x, y: f"{x}.{y}.example", LABELS, LABELS)
PATTERN = EXACT | st.builds(lambda x: f"*.{x}.example", LABELS)
ROUTES = st.lists(
    st.tuples(
        st.lists(PATTERN, min_size=1, max_size=3), st.booleans(), st.sampled_from(["s", "t"]), st.booleans()
    ),
    max_size=4,
)


def route(hosts: list[str], passed: bool, service: str, timed: bool, number: int) -> Route:
    return Route(
        name=f"r{number}",
        hosts=tuple(hosts),
        service=service,
        tls="passthrough" if passed else "terminate",
        timeouts={"idle": 5} if timed else None,
    )


@given(ROUTES, st.sets(PATTERN), st.sets(PATTERN), EXACT, st.none() | EXACT)
def test_the_exact_name_says_its_chain_before_its_wildcard_does(said, domains, edged, name, default):
    hosts: set[str] = set()
    routes = []
    for number, (patterns, *rest) in enumerate(said):
        if own := [p for p in dict.fromkeys(patterns) if p not in hosts]:
            routes.append(route(own, *rest, number))
            hosts.update(own)
    state = Gateway(
        Listen(default_domain=default),
        routes=tuple(routes),
        domains=dict.fromkeys(domains | edged, "default"),
        edges={d: Edge(hot=True) for d in edged},
    )

    def expected(asked: str) -> str:
        places = (asked, wildcard_of(asked))
        led = next((r for p in places for r in routes if p in r.hosts), None)
        if led is not None and led.tls == "passthrough":
            return passing_chain(led)
        domain = next((p for p in places if p in domains | edged), None)
        return own_chain(domain) if domain in edged else COMMON

    found = names(state)
    assert found.exact.get(name, found.wildcards.get(wildcard_of(name), COMMON)) == expected(name)
    assert found.nameless == (COMMON if default is None else expected(default))


def test_a_gateway_of_plain_hosts_has_nothing_to_choose():
    many = tuple(route([f"h{i}.example", "*.x.example"], False, "s", False, i) for i in range(3))
    found = names(Gateway(routes=many, domains={"h1.example": "default", "*.x.example": "default"}))

    assert not found.exact and not found.wildcards and found.nameless == COMMON


def test_what_is_passed_through_needs_no_variant_for_trusted_proxies():
    assert variants(COMMON) == ("strangers", "proxies")
    assert variants(passing_chain(route(["a.example"], True, "s", False, 1)))[1] is None
    assert variants(own_chain("a.example"))[1] == "own a.example proxies"
