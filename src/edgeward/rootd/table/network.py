"""What a namespace's network is to be: the typed text of a request, and the value it stands for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from edgeward.rootd.table.placeholders import Wrong

MOST_INSIDE: Final = 64
MOST_PEERS: Final = 2_000
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", re.ASCII)
_SHAPE: Final = "outside 203.0.113.5/24; bridge br-ex; next-hop 203.0.113.1; inside 10.1.0.1/24 br-lan"


@dataclass(frozen=True, order=True)
class Inside:
    """An address of the own side, plugged into a bridge of the host, or on loopback where there is none."""

    address: str
    bridge: str = ""


@dataclass(frozen=True)
class Network:
    outside: tuple[str, ...] = ()
    """Addresses with the length of their networks, at most one of each family."""
    bridge: str = ""
    """What the outside is plugged into; none: the host routes to it."""
    next_hops: tuple[str, ...] = ()
    shared: str = ""
    """The host's own address, shared with it: what ``peers`` send to it is for this namespace."""
    peers: tuple[str, ...] = ()
    inside: tuple[Inside, ...] = ()
    standby: bool = False
    """The outside is made and not plugged in: another host has these addresses."""


def typed(value: str | int) -> str:
    """Read ``CLAUSE; …``, and give it spelled in one way, as one word; raises Wrong."""
    if not isinstance(value, str):
        raise Wrong(f"is a text of clauses, as {_SHAPE}")
    return _text(read(value))


def read(text: str) -> Network:
    """Give the value that a text stands for; raises Wrong."""
    found = Network()
    for clause in text.split(";"):
        words = [word for word in clause.split(" ") if word]
        if not words:
            continue
        taken = _CLAUSES.get(words[0])
        if taken is None or len(words) > 3:
            raise Wrong(f"has clauses of {', '.join(_CLAUSES)}, as {_SHAPE}")
        found = taken(found, words[1:])
    return _sound(found)


def _text(network: Network) -> str:
    clauses = [
        *(f"outside {address}" for address in network.outside),
        *([f"bridge {network.bridge}"] if network.bridge else []),
        *(f"next-hop {address}" for address in network.next_hops),
        *([f"shared {network.shared}"] if network.shared else []),
        *(f"peer {address}" for address in sorted(set(network.peers))),
        *(f"inside {one.address} {one.bridge}".rstrip() for one in sorted(set(network.inside))),
        *(["standby"] if network.standby else []),
    ]
    return ";".join(clauses)


def _sound(network: Network) -> Network:
    for what, found in (("outside", network.outside), ("next-hop", network.next_hops)):
        if len({":" in address for address in found}) != len(found):
            raise Wrong(f"has more than one {what} of a family")
    if network.shared and (network.outside or network.bridge):
        raise Wrong("has an outside of its own, or a shared one, not both")
    if network.peers and not network.shared:
        raise Wrong("names peers only where the host's address is shared")
    if any((":" in peer) != (":" in network.shared) for peer in network.peers):
        raise Wrong("names peers of the shared address's family")
    if len(network.inside) > MOST_INSIDE or len(network.peers) > MOST_PEERS:
        raise Wrong(f"has at most {MOST_INSIDE} networks inside and {MOST_PEERS} peers")
    return network


def _words(most: int, words: list[str]) -> list[str]:
    if not 0 < len(words) <= most:
        raise Wrong(f"has a clause that is not whole, or too long; write them as in {_SHAPE}")
    return words


def _outside(network: Network, words: list[str]) -> Network:
    return replace(network, outside=(*network.outside, interface(_words(1, words)[0])))


def _bridge(network: Network, words: list[str]) -> Network:
    return replace(network, bridge=_named(_words(1, words)[0]))


def _next_hop(network: Network, words: list[str]) -> Network:
    return replace(network, next_hops=(*network.next_hops, address(_words(1, words)[0])))


def _shared(network: Network, words: list[str]) -> Network:
    return replace(network, shared=address(_words(1, words)[0]))


def _peer(network: Network, words: list[str]) -> Network:
    return replace(network, peers=(*network.peers, address(_words(1, words)[0])))


def _inside(network: Network, words: list[str]) -> Network:
    first, *bridge = _words(2, words)
    one = Inside(interface(first), _named(bridge[0]) if bridge else "")
    return replace(network, inside=(*network.inside, one))


def _standby(network: Network, words: list[str]) -> Network:
    if words:
        raise Wrong("says standby and nothing after it")
    return replace(network, standby=True)


_CLAUSES: Final[Mapping[str, Callable[[Network, list[str]], Network]]] = {
    "outside": _outside,
    "bridge": _bridge,
    "next-hop": _next_hop,
    "shared": _shared,
    "peer": _peer,
    "inside": _inside,
    "standby": _standby,
}


def _named(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        raise Wrong("names a bridge in 1 to 15 letters, digits, dots, hyphens and underscores")
    return text


def address(text: str) -> str:
    """Give an address in canonical spelling; raises Wrong."""
    try:
        return str(ipaddress.ip_address(_plain(text)))
    except ValueError as error:
        raise Wrong("names addresses as 203.0.113.1 or 2001:db8::1") from error


def interface(text: str) -> str:
    """Give an address with the length of its network, in canonical spelling; raises Wrong."""
    try:
        return str(ipaddress.ip_interface(_plain(text)))
    except ValueError as error:
        raise Wrong("names addresses of networks as 203.0.113.5/24 or 2001:db8::5/64") from error


def _plain(text: str) -> str:
    if "%" in text:  # a zone may hold anything
        raise ValueError(text)
    return text
