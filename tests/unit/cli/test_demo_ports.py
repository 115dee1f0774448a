"""The demo listens on 80 and 443 unless another program does."""

from __future__ import annotations

import socket
from collections.abc import Callable

from edgeward.cli.demo import world


def test_only_who_listens_has_a_port_not_what_was_served_there_before(free_port: Callable[[], int]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        assert world.free_port(port) != port
        with socket.create_connection(("127.0.0.1", port)) as visitor:
            server.accept()[0].close()
            assert visitor.recv(1) == b""

    with socket.socket() as plain:
        try:
            plain.bind(("127.0.0.1", port))
            waits = False
        except OSError:
            waits = True
    assert waits, "the kernel keeps it, TIME_WAIT, from who binds it without SO_REUSEADDR"
    assert world.free_port(port) == port
