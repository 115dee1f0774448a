"""Writes records by dynamic updates (RFC 2136), signed (TSIG, RFC 8945). Sent by dnspython."""

from __future__ import annotations

import asyncio
import binascii
import ipaddress
import socket
from typing import Final

import dns.asyncquery
import dns.exception
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update

from edgeward.certificates.acme.zones import Place
from edgeward.certificates.model.dns01 import DnsUpdate, split_address
from edgeward.certificates.orders.fulfilment import Rejected
from edgeward.errors import Unavailable
from edgeward.sealing import Seal

_SECONDS: Final = 15.0
_TTL: Final = 60


class Updates:
    """One name server that takes them."""

    def __init__(self, server: DnsUpdate, seal: Seal) -> None:
        self._server = server
        self._seal = seal

    async def add(self, place: Place, text: str) -> None:
        """Raises Rejected, Unavailable; adding what is there does no harm."""
        update = self._update(place)
        update.add(f"{place.name}.", _TTL, "TXT", _quoted(text))
        await self._send(update, place)

    async def remove(self, place: Place, text: str) -> None:
        """Remove this record and no other of the same name: a name and its wildcard share one."""
        update = self._update(place)
        update.delete(f"{place.name}.", "TXT", _quoted(text))
        await self._send(update, place)

    def _update(self, place: Place) -> dns.update.UpdateMessage:
        secret = self._server.secret.reveal(self._seal).reveal()
        try:
            keys = dns.tsigkeyring.from_text({self._server.key_name: secret.strip()})
            return dns.update.UpdateMessage(
                f"{place.zone}.", keyring=keys, keyalgorithm=self._server.algorithm
            )
        except (binascii.Error, ValueError, dns.exception.DNSException):
            raise Rejected(
                "acme.dns.update.secret is not base64; copy it as the name server has it"
            ) from None

    async def _send(self, update: dns.update.UpdateMessage, place: Place) -> None:
        server = self._server.server
        address, port = await _resolved(server)
        try:
            answer = await dns.asyncquery.tcp(update, address, _SECONDS, port)
        except dns.tsig.PeerError as error:
            raise Rejected(
                f"{server} does not take the key {self._server.key_name} for {place.name}: {error}"
            ) from error
        except (dns.exception.DNSException, OSError, EOFError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"{server} does not answer an update of {place.zone}: {reason}") from error
        if answer.rcode() != dns.rcode.NOERROR:
            said = dns.rcode.to_text(answer.rcode())
            raise Rejected(
                f"{server} says {said} to an update of {place.name} in {place.zone}; may the key"
                f" {self._server.key_name} write there?"
            )


async def _resolved(server: str) -> tuple[str, int]:
    host, port = split_address(server)
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        pass
    try:
        async with asyncio.timeout(_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"the address of {host} is not found: {error}") from error
    return str(found[0][4][0]), port


def _quoted(text: str) -> str:
    return f'"{text}"'  # base64url: nothing in it needs more
