"""Whether backends take connections, in sentences."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from edgeward.gateway.model import Behind, Service
from edgeward.node.backends.trying import failures


async def test_places_that_take_no_connection_are_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_one, socket.socket() as closed_one:
        closed_one.bind(("127.0.0.1", 0))
        good, bad = open_one.getsockname()[1], closed_one.getsockname()[1]
        service = Service(
            name="s",
            backends=(f"http://127.0.0.1:{good}", f"http://name.example:{bad}", f"unix:{tmp_path}/none.sock"),
        )

        sentences, works = await failures(service, {"name.example": ["127.0.0.1"]})
        assert works
        assert sentences == [
            f"127.0.0.1 port {bad}: nothing listens there",
            f"{tmp_path}/none.sock: there is no such socket",
        ]


async def test_a_service_without_an_address_does_not_work() -> None:
    assert await failures(Service(name="s", backends=("http://name.example",)), {}) == ([], False)


@pytest.mark.parametrize(("ends", "found"), [(True, "takes no connection from its relay"), (False, "")])
async def test_a_relay_that_ends_a_connection_at_once_has_nobody_behind_it(state_dir, ends, found):
    async def relay(_reader, writer):
        if ends:
            writer.close()
            return
        await asyncio.sleep(5)

    path, place = str(state_dir / "relay.sock"), Behind("office", "192.168.4.10", 80)
    server = await asyncio.start_unix_server(relay, path)
    service = Service(name="shop", backends=("vpn://office/192.168.4.10:80",))
    try:
        sentences, works = await failures(service, {}, {place: path})
    finally:
        server.close()

    assert works is not ends
    assert found in " ".join(sentences)
