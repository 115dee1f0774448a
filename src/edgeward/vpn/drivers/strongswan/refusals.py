"""What strongSwan cannot be asked for, said before anybody tries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from edgeward.errors import Invalid
from edgeward.vpn.desired import Connection, Psk
from edgeward.vpn.drivers.strongswan import identity, proposals

_LONGEST_SECRET: Final = 4096
_PEER: Final = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}", re.ASCII)


def refusals(connection: Connection) -> tuple[tuple[str, str], ...]:
    """Give (field, sentence with the remedy) for each; none: charon takes it."""
    found = (*_of_peers(connection), *_of_mode(connection), *proposals.refusals(connection))
    return tuple(dict.fromkeys(found))


def _of_peers(connection: Connection) -> Iterator[tuple[str, str]]:
    for field, value in (("local_id", connection.local_id), ("peer_id", connection.peer_id)):
        try:
            identity.spelled(value)
        except Invalid as error:
            yield field, str(error)
    auth = connection.auth
    if (
        isinstance(auth, Psk)
        and not 1 <= len(auth.secret.reveal().encode(errors="surrogatepass")) <= _LONGEST_SECRET
    ):
        yield "secret", f"strongSwan takes secrets of 1 to {_LONGEST_SECRET} bytes; give another one"
    if not _PEER.fullmatch(connection.peer_address):
        yield "peer_address", "it is no address and no name; write one as 203.0.113.9 or vpn.example.com"


def _of_mode(connection: Connection) -> Iterator[tuple[str, str]]:
    networks = (*connection.local_networks, *connection.peer_networks)
    if connection.ipsec.mode == "transport" and not all(one.endswith(("/32", "/128")) for one in networks):
        yield (
            "ipsec.mode",
            "transport is for what two hosts say to each other, not their networks; take tunnel",
        )
