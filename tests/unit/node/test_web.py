"""Where the node's own pages are."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeward.gateway.model import Listen
from edgeward.node.state import State
from edgeward.node.web import Web
from tests.patience import PATIENCE
from tests.ports import free_port


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


async def asked(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def served(pages: Web, path: Path, *hosts: str) -> None:
    """Have the pages served until each of these answered."""
    running = asyncio.create_task(pages.run(path / "node.sock"))
    try:
        async with asyncio.timeout(10 * PATIENCE):
            for host in hosts:
                answer = b""
                while not answer.endswith(b"ok\n"):
                    assert not running.done(), "the node would have ended"
                    with suppress(OSError):
                        answer = await asked(host, port_of(pages))
                    await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})


def port_of(pages: Web) -> int:
    return int(pages._state.listen.metrics[0].rpartition(":")[2])


def web(*hosts: str) -> Web:
    port, state, nobody = free_port(), State(), SimpleNamespace()
    state.listen = Listen(metrics=tuple(f"{host}:{port}" for host in hosts))
    unused: Any = nobody
    return Web(state, unused, unused, unused)


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
async def test_figures_are_given_on_all_addresses_of_either_family(tmp_path: Path) -> None:
    both = web("0.0.0.0", "[::]")
    await served(both, tmp_path, "127.0.0.1", "::1")

    assert both.problems == {}


async def test_an_address_that_another_one_takes_is_told_of_and_ends_nothing(tmp_path: Path) -> None:
    both = web("0.0.0.0", "127.0.0.1")
    await served(both, tmp_path, "127.0.0.1")

    (problem,) = both.problems.values()
    assert problem.startswith("cannot listen on 127.0.0.1:") and "in use" in problem
