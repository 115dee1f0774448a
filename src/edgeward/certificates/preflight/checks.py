"""Looks, before an order, whether an authority would say no: each of its failures counts, ours cost nothing.

For whoever plans orders, before each attempt of one::

    preflight = Preflight(Dns(), lambda: state.listen().public)
    await preflight.check(job)  # raises Refused: with the reason and the remedy; Unavailable: DNS fails
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from edgeward.certificates.model import Issuer
from edgeward.certificates.orders.fulfilment import Job
from edgeward.certificates.preflight import caa
from edgeward.certificates.preflight.lookups import Caa, Lookups
from edgeward.errors import Refused, Unavailable

_SECONDS: Final = 15.0
_KEPT_SECONDS: Final = 30.0
_MOST_KEPT: Final = 10_000
_HERE_ONLY: Final = frozenset({"http-01", "tls-alpn-01"})


class Preflight:
    """``public()`` gives the networks under which visitors reach the edge; none: names may lead anywhere.
    ``identities(issuer)`` gives the domains an authority goes by in CAA records (``caaIdentities`` of its
    directory, RFC 8555 7.1.1), nothing where it says none. ``allowed(name)`` raises Refused where a name may
    have no certificate any more.
    """

    def __init__(
        self,
        lookups: Lookups,
        public: Callable[[], Sequence[str]],
        identities: Callable[[Issuer], Awaitable[Sequence[str]]] | None = None,
        allowed: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._allowed = allowed
        self._kept: dict[str, tuple[float, frozenset[Caa] | None]] = {}
        self._lookups = lookups
        self._public = public
        self._identities = identities or _unsaid

    async def check(self, job: Job) -> None:
        """Raise Refused where an order would fail, for the first such reason; Unavailable where DNS does
        not tell. Local issuers ask nobody.
        """
        if job.issuer.acme is None:
            return
        methods = job.issuer.acme.challenges
        authorities = await self._identities(job.issuer)
        checks = [self._allowed(job.names[0])] if self._allowed is not None else []
        for name in job.names:
            checks.append(self._may_issue(name, authorities, methods))
            if not name.startswith("*.") and _HERE_ONLY.issuperset(methods):
                checks.append(self._leads_here(name))
        try:
            async with asyncio.timeout(_SECONDS):
                found = await asyncio.gather(*checks, return_exceptions=True)
        except TimeoutError as error:
            raise Unavailable(f"DNS does not answer for {job.names[0]} in time") from error
        raised = [problem for problem in found if isinstance(problem, BaseException)]
        for problem in sorted(raised, key=lambda problem: not isinstance(problem, Refused)):
            raise problem

    async def _leads_here(self, name: str) -> None:
        addresses = await self._lookups.addresses(name)
        if not addresses:
            raise Refused(
                f"{name} has no address in DNS; let it lead to this edge, or name the servers that know it in"
                " EDGEWARD_DNS_SERVERS"
            )
        networks = [ipaddress.ip_network(text) for text in self._public()]
        elsewhere = sorted(a for a in addresses if not _within(a, networks))
        if networks and elsewhere:
            shown = ", ".join(elsewhere[:3])
            here = ", ".join(str(_shortest(n)) for n in networks[:3])
            raise Refused(
                f"{name} leads to {shown} in DNS, which is not this edge; let it lead to {here} only"
            )

    async def _may_issue(self, name: str, authorities: Sequence[str], methods: Sequence[str]) -> None:
        for place in caa.climb(name):
            records = await self._records(place, kept=place != name.removeprefix("*."))
            if not records:
                continue
            why = caa.refusal(records, name.startswith("*."), authorities, methods)
            if why is not None:
                whose = name if place == name else f"{place}, which decides about {name},"
                raise Refused(f"{whose} {why}")
            return

    async def _records(self, place: str, *, kept: bool) -> frozenset[Caa]:
        """Give a name's records; ``kept``: as they were some seconds ago, of what is over many names."""
        until, records = self._kept.get(place, (0.0, None))
        if kept and records is not None and time.monotonic() < until:
            return records
        found = await self._lookups.caa(place)
        if kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[place] = (time.monotonic() + _KEPT_SECONDS, found)
        return found


async def _unsaid(_: Issuer) -> Sequence[str]:
    return ()


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _within(address: str, networks: Sequence[Network]) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in network for network in networks)


def _shortest(network: Network) -> object:
    return network.network_address if network.num_addresses == 1 else network
