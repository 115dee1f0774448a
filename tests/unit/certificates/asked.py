"""An HTTP server that is asked about names, whose answer a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Asked:
    """``lines`` are the first lines of the requests it got."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.headers = ""
        self.lines: list[str] = []
        self.port = 0
        self.silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.lines.append(line.decode().strip())
            while (await reader.readline()).strip():
                pass
            if not self.silent:
                writer.write(f"HTTP/1.1 {self.status}\r\n{self.headers}Content-Length: 0\r\n\r\n".encode())
        writer.close()

    def url(self, rest: str = "/check") -> str:
        return f"http://127.0.0.1:{self.port}{rest}"


@asynccontextmanager
async def somebody_asked() -> AsyncIterator[Asked]:
    made = Asked()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
