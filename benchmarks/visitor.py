"""Program: makes the TLS handshakes it is asked for on standard input, and tells how long they took."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict

from benchmarks.visits import Told, Visits

_TIMEOUT = 15.0


class _Source:
    """Hands out what to visit next, and when to begin; shared by threads."""

    def __init__(self, visits: Visits) -> None:
        self._names: Iterator[str] = itertools.cycle(visits.names) if visits.endless else iter(visits.names)
        self._interval = 1 / visits.rate if visits.rate else 0.0
        self._lock = threading.Lock()
        self._start = time.perf_counter()
        self._given = 0
        self.ended = False

    def next(self) -> str | None:
        with self._lock:
            name = None if self.ended else next(self._names, None)
            due = self._start + self._given * self._interval
            self._given += 1
        if self._interval and (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        return name


class _Visiting:
    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.set_alpn_protocols(["http/1.1"])
        if visits.ca:
            self._context.load_verify_locations(visits.ca)
        else:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._source = _Source(visits)
        self._milliseconds: list[float] = []
        self._failures: list[str] = []

    def run(self) -> Told:
        if self._visits.endless:
            threading.Thread(target=self._until_input_closes, daemon=True).start()
        start, cpu = time.perf_counter(), time.process_time()
        threads = [threading.Thread(target=self._work) for _ in range(self._visits.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Told(
            sorted(self._milliseconds),
            len(self._failures),
            self._failures[0] if self._failures else "",
            time.perf_counter() - start,
            time.process_time() - cpu,
        )

    def _until_input_closes(self) -> None:
        sys.stdin.read()
        self._source.ended = True

    def _work(self) -> None:
        while (name := self._source.next()) is not None:
            try:
                self._milliseconds.append(self._handshake(name))
            except OSError as error:
                self._failures.append(f"{name}: {error}")

    def _handshake(self, name: str) -> float:
        start = time.perf_counter()
        with socket.create_connection(("127.0.0.1", self._visits.port), timeout=_TIMEOUT) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._context.wrap_socket(plain, server_hostname=name) as secure:
                took = (time.perf_counter() - start) * 1000
                # the server has to see our Finished: a close with unread tickets would reset the connection
                secure.shutdown(socket.SHUT_WR)
                secure.settimeout(2.0)
                with contextlib.suppress(OSError):
                    while secure.recv(4096):
                        pass
                return took


def main() -> None:
    visits = Visits(**json.loads(sys.stdin.readline()))
    print(json.dumps(asdict(_Visiting(visits).run())))


if __name__ == "__main__":
    main()
