"""Names proven by records in DNS (dns-01): a real authority looks at a real name server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeward.certificates.acme import zones
from edgeward.certificates.model import Issuer
from edgeward.certificates.orders.fulfilment import Rejected
from edgeward.errors import Unavailable
from tests.integration.acme import Needs, Pebble, pebble
from tests.integration.acme_orders import Desk, issuer, leaf, names
from tests.integration.knot import KEY, SECRET, Knot, knot
from tests.integration.powerdns import Provider, provider


def by_updates(ours: Desk, authority: Pebble, server: Knot, **more: Any) -> Issuer:
    update = {"server": server.address, "key_name": KEY, "secret": ours.sealed(SECRET), **more}
    records = {"update": update, "resolvers": [server.address], "wait_seconds": 5}
    return issuer(authority, challenges=["dns-01"], dns=records)


async def test_a_name_and_its_wildcard_are_proven_at_once_and_nothing_stays_behind(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    with (
        knot(state_dir, needs, "example.com") as server,
        pebble(state_dir, needs, resolver=server.address) as authority,
    ):
        made = await ours.order(by_updates(ours, authority, server), "example.com", "*.example.com")

        assert names(leaf(made)) == ["*.example.com", "example.com"]
        assert server.texts("_acme-challenge.example.com") == []


async def test_a_record_is_written_where_the_name_is_delegated_to(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    """The key may not write anywhere else."""
    records = "_acme-challenge.shop CNAME shop.proofs\n"
    with (
        knot(state_dir, needs, "example.com", records, only="proofs.example.com.") as server,
        pebble(state_dir, needs, resolver=server.address) as authority,
    ):
        made = await ours.order(by_updates(ours, authority, server), "*.shop.example.com")
        with pytest.raises(
            Rejected, match=r"does not take the key edgeward for _acme-challenge\.other\.example\.com"
        ):
            await ours.order(by_updates(ours, authority, server), "*.other.example.com")

    assert names(leaf(made)) == ["*.shop.example.com"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"key_name": "another"}, "does not take the key another"),
        ({"algorithm": "hmac-sha512"}, "does not take the key"),
    ],
)
async def test_a_name_server_that_does_not_know_the_key_is_named(
    ours: Desk, state_dir: Path, needs: Needs, more: dict[str, Any], reason: str
) -> None:
    with (
        knot(state_dir, needs, "example.com") as server,
        pebble(state_dir, needs, resolver=server.address) as authority,
        pytest.raises(Rejected, match=reason),
    ):
        await ours.order(by_updates(ours, authority, server, **more), "*.example.com")


async def test_a_secret_that_is_no_base64_is_said_so_without_being_shown(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    with (
        knot(state_dir, needs, "example.com") as server,
        pebble(state_dir, needs, resolver=server.address) as authority,
        pytest.raises(Rejected, match="not base64") as caught,
    ):
        await ours.order(by_updates(ours, authority, server, secret=ours.sealed("hunter2!")), "*.example.com")

    assert "hunter2" not in str(caught.value)


async def test_a_name_server_that_is_away_makes_the_proof_unavailable(
    ours: Desk, state_dir: Path, needs: Needs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zones, "_WHOLE_SECONDS", 2.0)
    with knot(state_dir, needs, "example.com") as server:
        pass
    gone = pytest.raises(Unavailable, match="DNS does not tell about _acme-challenge")
    with pebble(state_dir, needs) as authority, gone:
        await ours.order(by_updates(ours, authority, server), "*.example.com")


# --- through a provider's API ----------------------------------------------------------------------


def by_api(ours: Desk, authority: Pebble, api: Provider, token: str) -> Issuer:
    settings = {"pdns_server": api.url}
    credentials = [{"name": "auth_token", "secret": ours.sealed(token)}]
    way = {"name": "powerdns", "settings": settings, "credentials": credentials}
    records = {"provider": way, "resolvers": [api.server.address], "wait_seconds": 5}
    return issuer(authority, challenges=["dns-01"], dns=records)


async def test_a_provider_is_asked_for_the_records_of_a_name_and_its_wildcard(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    """Both write the same record, and neither may write over the other's."""
    with (
        knot(state_dir, needs, "example.com") as server,
        pebble(state_dir, needs, resolver=server.address) as authority,
        provider("example.com", "t0ken", server) as api,
    ):
        made = await ours.order(by_api(ours, authority, api, "t0ken"), "example.com", "*.example.com")

    assert names(leaf(made)) == ["*.example.com", "example.com"]
    assert api.changes == 4
    assert not any(api.records.values())


async def test_a_token_a_provider_refuses_is_said_so_without_being_shown(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    refused = pytest.raises(Rejected, match=r"powerdns says 401 to a change of _acme-challenge\.example\.com")
    with (
        knot(state_dir, needs, "example.com") as server,
        pebble(state_dir, needs, resolver=server.address) as authority,
        provider("example.com", "t0ken", server) as api,
        refused as caught,
    ):
        await ours.order(by_api(ours, authority, api, "wr0ng"), "example.com")

    assert "wr0ng" not in str(caught.value)
