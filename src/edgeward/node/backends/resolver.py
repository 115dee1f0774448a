"""The one door to DNS: a name's addresses and how long they hold, by the host's rules (/etc/hosts too)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import aiodns

from edgeward.errors import NotFound, Unavailable

_TRY_SECONDS, _TRIES = 1.5, 2
_WHOLE_SECONDS = 4.0
_MOST_ADDRESSES = 256
_NO_SUCH_NAME = frozenset((aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA))


@dataclass(frozen=True, slots=True)
class Resolved:
    """``ttl`` is in seconds, the smallest of all records; 0 for names in /etc/hosts."""

    addresses: tuple[str, ...]
    ttl: int


class Names(Protocol):
    """What resolves names; raises NotFound for names that are not there, Unavailable where DNS fails."""

    async def resolve(self, host: str) -> Resolved: ...


class Resolver:
    """Asks the servers in /etc/resolv.conf, or these (``IP:PORT``)."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._resolver = aiodns.DNSResolver(
            nameservers=list(servers) or None, timeout=_TRY_SECONDS, tries=_TRIES
        )

    async def resolve(self, host: str) -> Resolved:
        """Give a host's IPv4 and IPv6 addresses, sorted."""
        try:
            async with asyncio.timeout(_WHOLE_SECONDS):
                answer = await self._resolver.getaddrinfo(
                    host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM
                )
        except TimeoutError as error:
            raise Unavailable("DNS does not answer in time") from error
        except UnicodeError as error:  # of aiodns, which spells other letters by IDNA
            raise NotFound("no name in DNS can be spelled like this") from error
        except aiodns.error.DNSError as error:
            if error.args and error.args[0] in _NO_SUCH_NAME:
                raise NotFound("there is no such name in DNS") from error
            raise Unavailable(f"DNS fails: {error.args[-1] if error.args else error}") from error
        found = {a for node in answer.nodes if (a := _text(node.addr[0])) and "%" not in a}
        if not found:
            raise NotFound("the name has no addresses in DNS")
        ttl = min((node.ttl for node in answer.nodes), default=0)
        return Resolved(routable(sorted(found)[:_MOST_ADDRESSES]), max(0, ttl))

    async def close(self) -> None:
        await self._resolver.close()


def routable(addresses: Sequence[str]) -> tuple[str, ...]:
    """Leave out addresses of a family this host has no route for, unless none would be left.

    Half of all requests would fail where a name has IPv6 addresses and the host has IPv4 only.
    """
    good = tuple(a for a in addresses if _has_route(a))
    return good or tuple(addresses)


def _has_route(address: str) -> bool:
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
            probe.connect((address, 9))  # asks the routing table; a UDP connect sends nothing
    except OSError:
        return False
    return True


def _text(address: bytes | str) -> str:
    return address.decode() if isinstance(address, bytes) else address
