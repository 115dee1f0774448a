"""The listening sockets: those that systemd hands over, or our own."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from edgeward.relay.place import Address, Unusable
from edgeward.relay.sockets import Socket, set_tcp_options

_FIRST_DESCRIPTOR: Final = 3
_BACKLOG: Final = 4096


class Listener(NamedTuple):
    """``name``: as systemd calls it, or the address; ``ours``: nobody listens on it when we end.

    ``inode``: that of a path we made and shall remove.
    """

    socket: Socket
    name: str
    ours: bool = False
    inode: int | None = None

    @property
    def is_unix(self) -> bool:
        return self.socket.family == socket.AF_UNIX


def handed_over(environ: Mapping[str, str], pid: int) -> list[Listener]:
    """Take what was passed to this process, after sd_listen_fds(3); raises Unusable."""
    count, whose = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
    if not count.isdecimal() or whose != str(pid):
        return []
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(int(count)):
        name = names[index] if index < len(names) and names[index] else "unknown"
        found.append(Listener(_taken(_FIRST_DESCRIPTOR + index, name), name))
    return found


def _taken(fd: int, name: str) -> Socket:
    try:
        os.set_inheritable(fd, False)
        taken = socket.socket(fileno=fd)
    except OSError as error:
        raise Unusable(f"descriptor {fd} ({name}), as handed over, is no socket: {error.strerror}") from error
    plain = Socket(taken.family, taken.type, taken.proto, taken.detach())
    listens = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if plain.type != socket.SOCK_STREAM or not listens or plain.family not in families:
        raise Unusable(
            f"descriptor {fd} ({name}), as handed over, is no listening stream socket;"
            " use ListenStream= and Accept=no in its unit"
        )
    return _prepared(plain)


def opened(addresses: Sequence[Address]) -> list[Listener]:
    """Listen on these, also where a Unix socket was left behind; raises Unusable with the remedy."""
    return [_opened(address) for address in addresses]


def _opened(address: Address) -> Listener:
    made = Socket(address.family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, 0)
    path = address.sockaddr if isinstance(address.sockaddr, str) else None
    try:
        if path is None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif not path.startswith("\0"):
            _clear(path)
        if address.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _bind(made, address)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise Unusable(f"cannot listen on {address}: {error.strerror}; choose another address") from error
    inode = os.stat(path).st_ino if path and not path.startswith("\0") else None  # noqa: PTH116
    return Listener(_prepared(made), str(address), True, inode)


def _bind(made: Socket, address: Address) -> None:
    """A Unix socket is its owner's and group's (0660), as those that systemd makes for our unit."""
    before = os.umask(0o117)
    try:
        made.bind(address.sockaddr)
    finally:
        os.umask(before)


def _clear(path: str) -> None:
    """Remove a socket that a killed process left behind."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as trial:
        trial.setblocking(False)
        try:
            trial.connect(path)
        except BlockingIOError:
            return  # somebody listens, and has a full backlog
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108


def _prepared(listening: Socket) -> Socket:
    listening.setblocking(False)
    if listening.family != socket.AF_UNIX:
        set_tcp_options(listening)
    return listening


def close(listeners: Sequence[Listener]) -> None:
    """Close all, and remove the paths of our own."""
    for listener in listeners:
        path = listener.name.removeprefix("unix:")
        with suppress(OSError):
            if listener.inode is not None and os.stat(path).st_ino == listener.inode:  # noqa: PTH116
                os.unlink(path)  # noqa: PTH108
        listener.socket.close()
