"""Where in DNS a record belongs, and whether it can be seen there (RFC 8555, 8.4). Asked by dnspython."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from edgeward.certificates.model.dns01 import split_address
from edgeward.errors import Refused, Unavailable

R = TypeVar("R")
_MOST_ALIASES: Final = 8
_TRY_SECONDS: Final = 3.0
_WHOLE_SECONDS: Final = 10.0
_MOST_SERVERS: Final = 12


@dataclass(frozen=True)
class Place:
    """The name a record is written under, and the zone that name is in; absolute, without the last dot."""

    name: str
    zone: str


class Zones:
    """``resolvers``: addresses with ports to ask, instead of the system's and of the zones' own servers."""

    def __init__(self, resolvers: Sequence[str]) -> None:
        self._given = [split_address(address) for address in resolvers]
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not resolvers)
        except dns.exception.DNSException as error:
            raise Unavailable(f"this system has no name servers configured: {error}") from error
        if self._given:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in self._given]
        self._resolver.timeout, self._resolver.lifetime = _TRY_SECONDS, _WHOLE_SECONDS

    async def place(self, name: str) -> Place:
        """Follow the aliases of a name to the place its records are at; raises Refused, Unavailable."""
        found = dns.name.from_text(name)
        for _ in range(_MOST_ALIASES):
            answer = await self._lookup(found, "CNAME")
            if not answer:
                zone = await _told(dns.asyncresolver.zone_for_name(found, resolver=self._resolver), found)
                return Place(_text(found), _text(zone))
            found = answer[0].target
        raise Refused(
            f"{name} is an alias of an alias, more than {_MOST_ALIASES} times; point it at the place itself"
        )

    async def servers(self, zone: str) -> list[tuple[str, int]]:
        """Give where a record has to be seen: at the zone's own name servers, or at the given resolvers."""
        if self._given:
            return self._given
        names = [record.target for record in await self._lookup(dns.name.from_text(zone), "NS")]
        looked = await asyncio.gather(
            *(self._lookup(name, kind) for name in names[:_MOST_SERVERS] for kind in ("A", "AAAA"))
        )
        return [(record.address, 53) for records in looked for record in records]

    async def blind(self, servers: Sequence[tuple[str, int]], name: str, text: str) -> list[str]:
        """Give the servers that do not show the record. Those out of our reach (no IPv6 here) do not count
        as long as another one shows it."""
        shown = await asyncio.gather(*(_shows(server, name, text) for server in servers))
        missing = [server[0] for server, shows in zip(servers, shown, strict=True) if shows is False]
        if not missing and True not in shown:
            return [server[0] for server in servers] or ["no name server"]
        return missing

    async def _lookup(self, name: dns.name.Name, kind: str) -> list[Any]:
        asked = self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        try:
            answer = await _told(asked, name)
        except dns.resolver.NXDOMAIN:
            return []
        return list(answer.rrset or [])


async def _shows(server: tuple[str, int], name: str, text: str) -> bool | None:
    """Whether a server shows the record; None where it cannot be asked."""
    query = dns.message.make_query(name, dns.rdatatype.TXT)
    try:
        answer, _ = await dns.asyncquery.udp_with_fallback(query, server[0], _TRY_SECONDS, server[1])
    except (dns.exception.DNSException, OSError):
        return None
    records = [record for found in answer.answer for record in found if record.rdtype == dns.rdatatype.TXT]
    return any(b"".join(record.strings).decode("latin-1") == text for record in records)


async def _told(asked: Awaitable[R], name: dns.name.Name) -> R:
    try:
        return await asked
    except dns.resolver.NXDOMAIN:
        raise
    except (dns.exception.DNSException, OSError) as error:
        raise Unavailable(f"DNS does not tell about {_text(name)}: {error}") from error


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
