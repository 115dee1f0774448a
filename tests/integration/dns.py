"""A DNS server on loopback whose answers a test changes, or that stops answering."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Dns:
    """``records``: name → (TTL, addresses). Names that are not there get NXDOMAIN; ``mute``: no answers."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[int, list[str]]] = {}
        self.mute = False
        self.fail = False
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                query, source = self._socket.recvfrom(4096)
                self.asked += 1
                if not self.mute:
                    self._socket.sendto(self._answer(query), source)
            except OSError:  # closed: the test is over
                return

    def _answer(self, query: bytes) -> bytes:
        position, labels = 12, []
        while query[position]:
            labels.append(query[position + 1 : position + 1 + query[position]].decode())
            position += 1 + query[position]
        name, kind = ".".join(labels).lower(), struct.unpack("!H", query[position + 1 : position + 3])[0]
        question = query[12 : position + 5]
        ttl, addresses = self.records.get(name, (0, []))
        version = {1: 4, 28: 6}.get(kind)
        found = [a for ip in addresses if (a := ipaddress.ip_address(ip)).version == version]
        code = 2 if self.fail else (0 if name in self.records else 3)
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
        answers = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(a.packed)) + a.packed for a in found
        )
        return head + question + answers

    def close(self) -> None:
        self._socket.close()


@contextmanager
def dns() -> Iterator[Dns]:
    made = Dns()
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
