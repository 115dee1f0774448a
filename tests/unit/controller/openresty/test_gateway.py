"""What a gateway answers about itself harms nobody, whatever it is."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from edgeward.controller.openresty import gateway
from edgeward.controller.openresty.gateway import GatewayDoor
from edgeward.errors import Unavailable
from edgeward.gateway.model import openresty
from edgeward.sealing import Seal
from tests.patience import PATIENCE

STATUS = {
    "keys": {"valid": ["a.example"], "invalid": [], "autocert": []},
    "config": {"expiries": {"ngx.shared.DICT": 300, "resty.lrucache": 60}},
    "server_version": "0.5.0",
}


@contextlib.asynccontextmanager
async def gateway_that_answers(body: bytes, *, ends: bool = True):
    """One that answers everything with the same; or begins to, and goes on byte by byte."""

    async def served(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            more = b"" if ends else b"x"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) or 10**6) + body)
            while more:
                await asyncio.sleep(0.01)
                writer.write(more)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    door = GatewayDoor(openresty.Gateway(url=f"http://127.0.0.1:{port}"), Seal(b"k" * 32))
    try:
        yield door
    finally:
        await door.close()
        server.close()


async def test_its_status_is_read():
    async with gateway_that_answers(json.dumps(STATUS).encode()) as door:
        assert (await door.cached()).failures_kept == 360


@pytest.mark.parametrize("text", ["[" * 100_000, '{"config": {"expiries": {"a": 1' + "0" * 400 + "}}, "])
async def test_nonsense_is_told_of(text):
    body = (text + '"keys": {"valid": [], "invalid": [], "autocert": []}}').encode()
    async with gateway_that_answers(body) as door:
        with pytest.raises(Unavailable):
            await door.cached()


async def test_a_name_that_can_be_no_hosts_is_told_of():
    door = GatewayDoor(openresty.Gateway(url="http://xn--a"), Seal(b"k" * 32))
    with pytest.raises(Unavailable, match=r"^http://xn--a: "):
        await door.expire_all()
    await door.close()


async def test_a_time_without_end_is_none():
    body = json.dumps(STATUS).replace("300", "1e999").encode()
    async with gateway_that_answers(body) as door:
        assert (await door.cached()).failures_kept is None


async def test_one_whose_answer_does_not_end_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(gateway, "_SECONDS", 0.3)
    async with gateway_that_answers(b"", ends=False) as door, asyncio.timeout(5 * PATIENCE):
        with pytest.raises(Unavailable, match="no answer within"):
            await door.expire_all()
