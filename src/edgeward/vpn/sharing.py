"""Gateways without an address of their own: which of the host's they use, and what that rules out; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from edgeward.vpn.desired import Connection, Gateway

HostAddress = Callable[[str], str | None]
"""Gives the host's address that a peer is reached from."""


@dataclass(frozen=True)
class Shared:
    """``refused``: (reason, remedy) of connections that are left out, by id."""

    gateways: tuple[Gateway, ...]
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def shared(gateways: Iterable[Gateway], host: HostAddress) -> Shared:
    """Give the gateways as they can be: a peer tells which gateway is meant, and there is one for each."""
    taken: dict[str, str] = {}
    refused: dict[str, tuple[str, str]] = {}
    return Shared(tuple(_of(one, host, taken, refused) for one in gateways), refused)


def _of(
    gateway: Gateway, host: HostAddress, taken: dict[str, str], refused: dict[str, tuple[str, str]]
) -> Gateway:
    if gateway.outside.addresses or gateway.namespace is not None:
        return gateway
    kept: list[Connection] = []
    for one in gateway.connections:
        here = host(one.peer_address) if _is_address(one.peer_address) else None
        why = _refusal(gateway, one, here, kept, taken)
        if why is not None:
            refused[one.id] = why
            continue
        assert here is not None
        taken[one.peer_address] = gateway.id
        kept.append(_at(one, here))
    return gateway.model_copy(update={"connections": tuple(kept)})


def _refusal(
    gateway: Gateway, one: Connection, here: str | None, kept: list[Connection], taken: Mapping[str, str]
) -> tuple[str, str] | None:
    remedy = "give its gateway an outside address of its own"
    if not _is_address(one.peer_address):
        return (f"the gateway shares this host's address, and {one.peer_address} does not say which packets"
                " are for it", f"give the peer's address, or {remedy}")  # fmt: skip
    if here is None:
        return f"this host has no way to {one.peer_address}, whose gateway shares its address", remedy
    if taken.get(one.peer_address, gateway.id) != gateway.id:
        return (f"another gateway that shares this host's address has the peer {one.peer_address} too",
                remedy)  # fmt: skip
    if kept and kept[0].local_address != here:
        return (f"{one.peer_address} is reached from {here}, and the gateway shares {kept[0].local_address}"
                " already", remedy)  # fmt: skip
    return None


def _at(one: Connection, here: str) -> Connection:
    """Say which address it is where nobody could: as its id too, where that was to be the address."""
    anywhere = one.local_address
    if not ipaddress.ip_address(anywhere).is_unspecified:
        return one.model_copy(update={"local_address": here})
    local_id = here if one.local_id == anywhere else one.local_id
    return one.model_copy(update={"local_address": here, "local_id": local_id})


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False
