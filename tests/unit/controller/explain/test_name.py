"""The first thing in a visitor's way is named, with its remedy; and nothing is, where all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.model import Domain, Summary
from edgeward.certificates.orders.model import Queued
from edgeward.controller.explain.facts import Facts, NodeView
from edgeward.controller.explain.name import explain, refused, visited
from edgeward.controller.explain.steps import Step
from edgeward.declaration.feed import Answer, EnvoyState, Rejection, Report
from edgeward.gateway.model import Backend, Canary, Listen, Route, Service

NOW = 1_800_000_000.0
SHOP = Service(name="shop", backends=(Backend(url="http://backend.example:8080"),))
STORED = Summary("shop.example", "default", "local", "", "ab" * 32, NOW - 309, NOW + 99, NOW + 66, 7)
REPORT = Report(version="1", revision=9, received=9, envoy=EnvoyState(state="serving"))
NODE = NodeView("edge1", True, REPORT, Answer(id="1", tier="memory"))
WELL = Facts(
    name="shop.example",
    path="/",
    now=NOW,
    listen=Listen(https=("127.0.0.1:8443",)),
    domain=Domain(name="shop.example"),
    routes=(Route(name="shop", hosts=("shop.example",), service="shop"),),
    services={("default", "shop"): SHOP},
    certificate=STORED,
    nodes=(NODE,),
)


def reported(**changes: Any) -> NodeView:
    return replace(NODE, report=REPORT.model_copy(update=changes))


def test_where_all_is_well_it_says_how_a_visitor_is_served():
    found = explain("Shop.Example", WELL)

    assert found["served"] and found["reason"] is None and found["notes"] == []
    assert found["domain"]["name"] == "shop.example"
    assert found["route"] == {
        "name": "shop",
        "project": "default",
        "host": "shop.example",
        "path": "/",
        "service": "shop",
        "redirect": None,
    }
    assert found["service"]["backends"] == ["http://backend.example:8080"]
    assert found["certificate"]["stored"]
    assert found["nodes"][0]["tier"] == "memory"


OTHER_ROUTE = Route(name="api", hosts=("shop.example",), paths=("/api",), service="shop")
OBSTACLES = [
    ({"listen": Listen()}, "listen.https is empty", "listen.https"),
    ({"domain": None}, "no domain covers shop.example", "under domains"),
    ({"withheld": "shop.example"}, "is deactivated", "edgeward certificates activate shop.example"),
    ({"without_issuer": "the issuer is not there"}, "the issuer is not there", "'local'"),
    ({"without_issuer": "it takes dns-01; put that into it"}, "it takes dns-01", "put that into it"),
    ({"refusal": "http://shop does not allow it"}, "http://shop does not allow it", "answer 200"),
    ({"routes": ()}, "no route leads shop.example", "hosts: [shop.example]"),
    ({"routes": (OTHER_ROUTE,)}, "takes GET /:", "routes/default/api"),
    ({"services": {}}, "services/default/shop is not declared", "declare services/default/shop"),
    ({"nodes": ()}, "no node has joined", "edgeward up"),
    ({"nodes": (replace(NODE, connected=False),)}, "no node is connected", "edgeward status"),
    ({"nodes": (replace(NODE, report=None),)}, "edge1 has not reported", "wait"),
    ({"nodes": (reported(envoy=EnvoyState(state="down")),)}, "Envoy is down on node edge1", "log"),
    (
        {
            "nodes": (
                reported(rejections=(Rejection(object="services/default/shop", message="bad", revision=9),)),
            )
        },
        "node edge1 refused services/default/shop: bad",
        "change services/default/shop",
    ),
    (
        {"nodes": (reported(backends={"services/default/shop": "does not resolve"}),)},
        "services/default/shop cannot be reached from node edge1: does not resolve",
        "backends",
    ),
    (
        {"nodes": (replace(NODE, answer=Answer(id="1", tier="none", service={"default/shop": "down"})),)},
        "default/shop cannot be reached from node edge1: down",
        "backends",
    ),
]


@pytest.mark.parametrize(("change", "reason", "remedy"), OBSTACLES)
def test_each_obstacle_is_named_with_its_remedy(change, reason, remedy):
    found = explain("shop.example", replace(WELL, **change))

    assert not found["served"]
    assert reason in found["reason"]
    assert remedy in found["remedy"]


@given(st.sets(st.integers(0, len(OBSTACLES) - 1), min_size=1, max_size=4))
def test_of_several_obstacles_the_first_a_visitor_meets_is_named(chosen):
    facts = WELL
    fields: set[str] = set()
    for index in sorted(chosen):
        change = OBSTACLES[index][0]
        if fields & set(change):
            continue
        fields |= set(change)
        facts = replace(facts, **change)

    assert OBSTACLES[min(chosen)][1] in explain("shop.example", facts)["reason"]


def test_trouble_on_one_of_two_nodes_is_a_note_and_not_the_verdict():
    down = replace(reported(envoy=EnvoyState(state="down")), name="edge2")
    gone = NodeView("edge3", False)
    found = explain("shop.example", replace(WELL, nodes=(down, NODE, gone)))

    assert found["served"]
    assert found["notes"] == ["Envoy is down on node edge2", "node edge3 is not connected"]


def test_trouble_of_another_service_is_not_ours():
    other = Rejection(object="services/default/other", message="bad", revision=9)
    node = reported(rejections=(other,), backends={"services/default/other": "down"})

    assert explain("shop.example", replace(WELL, nodes=(node,)))["served"]


def test_a_certificate_that_is_not_there_or_expired_is_made_at_the_handshake():
    for certificate in (None, replace(STORED, not_after=NOW)):
        found = explain("shop.example", replace(WELL, certificate=certificate))

        assert found["served"]
        assert found["certificate"] == {"name": "shop.example", "stored": False}
        assert "first handshake" in found["notes"][0]


def test_a_redirect_and_conditional_routes_are_noted():
    routes = (
        Route(name="away", hosts=("shop.example",), redirect={"host": "other.example"}),
        Route(name="beta", hosts=("shop.example",), headers={"x-beta": "1"}, service="shop"),
    )
    found = explain("shop.example", replace(WELL, routes=routes))

    assert found["served"]
    assert found["route"]["redirect"] == {"host": "other.example", "status": 301}
    assert found["notes"] == [
        "the route redirects, with status 301",
        "requests with certain headers take another route: beta",
    ]


def test_visitors_without_sni_get_the_default_domain_or_are_refused():
    assert visited("-", Listen(default_domain="shop.example")) == "shop.example"
    obstacle = visited("-", Listen())
    assert isinstance(obstacle, Step)
    found = refused("-", obstacle)
    assert not found["served"] and "listen.default_domain" in found["remedy"]
    assert "without SNI" in explain("-", WELL)["notes"][0]


@given(st.text(max_size=300))
def test_whatever_is_asked_the_answer_is_printable(asked):
    name = visited(asked, Listen())

    if isinstance(name, Step):
        assert all(text.isprintable() for text in (name.cause, refused(asked, name)["asked"]))


# --- on which nodes -----------------------------------------------------------------------------


def labelled(name: str, labels: dict[str, str]) -> NodeView:
    return replace(NODE, name=name, labels=labels)


def test_it_is_said_on_which_nodes_a_name_is_served_and_why_not_on_others():
    eu, us = ({"region": r, "name": r} for r in ("eu", "us"))
    domain = Domain(name="shop.example", nodes={"region": ("eu",)})
    found = explain(
        "shop.example", replace(WELL, domain=domain, nodes=(labelled("eu", eu), labelled("us", us)))
    )

    assert found["served"]
    assert [n["selected"] for n in found["nodes"]] == [True, False]
    assert found["nodes"][1]["why_not"] == "the domain shop.example is served on other nodes: region: eu"
    assert not any("us" in note for note in found["notes"])


def test_a_name_that_no_node_is_labelled_for_is_told_with_the_remedy():
    domain = Domain(name="shop.example", nodes={"region": ("eu",)})
    found = explain("shop.example", replace(WELL, domain=domain, nodes=(labelled("us", {"name": "us"}),)))

    assert not found["served"]
    assert "region: eu" in found["reason"]
    assert "edgeward node label" in found["remedy"]


def test_nodes_with_routes_of_their_own_are_told_apart():
    eu, us = ({"region": r, "name": r} for r in ("eu", "us"))
    routes = [
        Route(name=f"in-{r}", hosts=("shop.example",), service="shop", nodes={"region": (r,)})
        for r in ("eu", "us")
    ]
    nodes = (labelled("eu", eu), labelled("us", us), labelled("ap", {"name": "ap"}))
    found = explain("shop.example", replace(WELL, routes=routes, nodes=nodes))

    assert found["served"]
    assert found["route"]["name"] == "in-eu"
    assert "on node us the route default/in-us takes it" in found["notes"]
    assert found["nodes"][2]["why_not"] == "its routes are on other nodes: region: eu; region: us"


def test_a_canary_is_told_with_its_share_its_headers_and_its_troubles():
    canary = Canary(service="new", share=2.5, headers={"x-canary": "always"})
    route = Route(name="shop", hosts=("shop.example",), service="shop", canary=canary)
    new = Service(name="new", backends=(Backend(url="http://new.example:80"),))
    services = {("default", "shop"): SHOP, ("default", "new"): new}
    troubled = (reported(backends={"services/default/new": "does not resolve"}),)

    found = explain("shop.example", replace(WELL, routes=(route,), services=services, nodes=troubled))

    assert found["served"]
    assert found["canary"]["backends"] == ["http://new.example:80"] and found["canary"]["share"] == 2.5
    assert found["notes"] == [
        "2.5 % of visitors go to service 'new'",
        "requests with x-canary: always go to service 'new'",
        "services/default/new cannot be reached from node edge1: does not resolve",
    ]


def test_rate_limits_are_told_with_whom_they_count():
    limits = (
        {"requests": 5, "per": "1m"},
        {"requests": 2000, "by": "route"},
        {"requests": 1, "by": {"header": "X-Key"}},
    )
    route = Route(name="shop", hosts=("shop.example",), service="shop", rate_limits=limits)

    assert explain("shop.example", replace(WELL, routes=(route,)))["notes"] == [
        "each node takes 5 requests in 60 s from each client",
        "each node takes 2,000 requests in 1 s in all",
        "each node takes 1 request in 1 s for each value of x-key",
    ]


ORDER = Queued(
    "shop.example", "default", "le", "visitor", "failed", NOW - 60, NOW + 60, problem="le: it leads elsewhere"
)


def test_why_a_certificate_could_not_be_had_is_what_is_in_the_way_until_there_is_one():
    found = explain("shop.example", replace(WELL, certificate=None, order=ORDER))
    assert found["reason"] == "its certificate could not be had: le: it leads elsewhere"
    assert "edgeward get orders shop.example" in found["remedy"]

    still = explain("shop.example", replace(WELL, order=ORDER))
    assert still["served"] and still["notes"] == ["its renewal failed so far: le: it leads elsewhere"]


def test_what_is_being_ordered_is_told():
    order = replace(ORDER, state="working", step="validation", problem=None)
    found = explain("shop.example", replace(WELL, certificate=None, order=order))

    assert "its certificate is being ordered: validation" in found["notes"]


# --- the way ------------------------------------------------------------------------------------


def steps(facts: Facts) -> list[tuple[str, str]]:
    return [(step["step"], step["state"]) for step in explain("shop.example", facts)["steps"]]


WHOLE_WAY = ["name", "listener", "policy", "certificate", "route", "service", "node", "envoy", "backend"]


def test_the_way_of_a_visitor_is_told_step_by_step_with_the_age_of_each():
    changed = {"services/default/shop": NOW - 60, "listen/default/listen": NOW - 90}
    found = explain("shop.example", replace(WELL, changed=changed, stored=NOW - 9))["steps"]

    assert [step["step"] for step in found] == WHOLE_WAY
    assert {step["state"] for step in found} == {"ok"}
    since = {step["step"]: step["since"] for step in found}
    assert (since["service"], since["listener"], since["certificate"]) == (NOW - 60, NOW - 90, NOW - 9)
    unknown = explain("shop.example", replace(WELL, changed=changed))["steps"]
    assert next(s["since"] for s in unknown if s["step"] == "certificate") is None
    how = {step["step"]: step["detail"] for step in found}
    assert "edge1: memory" in how["certificate"] and "127.0.0.1:8443" in how["listener"]


@pytest.mark.parametrize(("change", "reason", "remedy"), OBSTACLES)
def test_the_way_ends_at_the_first_broken_step_which_is_the_verdict(change, reason, remedy):
    found = explain("shop.example", replace(WELL, **change))

    assert [step["state"] for step in found["steps"][:-1]] == ["ok"] * (len(found["steps"]) - 1)
    last = found["steps"][-1]
    assert (last["state"], last["cause"], last["remedy"]) == ("broken", found["reason"], found["remedy"])
    assert reason in last["cause"] and remedy in last["remedy"]


def test_a_port_nobody_listens_on_is_where_a_url_ends():
    found = explain("shop.example", replace(WELL, port=443))

    assert found["steps"][-1]["step"] == "listener"
    assert "port 443" in found["reason"] and "8443" in found["reason"]
    assert explain("shop.example", replace(WELL, port=8443))["served"]


def test_over_plain_http_a_certificate_matters_where_visitors_are_redirected():
    listen = Listen(http=("127.0.0.1:8080",), https=("127.0.0.1:8443",))
    plain = replace(WELL, scheme="http", listen=listen, domain=None)
    served, refused_ = (WELL.routes[0].model_copy(update={"http": how}) for how in ("serve", "refuse"))

    assert steps(plain)[-1] == ("policy", "broken")
    assert steps(replace(plain, routes=(served,)))[-1] == ("backend", "ok")
    found = explain("shop.example", replace(plain, domain=WELL.domain, routes=(refused_,)))
    assert "refuses plain HTTP" in found["reason"]
    assert "listen.http is empty" in explain("shop.example", replace(WELL, scheme="http"))["reason"]


def test_what_a_node_did_not_say_in_time_is_unknown_and_not_broken():
    found = explain("shop.example", replace(WELL, nodes=(replace(NODE, answer=None),)))

    assert found["served"] and found["steps"][-1]["state"] == "unknown"


def test_the_way_is_told_on_the_node_that_serves():
    down = replace(reported(envoy=EnvoyState(state="down")), name="edge2")
    found = explain("shop.example", replace(WELL, nodes=(down, NODE)))["steps"]

    assert "nodes/edge1" in {step["subject"] for step in found}
    assert "nodes/edge2" not in {step["subject"] for step in found}
