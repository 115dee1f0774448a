"""A connection as the other side sees it: what is ours is remote there."""

from __future__ import annotations

import ipaddress
import itertools
import re
from dataclasses import dataclass
from typing import Final

from edgeward.errors import Invalid
from edgeward.vpn.desired import Connection, Psk

KEY_HERE: Final = "PUT-THE-PRE-SHARED-KEY-HERE"
"""Stands where the secret belongs: it is not read back from here."""
_HOST: Final = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+", re.ASCII)


@dataclass(frozen=True)
class Seen:
    """``mine`` is the other side's, ``theirs`` the one that is declared here."""

    name: str
    """For sections: letters, digits and hyphens."""
    connection: Connection
    mine: str | None
    """Its address; None: known by a name only, whichever address that has."""
    mine_name: str
    """Its address or its name."""
    theirs: str | None
    """The address or name under which this side is reached; None: nobody knows, it has to begin."""

    @property
    def begins(self) -> bool:
        """Whether the other side has to begin: ours does not."""
        return not self.connection.initiator

    @property
    def our_id(self) -> str:
        """Give what the declared side calls itself; raises Invalid where that is its address, which only its
        node knows."""
        said = self.connection.local_id
        if is_unspecified(said):
            raise Invalid("this side's id is its host's address, which is not known here: say it as local_id")
        return said

    @property
    def by_secret(self) -> bool:
        return isinstance(self.connection.auth, Psk)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Give (its networks, ours), one of each."""
        both = itertools.product(self.connection.peer_networks, self.connection.local_networks)
        return [(mine, theirs) for mine, theirs in both if (":" in mine) == (":" in theirs)]


def seen(connection: Connection) -> Seen:
    at = _address(connection.peer_address)
    name = re.sub(r"[^A-Za-z0-9]+", "-", connection.name.partition("/")[2]).strip("-")
    if not name or name == "include":  # which is a word of strongSwan's files
        name = connection.id
    return Seen(name, connection, at, connection.peer_address, _reached(connection))


def _reached(connection: Connection) -> str | None:
    if not ipaddress.ip_address(connection.local_address).is_unspecified:
        return connection.local_address
    said = connection.local_id.removeprefix("@")
    if is_unspecified(said):
        return None
    return said if _address(said) is not None or _HOST.fullmatch(said) else None


def is_unspecified(text: str) -> bool:
    """Whether it stands for an address that only the node knows."""
    return (at := _address(text)) is not None and ipaddress.ip_address(at).is_unspecified


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        return None
