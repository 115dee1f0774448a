"""Tokens are random, kept hashed, and verified against the store with a limit on guessing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from edgeward.access import store
from edgeward.access.authenticate import Authenticator
from edgeward.access.limit import FailureLimit
from edgeward.access.model import Throttled, Token, Unauthenticated
from edgeward.access.tokens import fits, mint, parse
from edgeward.database import schema
from edgeward.errors import Conflict
from tests.unit.certificates.issuing import opened

NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(database_url):
    async with opened(database_url) as database:
        yield database


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def access(database, clock):
    return Authenticator(database, clock, FailureLimit(burst=3, seconds=10))


async def made(database, name="ann", expires=None, now=NOW) -> str:
    fresh = mint()
    async with database.writing() as writing:
        token = Token(fresh.id, name, "admin", "*", None, now, expires, None)
        await store.add(writing, token, fresh.hash, now)
    return fresh.text.reveal()


async def revoke(database, text: str) -> str:
    token_id = parse(text)[0]
    async with database.writing() as writing:
        await store.revoke(writing, token_id, NOW)
    return token_id


def test_a_token_is_parsed_as_it_was_made():
    fresh = mint()
    token_id, secret = parse(fresh.text.reveal())

    assert token_id == fresh.id
    assert fits(secret, fresh.hash)
    assert not fits(parse(mint().text.reveal())[1], fresh.hash)
    assert "****" in str(fresh)
    assert fresh.text.reveal() not in str(fresh)


@given(st.text(max_size=80))
def test_other_text_is_no_token(text):
    assert parse(text) is None


async def test_a_good_token_says_who_it_is(database, access):
    who = await access.authenticate(await made(database), "192.0.2.1")

    assert (who.name, who.role, who.project, who.node) == ("ann", "admin", "*", None)


async def test_only_a_hash_is_stored(database):
    text = await made(database)
    async with database.reading() as connection:
        stored = str((await connection.execute(select(schema.tokens))).all())

    assert parse(text)[1].reveal() not in stored
    assert parse(text)[0] in stored


async def test_a_token_with_a_wrong_secret_is_refused(database, access):
    text = await made(database)
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")

    with pytest.raises(Unauthenticated):
        await access.authenticate(wrong, "192.0.2.1")


async def test_a_revoked_token_is_refused_at_once_where_it_was_revoked_and_within_a_second_elsewhere(
    database, access, clock
):
    elsewhere = Authenticator(database, clock)
    text = await made(database)
    await access.authenticate(text, "a")
    await elsewhere.authenticate(text, "a")

    access.forget(await revoke(database, text))
    with pytest.raises(Unauthenticated):
        await access.authenticate(text, "a")
    clock.now += 1
    with pytest.raises(Unauthenticated):
        await elsewhere.authenticate(text, "a")


async def test_a_token_ends_when_its_time_is_over(database, access, clock):
    text = await made(database, expires=NOW + 10)
    await access.authenticate(text, "a")
    clock.now += 10

    with pytest.raises(Unauthenticated):
        await access.authenticate(text, "a")


async def test_who_guesses_is_slowed_down_and_those_known_before_are_not(database, access, clock):
    known, fresh = await made(database), await made(database, name="bob")
    await access.authenticate(known, "192.0.2.1")
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await access.authenticate("ew_000000000000_" + "x" * 43, "192.0.2.1")

    with pytest.raises(Throttled) as caught:
        await access.authenticate("ew_000000000000_" + "x" * 43, "192.0.2.1")
    assert caught.value.retry_after == 10
    with pytest.raises(Throttled):
        await access.authenticate(fresh, "192.0.2.1")
    assert (await access.authenticate(known, "192.0.2.1")).name == "ann"
    assert (await access.authenticate(fresh, "192.0.2.2")).name == "bob"
    access.forget(await revoke(database, known))
    with pytest.raises(Throttled):
        await access.authenticate(known, "192.0.2.1")
    clock.now += 10
    with pytest.raises(Unauthenticated):
        await access.authenticate(known, "192.0.2.1")


async def test_a_request_without_a_token_is_no_guess(access):
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await access.authenticate(None, "192.0.2.1")


async def test_a_live_name_is_taken_and_a_dead_one_is_free(database):
    text = await made(database)
    with pytest.raises(Conflict, match="'ann'"):
        await made(database)
    await revoke(database, text)

    assert await made(database) != text


async def test_dead_tokens_are_forgotten_after_a_month_and_somebody_who_may_do_everything_is_known(database):
    text = await made(database)
    async with database.reading() as connection:
        assert await store.has_governor(connection, NOW)
    await revoke(database, text)
    async with database.writing() as writing:
        assert not await store.has_governor(writing.connection, NOW)
        await store.sweep(writing, NOW + 29 * 86400)
        assert await store.find(writing.connection, parse(text)[0]) is not None
        await store.sweep(writing, NOW + 31 * 86400)
        assert await store.find(writing.connection, parse(text)[0]) is None
