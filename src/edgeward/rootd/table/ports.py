"""Low ports: bound as root, in rootd itself, and handed over to who asked by SCM_RIGHTS."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def bound(words: tuple[str, ...]) -> dict[str, Any]:
    """Give an answer whose ``descriptor`` is a bound socket, or why there is none."""
    _, transport, address, port = words
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, _KINDS[transport])
    try:
        if made.type == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, int(port)))
    except OSError as error:
        made.close()
        return {"outcome": "failed", "reason": f"{transport} {address} port {port}: {error.strerror}"}
    return {"outcome": "done", "descriptor": made.detach()}


async def sent(to: socket.socket, data: bytes, descriptor: int | None) -> None:
    """Send an answer, and with its first bytes the descriptor, which is ours no more then; raises OSError."""
    try:
        if descriptor is not None:
            data = data[socket.send_fds(to, [data], [descriptor]) :]
        await asyncio.get_running_loop().sock_sendall(to, data)
    finally:
        if descriptor is not None:
            os.close(descriptor)
