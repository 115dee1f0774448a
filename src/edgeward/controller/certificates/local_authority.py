"""The local authority as this controller holds it, and the API's own certificate, both renewed in time."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgeward.certificates.local import authority as authorities
from edgeward.certificates.local.authority import Authority
from edgeward.certificates.model import Certificate
from edgeward.controller.files import write_secret
from edgeward.database.engine import Database
from edgeward.errors import EdgewardError
from edgeward.gateway.model import Address
from edgeward.log import logger
from edgeward.sealing import Seal

_LOOK_EVERY: Final = 60.0
_LIFETIME: Final = 30 * 86400.0
_log = logger("edgeward.controller.certificates.local_authority")


class Certified:
    """Holds who signs now (``authority``) and keeps the API's certificate good.

    ``load`` first. ``renewed`` is called when roots or the API's certificate changed.
    """

    def __init__(
        self, database: Database, seal: Seal, state_dir: Path, tls: ssl.SSLContext, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._seal = seal
        self._state_dir = state_dir
        self._tls = tls
        self._clock = clock
        self._authority: Authority | None = None
        self._own: Certificate | None = None
        self._hosts: tuple[str, ...] = ()

    def authority(self) -> Authority:
        assert self._authority is not None  # loaded at the start of the program
        return self._authority

    def roots(self) -> str:
        return self.authority().roots_pem()

    async def load(self) -> bool:
        """Make or renew what is due, publish the roots; say whether they changed."""
        self._authority = await authorities.ensure(self._database, self._seal, self._clock())
        return authorities.publish(self.roots(), self._state_dir / "ca" / "root.pem")

    async def certify(self, addresses: Sequence[Address], names: Sequence[str]) -> None:
        """Give the API a certificate for these addresses and names; does nothing where it has one."""
        hosts = await asyncio.to_thread(_hosts, addresses, names)
        now = self._clock()
        own = self._own
        if own is not None and hosts == self._hosts and now < own.renew_at.timestamp() and self._fits(own):
            return
        dns, ips = _parted(hosts)
        own = self.authority().issue_server(dns, ips, _LIFETIME, now)
        directory = self._state_dir / "api"
        write_secret(directory / "key.pem", own.key.reveal())
        write_secret(directory / "cert.pem", own.chain)
        self._tls.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        self._own, self._hosts = own, hosts
        _log.info("certificate of the api", names=list(hosts), until=own.not_after.isoformat())

    async def run(self, renewed: Callable[[], Awaitable[None]]) -> None:
        """Look every minute what is due, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                await self.load()
                await renewed()
            except EdgewardError as error:
                _log.warning("the local authority cannot be looked after", reason=str(error))

    def _fits(self, own: Certificate) -> bool:
        """Whether the intermediate that signed it is the one that signs now."""
        return own.chain.endswith(self.authority().intermediate_pem)


def _hosts(addresses: Sequence[Address], names: Sequence[str]) -> tuple[str, ...]:
    hosts = ["localhost", "127.0.0.1", "::1", *names]
    for address in addresses:
        anywhere = ipaddress.ip_address(address.host).is_unspecified
        hosts += _own_places() if anywhere else [address.host]
    return tuple(dict.fromkeys(hosts))


def _own_places() -> list[str]:
    """Give this host's name and its addresses, as far as it knows them."""
    name = socket.gethostname()
    found = [name] if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?", name, re.ASCII) else []
    with suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    return [place.partition("%")[0] for place in found]


def _parted(hosts: Sequence[str]) -> tuple[list[str], list[str]]:
    dns, ips = [], []
    for host in hosts:
        try:
            ips.append(str(ipaddress.ip_address(host)))
        except ValueError:
            dns.append(host)
    return dns, ips
