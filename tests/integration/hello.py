"""The first bytes of a TLS handshake with any server name at all, which no client library would send."""

from __future__ import annotations

import os
import socket


def shake(port: int, name: bytes, timeout: float = 5.0) -> str:
    """Send a ClientHello; gives ``served``, ``refused`` (an alert), ``closed`` or ``hangs``."""
    with socket.create_connection(("127.0.0.1", port), timeout) as visitor:
        visitor.sendall(client_hello(name))
        try:
            answer = visitor.recv(4096)
        except TimeoutError:
            return "hangs"
        except ConnectionError:
            return "closed"
    return {b"\x16": "served", b"\x15": "refused"}.get(answer[:1], "closed")


def client_hello(name: bytes) -> bytes:
    """Give a TLS 1.2 ClientHello (RFC 5246 7.4.1.2) with a server name (RFC 6066 3)."""
    extensions = b"".join(
        number.to_bytes(2, "big") + _sized(body, 2)
        for number, body in (
            (0, _sized(b"\x00" + _sized(name, 2), 2)),
            (10, _sized(b"\x00\x1d\x00\x17", 2)),
            (11, _sized(b"\x00", 1)),
            (13, _sized(b"\x04\x03\x08\x04\x04\x01", 2)),
        )
    )
    body = b"\x03\x03" + os.urandom(32) + b"\x00" + _sized(b"\xc0\x2b\xc0\x2f", 2) + _sized(b"\x00", 1)
    message = b"\x01" + _sized(body + _sized(extensions, 2), 3)
    return b"\x16\x03\x01" + _sized(message, 2)


def _sized(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data
