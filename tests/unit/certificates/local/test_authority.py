"""The authority in a real database: kept, shared by controllers, and turned over by hand."""

from __future__ import annotations

import asyncio
import stat

import pytest
from cryptography import x509
from sqlalchemy import select

from edgeward.certificates.local.authority import ensure, publish
from edgeward.certificates.local.signing import ROOT_LIFE
from edgeward.certificates.local.succession import PUBLISHED_BEFORE_SIGNING, SUCCESSOR_BEFORE_END
from edgeward.certificates.model import Order
from edgeward.database.schema import authorities
from edgeward.errors import Invalid, Unavailable
from edgeward.sealing import Seal
from tests.unit.certificates.issuing import DAY, START, opened

SEAL = Seal(bytes(32))


async def test_two_controllers_that_start_at_once_share_one_authority(database_url):
    async with opened(database_url) as first, opened(database_url) as second:
        made = await asyncio.gather(*(ensure(d, SEAL, START) for d in (first, second) * 3))
        async with first.reading() as connection:
            rows = (await connection.execute(select(authorities))).all()

    assert len({authority.roots_pem() for authority in made}) == 1
    assert [row.role for row in rows] == ["root", "intermediate"]
    assert rows[1].parent == rows[0].id
    assert b"PRIVATE" not in b"".join(row.sealed_key for row in rows)


async def test_it_is_the_same_after_a_restart(database_url):
    async with opened(database_url) as database:
        before = await ensure(database, SEAL, START)
    async with opened(database_url) as database:
        after = await ensure(database, SEAL, START + DAY)

    assert before.roots_pem() == after.roots_pem()


async def test_another_seal_key_is_said_to_be_the_trouble(database_url):
    async with opened(database_url) as database:
        await ensure(database, SEAL, START)
        with pytest.raises(Invalid, match="another key"):
            await ensure(database, Seal(b"x" * 32), START)


async def test_an_old_root_gets_a_successor_that_is_published_at_once_and_signs_after_its_time(database_url):
    old_age = START + ROOT_LIFE - SUCCESSOR_BEFORE_END + DAY
    async with opened(database_url) as database:
        await ensure(database, SEAL, START)
        old = await ensure(database, SEAL, old_age - 2 * DAY)
        both = await ensure(database, SEAL, old_age)
        day = old_age + PUBLISHED_BEFORE_SIGNING + DAY
        later = await ensure(database, SEAL, day)

    assert both.roots_pem().startswith(old.roots_pem())
    assert both.roots_pem().count("BEGIN CERTIFICATE") == 2
    assert later.roots_pem().endswith(old.roots_pem())
    order = Order("a.example", "default", "local", 7 * DAY)
    assert issuer(both.issue(order, old_age, 0).chain) == issuer(old.issue(order, old_age, 0).chain)
    assert issuer(later.issue(order, day, 0).chain) != issuer(old.issue(order, old_age, 0).chain)


def issuer(chain: str) -> x509.Name:
    return x509.load_pem_x509_certificates(chain.encode())[1].issuer


async def test_a_server_of_ours_is_named_by_addresses_and_single_labels(database_url):
    async with opened(database_url) as database:
        authority = await ensure(database, SEAL, START)
    made = authority.issue_server(["localhost"], ["127.0.0.1", "::1"], 30 * DAY, START)
    names = x509.load_pem_x509_certificates(made.chain.encode())[0].extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )

    assert names.value.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_the_roots_are_published_where_anyone_may_read_them(tmp_path):
    path = tmp_path / "ca" / "root.pem"

    assert publish("one", path)
    assert not publish("one", path)
    assert publish("two", path)
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["root.pem"]
    with pytest.raises(Unavailable, match=r"root\.pem"):
        publish("three", path / "root.pem")
