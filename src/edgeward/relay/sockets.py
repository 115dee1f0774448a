"""Stream sockets as the relay uses them: the plain kind of the standard library, options and ways to end."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Final

Socket = socket.SocketType
"""The class below ``socket.socket``: a third of its cost to make and to close."""

NONBLOCKING: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_RESET = struct.pack("ii", 1, 0)
_KEEP_ALIVE_IDLE, _KEEP_ALIVE_EVERY = 60, 10
_USER_TIMEOUT_MS = 120_000

TCP_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_IDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_EVERY),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
)
"""A peer that is gone without a word is noticed after two minutes, whether we wait or send (tcp(7))."""


def made(family: int) -> Socket:
    """Give a new stream socket that blocks nobody, with its options set."""
    new = Socket(family, NONBLOCKING, 0)
    if family != socket.AF_UNIX:
        set_tcp_options(new)
    return new


def accepted(listening: Socket) -> Socket:
    """Accept one; raises OSError. This is socket.accept() without the part in Python, and the address."""
    fd, _peer = listening._accept()  # type: ignore[attr-defined]
    new = Socket(listening.family, NONBLOCKING, 0, fd)
    new.setblocking(False)
    return new


def set_tcp_options(tcp: Socket) -> None:
    """On a listening socket these are inherited by every connection it accepts."""
    for level, option, value in TCP_OPTIONS:
        tcp.setsockopt(level, option, value)


def error_of(connecting: Socket) -> int:
    return connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def shut_sending(stream: Socket) -> None:
    with suppress(OSError):  # the peer may have reset it in the meantime
        stream.shutdown(socket.SHUT_WR)


def set_to_reset(stream: Socket) -> None:
    """Have close() tell a TCP peer that this was no proper end (socket(7), SO_LINGER)."""
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def unsent(stream: Socket) -> int:
    """Give how many bytes the peer has not taken yet; 0 where that cannot be known."""
    try:
        answer = fcntl.ioctl(stream.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return 0
    return int.from_bytes(answer, "little")


def is_out_of_descriptors(error: OSError) -> bool:
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
