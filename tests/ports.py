"""Free TCP ports on loopback, below the range the kernel hands out by itself."""

from __future__ import annotations

import random
import socket

_given: set[int] = set()


def free_port() -> int:
    for _ in range(1000):
        port = random.SystemRandom().randrange(15000, 32000)
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
