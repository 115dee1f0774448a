"""Asks public DNS by dnspython."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from edgeward.certificates.preflight.lookups import Caa
from edgeward.errors import Unavailable

_TRY_SECONDS: Final = 2.0
_WHOLE_SECONDS: Final = 6.0
_MOST_AT_ONCE: Final = 100


class Dns:
    """Asks the servers in /etc/resolv.conf, or these (``IP:PORT``); aliases are followed by the server."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        except dns.exception.DNSException:  # no /etc/resolv.conf: there may be one later
            self._resolver = dns.asyncresolver.Resolver(configure=False)
            self._resolver.nameservers = ["127.0.0.1"]
        if servers:
            self._resolver.nameservers = [_server(text) for text in servers]
        self._resolver.timeout = _TRY_SECONDS
        self._resolver.lifetime = _WHOLE_SECONDS
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)

    async def addresses(self, name: str) -> frozenset[str]:
        """Give the IPv4 and IPv6 addresses of a name."""
        four, six = await asyncio.gather(self._ask(name, "A"), self._ask(name, "AAAA"))
        return frozenset(record.address for record in (*four, *six))

    async def caa(self, name: str) -> frozenset[Caa]:
        """Give the records of a name itself, or of what it is an alias of."""
        found = await self._ask(name, "CAA")
        return frozenset(Caa(_text(r.tag).lower(), _text(r.value), bool(r.flags & 128)) for r in found)

    async def _ask(self, name: str, kind: str) -> Sequence[Any]:
        absolute = dns.name.from_text(name).derelativize(dns.name.root)
        try:
            async with asyncio.timeout(_WHOLE_SECONDS + 2.0), self._places:
                answer = await self._resolver.resolve(absolute, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return ()
        except (TimeoutError, dns.exception.Timeout) as error:
            raise Unavailable(f"DNS does not answer for the {kind} records of {name} in time") from error
        except dns.resolver.NoNameservers as error:
            codes = " ".join(sorted(set(re.findall(r"SERVFAIL|REFUSED|FORMERR|NOTIMP", str(error)))))
            raise Unavailable(
                f"DNS fails for the {kind} records of {name}: {codes or 'no answer'}"
            ) from error
        except (dns.exception.DNSException, OSError) as error:
            raise Unavailable(f"DNS fails for the {kind} records of {name}: {error}") from error
        return tuple(answer.rrset or ())


def _server(text: str) -> dns.nameserver.Nameserver:
    host, _, port = text.rpartition(":")
    return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace")
