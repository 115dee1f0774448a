"""A real authority (Pebble) checks names through a real Envoy, at a node that asks for what orders put up."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edgeward.certificates.orders.fulfilment import Unproven
from edgeward.gateway.envoy import Gateway
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.acme import Needs, Pebble, pebble
from tests.integration.acme_orders import Desk, desk, issuer, leaf, names
from tests.integration.gateway_rig import Rig
from tests.integration.proving_rig import Answers


@pytest.fixture
async def ours(sqlite_template: Path, state_dir: Path) -> AsyncIterator[Desk]:
    made = desk(sqlite_template, state_dir)
    yield made
    await made.close()


@contextmanager
def edge(directory: Path, database: Path, authority: Pebble) -> Iterator[Answers]:
    """Run an edge whose only route is for another name, and redirects everything."""

    def answers() -> dict[tuple[str, str], str]:
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute("SELECT type, key, value FROM challenges").fetchall()
        return {(kind, key): value for kind, key, value in rows}

    node = Answers(directory, answers)
    rig = Rig(directory, {})
    route = {"hosts": ["moved.example.com"], "redirect": {"host": "x.example"}, "http": "serve"}
    listen = Listen(http=f"127.0.0.1:{authority.http_port}", https=f"127.0.0.1:{authority.tls_port}")
    service = Service(name="shown", backends=("http://127.0.0.1:1",))
    try:
        rig.show(Gateway(listen, (service,), (parse(Route, route),), proofs=str(directory)))
        yield node
    finally:
        rig.close()
        node.close()


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
async def test_names_with_and_without_a_route_and_none_with_a_certificate_are_proven(
    ours: Desk, state_dir: Path, needs: Needs, challenge: str
) -> None:
    wanted = ["moved.example.com", "new.example.com"]
    with pebble(state_dir, needs) as authority, edge(state_dir, state_dir / "edgeward.db", authority) as node:
        made = await ours.order(issuer(authority, challenges=[challenge]), *wanted)

    assert names(leaf(made)) == wanted
    assert node.looks > 0


async def test_a_name_that_nobody_put_up_is_not_proven(ours: Desk, state_dir: Path, needs: Needs) -> None:
    with pebble(state_dir, needs) as authority, edge(state_dir, state_dir / "other.db", authority) as node:
        node.down = True
        for challenge in ("http-01", "tls-alpn-01"):
            with pytest.raises(Unproven):
                await ours.order(issuer(authority, challenges=[challenge]), "new.example.com")
