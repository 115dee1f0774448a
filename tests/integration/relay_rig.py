"""Real relays for tests, and the two ends of a stream through them."""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.processes import Process, running, until

POOL = random.Random(6).randbytes(6 * 1024 * 1024)  # bytes that tell where they stood
PATIENCE = 20.0


@contextmanager
def relay(*arguments: object, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run ``edgeward relay ARGUMENTS``; it accepts when the block begins."""
    argv = [sys.executable, "-m", "edgeward.relay", *map(str, arguments)]
    with running(argv, env=env) as process:
        until(lambda: said(process, "relay started") or not process.alive(), what="the relay's start")
        assert process.alive(), process.output()
        yield process


def said(process: Process, event: str) -> list[dict[str, object]]:
    """Give the log lines of an event."""
    lines = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
    return [line for line in lines if event in line["event"]]


def asked(path: Path) -> dict[str, Any]:
    """Ask a relay with ``--metrics`` for its status."""
    found: dict[str, Any] = json.loads(fetched(path, "/status").partition("\r\n\r\n")[2])
    return found


def fetched(path: Path, what: str) -> str:
    with dial(str(path)) as stream:
        stream.sendall(f"GET {what} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
        answer = b""
        while data := stream.recv(65536):
            answer += data
    return answer.decode()


Where = int | str | tuple[str, int]
"""A port of 127.0.0.1, a path, or an address and a port."""


def listener(where: Where) -> socket.socket:
    made = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    if not isinstance(where, str):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", where) if isinstance(where, int) else where)
    made.listen(1024)
    made.settimeout(PATIENCE)
    return made


def dial(where: Where) -> socket.socket:
    made = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    made.settimeout(PATIENCE)
    made.connect(("127.0.0.1", where) if isinstance(where, int) else where)
    return made


class Answering:
    """A backend that answers each connection with a word, then with what it is sent, until its end."""

    def __init__(self, where: Where, word: bytes = b"") -> None:
        self.socket = listener(where)
        self.socket.settimeout(None)
        self.word = word
        self.taken = 0
        self.peers: list[object] = []
        self._live: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                stream, peer = self.socket.accept()
                self.taken += 1
                self.peers.append(peer)
                self._live.append(stream)
                threading.Thread(target=self._answer, args=(stream,), daemon=True).start()

    def _answer(self, stream: socket.socket) -> None:
        with suppress(OSError), stream:
            stream.sendall(self.word)
            while data := stream.recv(65536):
                stream.sendall(data)

    def close(self) -> None:
        """Stop listening, and reset every connection."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for stream in self._live:
            with suppress(OSError):
                reset(stream)


@contextmanager
def answering(where: Where, word: bytes = b"") -> Iterator[Answering]:
    made = Answering(where, word)
    try:
        yield made
    finally:
        made.close()


def word_from(where: Where, size: int) -> bytes:
    """Connect, and read so many bytes; fewer where the connection ends before."""
    found = b""
    with dial(where) as stream, suppress(ConnectionError):
        while len(found) < size and (data := stream.recv(size - len(found))):
            found += data
    return found


def exactly(stream: socket.socket, size: int) -> bytes:
    """Read so many bytes; fewer where the stream ends before."""
    found = b""
    while len(found) < size and (data := stream.recv(size - len(found))):
        found += data
    return found


@dataclass
class End:
    """What one side of a stream does: sends POOL from ``start`` in ``chunks``, then closes or resets."""

    chunks: Sequence[int]
    resets: bool = False
    reads: int = 65536
    start: int = 0
    received: bytearray = field(default_factory=bytearray)
    ended_by: str = "nothing"

    @property
    def sent(self) -> bytes:
        return POOL[self.start : self.start + sum(self.chunks)]

    def play(self, stream: socket.socket) -> None:
        reader = threading.Thread(target=self._read, args=(stream,))
        reader.start()
        cut = ""
        try:
            self._write(stream)
        except OSError as error:  # the kernel tells a reset once, here or to the reader
            cut = type(error).__name__
        if self.resets:
            reset(stream)
        reader.join()
        self.ended_by = cut or self.ended_by
        stream.close()

    def _write(self, stream: socket.socket) -> None:
        at = self.start
        for size in self.chunks:
            stream.sendall(POOL[at : at + size])
            at += size
        if not self.resets:
            stream.shutdown(socket.SHUT_WR)

    def _read(self, stream: socket.socket) -> None:
        try:
            while data := stream.recv(self.reads):
                self.received += data
            self.ended_by = "end"
        except OSError as error:
            self.ended_by = type(error).__name__


def reset(stream: socket.socket) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        stream.shutdown(socket.SHUT_RD)  # ends a recv() of another thread, which would hold the descriptor
    stream.close()


def play(front: Where, backend: socket.socket, client: End, server: End) -> None:
    """Have two ends talk through a relay until both are through."""
    near = dial(front)
    far, _ = backend.accept()
    far.settimeout(PATIENCE)
    threads = [
        threading.Thread(target=client.play, args=(near,)),
        threading.Thread(target=server.play, args=(far,)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """Let an address neither accept nor refuse: its backlog is full, and the kernel drops what comes."""
    with socket.socket() as full, ExitStack() as stack:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((host, port))
        full.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        time.sleep(0.05)
        yield
