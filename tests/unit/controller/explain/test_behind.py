"""What keeps visitors from a backend behind a site is told where it is: relay, tunnel, daemon, or beyond."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeward.controller.explain.behind import RelayFacts, SiteView, of_relay
from edgeward.controller.explain.name import explain
from edgeward.controller.explain.steps import verdict, walked
from edgeward.gateway.model import Backend, Behind, Service
from edgeward.vpn.heard import Daemon, Held
from edgeward.vpn.status import sites, status
from tests.unit.controller.explain.test_name import NODE, WELL, reported
from tests.unit.vpn.tunnels import GATEWAY, NOW, gateway, state

(SITE,) = sites([gateway()])
RUNNING = Daemon(GATEWAY, "edge1", "running", NOW, "", NOW)
BACKEND = Backend.model_validate(f"vpn://{SITE.name}/10.2.0.7:8080")
DIRECT = Backend(url="http://backend.example:8080")
PLACE = Behind(SITE.name, "10.2.0.7", 8080)


def view(phase="active", daemon=RUNNING, **more):
    daemons = [daemon]
    held = Held(state(phase=phase, **more), GATEWAY, "edge1", NOW)
    return SiteView(SITE, status(SITE, held, daemons, lambda _: True), daemons, NOW - 5)


def explained(site, *backends, said="", node=NODE):
    service = Service(name="shop", backends=backends or (BACKEND,))
    node = reported(backends={"services/default/shop": said}) if said else node
    facts = replace(
        WELL,
        services={("default", "shop"): service},
        sites={} if site is None else {("default", SITE.name): site},
        nodes=(node,),
    )
    return explain("shop.example", facts)


def test_the_way_to_a_backend_behind_a_site_is_told_down_to_the_peer():
    found = explained(view())

    assert found["served"]
    names = [step["step"] for step in found["steps"]]
    assert names[names.index("backend") :] == ["backend", "relay", "tunnel", "node", "daemon", "peer"]
    assert f"in namespace vpn-{GATEWAY}" in {step["detail"] for step in found["steps"]}


@pytest.mark.parametrize(
    ("site", "said", "step", "reason"),
    [
        (None, "", "tunnel", "is not declared in project default"),
        (
            view("down", reason="no answer from 203.0.113.9"),
            "the tunnel to site x is down",
            "peer",
            "no answer",
        ),
        (view("error", reason="pre-shared keys differ"), "", "peer", "pre-shared keys differ"),
        (
            view("down", Daemon(GATEWAY, "edge1", "down", NOW, "killed", NOW)),
            "the tunnel is down",
            "daemon",
            "killed",
        ),
        (
            view(),
            f"there is no relay to 10.2.0.7 port 8080 behind {SITE.name}: there is no rootd",
            "relay",
            "there is no rootd",
        ),
        (view(), "10.2.0.7 port 8080: connection refused", "backend", "connection refused"),
    ],
)
def test_the_first_broken_step_is_named(site, said, step, reason):
    found = explained(site, said=said)

    assert not found["served"]
    assert (found["steps"][-1]["step"], found["steps"][-1]["state"]) == (step, "broken")
    assert reason in found["reason"] and found["remedy"]


def test_a_backend_elsewhere_serves_while_the_tunnel_is_down():
    assert explained(view("down"), BACKEND, DIRECT)["served"]
    assert not explained(view("down", reason="gone"), BACKEND, DIRECT, said="nobody answers")["served"]


def relay(**changes):
    service = Service(name="shop", backends=(BACKEND,))
    facts = replace(RelayFacts("default", PLACE, (service,), view()), **changes)
    return verdict("it", "relay", walked(of_relay(facts)))


def test_a_relay_is_explained_by_itself():
    assert relay()["well"]
    assert "no service of project default" in relay(services=())["reason"]
    said = {"services/default/shop": f"there is no relay to 10.2.0.7 port 8080 behind {SITE.name}: full"}
    assert relay(said=said)["steps"][-1]["step"] == "relay"
    assert relay(view=view("down", reason="gone"), said=said)["reason"] == "gone"
