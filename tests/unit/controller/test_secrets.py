"""A declared secret goes into the store sealed, and nowhere else: not to people, not to nodes, not into the log."""

from __future__ import annotations

import json

from edgeward.controller.declared.file import WatchedFile
from edgeward.declaration.model import Key
from tests.unit.controller.assembled import on_both
from tests.unit.declaration.test_secrets import issuer

LE = Key("issuers", "default", "le")
OLD, NEW = "old-s3cret-one", "new-s3cret-two"


def secret_of(here) -> str:
    seal = here.parts.certificates.issuance.seal
    return here.parts.state.stored[LE].value.acme.eab.hmac_key.reveal(seal).reveal()


async def answers(here, admin) -> list[str]:
    """Give everything the API tells."""
    newest = (await here.http.get("/v1/history", headers=admin)).json()["items"][0]["revision"]
    paths = ["export", "issuers", "issuers/le", "audit", "history", "history?kind=issuers&name=le", "status"]
    paths += [f"history/{newest}", f"history/{newest}/issuers/le", f"export?revision={newest}"]
    found = [await here.http.get(f"/v1/{path}", headers=admin) for path in paths]
    assert {answer.status_code for answer in found} == {200}
    return [answer.text for answer in found]


async def rows(here) -> str:
    async with here.parts.database.reading() as connection:
        found = []
        for table in ("objects", "audit", "revisions", "events", "tombstones"):
            found += [tuple(r) for r in (await connection.exec_driver_sql(f"SELECT * FROM {table}")).all()]
    return repr(found)


@on_both
async def test_nobody_is_told_a_secret_and_no_table_holds_it(here, admin, capfd):
    told = []
    for secret in (OLD, NEW):
        told.append((await here.apply(admin, issuers=[issuer(secret)])).text)
        told.append((await here.apply(admin, issuers=[issuer(secret, nonsense=1)])).text)
    put = await here.http.put("/v1/issuers/le?take_over=true", json=issuer(OLD), headers=admin)
    told += [put.text, *(await answers(here, admin)), await rows(here), *capfd.readouterr()]

    assert put.status_code == 200
    assert secret_of(here) == OLD
    for text in told:
        assert OLD not in text
        assert NEW not in text
        assert '"sealed":' not in text or text == told[-3]


async def test_an_export_is_applied_again_without_a_change(here, admin):
    await here.apply(admin, issuers=[issuer(OLD)])
    export = (await here.http.get("/v1/export", headers=admin)).json()
    assert set(export["issuers"][0]["acme"]["eab"]["hmac_key"]) == {"kept"}

    for document in (export, {"version": 1, "issuers": [issuer(OLD)]}):
        again = await here.http.post(
            "/v1/apply", json={"source": "file:a", "document": document}, headers=admin
        )
        assert again.json()["changes"] == []
    export["issuers"][0]["acme"]["email"] = "ops@example.com"
    changed = await here.http.post("/v1/apply", json={"source": "file:a", "document": export}, headers=admin)
    (change,) = changed.json()["changes"]
    assert change["before"]["acme"]["eab"] == change["after"]["acme"]["eab"]
    assert secret_of(here) == OLD
    kept = export["issuers"][0]["acme"]["eab"]["hmac_key"]
    assert (
        await here.http.put("/v1/issuers/le?take_over=true", json=issuer(kept), headers=admin)
    ).status_code == 200
    assert secret_of(here) == OLD


async def test_what_is_not_there_cannot_be_kept(here, admin):
    await here.apply(admin, issuers=[issuer(OLD)])
    export = (await here.http.get("/v1/export", headers=admin)).json()
    kept = export["issuers"][0]["acme"]["eab"]["hmac_key"]
    other = {**issuer(kept), "name": "other"}

    put = await here.http.put("/v1/issuers/other", json=other, headers=admin)
    applied = await here.apply(admin, issuers=[issuer(OLD), other])

    for answer in (put, applied):
        assert answer.status_code == 422
        (problem,) = answer.json()["errors"]
        assert (problem["object"], problem["field"]) == ("issuers/default/other", "acme.eab.hmac_key")


async def test_going_back_brings_the_older_secret_back(here, admin):
    first = (await here.apply(admin, issuers=[issuer(OLD)])).json()["revision"]
    await here.apply(admin, issuers=[issuer(NEW)])
    assert secret_of(here) == NEW

    back = await here.http.post(f"/v1/history/{first}/rollback", json={}, headers=admin)

    assert back.status_code == 200
    assert OLD not in back.text
    assert "kept" in back.text
    assert secret_of(here) == OLD


async def test_a_watched_file_names_where_its_secrets_are(here, tmp_path):
    (tmp_path / "key").write_text(f"{OLD}\n")
    document = {"version": 1, "issuers": [issuer({"file": "key"})]}
    (tmp_path / "edge.yaml").write_text(json.dumps(document))
    file = WatchedFile(tmp_path / "edge.yaml", {}, here.parts.cases.declarations, lambda: 1.0)

    await file.apply()

    assert secret_of(here) == OLD
    assert OLD not in json.dumps(file.shown())
    (tmp_path / "key").unlink()
    await file.reapply("test")
    assert file.outcome.problems[0].field == "issuers[0].acme.eab.hmac_key"


async def test_a_dry_run_shows_that_a_secret_would_change_and_not_which(here, admin):
    await here.apply(admin, issuers=[issuer(OLD)])

    told = await here.apply(admin, dry_run=True, issuers=[issuer(NEW)])

    (change,) = told.json()["changes"]
    assert change["before"] != change["after"]
    assert NEW not in told.text
