"""Hears what the children of `edgeward up` say with sd_notify: ready, alive, and how they are."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred
_MOST_BYTES = 4096

Heard = Callable[[int, Mapping[str, str]], None]


class NotifySocket:
    """A datagram socket whose kernel says which process each message came from."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with suppress(FileNotFoundError):
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(path))
        path.chmod(0o600)

    def listen(self, heard: Heard) -> None:
        """Call ``heard(pid, assignments)`` for each message from now on."""
        asyncio.get_running_loop().add_reader(self._socket, self._read_all, heard)

    def close(self) -> None:
        with suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with suppress(OSError):
            self._path.unlink()

    def _read_all(self, heard: Heard) -> None:
        with suppress(BlockingIOError):
            for _ in range(64):  # then the loop's other work has its turn
                data, ancillary, _, _ = self._socket.recvmsg(_MOST_BYTES, 256)
                pid = _sender(ancillary)
                if pid is not None:
                    heard(pid, read_assignments(data))


def read_assignments(data: bytes) -> dict[str, str]:
    """Read ``NAME=value`` lines; anything else is left out."""
    lines = (line.partition("=") for line in data.decode(errors="replace").splitlines())
    return {name: value for name, equals, value in lines if equals and name}


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    pid = None
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = int(_CREDENTIALS.unpack_from(data)[0])
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            for descriptor in array.array("i", data[: len(data) // 4 * 4]):
                os.close(descriptor)  # nobody has a reason to pass us one
    return pid
