"""How OpenStack's clients come in: version documents, tokens in all their places, projects, roles."""

from __future__ import annotations

import base64

import httpx

from edgeward.api.openstack.app import OpenStackApp
from edgeward.api.openstack.facade import Facade
from edgeward.controller.tunnels.openstack import OpenStack, _let_in
from tests.unit.api.openstack.neutron import neutron
from tests.unit.controller.assembled import controller

IKE = "/vpn/ikepolicies"


async def test_the_root_and_v2_are_version_documents(tmp_path):
    async with controller(tmp_path) as here:
        root = await here.http.get("/")
        version = await here.http.get("/v2.0")
        slashed = await here.http.get("/v2.0/")

    link = {"rel": "self", "href": "https://controller/v2.0/"}
    assert root.json() == {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}
    assert version.json()["version"] == root.json()["versions"][0]
    assert "vpnservices" in [r["name"] for r in version.json()["resources"]]
    assert slashed.json() == version.json()


async def test_extensions_are_told(tmp_path):
    async with neutron(tmp_path) as here:
        aliases = {e["alias"] for e in (await here.ask("GET", "/extensions")).json()["extensions"]}
        one = (await here.ask("GET", "/extensions/vpnaas")).json()["extension"]
        flavors = (await here.ask("GET", "/flavors")).json()["flavors"]
        assert (await here.ask("GET", "/extensions/nothing")).status_code == 404

    assert {
        "vpnaas",
        "vpn-endpoint-groups",
        "vpn-aes-ctr",
        "vpn-flavors",
        "service-type",
        "router",
    } <= aliases
    assert set(one) == {"name", "alias", "description", "updated", "links"}
    assert {"strongswan", "libreswan"} <= {flavor["name"] for flavor in flavors}


async def test_a_token_may_come_in_any_of_three_places(tmp_path):
    async with controller(tmp_path) as here:
        bearer = await here.token("boss", "admin")
        token = bearer["authorization"].removeprefix("Bearer ")
        basic = base64.b64encode(f"anybody:{token}".encode()).decode()
        ways = [bearer, {"x-auth-token": token}, {"authorization": f"Basic {basic}"}]
        good = [(await here.http.get(f"/v2.0{IKE}", headers=way)).status_code for way in ways]
        wrong = [{}, {"x-auth-token": "x"}, {"authorization": "Basic ###"}, {"authorization": "Digest x"}]
        bad = [await here.http.get(f"/v2.0{IKE}", headers=way) for way in wrong]

    assert good == [200, 200, 200]
    assert [answer.status_code for answer in bad] == [401] * 4
    assert bad[0].json()["error"]["code"] == 401
    messages = [answer.json()["error"]["message"] for answer in bad]
    assert messages[0].startswith("no token came along") and messages[1].startswith("this token is not known")
    for message in messages:
        assert "X-Auth-Token" in message and "edgeward token create" in message


async def test_projects_see_their_own_and_external_networks(tmp_path):
    async with neutron(tmp_path) as boss:
        await boss.site()
        here = boss.here

        async def ask(who, method: str, path: str, body=None) -> httpx.Response:
            return await here.http.request(method, f"/v2.0{path}", json=body, headers=who)

        ann = await here.token("ann", "operator", "a")
        made = await ask(ann, "POST", IKE, {"ikepolicy": {"name": "ann's"}})
        other = await ask(ann, "POST", IKE, {"ikepolicy": {"project_id": "b"}})
        names = [p["name"] for p in (await ask(ann, "GET", IKE)).json()["ikepolicies"]]
        foreign = await ask(ann, "GET", f"{IKE}/{boss.ids['ike']}")
        networks = [n["name"] for n in (await ask(ann, "GET", "/networks")).json()["networks"]]
        subnets = [n["name"] for n in (await ask(ann, "GET", "/subnets")).json()["subnets"]]
        info = {"external_gateway_info": {"network_id": boss.ids["world"]}}
        router = (await ask(ann, "POST", "/routers", {"router": info})).json()["router"]
        external = await ask(ann, "POST", "/networks", {"network": {"router:external": True}})
        everything = (await boss.ask("GET", IKE)).json()["ikepolicies"]
        named = (await boss.ask("GET", IKE, headers={"x-project-id": "a"})).json()["ikepolicies"]
        for_a = await boss.ask("POST", IKE, {"ikepolicy": {}}, headers={"x-project-id": "a"})
        for_b = await boss.made(IKE, "ikepolicy", tenant_id="b")
        strange = await ask({**ann, "x-project-id": "b"}, "GET", IKE)

    assert made.json()["ikepolicy"]["project_id"] == "a"
    assert other.status_code == 400
    assert "other than the authenticated project" in other.json()["NeutronError"]["message"]
    assert names == ["ann's"]
    assert foreign.json()["NeutronError"]["type"] == "IKEPolicyNotFound"
    assert (networks, subnets) == (["world"], ["out"])
    assert router["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] == "203.0.113.3"
    assert external.status_code == 403
    assert "external reach the edge host itself, which is for admins of every project" in external.text
    assert [p["name"] for p in everything] == ["ike", "ann's"]
    assert [p["name"] for p in named] == ["ann's"]
    assert for_a.json()["ikepolicy"]["tenant_id"] == "a"
    assert for_b["project_id"] == "b"
    assert strange.status_code == 403


async def test_who_may_only_read_changes_nothing(tmp_path):
    async with neutron(tmp_path) as boss:
        await boss.site()
        viewer = await boss.here.token("viewer", "viewer")
        node = await boss.here.node("n1")
        answers = [
            await boss.here.http.request(method, f"/v2.0{path}", json=body, headers=viewer)
            for method, path, body in (
                ("POST", IKE, {"ikepolicy": {}}),
                ("PUT", f"{IKE}/{boss.ids['ike']}", {"ikepolicy": {"name": "x"}}),
                ("DELETE", f"{IKE}/{boss.ids['ike']}", None),
            )
        ]
        refused = await boss.here.http.get(f"/v2.0{IKE}", headers=node)

    assert [answer.status_code for answer in answers] == [403] * 3
    assert {answer.json()["NeutronError"]["type"] for answer in answers} == {"PolicyNotAuthorized"}
    assert refused.status_code == 403


async def test_what_a_file_declares_has_ids_and_stays_the_files(tmp_path):
    async with neutron(tmp_path) as boss:
        headers = await boss.here.token("file", "admin")
        await boss.here.apply(headers, ikepolicies=[{"name": "modern", "ike_version": "v2"}])
        policy = (await boss.ask("GET", f"{IKE}?name=modern")).json()["ikepolicies"][0]
        found = await boss.ask("GET", f"{IKE}/{policy['id']}")
        refused = await boss.error("PUT", f"{IKE}/{policy['id']}", {"ikepolicy": {"pfs": "group14"}})

    assert found.json()["ikepolicy"] == policy
    assert refused[:2] == (409, "Conflict")
    assert "file:a" in refused[2]


async def test_where_nobody_logs_in_browsers_are_kept_out(tmp_path):
    async with controller(tmp_path) as here:
        parts = here.parts
        cases = OpenStack(parts.database, parts.state, parts.cases.declarations, None)
        app = OpenStackApp(Facade(cases), _let_in, local=True)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9696") as http:
            good = await http.post(f"/v2.0{IKE}", json={"ikepolicy": {}})
            from_page = await http.get(f"/v2.0{IKE}", headers={"origin": "http://evil.example"})
            rebound = await http.get(f"/v2.0{IKE}", headers={"host": "evil.example:9696"})

    assert good.status_code == 201
    assert (from_page.status_code, rebound.status_code) == (403, 403)


async def test_what_one_controller_was_told_another_one_knows_at_once(tmp_path):
    async with neutron(tmp_path) as one, controller(tmp_path) as two:
        made = await one.made(IKE, "ikepolicy", name="shared")
        found = await two.http.get(f"/v2.0{IKE}/{made['id']}", headers=one.headers)

    assert found.json()["ikepolicy"] == made
