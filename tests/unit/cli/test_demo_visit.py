"""The demo's visitors judge by the whole answer."""

from __future__ import annotations

import asyncio

import pytest

from edgeward.cli.demo.visit import Failed, Visit, visit


async def seen(*parts: bytes, ends: bool) -> Visit:
    """Visit a server that answers so, part by part, and ends the connection or goes on holding it."""
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)
        if not ends:
            await over.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        try:
            return await visit(server.sockets[0].getsockname()[1], "berlin.example", timeout=60)
        finally:
            over.set()


async def test_a_body_that_comes_after_its_head_belongs_to_the_answer() -> None:
    found = await seen(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"ber", b"lin", ends=True)

    assert (found.status, found.body) == (200, "berlin")


async def test_an_answer_that_tells_its_length_is_over_while_the_connection_is_there() -> None:
    found = await seen(b"HTTP/1.1 503 No\r\nContent-Length: 6\r\n\r\n", b"ber", b"lin", ends=False)

    assert (found.status, found.body) == (503, "berlin")


@pytest.mark.parametrize(
    "part", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nberlin"]
)
async def test_half_an_answer_is_none(part: bytes) -> None:
    with pytest.raises(Failed, match="in the middle of the answer"):
        await seen(part, ends=True)
