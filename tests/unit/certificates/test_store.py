"""Certificates in a real database: found by name or wildcard, followed by revision, never in the clear."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from edgeward.certificates import changed_names, store, summaries
from edgeward.certificates.model import Certificate, Kept, Order, Wanted
from edgeward.database.schema import certificates
from edgeward.declaration import store as declared
from edgeward.declaration.store import Position
from tests.unit.certificates.issuing import DAY, START, Installation, installation, put


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def test_a_name_is_served_by_its_own_certificate_else_by_its_wildcards(here):
    await put(here, "*.a.example", "b.a.example")
    async with here.database.reading() as connection:
        own = await store.find(connection, here.seal, "b.a.example", START)
        wild = await store.find(connection, here.seal, "c.a.example", START)

        assert own is not None and own.certificate.name == "b.a.example"
        assert wild is not None and wild.certificate.name == "*.a.example"
        assert "PRIVATE KEY" in wild.certificate.key.reveal()
        for name in ("a.example", "c.b.a.example", "d.example"):
            assert await store.find(connection, here.seal, name, START) is None


async def test_an_expired_certificate_is_a_missing_one(here):
    await put(here, "a.b.example", life=DAY)
    await put(here, "*.b.example", life=2 * DAY)
    async with here.database.reading() as connection:
        found = await store.find(connection, here.seal, "a.b.example", START + DAY)
        assert found is not None and found.certificate.name == "*.b.example"
        assert await store.find(connection, here.seal, "a.b.example", START + 2 * DAY) is None


async def test_what_is_read_is_what_was_written(here):
    made = here.authority.issue(Order("a.example", "p", "local", DAY), START, 0.5)
    async with here.database.writing() as writing:
        revision = await store.put(writing, here.seal, [made], here.now)
    async with here.database.reading() as connection:
        kept = await store.find(connection, here.seal, "a.example", START)

    assert kept == Kept(made, revision)


async def test_a_record_moved_to_another_name_or_damaged_counts_as_missing(here):
    await put(here, "a.example", "b.example", "c.example")
    async with here.database.writing() as writing:
        columns = certificates.c
        sealed_of_b = (
            certificates.select().with_only_columns(columns.sealed_key).where(columns.name == "b.example")
        ).scalar_subquery()
        change = update(certificates).where(columns.name == "a.example").values(sealed_key=sealed_of_b)
        await writing.connection.execute(change)
    async with here.database.reading() as connection:
        assert await store.find(connection, here.seal, "a.example", START) is None
        changed = await store.changes_since(connection, here.seal, 0, 100)

    assert {kept.certificate.name for kept in changed} == {"b.example", "c.example"}


async def test_following_by_revision_misses_nothing_whatever_the_limit(here):
    groups = [("a.example", "b.example", "c.example"), ("d.example",), ("a.example", "e.example")]
    for group in groups:
        await put(here, *group)
    for limit in (1, 2, 3, 100):
        since, seen = 0, []
        async with here.database.reading() as connection:
            while some := await store.changes_since(connection, here.seal, since, limit):
                revisions = [kept.revision for kept in some]
                assert revisions == sorted(revisions) and revisions[0] > since
                since = revisions[-1]
                seen += [kept.certificate.name for kept in some]

        assert sorted(seen) == ["a.example", "b.example", "c.example", "d.example", "e.example"]
        assert seen[-2:] == ["a.example", "e.example"]


async def test_a_replaced_certificate_moves_to_the_new_revision(here):
    first = await put(here, "a.example")
    here.now += DAY
    second = await put(here, "a.example")
    async with here.database.reading() as connection:
        changed = await store.changes_since(connection, here.seal, 0, 10)
        assert await store.changes_since(connection, here.seal, second, 10) == []

    assert second > first
    assert [kept.revision for kept in changed] == [second]


async def test_a_secret_does_not_show_in_any_text(here):
    made = here.authority.issue(Order("a.example", "p", "local", DAY), START, 0.5)

    assert "PRIVATE" not in repr(made) + str(replace(made, name="b.example"))


async def test_an_rsa_certificate_comes_and_goes_with_the_other_one(here):
    order = Order("a.example", "default", "local", 7 * DAY, beside=True)
    made = here.authority.issue(order, START, 0)
    assert made.beside is not None and made.beside.fingerprint != made.fingerprint
    plain = here.authority.issue(Order("b.example", "default", "local", 7 * DAY), START, 0)
    async with here.database.writing() as writing:
        revision = await store.put(writing, here.seal, [made, plain], here.now)

    async with here.database.reading() as connection:
        assert await store.find(connection, here.seal, "a.example", START) == Kept(made, revision, revision)
        changed = await store.changes_since(connection, here.seal, 0, 1)
        assert [k.certificate for k in changed] == [made, plain]
        assert await store.beside(connection, ["a.example", "b.example"]) == {"a.example"}
        assert len(await summaries.listed(connection, Wanted(), 10)) == 2
        assert (await summaries.counts(connection, START))["total"] == 2
    async with here.database.writing() as writing:
        await store.put(writing, here.seal, [replace(made, beside=None)], here.now)
    async with here.database.reading() as connection:
        found = await store.find(connection, here.seal, "a.example", START)
        assert found is not None and found.certificate.beside is None
        assert await store.beside(connection, ["a.example"]) == set()


async def test_neither_of_a_pair_opens_in_the_others_place(here):
    made = here.authority.issue(Order("a.example", "default", "local", 7 * DAY, beside=True), START, 0)
    async with here.database.writing() as writing:
        await store.put(writing, here.seal, [made], here.now)
        columns = certificates.c
        sealed = certificates.select().with_only_columns(columns.sealed_key)
        change = update(certificates).where(columns.algorithm == "rsa")
        ecdsa = sealed.where(columns.algorithm == "ecdsa").scalar_subquery()
        await writing.connection.execute(change.values(sealed_key=ecdsa))
    async with here.database.reading() as connection:
        found = await store.find(connection, here.seal, "a.example", START)

    assert found is not None and found.certificate.beside is None


async def test_what_is_shared_is_found_under_each_name_and_renewed_under_the_first(here):
    made = here.authority.issue(Order("a.example", "default", "local", DAY, also=("*.a.example",)), START, 0)
    async with here.database.writing() as writing:
        await store.put(writing, here.seal, made.under(["a.example", "*.a.example"]), here.now)
    async with here.database.reading() as connection:
        found = await store.find_all(connection, here.seal, ["a.example", "b.a.example"], START)
        due = await summaries.renewals_due(connection, START + DAY, 10)
        standing = await store.valid(connection, ["a.example", "*.a.example"], START)

    assert {kept.certificate.fingerprint for kept in found.values()} == {made.fingerprint}
    assert set(found) == {"a.example", "b.a.example"}
    assert [s.name for s in due] == ["a.example"]
    assert standing["*.a.example"].leader == "a.example" and standing["a.example"].leader is None


async def upload(here: Installation, name: str) -> Certificate:
    made = here.authority.issue(Order(name, "default", "uploaded", DAY), here.now, 0)
    uploaded = replace(made, source="uploaded")
    async with here.database.writing() as writing:
        await store.put(writing, here.seal, [uploaded], here.now)
    return uploaded


async def test_what_was_uploaded_stays_while_it_is_valid_and_is_never_renewed(here):
    uploaded = await upload(here, "a.example")
    await put(here, "a.example")
    async with here.database.reading() as connection:
        kept = await store.find(connection, here.seal, "a.example", START)
        assert kept is not None and kept.certificate == uploaded
        assert await summaries.renewals_due(connection, START + 30 * DAY, 10) == []
    here.now = START + 2 * DAY
    await put(here, "a.example")
    async with here.database.reading() as connection:
        kept = await store.find(connection, here.seal, "a.example", here.now)
        assert kept is not None and kept.certificate.source == "issued"


async def test_what_was_uploaded_gives_way_as_soon_as_it_has_expired(here):
    await upload(here, "a.example")
    here.now = START + DAY + 1
    await put(here, "a.example")
    async with here.database.reading() as connection:
        kept = await store.find(connection, here.seal, "a.example", here.now)

    assert kept is not None and kept.certificate.source == "issued"
    assert kept.certificate.not_before.timestamp() < START + DAY, "authorities put the beginning back"


async def test_names_beside_one_that_was_uploaded_are_led_by_one_of_their_own(here):
    names = ["a.example", "b.example", "c.example"]
    await upload(here, "a.example")
    made = here.authority.issue(Order(names[0], "default", "local", DAY, also=(*names[1:],)), START, 0)
    async with here.database.writing() as writing:
        await store.put(writing, here.seal, made.under(names), here.now)
    async with here.database.reading() as connection:
        standing = await store.valid(connection, names, START)
        due = await summaries.renewals_due(connection, START + DAY, 10)

    assert {name: found.leader for name, found in standing.items()} == {
        "a.example": None,
        "b.example": None,
        "c.example": "b.example",
    }
    assert [s.name for s in due] == ["b.example"]


async def test_what_is_withdrawn_is_gone_and_followers_hear_of_it(here):
    await put(here, "a.example", "b.example")
    async with here.database.writing() as writing:
        first = await store.withdraw(writing, ["a.example", "none.example"], START)
    async with here.database.writing() as writing:
        again = await store.withdraw(writing, ["a.example"], START)
    async with here.database.reading() as connection:
        assert await store.find(connection, here.seal, "a.example", START) is None
        assert await store.find(connection, here.seal, "b.example", START) is not None
        followed = await declared.moves_since(connection, Position(0), 10)
        assert await declared.declared_revision(connection) == 0
        changed, _ = await changed_names.names_changed(connection, first - 1, 10)
        assert changed == ["a.example"], "copies outside of nodes go, too"

    assert [(str(f.key), f.value, f.revision) for f in followed] == [
        ("certificates/default/a.example", None, first)
    ]
    assert again > first
