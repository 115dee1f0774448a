"""The domain of any name over the API: whose it may be, and what it covers."""

from __future__ import annotations

import pytest

from tests.unit.controller.assembled import controller

ANY = {"on_demand": True, "ask": "http://127.0.0.1:1/may"}


@pytest.mark.parametrize(
    ("role", "project", "status"), [("admin", "*", 201), ("operator", "*", 403), ("admin", "default", 403)]
)
async def test_only_admins_of_every_project_may_declare_it(tmp_path, role, project, status):
    async with controller(tmp_path) as here:
        headers = await here.token("ann", role, project)
        answer = await here.http.put("/v1/domains/*", json=ANY, headers=headers)

    assert answer.status_code == status


async def test_it_is_found_explained_and_deleted_like_any_other(tmp_path):
    async with controller(tmp_path) as here:
        boss = await here.token("boss", "admin")
        await here.apply(boss, listen={"https": "127.0.0.1:8443"})
        await here.http.put("/v1/domains/*", json=ANY, headers=boss)
        found = await here.http.get("/v1/domains/*", headers=boss)
        explained = await here.http.get("/v1/explain/any.example", headers=boss)
        gone = await here.http.delete("/v1/domains/*", headers=boss)
        after = await here.http.get("/v1/explain/any.example", headers=boss)

    assert found.json()["name"] == "*"
    assert explained.json()["domain"]["name"] == "*"
    assert not explained.json()["served"]
    assert "http://127.0.0.1:1/may, which is asked about new names, fails" in explained.json()["reason"]
    assert gone.status_code == 204
    assert after.json()["domain"] is None


async def test_who_may_only_change_domains_may_not_have_the_controller_ask_a_url(tmp_path):
    async with controller(tmp_path) as here:
        operator = await here.token("ann", "operator", "default")
        plain = await here.http.put("/v1/domains/a.example", json={"on_demand": True}, headers=operator)
        asking = await here.http.put("/v1/domains/b.example", json=ANY, headers=operator)

    assert (plain.status_code, asking.status_code) == (201, 403)


async def test_a_certificate_moves_when_the_domain_of_any_name_comes_or_goes(tmp_path):
    async with controller(tmp_path) as here:
        boss, node = await here.token("boss", "admin"), await here.node("n1")
        await here.http.put("/v1/domains/a.example", json={}, headers=boss)
        await here.http.post("/v1/certificates/a.example/obtain", headers=node)
        await here.http.put("/v1/domains/*", json=ANY, headers=boss)
        await here.http.delete("/v1/domains/a.example", headers=boss)
        covered = await here.http.post("/v1/certificates/a.example/obtain", headers=node)
        await here.http.delete("/v1/domains/*", headers=boss)
        left = await here.http.post("/v1/certificates/a.example/obtain", headers=node)

    assert covered.status_code == 200, "it has a certificate, so nobody is asked"
    assert left.status_code == 404
