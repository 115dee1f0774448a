"""The header of the PROXY protocol, version 2: tells a backend who connected to us. Pure."""

from __future__ import annotations

import socket
import struct
from typing import Final

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_VERSION_2, _LOCAL, _PROXY = 0x20, 0, 1
_STREAM: Final = 1
_FAMILIES: Final = {socket.AF_INET: 1, socket.AF_INET6: 2}

Name = tuple[str, int] | tuple[str, int, int, int] | str | bytes


def header(family: int, source: Name, destination: Name) -> bytes:
    """Give the header for a connection from ``source`` to ``destination``, as the kernel names both.

    For Unix sockets it says LOCAL: there is no address that would tell a backend anything
    (proxy-protocol.txt, section 2.2).
    """
    if family not in _FAMILIES or isinstance(source, str | bytes) or isinstance(destination, str | bytes):
        return _SIGNATURE + struct.pack("!BBH", _VERSION_2 | _LOCAL, 0, 0)
    addresses = _packed(source) + _packed(destination) + struct.pack("!HH", source[1], destination[1])
    kind = _FAMILIES[socket.AddressFamily(family)] << 4 | _STREAM
    return _SIGNATURE + struct.pack("!BBH", _VERSION_2 | _PROXY, kind, len(addresses)) + addresses


def _packed(name: tuple[str, int] | tuple[str, int, int, int]) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in name[0] else socket.AF_INET, name[0].partition("%")[0])
