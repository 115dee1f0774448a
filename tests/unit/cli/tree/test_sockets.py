from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from edgeward.cli.tree.sockets import listener_of, why_not
from edgeward.gateway.model import Address


def test_a_free_address_is_fine(free_port: Callable[[], int]) -> None:
    assert why_not(Address(host="127.0.0.1", port=free_port())) is None


def test_whoever_holds_a_port_is_named(free_port: Callable[[], int]) -> None:
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()

        own = Path("/proc/self/comm").read_text().strip()
        assert listener_of(port) == f"{own} (pid {os.getpid()})"
        sentence = why_not(Address(host="127.0.0.1", port=port))

    assert (
        sentence
        == f"127.0.0.1:{port} is taken by {own} (pid {os.getpid()}); end that program or choose another port"
    )


def test_the_other_family_of_the_same_port_is_free(free_port: Callable[[], int]) -> None:
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", port))
        holder.listen()

        assert why_not(Address(host="::1", port=port)) is None


def test_nobody_holds_a_free_port(free_port: Callable[[], int]) -> None:
    assert listener_of(free_port()) is None
