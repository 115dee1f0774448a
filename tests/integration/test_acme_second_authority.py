"""The same at another authority, written by other people: Caddy's."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from edgeward.certificates.model import Issuer
from edgeward.certificates.orders.fulfilment import Rejected, Unproven
from edgeward.database import schema
from tests.integration.acme import Needs
from tests.integration.acme_orders import Desk, issuer, leaf, names
from tests.integration.caddy import Caddy, caddy
from tests.integration.knot import KEY, SECRET, Knot, knot


def ordered(ours: Desk, authority: Caddy, server: Knot, **more: object) -> Issuer:
    update = {"server": server.address, "key_name": KEY, "secret": ours.sealed(SECRET)}
    records = {"update": update, "resolvers": [server.address], "wait_seconds": 5}
    return issuer(authority, challenges=["dns-01"], dns=records, **more)


async def test_certificates_are_ordered_renewed_and_revoked_with_one_account(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    with knot(state_dir, needs, "example.com") as server, caddy(state_dir, server.address) as authority:
        wanted = ordered(ours, authority, server)
        first = await ours.order(wanted, "example.com", "*.example.com")
        again = await ours.order(wanted, "example.com", "*.example.com")
        rsa = await ours.order(ordered(ours, authority, server, key="rsa"), "shop.example.com")
        async with ours.database.reading() as connection:
            accounts = (await connection.execute(select(schema.accounts))).all()

        assert names(leaf(first)) == names(leaf(again)) == ["*.example.com", "example.com"]
        assert names(leaf(rsa)) == ["shop.example.com"]
        assert leaf(first).serial_number != leaf(again).serial_number
        assert len(accounts) == 1


async def test_an_order_is_gone_on_with(ours: Desk, state_dir: Path, needs: Needs) -> None:
    with knot(state_dir, needs, "example.com") as server, caddy(state_dir, server.address) as authority:
        wanted = ordered(ours, authority, server)
        first = await ours.order(wanted, "example.com")
        again = await ours.order(wanted, "example.com", saved=ours.saves[-1])

    assert leaf(first).serial_number == leaf(again).serial_number


async def test_a_name_that_is_not_proven_is_told_apart(ours: Desk, state_dir: Path, needs: Needs) -> None:
    """We see the record where we write it; the authority asks another name server, which has none."""
    with (
        knot(state_dir, needs, "example.com") as server,
        knot(state_dir / "other", needs, "example.com") as other,
        caddy(state_dir, other.address) as authority,
        pytest.raises((Unproven, Rejected), match="example"),
    ):
        await ours.order(ordered(ours, authority, server), "example.com")
