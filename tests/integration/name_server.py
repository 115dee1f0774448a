"""A DNS server over real UDP and TCP whose every answer a test decides."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer:
    """``put("a.example", "A", 1, "127.0.0.1")``; names that were not put get NXDOMAIN.

    ``fails``: names answered with SERVFAIL. ``slow``: seconds before each answer. ``mute``: no answers.
    ``truncates``: over UDP nothing but the flag that sends the asker to TCP.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host, self._port = host, port
        self._records: dict[str, dict[str, tuple[int, list[str]]]] = {}
        self.fails: set[str] = set()
        self.slow = 0.0
        self.mute = self.truncates = False
        self.asked: list[tuple[str, str, str]] = []
        self._udp = socket.socket(type=socket.SOCK_DGRAM)
        self._tcp = socket.socket()
        self._bind()
        self.address = f"{host}:{self._udp.getsockname()[1]}"
        for work in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def put(self, name: str, kind: str, ttl: int, *values: str) -> None:
        """Replace a name's records of a kind; without values it has none of it."""
        self._records.setdefault(name, {})[kind] = (ttl, list(values))

    def drop(self, name: str) -> None:
        self._records.pop(name, None)

    def count(self, name: str) -> int:
        return sum(asked == name for asked, _kind, _how in self.asked)

    def close(self) -> None:
        for used in (self._udp, self._tcp):
            with suppress(OSError):
                used.shutdown(socket.SHUT_RDWR)
            used.close()

    def _bind(self) -> None:
        for _ in range(50):
            self._udp.bind((self._host, self._port))
            try:
                self._tcp.bind(self._udp.getsockname())
            except OSError:
                self._udp.close()
                self._udp = socket.socket(type=socket.SOCK_DGRAM)
                continue
            self._tcp.listen(64)
            return
        raise RuntimeError("no port is free for both UDP and TCP")

    def _serve_udp(self) -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                query, source = self._udp.recvfrom(4096)
                if not query:
                    return
                threading.Thread(target=self._answer_udp, args=(query, source), daemon=True).start()

    def _answer_udp(self, query: bytes, source: object) -> None:
        answer = self._answer(query, "udp")
        if answer is not None:
            if self.truncates:
                answer.flags |= dns.flags.TC
                answer.answer.clear()
            with suppress(OSError):
                self._udp.sendto(answer.to_wire(), source)  # type: ignore[arg-type]

    def _serve_tcp(self) -> None:
        with suppress(OSError):
            while True:
                stream, _ = self._tcp.accept()
                threading.Thread(target=self._answer_tcp, args=(stream,), daemon=True).start()

    def _answer_tcp(self, stream: socket.socket) -> None:
        with suppress(OSError, struct.error), stream:
            while True:
                (size,) = struct.unpack("!H", stream.recv(2, socket.MSG_WAITALL))
                answer = self._answer(stream.recv(size, socket.MSG_WAITALL), "tcp")
                if answer is not None:
                    wire = answer.to_wire()
                    stream.sendall(struct.pack("!H", len(wire)) + wire)

    def _answer(self, query: bytes, how: str) -> dns.message.Message | None:
        asked = dns.message.from_wire(query)
        (question,) = asked.question
        name, kind = (
            question.name.to_text(omit_final_dot=True).lower(),
            dns.rdatatype.to_text(question.rdtype),
        )
        self.asked.append((name, kind, how))
        if self.mute:
            return None
        if self.slow:
            time.sleep(self.slow)
        answer = dns.message.make_response(asked, recursion_available=True)
        if name in self.fails:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self._records:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            self._fill(answer, name, kind)
        return answer

    def _fill(self, answer: dns.message.Message, name: str, kind: str) -> None:
        """Follow aliases as a resolver does, and answer with the whole chain."""
        for _ in range(10):
            ttl, target = self._records.get(name, {}).get("CNAME", (0, []))
            if not target:
                break
            answer.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", "CNAME", f"{target[0]}."))
            name = target[0]
        ttl, values = self._records.get(name, {}).get(kind, (0, []))
        if values:
            answer.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", kind, *values))


@contextmanager
def name_server(host: str = "127.0.0.1", port: int = 0) -> Iterator[NameServer]:
    made = NameServer(host, port)
    try:
        yield made
    finally:
        made.close()
