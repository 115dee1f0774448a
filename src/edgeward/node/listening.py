"""Serves a web app on a socket until its task is cancelled, and makes the Unix sockets for it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from edgeward.errors import Unavailable

logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it tells of each start and end


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the program


async def serve(app: ASGIApp, listening: socket.socket, most: int = 64) -> None:
    """Serve for ever; more than ``most`` connections and requests at once are answered 503."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        interface="asgi3",
        lifespan="off",
        timeout_graceful_shutdown=1,
        limit_concurrency=most,
    )
    server = _Server(config)
    sockets: Sequence[socket.socket] = [listening]
    try:
        await server.serve(sockets=list(sockets))
    finally:  # cancelled, uvicorn leaves its sockets open
        for accepting in getattr(server, "servers", []):
            accepting.close()
        listening.close()


def unix_socket(path: Path) -> socket.socket:
    """Bind a socket (0600) in place of one that may be left there; raises Unavailable."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
    except OSError as error:
        listening.close()
        raise Unavailable(f"cannot listen on {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return listening
