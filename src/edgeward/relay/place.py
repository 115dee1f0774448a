"""Where the relay listens and where it connects to, as people write it: parsed at the door, pure."""

from __future__ import annotations

import re
import socket
from typing import Final, NamedTuple

_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_MOST_PATH_BYTES: Final = 107
UNIX: Final = socket.AF_UNIX


class Unusable(ValueError):
    """What was written names no place; the text says what would."""


class Address(NamedTuple):
    """Something to connect to, as the kernel takes it."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int] | str

    def __str__(self) -> str:
        if isinstance(self.sockaddr, str):
            return f"unix:{self.sockaddr.replace(chr(0), '@')}"
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


class Name(NamedTuple):
    """A host whose addresses DNS tells, and a port; or, with ``srv``, a name whose SRV records tell both."""

    host: str
    port: int = 0
    srv: bool = False

    def __str__(self) -> str:
        return f"srv:{self.host}" if self.srv else f"{self.host}:{self.port}"


Target = Address | Name


def target(text: str) -> Target:
    """Read ``HOST:PORT``, ``[IPv6]:PORT``, ``unix:PATH`` (or a path) or ``srv:NAME``; raises Unusable."""
    if text.startswith("srv:"):
        return Name(_name(text[4:], text), srv=True)
    if _is_path(text):
        return _unix(text)
    host, port = _split(text, "HOST:PORT, [IPv6]:PORT, unix:PATH or srv:NAME")
    if port == 0:
        raise Unusable(f"{text!r} has port 0; name the port to connect to")
    return ip(host, port) or Name(_name(host, text), port)


def listening(text: str) -> Address:
    """Read ``ADDRESS:PORT``, ``[IPv6]:PORT``, ``PORT`` (loopback) or ``unix:PATH``; raises Unusable."""
    if _is_path(text):
        return _unix(text)
    if text.isdecimal():
        text = f"127.0.0.1:{text}"
    host, port = _split(text, "ADDRESS:PORT, [IPv6]:PORT or unix:PATH")
    found = ip(host, port)
    if found is None:
        raise Unusable(f"{text!r}: {host!r} is no IP address; listen on one of this host's, or on unix:PATH")
    return found


def ip(host: str, port: int) -> Address | None:
    """Give the address of an IP address and a port; None for what is no IP address."""
    if _packed(socket.AF_INET, host):
        return Address(socket.AF_INET, (host, port))
    bare, percent, scope = host.partition("%")
    packed = _packed(socket.AF_INET6, bare)
    if packed is None or (percent and not scope):
        return None
    shortest = socket.inet_ntop(socket.AF_INET6, packed)
    return Address(socket.AF_INET6, (shortest, port, 0, _scope(scope) if percent else 0))


def _packed(family: int, host: str) -> bytes | None:
    """Read what inet_pton(3) takes, which is stricter than most; a NUL is no character of an address."""
    try:
        return socket.inet_pton(family, host)
    except (OSError, ValueError):
        return None


def _scope(name: str) -> int:
    if name.isascii() and name.isdecimal() and len(name) < 10:
        return int(name)
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError) as error:
        raise Unusable(f"there is no network interface {name!r} here") from error


def _is_path(text: str) -> bool:
    return text.startswith(("unix:", "/", "@"))


def _unix(text: str) -> Address:
    path = text.removeprefix("unix:")
    if not path or "\0" in path or path[0] not in "/@" or len(path) == 1:
        raise Unusable(f"{text!r} names no Unix socket; write unix:/absolute/path, or unix:@name")
    if len(path.encode()) > _MOST_PATH_BYTES:
        raise Unusable(f"{text!r} is longer than the {_MOST_PATH_BYTES} bytes of a Unix socket's path")
    return Address(socket.AF_UNIX, f"\0{path[1:]}" if path[0] == "@" else path)


def _split(text: str, wanted: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Unusable(f"{text!r}: write an IPv6 address in brackets, [{text}]:PORT")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise Unusable(f"{text!r} is not {wanted}")
    return host, int(port)


def _name(host: str, text: str) -> str:
    if not _NAME.fullmatch(host) or len(host.rstrip(".")) > 253:
        raise Unusable(f"{text!r}: {host!r} is no host name; write it in its ASCII form")
    return host.lower()
