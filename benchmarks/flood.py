"""Program: names that nobody ever heard of, as fast as it can; it asks and never computes a key.

Every connection sends one prepared ClientHello with a name of its own, and reads how it is turned away.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import ssl
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass

_LABEL = "nobody-knows-0000000"
_ALERT, _HANDSHAKE = 0x15, 0x16
_PATIENCE = 15.0


@dataclass(frozen=True)
class Flood:
    """At most ``count`` names in at most ``seconds``, ``at_once`` of them at a time."""

    port: int
    count: int
    seconds: float
    at_once: int = 64
    suffix: str = "unknown.bench.example"
    """What the names are below."""


@dataclass(frozen=True)
class Flooded:
    refused: int
    served: int
    """Handshakes that went on."""
    unanswered: int
    seconds: float
    cpu_seconds: float


def client_hello(name: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


class _Flooding:
    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._name = f"{_LABEL}.{flood.suffix}"
        self._before, self._after = client_hello(self._name).split(self._name.encode())
        self._selector = selectors.DefaultSelector()
        self._begun: dict[socket.socket, float] = {}
        self._sent = 0
        self._outcomes: Counter[str] = Counter()

    def run(self) -> Flooded:
        start, cpu = time.perf_counter(), time.process_time()
        end = start + self._flood.seconds
        while time.perf_counter() < end and (self._sent < self._flood.count or self._begun):
            while len(self._begun) < self._flood.at_once and self._sent < self._flood.count:
                self._begin()
            for key, events in self._selector.select(0.1):
                self._go_on(key.fileobj, events)  # type: ignore[arg-type]
            self._give_up()
        return Flooded(
            self._outcomes["refused"],
            self._outcomes["served"],
            self._outcomes["unanswered"],
            time.perf_counter() - start,
            time.process_time() - cpu,
        )

    def _begin(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        # many addresses of ours, so that ports of closed connections need not be waited for
        connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        connection.bind((f"127.0.1.{1 + self._sent % 200}", 0))
        with contextlib.suppress(BlockingIOError):
            connection.connect(("127.0.0.1", self._flood.port))
        self._begun[connection] = time.perf_counter()
        self._selector.register(connection, selectors.EVENT_WRITE)

    def _go_on(self, connection: socket.socket, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                name = self._name.replace("0000000", f"{self._sent:07}")
                connection.send(self._before + name.encode() + self._after)
                self._sent += 1
                self._selector.modify(connection, selectors.EVENT_READ)
                return
            first = connection.recv(64)
            self._close(connection, "served" if first[:1] == bytes([_HANDSHAKE]) else "refused")
        except OSError:
            self._close(connection, "refused" if not events & selectors.EVENT_WRITE else "unanswered")

    def _give_up(self) -> None:
        now = time.perf_counter()
        for connection in [c for c, since in self._begun.items() if now - since > _PATIENCE]:
            self._close(connection, "unanswered")

    def _close(self, connection: socket.socket, outcome: str) -> None:
        self._outcomes[outcome] += 1
        self._selector.unregister(connection)
        del self._begun[connection]
        connection.close()


def main() -> None:
    flood = Flood(**json.loads(sys.stdin.readline()))
    print(json.dumps(asdict(_Flooding(flood).run())))


if __name__ == "__main__":
    main()
