"""Tunnels over the API: nodes tell at once, everybody asks, and every declared one is there, up or not."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest

from edgeward.cli.printing.overview import troubles
from edgeward.controller.tunnels import alarms
from edgeward.declaration.feed import EnvoyState, Report
from edgeward.vpn import store
from edgeward.vpn.status import sites
from tests.unit.controller.assembled import on_both
from tests.unit.vpn.tunnels import GATEWAY, NOW, connection, gateway, state

OFFICE = connection(1)
BRANCH = connection(2, name="red/office-1", peer_networks=("10.3.0.0/24",))


def of_gateway(*states, phase="running", **more):
    data = [one.model_dump(mode="json") for one in states]
    return {"id": GATEWAY, "phase": phase, "since": NOW, "connections": data, **more}


async def tell(here, headers, *gateways, **more):
    body = {"gateways": list(gateways), **more}
    answer = await here.http.post("/v1/nodes/n1/tunnels", json=body, headers=headers)
    assert answer.status_code == 204, answer.text


@pytest.fixture
async def node(here):
    """A node that follows, its headers."""
    headers = await here.node("n1")
    await here.parts.registry.begin("n1", "t")
    serving = EnvoyState(state="serving")
    await here.parts.registry.reported("n1", Report(version="1", revision=0, received=0, envoy=serving))
    here.parts.cases.tunnels.known.gateways = lambda: [gateway(OFFICE, BRANCH)]
    return headers


async def test_what_a_node_with_a_clock_that_is_ahead_says_to_be_down_is_down_since_now(here, node):
    """Alarms wait for some seconds: those of the controller."""
    before = time.time()
    lost = state(1, "down").model_copy(update={"since": before + 3600})
    await tell(here, node, of_gateway(lost))

    async with here.parts.database.reading() as reading:
        told = await store.untold(reading, time.time() + 1)
    assert before <= told[OFFICE.id].state.since <= time.time()


@on_both
async def test_every_declared_connection_is_listed_with_what_its_node_said(here, admin, node):
    keyed = {"local": ["10.1.0.0/24"], "peer": ["10.2.0.0/24"], "bytes_in": 5, "bytes_out": 7}
    await tell(here, node, of_gateway(state(1, algorithms="AES_GCM_16-256", children=[keyed, keyed])))

    office, branch = (await here.http.get("/v1/tunnels", headers=admin)).json()["items"]

    assert (office["phase"], office["node"], office["since"]) == ("active", "n1", NOW)
    assert (office["bytes_in"], office["bytes_out"], office["algorithms"]) == (10, 14, "AES_GCM_16-256")
    assert office["gateway"] | {"since": None} == {
        "id": GATEWAY,
        "name": "default/office",
        "driver": "strongswan",
        "carried_by": "strongswan",
        "phase": "running",
        "since": None,
        "reason": "",
    }
    assert (branch["project"], branch["phase"]) == ("red", "waiting") and branch["remedy"]
    assert "not for anybody" not in str((office, branch))


@on_both
async def test_what_shares_its_hosts_address_has_the_one_that_its_node_says(here, admin, node):
    anywhere = {"local_address": "0.0.0.0", "local_id": "0.0.0.0"}
    named = connection(2, name="red/office-1", **{**anywhere, "local_id": "@edge.example"})
    here.parts.cases.tunnels.known.gateways = lambda: [gateway(connection(1, **anywhere), named)]

    async def local():
        listed = (await here.http.get("/v1/tunnels", headers=admin)).json()["items"]
        return [(one["local"]["address"], one["local"]["id"], one["gateway"]["carried_by"]) for one in listed]

    assert await local() == [("0.0.0.0", "0.0.0.0", None), ("0.0.0.0", "@edge.example", None)]
    of_the_version_before = [one.model_dump(mode="json", exclude={"local_address", "driver"})
                             for one in (state(1), state(2))]  # fmt: skip
    await tell(here, node, of_gateway() | {"connections": of_the_version_before})
    assert await local() == [("0.0.0.0", "0.0.0.0", "strongswan"), ("0.0.0.0", "@edge.example", "strongswan")]
    said = {"local_address": "192.0.2.7", "driver": "libreswan", "of_the_next_version": 1}
    await tell(here, node, of_gateway() | {"connections": [one | said for one in of_the_version_before]})
    assert await local() == [
        ("192.0.2.7", "192.0.2.7", "libreswan"),
        ("192.0.2.7", "@edge.example", "libreswan"),
    ]
    await tell(here, node, of_gateway(phase="down", reason="it was killed"))
    assert [address for address, _, _ in await local()] == ["192.0.2.7", "192.0.2.7"]


async def test_many_are_listed_page_by_page_each_once(here, admin, node):
    many = [connection(n, name=f"p{n % 3}/same", id=f"00000000-0000-0000-0001-{n:012d}") for n in range(25)]
    here.parts.cases.tunnels.known.gateways = lambda: [gateway(*many)]
    found, after = [], None
    while True:
        where = {"limit": 10, **({} if after is None else {"after": after})}
        page = (await here.http.get("/v1/tunnels", params=where, headers=admin)).json()
        found += [(one["project"], one["id"]) for one in page["items"]]
        after = page["next"]
        if after is None:
            break

    assert found == sorted((one.name.partition("/")[0], one.id) for one in many)


async def test_one_is_found_by_name_by_id_and_within_a_project(here, admin, node):
    for path in ("office-1/status?project=red", f"{BRANCH.id}/status"):
        assert (await here.http.get(f"/v1/vpn/{path}", headers=admin)).json()["id"] == BRANCH.id

    both = await here.http.get("/v1/vpn/office-1/status", headers=admin)
    assert both.status_code == 422 and "default, red" in both.text
    assert (await here.http.get("/v1/vpn/none/status", headers=admin)).status_code == 404


async def test_nobody_sees_another_projects_tunnels(here, node):
    red = await here.token("red", "viewer", "red")

    listed = (await here.http.get("/v1/tunnels", headers=red)).json()["items"]

    assert [one["project"] for one in listed] == ["red"]
    assert (await here.http.get(f"/v1/vpn/{OFFICE.id}/status", headers=red)).status_code == 404
    assert (await here.http.get("/v1/tunnels?project=default", headers=red)).status_code == 404


async def events(here, headers):
    answer = await here.http.get("/v1/events?follow=false&last=100&types=tunnel", headers=headers)
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@on_both
async def test_each_change_of_phase_is_an_event_of_its_project_and_figures_are_none(here, admin, node):
    await tell(here, node, of_gateway(state(1), state(2, "connecting")))
    await tell(here, node, of_gateway(state(1, algorithms="AES"), whole=False))
    down = state(1, "down", reason="the peer ended it", remedy="ask its people")
    await tell(here, node, of_gateway(down, whole=False))

    told = await events(here, admin)
    assert [(e["name"], e["before"], e["phase"]) for e in told] == [
        ("office-1", None, "active"),
        ("office-1", None, "connecting"),
        ("office-1", "active", "down"),
    ]
    assert told[2]["reason"] == "the peer ended it" and told[2]["node"] == "n1"
    red = await here.token("red", "viewer", "red")
    assert [e["project"] for e in await events(here, red)] == ["red"]


async def test_what_is_declared_no_more_makes_no_news(here, admin, node):
    here.parts.cases.tunnels.known.gateways = tuple
    await tell(here, node, of_gateway(state(1)))

    assert await events(here, admin) == []


async def test_figures_have_tunnels_that_are_down_and_those_nobody_said_anything_of(here, admin, node):
    await tell(here, node, of_gateway(state(1, "down")))

    text = (await here.http.get("/metrics", headers=admin)).text

    assert 'edgeward_tunnel_up{tunnel="default/office-1"} 0.0' in text
    assert 'edgeward_tunnel_up{tunnel="red/office-1"} 0.0' in text
    assert 'edgeward_tunnels{phase="waiting"} 1.0' in text
    assert 'edgeward_tunnel_gateway_up{gateway="default/office"} ' in text
    await tell(here, node, of_gateway(state(1)))
    text = (await here.http.get("/metrics", headers=admin)).text
    assert 'edgeward_tunnel_up{tunnel="default/office-1"} 1.0' in text


async def test_the_status_of_all_counts_tunnels_and_names_one_that_needs_a_person(here, admin, node):
    await tell(here, node, of_gateway(state(1, "error", reason="pre-shared keys differ")))

    found = (await here.http.get("/v1/status", headers=admin)).json()["tunnels"]
    assert found["phases"] == {"error": 1, "waiting": 1}
    assert (found["troubled"]["name"], found["troubled"]["number"]) == ("default/office-1", 2)
    assert any("pre-shared keys differ, and 1 more" in one for one in troubles({"tunnels": found}))
    red = await here.token("red", "viewer", "red")
    found = (await here.http.get("/v1/status", headers=red)).json()["tunnels"]
    assert found["phases"] == {"waiting": 1}
    here.parts.cases.tunnels.known.gateways = tuple
    assert (await here.http.get("/v1/status", headers=admin)).json()["tunnels"] is None


async def test_a_state_of_another_version_does_not_keep_the_others_out(here, admin, node):
    strange = {"connection": BRANCH.id, "phase": "sleeping", "since": NOW}
    said = of_gateway(state(1))
    said["connections"].append(strange)
    await tell(here, node, said)

    found = (await here.http.get(f"/v1/vpn/{OFFICE.id}/status", headers=admin)).json()
    assert found["phase"] == "active"


def lost(**wrong):
    """Give a state as a node says it whose clock or program is not well."""
    return state(1, "down").model_dump(mode="json") | wrong


@on_both
async def test_nothing_that_a_node_says_of_its_tunnels_is_in_the_way_of_those_who_ask(here, admin, node):
    many = [{"local": [], "peer": [], "bytes_in": 10**400}]
    for said in (
        lost(since=1e300),
        lost(since=-1e18),
        lost(reauthenticates_at=float("inf")),
        lost(children=many),
    ):
        body = json.dumps({"gateways": [of_gateway() | {"connections": [said], "since": 1e300}]})
        answer = await here.http.post("/v1/nodes/n1/tunnels", content=body, headers=node)
        assert answer.status_code in (204, 422)

        for path in ("/v1/tunnels", "/metrics", "/v1/explain/vpn/office-1?project=default"):
            assert (await here.http.get(path, headers=admin)).status_code == 200, path
        async with here.parts.database.reading() as reading:
            found = await store.states(reading)
        known = [(one, found[OFFICE.id]) for one in sites([gateway(OFFICE)]) if OFFICE.id in found]
        assert all(datetime.fromisoformat(one["since"]) for one in alarms.body(known)["tunnels"])


@on_both
async def test_what_a_forgotten_node_said_is_forgotten_with_it(here, admin, node):
    await tell(here, node, of_gateway(state(1)))
    assert (await here.http.delete("/v1/nodes/n1", headers=admin)).status_code == 204

    found = (await here.http.get(f"/v1/vpn/{OFFICE.id}/status", headers=admin)).json()
    assert found["phase"] == "waiting"


async def test_a_node_that_is_away_is_said_to_be_and_its_tunnel_does_not_count_as_up(here, admin, node):
    await tell(here, node, of_gateway(state(1)))
    here.parts.registry.find("n1").stream = None

    found = (await here.http.get(f"/v1/vpn/{OFFICE.id}/status", headers=admin)).json()

    assert not found["node_connected"] and "node n1 is not connected" in found["reason"]
    text = (await here.http.get("/metrics", headers=admin)).text
    assert 'edgeward_tunnel_up{tunnel="default/office-1"} 0.0' in text


@on_both
async def test_the_status_of_all_names_why_a_tunnel_is_down_that_was_ended_or_up_by_another_daemon(
    here, admin, node
):
    astray = "libreswan cannot take over, all stays as it is: it is not there"
    here.parts.cases.tunnels.known.gateways = lambda: [gateway(OFFICE, driver="libreswan")]
    for said, reason in (
        (of_gateway(state(1, "down")), "it was ended here, and nothing began it since"),
        (of_gateway(state(1), reason=astray), astray),
    ):
        await tell(here, node, said, whole=True)
        status = (await here.http.get("/v1/status", headers=admin)).json()
        assert any(text.endswith(reason) for text in troubles(status)), troubles(status)
        [listed] = (await here.http.get("/v1/tunnels", headers=admin)).json()["items"]
        assert listed["reason"].endswith(reason)
