"""How routes become virtual hosts."""

from __future__ import annotations

from typing import Any

from edgeward.gateway.envoy import Gateway, translate
from edgeward.gateway.envoy.routes import HTTP_ROUTES, HTTPS_ROUTES
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from edgeward.xds import messages as m


def virtual_hosts(*routes: dict[str, Any], listen: Listen | None = None) -> dict[str, Any]:
    services = (
        Service(name="a", backends=("http://b:1",)),
        Service(name="a", project="p", backends=("http://b:1",)),
    )
    state = Gateway(listen or Listen(https=":443"), services, tuple(parse(Route, r) for r in routes))
    found = next(r for r in translate(state) if r.type_url == m.ROUTES and r.name == "https")
    message = m.RouteConfiguration.FromString(found.body)
    return {host: virtual for virtual in message.virtual_hosts for host in virtual.domains}


def names(virtual: Any) -> list[str]:
    return [route.name.partition("/")[2] for route in virtual.routes]


def test_hosts_with_equal_routes_share_one_virtual_host_once_there_are_many() -> None:
    hosts = [f"h{i}.example" for i in range(1000)]
    found = virtual_hosts({"hosts": hosts, "service": "a"}, {"hosts": ["other.example"], "service": "a"})

    assert len({virtual.name for virtual in found.values()}) == 2
    assert sorted(found["h7.example"].domains) == sorted(hosts)


def test_a_virtual_host_of_one_exact_host_holds_sni_to_it_without_an_expression() -> None:
    found = virtual_hosts({"hosts": ["a.example", "b.example", "*.c.example"], "service": "a"})

    for host in ("a.example", "b.example"):
        assert list(found[host].domains) == [host]
        text = found[host].typed_per_filter_config["envoy.filters.http.rbac"].value
        rules = m.RbacPerRoute.FromString(text).rbac.rules.policies["misdirected"]
        served = rules.permissions[0].not_rule.or_rules.rules
        assert [s.requested_server_name.exact for s in served] == [host, f"{host}."]
        assert not rules.HasField("condition")
    assert not found["*.c.example"].typed_per_filter_config


def test_an_exact_host_falls_back_to_the_wildcard_of_its_project_only() -> None:
    found = virtual_hosts(
        {"name": "wild", "hosts": ["*.x.example"], "service": "a"},
        {"name": "own", "hosts": ["s.x.example"], "paths": ["/own"], "service": "a"},
        {"name": "other", "hosts": ["t.x.example"], "paths": ["/t"], "service": "a", "project": "p"},
    )

    assert names(found["s.x.example"]) == ["own", "wild"]
    assert names(found["t.x.example"]) == ["other"]


def test_the_order_of_declaration_changes_nothing() -> None:
    routes = [
        {"name": "prefix", "hosts": ["a.example"], "service": "a"},
        {"name": "exact", "hosts": ["a.example"], "paths": ["=/x"], "service": "a"},
        {"name": "regex", "hosts": ["a.example"], "paths": ["~/x.*"], "service": "a"},
        {"name": "longer", "hosts": ["a.example"], "paths": ["/x"], "service": "a"},
        {"name": "methods", "hosts": ["a.example"], "paths": ["/x"], "methods": ["GET"], "service": "a"},
    ]

    expected = ["exact", "regex", "methods", "longer", "prefix"]
    assert names(virtual_hosts(*routes)["a.example"]) == expected
    assert names(virtual_hosts(*reversed(routes))["a.example"]) == expected


def locations(redirect: dict[str, str]) -> list[str]:
    """Give what visitors over TLS are sent by each message of a redirect; blank: what Envoy makes of it."""
    routes = virtual_hosts({"hosts": ["a.example"], "redirect": redirect})["a.example"].routes
    return [r.response_headers_to_add[0].header.value if r.response_headers_to_add else "" for r in routes]


def test_a_redirect_to_another_path_alone_says_that_and_not_where_the_visitor_is() -> None:
    asked = "%QUERY_PARAMS(ORIG)%"
    assert locations({"path": "/a%20b"}) == [f"/a%%20b?{asked}", "/a%%20b"]
    assert locations({"path": "/b", "scheme": "https"}) == [f"/b?{asked}", "/b"]
    assert locations({"path": "/b?its=own"}) == ["/b?its=own"]
    for elsewhere in ({"host": "b.example"}, {"scheme": "http"}):
        assert locations({"path": "/b", **elsewhere}) == [""]
    assert locations({"path": "//b"}) == [""], "alone it would be a host"
    assert locations({"host": "b.example"}) == [""]


def test_equal_states_give_equal_bytes() -> None:
    state = Gateway(
        Listen(https=":443"), (), (parse(Route, {"hosts": ["a.example"], "redirect": {"path": "/"}}),)
    )

    assert [r.version for r in translate(state)] == [r.version for r in translate(state)]


def test_a_wildcard_does_not_catch_the_domains_of_another_project_below_it() -> None:
    wild = {"hosts": ["*.x.example"], "service": "a"}
    theirs = {"*.b.x.example": "p", "deep.c.x.example": "p", "served.c.x.example": "p"}
    state = Gateway(
        Listen(https=":443", http=":80"),
        (
            Service(name="a", backends=("http://b:1",)),
            Service(name="a", project="p", backends=("http://b:1",)),
        ),
        (
            parse(Route, wild),
            parse(Route, {"hosts": ["served.c.x.example"], "service": "a", "project": "p"}),
        ),
        domains={"*.x.example": "default", "*.own.x.example": "default", "other.example": "p", **theirs},
    )
    for resource in translate(state):
        if resource.type_url == m.ROUTES and resource.name == HTTPS_ROUTES:
            hosts = m.RouteConfiguration.FromString(resource.body).virtual_hosts
            found = {host: virtual for virtual in hosts for host in virtual.domains}
            assert set(found) == {"*.x.example", *theirs}
            assert not found["*.b.x.example"].routes and not found["deep.c.x.example"].routes
            assert found["served.c.x.example"].routes and found["*.x.example"].routes


def test_a_hosts_own_route_goes_before_a_wildcards_of_the_same_path_whatever_their_names() -> None:
    wild = {"name": "a", "hosts": ["*.x.example"], "service": "a"}
    own = {"name": "z", "hosts": ["s.x.example"], "service": "a"}
    asking = {"name": "b", "hosts": ["*.x.example"], "service": "a", "headers": {"x-beta": "1"}}

    assert names(virtual_hosts(wild, own, asking)["s.x.example"]) == ["z", "b", "a"]


def does(route: Any) -> str:
    if route.direct_response.status:
        return str(route.direct_response.status)
    return "redirect" if route.redirect.https_redirect else "serve"


def over_plain_http(*routes: dict[str, object]) -> dict[str, str]:
    """Give what each host named in the configuration for plain HTTP gets there."""
    state = Gateway(
        Listen(https=":443", http=":80"),
        (Service(name="a", backends=("http://b:1",)),),
        tuple(parse(Route, route) for route in routes),
    )
    (found,) = (r for r in translate(state) if r.type_url == m.ROUTES and r.name == HTTP_ROUTES)
    configuration = m.RouteConfiguration.FromString(found.body)
    return {
        host: ",".join(does(route) for route in virtual.routes)
        for virtual in configuration.virtual_hosts
        for host in virtual.domains
    }


def test_over_plain_http_only_hosts_that_do_something_else_than_redirect_are_named() -> None:
    usual = {"hosts": ["a.example", "*.b.example"], "service": "a"}
    served = {"hosts": ["s.example"], "service": "a", "http": "serve"}
    refused = {"hosts": ["r.example"], "service": "a", "http": "refuse"}

    assert over_plain_http(usual) == {"*": "redirect"}
    assert over_plain_http(usual, served, refused) == {
        "*": "redirect",
        "s.example": "serve",
        "r.example": "404",
    }


def test_what_a_route_refuses_over_plain_http_no_other_route_of_its_host_or_wildcard_serves() -> None:
    admin = {"name": "admin", "hosts": ["s.x.example"], "service": "a", "paths": ["/admin"], "http": "refuse"}
    own = {"name": "own", "hosts": ["s.x.example"], "service": "a", "http": "serve"}
    wild = {"name": "wild", "hosts": ["*.x.example"], "service": "a", "http": "serve"}

    assert over_plain_http(admin, own)["s.x.example"] == "404,serve"
    assert over_plain_http({**own, "http": "refuse"}, wild)["s.x.example"] == "404,serve"


def test_a_wildcard_served_over_plain_http_takes_no_host_that_is_redirected() -> None:
    usual = {"hosts": ["a.w.example"], "service": "a", "project": "p"}
    served = {"hosts": ["*.w.example"], "service": "a", "http": "serve"}

    assert over_plain_http(usual, served) == {
        "*": "redirect",
        "*.w.example": "serve",
        "a.w.example": "redirect",
    }


def tried_again(**route: Any) -> list[tuple[str, str]]:
    """Give the methods of each message of a route that tries 503 again, and on what it tries again."""
    declared = {"hosts": ["a.example"], "service": "a", "retries": {"statuses": [503]}, **route}
    found = []
    for one in virtual_hosts(declared)["a.example"].routes:
        methods = [h.string_match.safe_regex.regex for h in one.match.headers if h.name == ":method"]
        assert not one.route.retry_policy.retriable_request_headers, "Envoy would ask it of every retry"
        retried = "all" if 503 in one.route.retry_policy.retriable_status_codes else "connections"
        assert "connect-failure" in one.route.retry_policy.retry_on
        found.append(("".join(methods), retried))
    return found


def test_statuses_are_tried_again_for_methods_without_effect_and_connections_for_all() -> None:
    assert tried_again() == [("GET|HEAD|OPTIONS", "all"), ("", "connections")]
    assert tried_again(methods=["GET", "POST"]) == [("GET", "all"), ("GET|POST", "connections")]
    assert tried_again(methods=["GET", "HEAD"]) == [("GET|HEAD", "all")]
    assert tried_again(methods=["PUT", "POST"]) == [("POST|PUT", "connections")]
    canary = {"service": "b", "headers": {"x-canary": "1"}}
    assert tried_again(canary=canary) == [("GET|HEAD|OPTIONS", "all"), ("", "connections")] * 2
