"""Which challenge is answered, and the rows that nodes answer from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from edgeward.certificates.acme.answers import Authorization, Challenge
from edgeward.certificates.acme.proofs import Answers, Proof, Proofs, choose
from edgeward.certificates.model import AcmeIssuer
from edgeward.certificates.orders.fulfilment import Rejected, Unshown
from edgeward.database.engine import Database, open_database
from edgeward.database.schema import challenges
from edgeward.errors import Unavailable
from edgeward.sealing import Seal

PROVIDER = {"provider": {"name": "cloudflare"}}


def acme(*kinds: str) -> AcmeIssuer:
    dns = {"dns": PROVIDER} if "dns-01" in kinds else {}
    return AcmeIssuer.model_validate(
        {"directory": "https://ca.example/dir", "challenges": list(kinds), **dns}
    )


def challenge(kind: str, token: str | None = "t0k-en_") -> Challenge:
    return Challenge(type=kind, url="https://ca.example/c", token=token)


def asked(*kinds: str, wildcard: bool = False) -> Authorization:
    given = [challenge(kind) for kind in kinds]
    name = {"type": "dns", "value": "a.example"}
    return Authorization.model_validate(
        {"status": "pending", "identifier": name, "wildcard": wildcard, "challenges": given}
    )


ALL = ("dns-01", "http-01", "tls-alpn-01", "dns-account-01")


@pytest.mark.parametrize(
    ("issuer", "offer", "wildcard", "chosen"),
    [
        (("http-01", "tls-alpn-01"), ALL, False, "http-01"),
        (("tls-alpn-01", "http-01"), ALL, False, "tls-alpn-01"),
        (("http-01", "dns-01"), ("dns-01",), False, "dns-01"),
        (("http-01", "dns-01"), ALL, True, "dns-01"),
    ],
)
def test_the_first_of_the_issuers_challenges_that_is_offered_is_answered(issuer, offer, wildcard, chosen):
    assert choose(acme(*issuer), asked(*offer, wildcard=wildcard)).type == chosen


def test_a_wildcard_without_a_way_into_dns_is_rejected_with_the_remedy():
    with pytest.raises(Rejected, match=r"\*\.a\.example: a wildcard is proven by dns-01 only; add it"):
        choose(acme("http-01"), asked(*ALL, wildcard=True))


def test_what_is_not_offered_is_rejected_with_both_sides():
    with pytest.raises(Rejected, match="offers dns-01, and the issuer's challenges are http-01"):
        choose(acme("http-01"), asked("dns-01"))


@pytest.mark.parametrize("token", ["../../etc", "a b", "a\r\nb", "", "é", "x" * 201])
def test_a_token_that_could_be_more_than_a_token_is_refused(token):
    with pytest.raises(ValueError, match="token"):
        challenge("http-01", token)


# --- the rows ----------------------------------------------------------------------------------------


@pytest.fixture
async def database(database_url) -> AsyncIterator[Database]:
    made = open_database(database_url)
    yield made
    await made.close()


def proof(number: int, kind: str = "http-01", value: str = "") -> Proof:
    return Proof(f"d{number}.example", challenge(kind, f"token{number}"), value or f"token{number}.thumb")


async def rows(database: Database) -> dict[tuple[str, str], str]:
    async with database.reading() as connection:
        found = await connection.execute(select(challenges.c.type, challenges.c.key, challenges.c.value))
        return {(row.type, row.key): row.value for row in found}


async def test_rows_are_found_by_token_or_by_name(database):
    answers = Answers(database, lambda: 1000.0)

    await answers.put_up([proof(1), proof(2, "tls-alpn-01")])

    assert await rows(database) == {
        ("http-01", "token1"): "token1.thumb",
        ("tls-alpn-01", "d2.example"): "token2.thumb",
    }


async def test_each_row_is_there_when_its_order_goes_on_however_many_come_at_once(database):
    answers = Answers(database, lambda: 1000.0)

    async def order(number: int) -> bool:
        await answers.put_up([proof(number)])
        return ("http-01", f"token{number}") in await rows(database)

    assert all(await asyncio.gather(*(order(number) for number in range(30))))


async def test_what_is_over_goes_and_what_came_in_its_place_stays(database):
    answers = Answers(database, lambda: 1000.0)
    first, second = proof(1, "tls-alpn-01", "old.thumb"), proof(1, "tls-alpn-01", "new.thumb")
    await answers.put_up([first])
    await answers.put_up([second])
    answers.take_down([first])
    await answers.tidy()
    assert await rows(database) == {("tls-alpn-01", "d1.example"): "new.thumb"}

    answers.take_down([second])
    await answers.tidy()
    assert await rows(database) == {}


async def test_what_a_crash_left_behind_goes_when_its_time_is_over(database):
    now = 1000.0
    await Answers(database, lambda: now).put_up([proof(1)])
    now += 7200

    await Answers(database, lambda: now).put_up([proof(2)])

    assert list(await rows(database)) == [("http-01", "token2")]


async def test_a_write_that_fails_fails_its_own_order_and_no_other(database):
    """The second order comes while the first one's transaction is under way, and fails."""
    answers = Answers(database, lambda: 1000.0)
    async with database.writing():
        doomed = asyncio.create_task(answers.put_up([proof(1)]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(answers.put_up([proof(number)])) for number in (2, 3)]
        await asyncio.sleep(0.05)
        doomed.cancel()
    await asyncio.gather(doomed, *others, return_exceptions=True)

    found = await rows(database)
    assert {("http-01", "token2"), ("http-01", "token3")} <= set(found)
    assert doomed.cancelled() or ("http-01", "token1") in found
    assert not any(isinstance(one.exception(), Unavailable) for one in others)


async def test_what_cannot_be_put_up_is_not_laid_to_the_authoritys_charge():
    nowhere = open_database("sqlite:////nonexistent/edgeward.db")
    proofs = Proofs(nowhere, Seal(bytes(32)), lambda: 1000.0)
    with pytest.raises(Unshown, match="database"):
        async with proofs.shown(acme("http-01"), [proof(1)]):
            pass
    await nowhere.close()
