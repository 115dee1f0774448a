"""Sites over the API: the other side's configuration, and what a change would do, without any secret."""

from __future__ import annotations

import pytest

from tests.unit.controller.assembled import controller
from tests.unit.controller.tunnels.test_gateways import BERLIN


@pytest.fixture
async def here(tmp_path, database_url):
    async with controller(tmp_path, database_url) as found:
        yield found


async def test_the_other_side_is_printed_without_the_secret_to_those_whose_project_it_is(here):
    boss = await here.token("boss", "admin")
    await here.apply(boss, vpn=[BERLIN])
    for form in ("strongswan", "libreswan", "sheet"):
        answer = await here.http.get(f"/v1/vpn/berlin/peer-config?for={form}", headers=boss)
        assert answer.status_code == 200, answer.text
        assert BERLIN["secret"] not in answer.text
        assert "192.168.4.0/24" in answer.json()["text"]
        assert (form == "sheet") == (answer.json()["secret"] is None)
    stranger = await here.token("stranger", "viewer", "other")
    assert (await here.http.get("/v1/vpn/berlin/peer-config", headers=stranger)).status_code == 404


async def test_a_plan_says_what_a_document_would_do_and_changes_nothing(here):
    boss = await here.token("boss", "admin")
    paris = {**BERLIN, "name": "paris", "peer": "198.51.100.10"}
    await here.apply(boss, vpn=[BERLIN, paris])
    document = {"version": 1, "vpn": [{**BERLIN, "remote_networks": ["192.168.5.0/24"]}, paris]}
    body = {"source": "file:a", "document": document}
    answer = await here.http.post("/v1/vpn/plan", json=body, headers=boss)
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["connections"]
    assert (one["name"], one["what"], one["effect"], one["phase"]) == (
        "berlin",
        "changed",
        "child",
        "waiting",
    )
    assert answer.json()["summary"] == "re-initiates 1 CHILD_SA, 1 other untouched"
    networks = (await here.http.get("/v1/vpn/berlin", headers=boss)).json()["value"]["remote_networks"]
    assert networks == ["192.168.4.0/24"]


async def test_a_plan_says_that_a_certificate_comes_first_and_how_it_goes_on_then(here):
    boss, asking = await here.token("boss", "admin"), await here.node("asking")
    site = {**BERLIN, "router": "edge", "certificate": {"name": "vpn.example.com"}}
    del site["secret"]
    paris = {**BERLIN, "name": "paris", "peer": "198.51.100.10", "remote_networks": ["192.168.9.0/24"]}
    paris["router"] = "edge"
    declared = {"domains": [{"name": "vpn.example.com", "on_demand": True}], "vpn": [paris]}

    async def plan(**more):
        document = {"version": 1, **declared, **more}
        answer = await here.http.post(
            "/v1/vpn/plan", json={"source": "file:a", "document": document}, headers=boss
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    await here.apply(boss, vpn=[paris])
    found = await plan(vpn=[paris, site])
    assert [one["says"] for one in found["connections"]] == [
        "comes up, once the certificate of vpn.example.com is obtained"
    ]
    assert found["summary"] == "brings up 1, 1 other untouched"

    await here.apply(boss, **{**declared, "vpn": [paris, site]})
    assert (await plan(vpn=[paris, site]))["connections"] == [], "it is declared, and waits"
    await here.apply(boss, **declared)
    await here.http.post("/v1/certificates/vpn.example.com/obtain", headers=asking)
    assert [one["says"] for one in (await plan(vpn=[paris, site]))["connections"]] == ["comes up"]


async def test_a_plan_of_what_would_be_refused_is_refused(here):
    boss = await here.token("boss", "admin")
    body = {
        "source": "file:a",
        "document": {"version": 1, "vpn": [{**BERLIN, "remote_id": BERLIN["local_id"]}]},
    }
    answer = await here.http.post("/v1/vpn/plan", json=body, headers=boss)
    assert answer.status_code == 422
    assert [e["field"] for e in answer.json()["errors"]] == ["remote_id"]
    viewer = await here.token("viewer", "viewer")
    assert (await here.http.post("/v1/vpn/plan", json=body, headers=viewer)).status_code == 403
