"""The demo's visitors judge by the whole answer."""

from __future__ import annotations

import asyncio

from edgeward.cli.demo.visit import visit


async def test_a_body_that_comes_after_its_head_belongs_to_the_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"ber", b"lin"):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        seen = await visit(server.sockets[0].getsockname()[1], "berlin.example")

    assert (seen.status, seen.body) == (200, "berlin")
