"""Declaring over REST: whole or not at all, each source its own, nobody sees another project's objects."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.controller.assembled import controller

DOMAIN = {"name": "shop.example"}
SHOP = {"name": "shop", "backends": ["http://b.example"]}
ROUTE = {"name": "r", "hosts": ["shop.example"], "service": "shop"}
WHOLE = {"domains": [DOMAIN], "services": [SHOP], "routes": [ROUTE]}


@pytest.fixture
async def here(tmp_path, database_url):
    async with controller(tmp_path, database_url) as found:
        yield found


@pytest.fixture
async def admin(here):
    return await here.token("boss", "admin")


def detail(response) -> str:
    document = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert document["status"] == response.status_code
    return " ".join(
        [document["detail"], *(f"{e['object']} {e['field']}: {e['message']}" for e in document["errors"])]
    )


async def test_applying_twice_changes_nothing_the_second_time(here, admin):
    first = (await here.apply(admin, **WHOLE)).json()
    second = (await here.apply(admin, **WHOLE)).json()

    assert [c["action"] for c in first["changes"]] == ["create"] * 3
    assert second == {"revision": first["revision"], "changes": []}


async def test_apply_prunes_its_own_and_keeps_the_others(here, admin):
    await here.apply(admin, **WHOLE)
    await here.http.put("/v1/domains/mine.example", json={}, headers=admin)

    kept = (await here.apply(admin, keep=True, domains=[DOMAIN])).json()
    pruned = (await here.apply(admin, domains=[DOMAIN])).json()

    assert kept["changes"] == []
    assert {(c["action"], c["key"]) for c in pruned["changes"]} == {
        ("delete", "services/default/shop"),
        ("delete", "routes/default/r"),
    }
    names = [d["name"] for d in (await here.http.get("/v1/domains", headers=admin)).json()["items"]]
    assert names == ["mine.example", "shop.example"]


async def test_a_wrong_document_changes_nothing_and_tells_every_problem(here, admin):
    await here.apply(admin, **WHOLE)
    broken = {
        "domains": [DOMAIN, {"name": "_"}],
        "services": [{"name": "shop", "backends": []}],
        "routes": [{**ROUTE, "service": "gone"}],
    }

    answer = await here.apply(admin, **broken)

    assert answer.status_code == 422
    assert {e["field"] for e in answer.json()["errors"]} == {"domains[1].name", "services[0].backends"}
    answer = await here.apply(admin, domains=[DOMAIN], routes=[{**ROUTE, "service": "gone"}])
    assert answer.status_code == 422
    assert "routes/default/r service: there is no service 'gone'" in detail(answer)
    export = (await here.http.get("/v1/export", headers=admin)).json()
    assert [len(export[kind]) for kind in ("domains", "services", "routes")] == [1, 1, 1]


async def test_yaml_text_is_told_with_its_lines(here, admin):
    text = "version: 1\ndomains:\n  - {name: shop.example}\n  - {name: _}\n"
    answer = await here.http.post("/v1/apply", json={"document": text}, headers=admin)

    assert [(e["line"], e["field"]) for e in answer.json()["errors"]] == [(4, "domains[1].name")]


async def test_a_dry_run_tells_and_does_nothing(here, admin):
    told = (await here.apply(admin, dry_run=True, **WHOLE)).json()

    assert len(told["changes"]) == 3
    assert (await here.http.get("/v1/domains", headers=admin)).json()["items"] == []
    assert (await here.apply(admin, dry_run=True, routes=[ROUTE])).status_code == 422


async def test_another_sources_object_is_a_conflict_until_it_is_taken_over(here, admin):
    await here.apply(admin, source="file:a", domains=[DOMAIN])

    for answer in (
        await here.apply(admin, source="file:b", domains=[DOMAIN]),
        await here.http.put("/v1/domains/shop.example", json={"on_demand": True}, headers=admin),
        await here.http.delete("/v1/domains/shop.example", headers=admin),
    ):
        assert answer.status_code == 409
        assert "domains/default/shop.example (source file:a)" in detail(answer)
    (change,) = (await here.apply(admin, source="file:b", take_over=True, domains=[DOMAIN])).json()["changes"]
    assert change["taken_from"] == "file:a"
    assert (await here.apply(admin, source="file:a")).json()["changes"] == []
    put = await here.http.put("/v1/domains/shop.example?take_over=true", json={}, headers=admin)
    assert put.json()["source"] == "api"


async def test_what_is_still_needed_cannot_be_deleted(here, admin):
    await here.apply(admin, source="api", **WHOLE)

    for path in ("services/shop", "domains/shop.example"):
        answer = await here.http.delete(f"/v1/{path}", headers=admin)
        assert answer.status_code == 409
        assert "routes/default/r" in detail(answer)
    for path in ("routes/r", "services/shop", "domains/shop.example"):
        assert (await here.http.delete(f"/v1/{path}", headers=admin)).status_code == 204
        assert (await here.http.get(f"/v1/{path}", headers=admin)).status_code == 404


async def test_one_object_is_checked_against_all_others(here, admin):
    answer = await here.http.put(
        "/v1/routes/r", json={"hosts": ["shop.example"], "service": "shop"}, headers=admin
    )
    assert answer.status_code == 422
    assert "no domain of project default covers" in detail(answer)
    assert "there is no service 'shop'" in detail(answer)


async def test_writers_are_kept_apart_by_etags(here, admin):
    made = await here.http.put("/v1/domains/shop.example", json={}, headers=admin | {"if-none-match": "*"})
    assert made.status_code == 201
    assert (
        await here.http.put("/v1/domains/shop.example", json={}, headers=admin | {"if-none-match": "*"})
    ).status_code == 412
    old = made.headers["etag"]
    changed = await here.http.put(
        "/v1/domains/shop.example", json={"on_demand": True}, headers=admin | {"if-match": old}
    )
    assert (changed.status_code, changed.headers["etag"] != old) == (200, True)
    stale = await here.http.put("/v1/domains/shop.example", json={}, headers=admin | {"if-match": old})
    assert stale.status_code == 412
    assert (
        await here.http.delete("/v1/domains/shop.example", headers=admin | {"if-match": old})
    ).status_code == 412
    same = await here.http.get(
        "/v1/domains/shop.example", headers=admin | {"if-none-match": changed.headers["etag"]}
    )
    assert same.status_code == 304
    assert (
        await here.http.put("/v1/domains/no.example", json={}, headers=admin | {"if-match": "*"})
    ).status_code == 412
    assert (
        await here.http.put("/v1/domains/no.example", json={}, headers=admin | {"if-match": "x"})
    ).status_code == 422


async def test_a_whole_document_is_refused_when_anything_changed_since(here, admin):
    await here.apply(admin, **WHOLE)
    etag = (await here.http.get("/v1/export", headers=admin)).headers["etag"]
    body = {"source": "file:a", "document": {"version": 1, "domains": [DOMAIN]}}

    await here.http.put("/v1/domains/mine.example", json={}, headers=admin)
    assert (
        await here.http.post("/v1/apply", json=body, headers=admin | {"if-match": etag})
    ).status_code == 412
    etag = (await here.http.get("/v1/export", headers=admin)).headers["etag"]
    assert (
        await here.http.post("/v1/apply", json=body, headers=admin | {"if-match": etag})
    ).status_code == 200


async def test_certificates_do_not_move_the_etag_of_what_is_declared(here, admin):
    await here.apply(admin, domains=[{**DOMAIN, "on_demand": True}])
    before = (await here.http.get("/v1/export", headers=admin)).headers["etag"]
    node = await here.node("n1")
    assert (await here.http.post("/v1/certificates/shop.example/obtain", headers=node)).status_code == 200

    assert (await here.http.get("/v1/export", headers=admin)).headers["etag"] == before


async def test_an_export_reads_back_as_what_it_was(here, admin):
    await here.apply(admin, listen={"https": "127.0.0.1:8443"}, cache={"resident": 50}, **WHOLE)
    document = (await here.http.get("/v1/export", headers=admin)).json()

    answer = await here.http.post("/v1/apply", json={"source": "file:a", "document": document}, headers=admin)
    assert answer.json()["changes"] == []


async def test_another_projects_objects_are_not_there(here, admin):
    await here.apply(admin, source="api", **WHOLE)
    tenant = await here.token("tenant", "operator", "t")

    for path in ("/v1/domains/shop.example", "/v1/services/shop?project=default", "/v1/listen", "/v1/domains?project=default",
                 "/v1/export?project=default"):  # fmt: skip
        assert (await here.http.get(path, headers=tenant)).status_code == 404, path
    for path in ("/v1/domains/shop.example", "/v1/services/shop?project=default"):
        assert (await here.http.delete(path, headers=tenant)).status_code == 404, path
    assert (
        await here.http.put("/v1/services/x?project=default", json=SHOP | {"name": "x"}, headers=tenant)
    ).status_code == 404
    assert (await here.http.get("/v1/domains", headers=tenant)).json()["items"] == []
    assert (await here.http.get("/v1/export", headers=tenant)).json() == {"version": 1}
    assert (await here.http.get("/v1/status", headers=tenant)).json()["objects"] == {}
    assert (await here.apply(tenant, services=[SHOP])).status_code == 404


async def test_a_domain_name_is_nobodys_twice_and_the_other_project_is_not_named(here, admin):
    await here.apply(admin, source="api", **WHOLE)
    tenant = await here.token("tenant", "operator", "secret-rival")

    answer = await here.http.put("/v1/domains/shop.example", json={}, headers=tenant)
    assert answer.status_code == 409
    assert "default" not in detail(answer).replace("domains/secret-rival/shop.example", "")
    answer = await here.http.put("/v1/domains/shop.example?project=t", json={}, headers=admin)
    assert "(default)" in detail(answer)


async def test_a_project_is_filled_without_seeing_the_rest(here, admin):
    await here.apply(admin, source="file:a", **WHOLE)
    tenant = await here.token("tenant", "operator", "t")
    theirs = {
        "domains": [{"name": "t.example", "project": "t"}],
        "services": [{**SHOP, "project": "t"}],
        "routes": [{"name": "r", "project": "t", "hosts": ["t.example"], "service": "shop"}],
    }

    answer = await here.apply(tenant, source="file:a", **theirs)

    assert [c["action"] for c in answer.json()["changes"]] == ["create"] * 3
    assert len((await here.http.get("/v1/export", headers=admin)).json()["domains"]) == 2
    assert (await here.http.get("/v1/routes/r", headers=tenant)).json()["project"] == "t"


@pytest.mark.parametrize(
    ("service", "field"),
    [
        ({"backends": ["http://10.0.0.1"]}, "backends[0].url"),
        ({"backends": ["http://b.example", "unix:/run/x"]}, "backends[1].url"),
        ({"backends": ["http://b.example"], "allow_networks": ["127.0.0.0/8"]}, "allow_networks"),
    ],
)
async def test_operators_reach_into_no_network_of_the_host(here, admin, service, field):
    operator = await here.token("op", "operator")

    put = await here.http.put("/v1/services/s", json=service, headers=operator)
    applied = await here.apply(operator, services=[{"name": "s", **service}])

    assert (put.status_code, applied.status_code) == (403, 403)
    assert field in detail(put)
    assert field in detail(applied)
    assert (await here.http.put("/v1/services/s", json=service, headers=admin)).status_code == 201


@pytest.mark.parametrize(
    "service",
    [
        {"backends": ["unix:/run/edgeward/node/xds.sock"]},
        {"backends": ["http://b.example", "https://127.0.0.1:2443"]},
        {"backends": ["http://169.254.169.254"]},
        {"backends": ["http://[::ffff:127.0.0.1]"]},
        {"backends": ["http://b.example"], "allow_networks": ["127.0.0.0/8"]},
    ],
)
async def test_the_admin_of_one_project_does_not_reach_the_host_of_all(here, admin, service):
    tenant = await here.token("tenant", "admin", "t")

    put = await here.http.put("/v1/services/s", json=service, headers=tenant)
    applied = await here.apply(tenant, services=[{"name": "s", "project": "t", **service}])

    assert (put.status_code, applied.status_code) == (403, 403)
    assert "reach the edge host itself" in detail(put)
    plain = {"backends": ["http://10.0.0.1"]}
    assert (await here.http.put("/v1/services/s", json=plain, headers=tenant)).status_code == 201
    assert (await here.http.put("/v1/services/s?project=t", json=service, headers=admin)).status_code == 200


async def test_an_operator_cannot_prune_what_only_admins_may_change(here, admin):
    await here.apply(admin, listen={"https": "127.0.0.1:8443"}, **WHOLE)
    operator = await here.token("op", "operator")

    answer = await here.apply(operator, **WHOLE)

    assert answer.status_code == 403
    assert "listen/default/listen" in detail(answer)


async def test_the_audit_log_says_who_did_what(here, admin):
    operator = await here.token("op", "operator")
    await here.http.put("/v1/domains/shop.example", json={}, headers=operator)
    await here.http.put("/v1/domains/shop.example", json={"on_demand": True}, headers=operator)
    await here.http.delete("/v1/domains/shop.example", headers=operator)

    assert (await here.http.get("/v1/audit", headers=operator)).status_code == 403
    first = (await here.http.get("/v1/audit?kind=domains&limit=2", headers=admin)).json()
    rest = (
        await here.http.get(f"/v1/audit?kind=domains&limit=2&after={first['next']}", headers=admin)
    ).json()
    entries = [*first["items"], *rest["items"]]
    assert [(e["who"], e["action"], e["before"], e["after"]) for e in entries] == [
        ("op", "delete", {"name": "shop.example", "on_demand": True}, None),
        ("op", "change", {"name": "shop.example"}, {"name": "shop.example", "on_demand": True}),
        ("op", "create", None, {"name": "shop.example"}),
    ]


async def test_the_admin_of_one_project_sees_nothing_that_was_done_to_the_whole_installation(here, admin):
    tenant = await here.token("tenant", "admin", "default")
    alarms = {"webhook": "http://hook.example/", "authorization": "Bearer sesame"}
    await here.http.put("/v1/listen", json={"https": ["127.0.0.1:9443"]}, headers=admin)
    await here.http.put("/v1/alarms", json=alarms, headers=admin)
    await here.http.put("/v1/domains/shop.example", json={}, headers=admin)
    await here.http.post("/v1/certificates/*/expire", headers=admin)
    await here.http.post("/v1/keys/rotate", headers=admin)

    entries = (await here.http.get("/v1/audit", headers=tenant)).json()["items"]
    assert {(e["kind"], e["name"]) for e in entries} == {("domains", "shop.example"), ("tokens", "tenant")}
    assert (await here.http.get("/v1/audit?kind=alarms", headers=tenant)).json()["items"] == []
    assert (await here.http.get("/v1/status", headers=tenant)).json()["objects"] == {"domains": 1}
    of_all = (await here.http.get("/v1/audit", headers=admin)).json()["items"]
    assert {"alarms", "listen", "keys", "certificates"} <= {entry["kind"] for entry in of_all}


async def test_a_revision_that_no_database_could_hold_is_refused(here, admin):
    assert (await here.http.get(f"/v1/certificates?since={10**30}", headers=admin)).status_code == 422
    assert (await here.http.get(f"/v1/certificates?since={10**15}", headers=admin)).json()["items"] == []


async def test_lists_go_on_where_they_stopped(here, admin):
    await here.apply(admin, domains=[{"name": f"d{i}.example"} for i in range(7)])
    seen, path = [], "/v1/domains?limit=3"
    while path:
        page = (await here.http.get(path, headers=admin)).json()
        seen += [item["name"] for item in page["items"]]
        path = page["next"] and f"/v1/domains?limit=3&after={page['next']}"

    assert seen == [f"d{i}.example" for i in range(7)]
    assert (await here.http.get("/v1/domains?after=nonsense", headers=admin)).status_code == 422


async def test_many_writers_at_once_lose_nothing(here, admin):
    answers = await asyncio.gather(
        *(here.http.put(f"/v1/domains/d{i}.example", json={}, headers=admin) for i in range(20)),
        *(here.apply(admin, source=f"file:{i}", domains=[{"name": f"f{i}.example"}]) for i in range(10)),
    )

    assert {a.status_code for a in answers} == {200, 201}
    export = (await here.http.get("/v1/export", headers=admin)).json()
    assert len(export["domains"]) == 30


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1",
        b"NaN",
        b'{"a": 1, "a": 2}',
        b"\xff",
        b'"' + b"[" * 100_000,
        b"[" * 100_000,
        b"null",
        b"7",
    ],
)
async def test_bodies_that_are_no_object_are_refused_in_words(here, admin, body):
    headers = admin | {"content-type": "application/json"}
    for method, path in (("PUT", "/v1/domains/a.example"), ("POST", "/v1/apply"), ("POST", "/v1/tokens")):
        answer = await here.http.request(method, path, content=body, headers=headers)
        assert answer.status_code == 422, (path, answer.text)
        assert detail(answer)


async def test_a_body_beyond_the_bound_is_not_read(here, admin):
    async def endless():
        while True:
            yield b"x" * 65536

    headers = admin | {"content-type": "application/json"}
    assert (
        await here.http.put("/v1/domains/a.example", content=b"x" * (9 << 20), headers=headers)
    ).status_code == 413
    assert (
        await here.http.put("/v1/domains/a.example", content=endless(), headers=headers)
    ).status_code == 413
