"""What relays are measured with: backends as processes of their own, and clients of many streams."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.processes import Process, free_ports

_QUESTION = b"q" * 200
_CHUNK = 1 << 20
_DONE = b"!"


@contextmanager
def backend(kind: str, directory: Path, host: str = "127.0.0.1") -> Iterator[int]:
    """Run ``echo``, ``sink``, ``hold`` or ``name``; gives its port."""
    port = free_ports(1)[0]
    process = serve_beside(kind, host, port, directory)
    try:
        yield port
    finally:
        process.stop()


def serve_beside(kind: str, host: str, port: int, directory: Path) -> Process:
    argv = [sys.executable, "-m", "benchmarks.streams", kind, host, str(port)]
    process = Process(argv, directory / f"{kind}-{host}-{port}.log")
    process.wait_for(lambda: _accepts(host, port), 10, f"the backend {kind}")
    return process


def connect_and_ask(port: int, count: int, at_once: int) -> float:
    """Make ``count`` connections, a question and an answer each; gives seconds, or raises RuntimeError."""
    poll = select.epoll()
    live: dict[int, tuple[socket.socket, bool]] = {}
    begun = done = 0
    start = time.monotonic()
    while done < count:
        while begun < count and len(live) < at_once:
            new = socket.socket()
            new.setblocking(False)
            new.connect_ex(("127.0.0.1", port))
            live[new.fileno()] = new, False
            poll.register(new, select.EPOLLOUT)
            begun += 1
        for fd, _ in poll.poll(10):
            stream, asked = live[fd]
            if not asked:
                stream.send(_QUESTION)
                live[fd] = stream, True
                poll.modify(fd, select.EPOLLIN)
                continue
            if stream.recv(4096) != _QUESTION:
                raise RuntimeError("a relay gave another answer than the backend's")
            stream.close()
            del live[fd]
            done += 1
    poll.close()
    return time.monotonic() - start


def push(port: int, megabytes: int, streams: int) -> float:
    """Send so much in all over ``streams`` at once, until the backend has it; gives seconds."""
    each = megabytes // streams

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
            stream.sendall(each.to_bytes(4, "big"))
            chunk = bytes(_CHUNK)
            for _ in range(each):
                stream.sendall(chunk)
            if stream.recv(1) != _DONE:
                raise RuntimeError("a relay lost bytes")

    threads = [threading.Thread(target=send) for _ in range(streams)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - start


def hold(port: int, count: int) -> list[socket.socket]:
    """Open so many connections that do nothing; fewer where no more are answered. Each was answered once."""
    held: list[socket.socket] = []
    with suppress(OSError):
        while len(held) < count:
            stream = socket.create_connection(("127.0.0.1", port), timeout=3)
            if stream.recv(1) != _DONE:
                break
            held.append(stream)
    return held


def answered_by(port: int) -> str:
    """Give who answers a new connection, as ``name`` backends do; "" where nobody does."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as stream:
        return stream.recv(64).decode()
    return ""


def _accepts(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


# --- backends -----------------------------------------------------------------------------------------


def _serve(kind: str, host: str, port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(4096)
        if kind == "sink":
            _sink(listener)
        else:
            _many(listener, kind, host)


def _many(listener: socket.socket, kind: str, host: str) -> None:
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    live: dict[int, socket.socket] = {}
    hello = {"echo": b"", "hold": _DONE, "name": host.encode()}[kind]
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                with suppress(BlockingIOError):
                    while True:
                        new, _peer = listener.accept()
                        new.setblocking(False)
                        live[new.fileno()] = new
                        poll.register(new, select.EPOLLIN)
                        if hello:
                            new.send(hello)
                continue
            data = b""
            with suppress(OSError):
                data = live[fd].recv(65536)
            if data:
                live[fd].send(data)
            else:
                live.pop(fd).close()


def _sink(listener: socket.socket) -> None:
    def swallow(stream: socket.socket) -> None:
        with stream, suppress(OSError):
            wanted = int.from_bytes(stream.recv(4, socket.MSG_WAITALL), "big") * _CHUNK
            buffer = bytearray(_CHUNK)
            while wanted > 0 and (size := stream.recv_into(buffer)):
                wanted -= size
            if wanted == 0:
                stream.send(_DONE)
            stream.recv(1)

    while True:
        stream, _ = listener.accept()
        threading.Thread(target=swallow, args=(stream,), daemon=True).start()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    os._exit(0)
