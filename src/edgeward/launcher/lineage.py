"""What Envoys that take over from each other share: a number, some shared memory and two sockets each.

Envoy's side of it is source/server/hot_restart*.cc. Its own choice for the sockets are abstract names,
which any user of this host may take; ours are in a directory nobody else may enter.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path

_SHARED = Path("/dev/shm")  # noqa: S108 - where Envoy's shm_open() puts its own
_MOST_BASE = 999_999
_MOST_EPOCHS = 3
"""Envoy's own count of socket names: an epoch's are used again three epochs later."""
_SOCKET = "hot"
LONGEST_NAME = f"{_SOCKET}_udp_parent_{_MOST_BASE * 10}"
"""The longest name of a socket here."""

# envoy.HotRestartMessage: request 1, reply 2; in both pass_listen_socket is 1; a reply's fd is a varint of -1
_ASKS_FOR_SOCKET = b"\x0a", b"\x0a"
_NO_SOCKET = b"\x12\x0d\x0a\x0b\x08" + b"\xff" * 9 + b"\x01"


class Lineage:
    """An Envoy started cold and those that take over from it, one from the other.

    ``base`` is Envoy's ``--base-id``, unique on this host; None where there is no shared memory, so
    that nobody can take over.
    """

    def __init__(self, directory: Path, base: int | None) -> None:
        self._directory = directory
        self.base = base
        self._members = 0
        self._stand_ins: list[StandIn] = []

    @classmethod
    def begin(cls, directory: Path) -> Lineage:
        return cls(directory, free_base())

    @property
    def renewable(self) -> bool:
        return self.base is not None

    def arguments(self, epoch: int) -> list[str]:
        if self.base is None:
            return ["--disable-hot-restart"]
        return [
            "--base-id", str(self.base), "--restart-epoch", str(epoch),
            "--socket-path", str(self._directory / _SOCKET), "--socket-mode", "600",
            # Envoy asks its predecessor for these figures in a way that can hang both (see decision 0012)
            "--skip-hot-restart-parent-stats",
        ]  # fmt: skip

    def joined(self) -> None:
        self._members += 1

    def left(self) -> None:
        """One of its Envoys has ended; with the last one everything shared goes."""
        self._members -= 1
        if self._members == 0:
            for one in self._stand_ins:
                one.close()
            self._stand_ins.clear()
            if self.base is not None:
                forget(self._directory, self.base)

    def expect(self, epoch: int) -> None:
        """An Envoy is about to start: what others left of its sockets goes."""
        with suppress(OSError):
            self._parent_socket(epoch).unlink(missing_ok=True)

    def has_taken_over(self, epoch: int) -> bool:
        """Tell whether this one, started after ``expect()``, had the one before take no more visitors."""
        return self.base is not None and self._parent_socket(epoch).exists() and not self.is_starting

    def _parent_socket(self, epoch: int) -> Path:
        return self._directory / f"{_SOCKET}_parent_{(self.base or 0) * 10 + epoch % _MOST_EPOCHS}"

    @property
    def is_starting(self) -> bool:
        """Tell whether a new Envoy has not told the one before yet to take no more visitors."""
        return self._mark() != bytes(8)

    def start_failed(self) -> None:
        """Let another one try: Envoy leaves a mark that one is starting, and nobody else wipes it off."""
        self._mark(bytes(8))

    def _mark(self, new: bytes | None = None) -> bytes:
        """Give Envoy's flags, its mark for a start, and replace them; zeros where there are none."""
        if self.base is None:
            return bytes(8)
        try:
            with shared_memory(self.base).open("r+b", buffering=0) as memory:
                size = os.fstat(memory.fileno()).st_size
                if size < 24 or struct.unpack("=Q", memory.read(8))[0] != size:
                    return bytes(8)
                memory.seek(size - 8)  # the last field
                flags = memory.read(8)
                if new is not None:
                    memory.seek(size - 8)
                    memory.write(new)
                return flags
        except OSError:
            return bytes(8)

    def stand_in_for(self, epoch: int) -> None:
        """Answer in place of an Envoy that has nothing more to say to its successor.

        That goes on talking to it, for every listener it adds: with nobody there it waits for 10 s and
        then aborts. And it would have it end, at last when it has a successor of its own.
        """
        if self.base is not None and self._members:
            with suppress(OSError):
                self._stand_ins.append(StandIn(self._parent_socket(epoch)))


class StandIn:
    """Says that there is no socket to pass on, and nothing to all else, which waits for no answer."""

    def __init__(self, path: Path) -> None:
        draft = path.with_name(f".{_SOCKET}")
        draft.unlink(missing_ok=True)
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            self._socket.bind(str(draft))
            draft.chmod(0o600)
            draft.replace(path)  # at once: where there is no name at all, Envoy aborts without waiting
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._answer)

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                data, sender = self._socket.recvfrom(65536)
                if data[8:9] == _ASKS_FOR_SOCKET[0] and data[10:11] == _ASKS_FOR_SOCKET[1] and sender:
                    self._socket.sendto(struct.pack("!Q", len(_NO_SOCKET)) + _NO_SOCKET, sender)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


def free_base() -> int | None:
    """Give a number no Envoy of this host uses; None where shared memory cannot be had."""
    if not os.access(_SHARED, os.W_OK | os.X_OK):
        return None
    while True:
        base = random.SystemRandom().randint(1, _MOST_BASE)
        if not shared_memory(base).exists():
            return base


def shared_memory(base: int) -> Path:
    return _SHARED / f"envoy_shared_memory_{base * 10}"


def forget(directory: Path, base: object) -> None:
    """Remove what a lineage that has ended left in shared memory and in the directory."""
    if isinstance(base, int) and 0 < base <= _MOST_BASE:
        with suppress(OSError):
            shared_memory(base).unlink(missing_ok=True)
        for path in directory.glob(f"{_SOCKET}_*_{base}[0-9]"):
            with suppress(OSError):
                path.unlink()
