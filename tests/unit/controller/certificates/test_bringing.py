"""Certificates that people upload, import, revoke, take and withhold: who may, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from sqlalchemy import select

from edgeward.access.model import Principal
from edgeward.certificates import eager, summaries
from edgeward.certificates.acme.accounts import sealed
from edgeward.certificates.renewal.renew import renew_due
from edgeward.controller.openresty.facade import Facade
from edgeward.database import schema
from edgeward.errors import Refused
from tests.pairs import SERVER, Made, authority, make
from tests.unit.controller.assembled import ADMIN, on_both

CA = authority("CA")
NAMES = ["a.example", "www.a.example"]
DECLARED = {
    "listen": {"https": "127.0.0.1:8443"},
    "domains": [
        {"name": "a.example", "also": ["www.a.example"]},
        {"name": "*.c.example", "on_demand": True},
        {"name": "own.example", "issuer": "uploaded"},
    ],
}


def own(*names: str, **how) -> Made:
    return make(names, CA, extensions=[SERVER], **how)


@pytest.fixture
async def declared(here, admin):
    assert (await here.apply(admin, **DECLARED)).status_code == 200
    await make_missing(here)
    return here


async def make_missing(here) -> int:
    policy = here.parts.state.policy()
    return await eager.make_missing(here.parts.certificates.issuance, list(policy.eager()))


async def upload(here, headers, name: str, made: Made):
    body = {"cert": CA.pem + made.pem, "key": made.key_pem}
    return await here.http.put(f"/v1/certificates/{name}", json=body, headers=headers)


async def post(here, headers, path: str, body=None):
    return await here.http.post(path, json=body, headers=headers)


async def certificate(here, headers, name: str) -> dict:
    return (await here.http.get(f"/v1/certificates/{name}", headers=headers)).json()


async def outcomes(here, headers, name: str) -> list[str]:
    found = (await here.http.get(f"/v1/certificates/{name}/history", headers=headers)).json()
    return [line["outcome"] for line in found["items"]]


@on_both
async def test_an_uploaded_certificate_serves_every_name_of_its_domain_and_is_left_alone(declared, admin):
    made = own(*NAMES)
    answer = await upload(declared, admin, "A.example", made)

    assert answer.json()["names"] == NAMES and answer.json()["changed"]
    for name in NAMES:
        found = await certificate(declared, admin, name)
        assert found["fingerprint"] == answer.json()["fingerprint"] and found["source"] == "uploaded"
        assert found["chain"] == made.pem
        assert await outcomes(declared, admin, name) == ["uploaded", "issued"]
    assert await make_missing(declared) == 0
    assert await renew_due(declared.parts.certificates.issuance, 4e9) == 0

    again = await upload(declared, admin, "a.example", made)
    assert again.status_code == 200 and not again.json()["changed"]
    assert await outcomes(declared, admin, "a.example") == ["uploaded", "issued"]


async def test_no_answer_and_no_audit_entry_has_the_key(declared, admin):
    made = own(*NAMES)
    secret = made.key_pem.splitlines()[1]
    texts = [(await upload(declared, admin, "a.example", made)).text]
    body = {"cert": made.pem, "key": made.key_pem.replace("MIG", "AAA"), "more": made.key_pem}
    texts.append((await declared.http.put("/v1/certificates/a.example", json=body, headers=admin)).text)
    texts.append((await declared.http.get("/v1/audit", headers=admin)).text)
    texts.append((await declared.http.get("/v1/certificates", headers=admin)).text)

    assert all(secret not in text and "PRIVATE" not in text for text in texts)
    assert '"upload"' in texts[2]


@pytest.mark.parametrize(
    ("name", "names", "status", "sentence"),
    [
        ("none.example", ["none.example"], 404, "no domain covers none.example; declare it"),
        ("a.example", ["a.example"], 422, "it does not bear www.a.example, only a.example"),
        ("www.a.example", NAMES, 422, "www.a.example shares the certificate of a.example"),
        ("x.c.example", ["y.c.example"], 422, "it does not bear x.c.example"),
        ("not a name", NAMES, 422, "has one label only"),
    ],
)
async def test_what_does_not_fit_the_declaration_is_refused(declared, admin, name, names, status, sentence):
    answer = await upload(declared, admin, name, own(*names))

    assert answer.status_code == status and sentence in answer.text


async def test_what_is_served_to_nobody_else_is_uploaded_for_a_name_below_a_wildcard(declared, admin):
    assert (await upload(declared, admin, "x.c.example", own("*.c.example"))).status_code == 200
    kept = await declared.parts.cases.certificates.obtained(node(), "x.c.example")

    assert kept.certificate.source == "uploaded" and kept.certificate.name == "x.c.example"


def node() -> Principal:
    return Principal("id", "node", "node", "*", "n1")


async def test_a_domain_of_uploaded_certificates_never_gets_another_one(declared, admin):
    node_of = await declared.node("n1")
    answer = await post(declared, node_of, "/v1/certificates/own.example/obtain")
    assert answer.status_code == 403 and "edgeward certificates upload" in answer.text
    explained = (await declared.http.get("/v1/explain/own.example", headers=admin)).json()
    assert "edgeward certificates upload own.example" in explained["remedy"]

    await upload(declared, admin, "own.example", own("own.example"))
    assert (await post(declared, node_of, "/v1/certificates/own.example/obtain")).status_code == 200
    explained = (await declared.http.get("/v1/explain/own.example", headers=admin)).json()
    assert "upload" not in (explained["remedy"] or "")


async def test_an_upload_drops_the_order_for_its_names(declared, admin):
    row = {"name": "a.example", "project": "default", "issuer": "le", "reason": "new", "state": "waiting"}
    async with declared.parts.database.writing() as writing:
        await writing.connection.execute(schema.orders.insert().values({**row, "queued": 0, "due": 0}))
    await upload(declared, admin, "a.example", own(*NAMES))
    async with declared.parts.database.reading() as connection:
        assert (await connection.execute(select(schema.orders.c.name))).all() == []


async def test_nobody_comes_by_a_wildcards_key_that_is_for_others_while_a_name_below_has_none(here, admin):
    below = {"name": "a.x.example", "issuer": "uploaded"}
    domains = [{"name": "*.x.example", "nodes": {"region": "eu"}}, below]
    assert (await here.apply(admin, domains=domains)).status_code == 200
    await make_missing(here)
    database, made, policy = here.parts.database, here.parts.certificates, here.parts.state.policy
    gateways = Facade(database, made.issuance.seal, made.obtainer, policy, lambda: None, time.time)
    on_us, on_eu = await here.node("us"), await here.node("eu")
    await here.http.put("/v1/nodes/eu/labels", json={"labels": {"region": "eu"}}, headers=admin)

    answer = await post(here, on_us, "/v1/certificates/a.x.example/obtain")
    assert answer.status_code == 403 and "PRIVATE KEY" not in answer.text
    assert (await post(here, on_eu, "/v1/certificates/a.x.example/obtain")).json()["name"] == "*.x.example"
    for asked in (gateways.found, gateways.obtained):
        with pytest.raises(Refused, match="region: eu"):
            await asked("a.x.example")

    await upload(here, admin, "a.x.example", own("a.x.example"))
    assert (await post(here, on_us, "/v1/certificates/a.x.example/obtain")).json()["name"] == "a.x.example"
    assert (await gateways.found("a.x.example")).certificate.name == "a.x.example"


# --- revoking ----------------------------------------------------------------------------------


async def test_a_revoked_certificate_of_our_own_is_replaced_under_all_its_names(declared, admin):
    before = await certificate(declared, admin, "a.example")
    answer = await post(declared, admin, "/v1/certificates/www.a.example/revoke", {"replace": True})

    assert answer.json() == {"notes": []}
    after = [await certificate(declared, admin, name) for name in NAMES]
    assert len({found["fingerprint"] for found in after} | {before["fingerprint"]}) == 2
    assert sorted((await outcomes(declared, admin, "www.a.example"))[:2]) == ["issued", "revoked"]


async def test_a_revoked_certificate_is_gone_until_another_one_is_wanted(declared, admin):
    declared.parts.state.policy().fresh()
    assert (await post(declared, admin, "/v1/certificates/a.example/revoke", {})).status_code == 200
    assert (await declared.http.get("/v1/certificates/a.example", headers=admin)).status_code == 404
    again = await post(declared, admin, "/v1/certificates/a.example/revoke", {})
    assert again.status_code == 404
    fresh = declared.parts.state.policy().fresh()
    assert [domain.name for domain in fresh] == ["a.example"], (
        "it is looked at without waiting for the next round"
    )


async def test_a_name_that_went_over_to_another_project_takes_nothing_from_those_it_shared_with(
    declared, admin
):
    tenant = await declared.token("tenant", "operator", "b")
    before = await certificate(declared, admin, "a.example")
    await declared.http.put("/v1/domains/a.example?take_over=true", json={}, headers=admin)
    moved = {"issuer": "uploaded"}
    assert (
        await declared.http.put("/v1/domains/www.a.example", json=moved, headers=tenant)
    ).status_code == 201

    answer = await post(declared, tenant, "/v1/certificates/www.a.example/revoke", {})
    assert answer.status_code == 409 and "names of another project" in answer.text
    assert await certificate(declared, admin, "a.example") == before

    await upload(declared, tenant, "www.a.example", own("www.a.example"))
    assert (await post(declared, tenant, "/v1/certificates/www.a.example/revoke", {})).status_code == 200
    assert await certificate(declared, admin, "a.example") == before


async def test_a_revoked_upload_says_that_its_authority_was_not_told(declared, admin):
    await upload(declared, admin, "own.example", own("own.example"))
    answer = await post(declared, admin, "/v1/certificates/own.example/revoke", {"replace": True})

    first, second = answer.json()["notes"]
    assert "whoever issued it revokes it there" in first and "edgeward certificates upload" in second


async def test_what_a_wildcard_serves_is_not_revoked_by_its_name_below(declared, admin):
    await declared.apply(admin, source="file:b", domains=[{"name": "*.d.example"}])
    await make_missing(declared)
    answer = await post(declared, admin, "/v1/certificates/x.d.example/revoke", {})

    assert answer.status_code == 404 and "served with the certificate of *.d.example" in answer.text


async def test_an_acme_authority_hears_of_it_first_and_where_it_does_not_nothing_changes(declared, admin):
    told: list[tuple[str, int]] = []

    async def tell(issuer, chain, reason):
        told.append((issuer.name, reason))
        if len(told) == 1:
            raise asyncio.CancelledError

    await declared.apply(
        admin, source="file:b", issuers=[{"name": "le", "acme": {"directory": "https://ca.example/dir"}}]
    )
    made = own("x.c.example")
    body = {"names": ["x.c.example"], "issuer": "le", "cert": made.pem, "key": made.key_pem}
    await post(declared, admin, "/v1/certificates/import", body)
    cases = declared.parts.cases.bringing
    cases._tell = tell
    with pytest.raises(asyncio.CancelledError):
        await cases.revoked(ADMIN, "x.c.example", 1, False)
    assert (await certificate(declared, admin, "x.c.example"))["source"] == "imported"
    assert await cases.revoked(ADMIN, "x.c.example", 1, False) == []
    assert told == [("le", 1), ("le", 1)]


async def test_a_certificate_of_an_acme_authority_is_ordered_anew(declared, admin):
    acme = {"directory": "https://ca.example/dir"}
    await declared.apply(
        admin,
        source="file:b",
        issuers=[{"name": "le", "acme": acme}],
        domains=[{"name": "b.example", "issuer": "le"}],
    )
    made = own("b.example")
    body = {"names": ["b.example"], "issuer": "le", "cert": made.pem, "key": made.key_pem}
    await post(declared, admin, "/v1/certificates/import", body)
    cases = declared.parts.cases.bringing

    async def tell(*_):
        pass

    cases._tell = tell
    assert await cases.revoked(ADMIN, "b.example", 4, True) == [
        "another one is ordered from le: edgeward get orders"
    ]
    async with declared.parts.database.reading() as connection:
        rows = (await connection.execute(select(schema.orders.c.name, schema.orders.c.reason))).all()
    assert rows == [("b.example", "visitor")]


# --- importing ---------------------------------------------------------------------------------


@on_both
async def test_an_imported_certificate_is_there_before_its_domain_and_renewed_like_our_own(here, admin):
    made = own("n.example", "*.n.example")
    body = {"names": ["n.example", "*.n.example"], "issuer": "local", "cert": made.pem, "key": made.key_pem}
    for changed in (True, False):
        answer = await post(here, admin, "/v1/certificates/import", body)
        assert answer.json()["changed"] is changed, answer.text
    await here.apply(admin, domains=[{"name": "n.example", "also": ["*.n.example"]}])

    assert await make_missing(here) == 0, "what was imported serves it"
    found = await certificate(here, admin, "x.n.example")
    assert found["source"] == "imported" and found["renew_at"] < found["not_after"]
    async with here.parts.database.reading() as connection:
        due = await summaries.renewals_due(connection, 4e9, 10, "imported")
    assert [s.name for s in due] == ["n.example"]


async def test_an_imported_account_is_kept_sealed_and_never_replaces_one(here, admin):
    made = own("n.example")
    where = {"issuer": "le", "directory": "https://ca.example/dir", "url": "https://ca.example/acct/1"}
    first = await post(here, admin, "/v1/accounts/import", {**where, "key": made.key_pem})
    second = await post(here, admin, "/v1/accounts/import", {**where, "key": CA.key_pem})
    wrong = await post(here, admin, "/v1/accounts/import", {**where, "key": "nothing"})

    assert first.json() == {"taken": True} and second.json() == {"taken": False}
    assert wrong.status_code == 422
    async with here.parts.database.reading() as connection:
        row = (await connection.execute(select(schema.accounts))).one()
    assert row.url == where["url"] and b"PRIVATE" not in row.sealed_key
    seal = here.parts.certificates.issuance.seal
    context = "\0".join(("account", "default", "le", where["directory"]))
    assert seal.open(row.sealed_key, context).decode() == made.key_pem
    assert sealed(seal, ("default", "le", where["directory"]), made.key_pem)


# --- taking and withholding --------------------------------------------------------------------


async def test_taking_a_key_away_is_written_down(declared, admin):
    answer = await post(declared, admin, "/v1/certificates/www.a.example/take")
    log = (await declared.http.get("/v1/audit?kind=certificates", headers=admin)).json()["items"]

    assert answer.json()["key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert answer.headers["cache-control"] == "no-store"
    assert [(e["who"], e["action"], e["name"]) for e in log] == [("boss", "take", "www.a.example")]


async def test_a_deactivated_name_is_neither_obtained_nor_made_and_says_so_everywhere(declared, admin):
    put = await declared.http.put("/v1/withheld/www.a.example", json={"reason": "a dispute"}, headers=admin)
    assert put.status_code == 201, put.text
    node_of = await declared.node("n1")
    refused = await post(declared, node_of, "/v1/certificates/www.a.example/obtain")
    assert refused.status_code == 403 and "is deactivated" in refused.text
    assert (await post(declared, node_of, "/v1/certificates/a.example/obtain")).status_code == 200
    listed = (await declared.http.get("/v1/certificates", headers=admin)).json()["items"]
    assert [i["name"] for i in listed if i["withheld"]] == ["www.a.example"]
    explained = (await declared.http.get("/v1/explain/www.a.example", headers=admin)).json()
    assert "is deactivated" in json.dumps(explained) and not explained["served"]

    await declared.http.put("/v1/withheld/x.c.example", json={}, headers=admin)
    assert (await post(declared, node_of, "/v1/certificates/x.c.example/obtain")).status_code == 403
    assert (await declared.http.delete("/v1/withheld/x.c.example", headers=admin)).status_code == 204
    assert (await post(declared, node_of, "/v1/certificates/x.c.example/obtain")).status_code == 200
    assert await outcomes(declared, admin, "x.c.example") == ["issued", "activated", "deactivated"]
