"""Free TCP ports on loopback, below the range the kernel hands out by itself.

Tests that run side by side in several processes never pick the same one: each process has its own share.
"""

from __future__ import annotations

import os
import random
import socket

_SHARES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_SHARE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_given: set[int] = set()


def free_port() -> int:
    for _ in range(1000):
        port = random.SystemRandom().randrange(15000 + _SHARE, 32000, _SHARES)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError("no free port found between 15000 and 32000")


def _is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
