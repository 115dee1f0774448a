"""Whether backends take connections, in sentences."""

from __future__ import annotations

import socket
from pathlib import Path

from edgeward.gateway.model import Service
from edgeward.node.trying import failures


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
