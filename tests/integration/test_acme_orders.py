"""Orders at a real authority (Pebble), proven by http-01."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import func, select

from edgeward.certificates.orders.fulfilment import Unproven
from edgeward.database import schema
from tests.integration.acme import Needs, pebble
from tests.integration.acme_answers import answers
from tests.integration.acme_orders import Desk, issuer, leaf, names


async def test_a_name_gets_a_certificate_whose_chain_ends_below_the_root(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    with pebble(state_dir, needs) as authority, answers(ours.url, authority.http_port) as seen:
        made = await ours.order(issuer(authority), "shop.example.com")

        chain = x509.load_pem_x509_certificates(made.chain.encode())
        root = x509.load_pem_x509_certificate(authority.root().encode())
    chain[0].verify_directly_issued_by(chain[1])
    chain[1].verify_directly_issued_by(root)
    assert len(chain) == 2
    assert names(chain[0]) == ["shop.example.com"]
    assert len(set(seen.seen)) == 1
    assert [saved.step for saved in ours.saves] == ["order", "proof", "finalize"]


async def test_several_names_stand_on_one_certificate(ours: Desk, state_dir: Path, needs: Needs) -> None:
    with pebble(state_dir, needs) as authority, answers(ours.url, authority.http_port):
        made = await ours.order(
            issuer(authority, key="rsa"), "a.example.com", "b.example.com", "c.example.com"
        )

    key = leaf(made).public_key()
    assert names(leaf(made)) == ["a.example.com", "b.example.com", "c.example.com"]
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048


async def test_answers_are_gone_when_no_order_is_under_way(ours: Desk, state_dir: Path, needs: Needs) -> None:
    with pebble(state_dir, needs) as authority, answers(ours.url, authority.http_port):
        await ours.order(issuer(authority), "shop.example.com")

    async with ours.database.reading() as connection:
        left = (await connection.execute(select(func.count()).select_from(schema.challenges))).scalar_one()
    assert left == 0


async def test_a_name_that_does_not_answer_is_unproven_and_the_reason_names_it(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    with pebble(state_dir, needs) as authority, answers(ours.url, authority.http_port) as mute:
        mute.mute = True
        with pytest.raises(Unproven, match=r"shop\.example\.com, http-01: .*404"):
            await ours.order(issuer(authority), "shop.example.com")
