"""History over REST: who changed what, what was then, and the way back to it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgeward.api.history import About, Rollback
from edgeward.api.usecases import ApplyRequest, Precondition
from edgeward.controller.declared.history import History
from edgeward.controller.declared.objects import Declarations
from edgeward.controller.declared.state import State
from edgeward.database.engine import Database
from edgeward.declaration.model import Key
from edgeward.errors import Conflict, Invalid, NotFound
from edgeward.sealing import Seal
from tests.unit.certificates.issuing import opened
from tests.unit.controller.assembled import ADMIN, on_both
from tests.unit.controller.declared.test_objects import DOMAIN, ROUTE, SHOP, WHOLE, detail
from tests.unit.declaration.examples import documents


async def back(here, headers, revision, **body):
    return await here.http.post(f"/v1/history/{revision}/rollback", json=body, headers=headers)


async def export(here, headers, **where):
    return (await here.http.get("/v1/export", params=where, headers=headers)).json()


async def revision_of(here, headers) -> int:
    return (await here.http.get("/v1/history", headers=headers)).json()["items"][0]["revision"]


# --- reading ------------------------------------------------------------------------------------


async def test_every_change_is_a_revision_with_who_and_what(here, admin):
    await here.apply(admin, **WHOLE)
    await here.http.put("/v1/domains/mine.example", json={}, headers=admin)
    await here.http.put("/v1/domains/mine.example", json={"on_demand": True}, headers=admin)
    await here.apply(admin)

    items = (await here.http.get("/v1/history", headers=admin)).json()["items"]

    assert [(i["source"], i["created"], i["changed"], i["deleted"]) for i in items] == [
        ("file:a", 0, 0, 3),
        ("api", 0, 1, 0),
        ("api", 1, 0, 0),
        ("file:a", 3, 0, 0),
    ]
    assert {i["who"] for i in items} == {"boss"}
    assert items[1]["objects"] == [{"action": "change", "key": "domains/default/mine.example"}]


async def test_a_revision_is_shown_from_what_to_what(here, admin):
    await here.http.put("/v1/domains/mine.example", json={}, headers=admin)
    await here.http.put("/v1/domains/mine.example", json={"on_demand": True}, headers=admin)

    found = (await here.http.get(f"/v1/history/{await revision_of(here, admin)}", headers=admin)).json()

    (change,) = found["items"]
    assert change["before"] == {"name": "mine.example"}
    assert change["after"] == {"name": "mine.example", "on_demand": True}


@on_both
async def test_the_history_of_one_object_has_its_changes_and_it_is_shown_as_it_was(here, admin):
    await here.apply(admin, **WHOLE)
    first = await revision_of(here, admin)
    await here.apply(admin, **{**WHOLE, "services": [{**SHOP, "backends": ["http://c.example"]}]})

    items = (await here.http.get("/v1/history?kind=services&name=shop", headers=admin)).json()["items"]
    was = (await here.http.get(f"/v1/history/{first}/services/shop", headers=admin)).json()
    missing = await here.http.get(f"/v1/history/{first - 1}/services/shop", headers=admin)

    assert [[c["action"] for c in i["changes"]] for i in items] == [["change"], ["create"]]
    assert (was["value"]["backends"], was["source"]) == ([{"url": "http://b.example:80"}], "file:a")
    assert missing.status_code == 404


@on_both
async def test_pages_of_history_and_of_a_large_revision_go_on_where_they_stopped(here, admin):
    await here.apply(admin, domains=[{"name": f"d{i}.example"} for i in range(7)])
    for i in range(5):
        await here.http.put(f"/v1/domains/e{i}.example", json={}, headers=admin)

    async def every(path):
        seen, after = [], ""
        while after is not None:
            answer = (await here.http.get(f"{path}?limit=2{after}", headers=admin)).json()
            seen += answer["items"]
            after = f"&after={answer['next']}" if answer["next"] else None
        return seen

    revisions = [i["revision"] for i in await every("/v1/history")]
    assert revisions == sorted(revisions, reverse=True)
    assert len(revisions) == 6
    changed = [i["name"] for i in await every(f"/v1/history/{revisions[-1]}")]
    assert changed == [f"d{i}.example" for i in range(7)]


async def test_what_is_named_like_a_secret_is_not_shown_and_a_change_of_it_still_is(here, admin):
    for value in ("s3cret", "0ther"):
        route = {**ROUTE, "headers": {"token": value}}
        await here.apply(admin, **{**WHOLE, "routes": [route]})
    revision = await revision_of(here, admin)

    found = await here.http.get(f"/v1/history/{revision}", headers=admin)
    planned = await back(here, admin, revision - 1, dry_run=True)

    for answer in (found, planned):
        assert "s3cret" not in answer.text
        assert "0ther" not in answer.text
        assert "**** (changed)" in answer.text
    await back(here, admin, revision - 1)
    assert (await export(here, admin))["routes"][0]["headers"] == {"token": "s3cret"}


async def test_somebody_of_one_project_sees_their_part_of_a_revision_only(here, admin):
    theirs = {
        "domains": [DOMAIN, {"name": "t.example", "project": "t"}],
        "listen": {"https": "127.0.0.1:8443"},
    }
    await here.apply(admin, **theirs)
    await here.apply(admin, domains=[DOMAIN, {"name": "t.example", "project": "t"}])  # not listen
    only_default = await revision_of(here, admin)
    viewer, own = await here.token("v", "viewer", "t"), await here.token("d", "viewer", "default")

    items = (await here.http.get("/v1/history", headers=viewer)).json()["items"]
    assert [(i["created"], [o["key"] for o in i["objects"]]) for i in items] == [(1, ["domains/t/t.example"])]
    found = (await here.http.get(f"/v1/history/{items[0]['revision']}", headers=viewer)).json()
    assert [c["key"] for c in found["items"]] == ["domains/t/t.example"]
    assert (await here.http.get(f"/v1/history/{only_default}", headers=viewer)).status_code == 404
    assert (await here.http.get(f"/v1/history/{only_default}", headers=own)).status_code == 404, "listen"
    assert (await here.http.get("/v1/history?kind=listen", headers=own)).status_code == 404
    assert (await here.http.get("/v1/history?project=default", headers=viewer)).status_code == 404
    assert (await export(here, viewer, revision=items[0]["revision"])) == {
        "version": 1, "domains": [{"name": "t.example", "project": "t"}]}  # fmt: skip
    for path in ("domains/shop.example", "listen/listen"):
        revision = items[0]["revision"]
        assert (await here.http.get(f"/v1/history/{revision}/{path}", headers=viewer)).status_code == 404


# --- rolling back -------------------------------------------------------------------------------


@on_both
async def test_a_rollback_brings_back_values_and_sources_and_is_a_revision(here, admin):
    await here.apply(admin, **WHOLE)
    good = await revision_of(here, admin)
    await here.apply(admin, source="file:b", take_over=True, domains=[{**DOMAIN, "on_demand": True}])
    await here.apply(admin)
    await here.http.put("/v1/domains/mine.example", json={}, headers=admin)

    done = (await back(here, admin, good)).json()

    assert {(c["action"], c["key"]) for c in done["changes"]} == {
        ("change", "domains/default/shop.example"),
        ("create", "services/default/shop"),
        ("create", "routes/default/r"),
        ("delete", "domains/default/mine.example"),
    }
    assert await export(here, admin) == await export(here, admin, revision=good)
    assert (await here.http.get("/v1/domains/shop.example", headers=admin)).json()["source"] == "file:a"
    newest = (await here.http.get("/v1/history", headers=admin)).json()["items"][0]
    assert (newest["revision"], newest["rolled_back_to"]) == (done["revision"], good)
    undone = (await back(here, admin, done["revision"] - 1)).json()
    assert len(undone["changes"]) == 4, "a rollback can be rolled back"
    assert (await here.http.get("/v1/domains/shop.example", headers=admin)).json()["source"] == "file:b"
    assert (await back(here, admin, undone["revision"])).json()["changes"] == []


async def test_files_that_bring_their_version_back_are_named(here, admin):
    await here.apply(admin, source="file:shop.yaml", **WHOLE)
    first = await revision_of(here, admin)
    await here.apply(admin, source="file:shop.yaml", domains=[DOMAIN])

    (note,) = (await back(here, admin, first, dry_run=True)).json()["notes"]

    assert "2 of these objects are declared by the file shop.yaml" in note
    assert "applying it again brings its version back" in note


async def test_a_dry_run_of_a_rollback_tells_and_does_nothing(here, admin):
    await here.apply(admin, **WHOLE)
    told = (await back(here, admin, 0, dry_run=True)).json()

    assert [c["action"] for c in told["changes"]] == ["delete"] * 3
    assert len((await export(here, admin))["domains"]) == 1


async def test_one_object_or_one_project_can_be_rolled_back_alone(here, admin):
    await here.apply(admin, **WHOLE)
    first = await revision_of(here, admin)
    changed = {
        "services": [{**SHOP, "backends": ["http://c.example"]}],
        "routes": [{**ROUTE, "paths": ["/x"]}],
    }
    await here.apply(admin, domains=[DOMAIN, {"name": "t.example", "project": "t"}], **changed)

    done = (await back(here, admin, first, kind="services", name="shop")).json()
    assert [c["key"] for c in done["changes"]] == ["services/default/shop"]
    done = (await back(here, admin, first, project="t")).json()
    assert [c["key"] for c in done["changes"]] == ["domains/t/t.example"]
    assert (await export(here, admin))["routes"][0]["paths"] == ["/x"]
    missing = await back(here, admin, first, kind="services", name="nothing")
    assert missing.status_code == 404
    assert (await back(here, admin, first, name="shop")).status_code == 422


async def test_a_part_that_would_not_hold_together_is_not_rolled_back(here, admin):
    await here.apply(admin, **WHOLE)
    first = await revision_of(here, admin)
    await here.apply(admin)
    now = await export(here, admin)

    answer = await back(here, admin, first, kind="routes", name="r")

    assert answer.status_code == 409
    assert "there is no service 'shop'" in detail(answer)
    assert await export(here, admin) == now


async def test_a_rollback_is_refused_where_the_same_change_would_be(here, admin):
    operator = await here.token("op", "operator")
    tenant = await here.token("tenant", "operator", "t")
    await here.http.put("/v1/services/s", json={"backends": ["http://10.0.0.1"]}, headers=admin)
    await here.http.put("/v1/services/s", json={"backends": ["http://b.example"]}, headers=operator)
    await here.http.put("/v1/domains/t.example", json={}, headers=tenant)
    revision = await revision_of(here, admin)

    answer = await back(here, operator, revision - 2)
    assert answer.status_code == 403
    assert "backends[0].url" in detail(answer)
    done = (await back(here, tenant, 0)).json()
    assert [c["key"] for c in done["changes"]] == ["domains/t/t.example"], "their own project's part only"
    assert (await back(here, tenant, 0, project="default")).status_code == 404
    viewer = await here.token("v", "viewer")
    assert (await back(here, viewer, 0)).status_code == 403


async def test_a_name_another_project_took_since_is_not_taken_back(here, admin):
    tenant = await here.token("tenant", "operator", "t")
    await here.http.put("/v1/domains/shop.example", json={}, headers=tenant)
    await here.http.delete("/v1/domains/shop.example", headers=tenant)
    await here.http.put("/v1/domains/shop.example", json={}, headers=admin)
    revision = await revision_of(here, admin)

    answer = await back(here, tenant, revision - 2)

    assert answer.status_code == 409
    assert "declared in another project already" in detail(answer)


async def test_writers_are_kept_apart_from_a_rollback_by_etag(here, admin):
    await here.apply(admin, **WHOLE)
    etag = (await here.http.get("/v1/history", headers=admin)).headers["etag"]
    await here.http.put("/v1/domains/mine.example", json={}, headers=admin)

    assert (await back(here, admin | {"if-match": etag}, 0)).status_code == 412
    etag = (await here.http.get("/v1/export", headers=admin)).headers["etag"]
    assert (await back(here, admin | {"if-match": etag}, 0)).status_code == 200


async def test_revisions_out_of_reach_are_named_with_those_in_reach(here, admin):
    await here.apply(admin, **WHOLE)
    newest = await revision_of(here, admin)
    async with here.parts.database.writing() as writing:
        await writing.connection.exec_driver_sql(f"UPDATE counter SET history = {newest}")

    for path in (f"/v1/history/{newest - 1}", f"/v1/history/{newest - 1}/domains/shop.example"):
        answer = await here.http.get(path, headers=admin)
        if path.endswith("shop.example"):
            assert answer.status_code == 404
            assert f"the oldest to go back to is {newest}" in detail(answer)
    answer = await back(here, admin, newest - 1)
    assert answer.status_code == 404
    assert f"the oldest to go back to is {newest}" in detail(answer)
    assert (await back(here, admin, newest)).json()["changes"] == []
    answer = await back(here, admin, newest + 9)
    assert f"there is no revision {newest + 9} yet; the newest is {newest}" in detail(answer)
    assert (await here.http.get("/v1/history", headers=admin)).json()["oldest"] == newest


@on_both
async def test_rollbacks_and_writers_at_once_leave_one_order_of_revisions(here, admin):
    await here.apply(admin, **WHOLE)
    good = await revision_of(here, admin)

    await asyncio.gather(
        *(here.http.put(f"/v1/domains/d{i}.example", json={}, headers=admin) for i in range(15)),
        *(back(here, admin, good) for _ in range(5)),
    )

    revisions = [i["revision"] for i in (await here.http.get("/v1/history", headers=admin)).json()["items"]]
    assert len(revisions) == len(set(revisions))
    for revision in revisions[:4]:
        then = await export(here, admin, revision=revision)
        await back(here, admin, revision)
        assert await export(here, admin) == then


# --- any sequence -------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a.example", "b.example", "*.c.example", "z.example"])
_SOURCES = st.sampled_from(["file:a", "file:b"])
_SHOP = {"version": 1, "domains": [{"name": "a.example"}]}
STEPS = st.one_of(
    st.tuples(st.just("apply"), _SOURCES, documents(consistent=True), st.booleans(), st.just(True)),
    st.tuples(st.just("apply"), _SOURCES, st.just(_SHOP), st.just(True), st.just(True)),
    st.tuples(st.just("put"), _NAMES, st.booleans()),
    st.tuples(st.just("delete"), _NAMES),
    st.tuples(st.just("back"), st.floats(0, 1)),
)


@dataclass
class Declaring:
    """As much of a controller as declares."""

    database: Database
    state: State
    declarations: Declarations
    history: History


@asynccontextmanager
async def declaring(path: Path) -> AsyncIterator[Declaring]:
    async with opened(path) as database:
        state = State()
        declarations = Declarations(database, state, Seal(b"s" * 32), time.time)
        yield Declaring(database, state, declarations, History(database, state, None, time.time))


async def stored(here) -> dict[Key, tuple[str, str]]:
    async with here.database.reading() as connection:
        rows = await connection.exec_driver_sql("SELECT kind, project, name, value, source FROM objects")
        return {Key(r[0], r[1], r[2]): (r[3], r[4]) for r in rows.all()}


async def take(here, step, revisions) -> None:
    declarations = here.declarations
    if step[0] == "apply":
        _, source, document, keep, take_over = step
        await declarations.applied(ADMIN, ApplyRequest(source, deepcopy(document), keep, take_over))
    elif step[0] == "put":
        key = Key("domains", "default", step[1])
        await declarations.put(ADMIN, key, {"on_demand": step[2]}, Precondition(), True)
    elif step[0] == "delete":
        await declarations.deleted(ADMIN, "domains", step[1], None, Precondition(), True)
    else:
        revision = revisions[round(step[1] * (len(revisions) - 1))]
        await here.history.rolled_back(ADMIN, revision, Rollback(About()))


async def check(template, steps, wanted) -> None:
    with tempfile.TemporaryDirectory(prefix="ew-", dir="/tmp") as directory:
        shutil.copy(template, directory)
        async with declaring(Path(directory)) as here:
            history = here.history
            seen = {0: await stored(here)}
            for step in steps:
                with suppress(Conflict, Invalid, NotFound):
                    await take(here, step, list(seen))
                newest = (await history.listed(ADMIN, About(), 1, None)).revisions
                seen[newest[0].revision if newest else 0] = await stored(here)
            for place in [*wanted, 1.0, 0.0]:
                revision = sorted(seen)[round(place * (len(seen) - 1))]
                await history.rolled_back(ADMIN, revision, Rollback(About()))
                assert await stored(here) == seen[revision], revision
                assert here.state.stored.keys() == seen[revision].keys()
                sources = {key: found.source for key, found in here.state.stored.items()}
                assert sources == {key: source for key, (_, source) in seen[revision].items()}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example([("apply", "file:a", _SHOP, True, True), ("apply", "file:b", _SHOP, True, True)], [0.5])
@given(st.lists(STEPS, min_size=1, max_size=8), st.lists(st.floats(0, 1), max_size=4))
def test_after_any_sequence_a_rollback_gives_exactly_what_was_there_then(sqlite_template, steps, wanted):
    asyncio.run(check(sqlite_template, steps, wanted))
