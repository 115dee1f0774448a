"""One public address for many namespaces: nft hands what a peer sends to the namespace that has this peer.

IKE (UDP 500 and 4500), ESP and AH. Nothing is tracked and nobody sees a NAT: the namespace has the public
address itself, and the address in between only leads there.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgeward.rootd.table.filters import NotApplied
from edgeward.rootd.table.guard import OUTSIDE
from edgeward.rootd.table.network import Network

TABLE: Final = "edgeward_shared"
_ANEW: Final = f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n"
_TRANSIT_V4: Final = ipaddress.ip_network("169.254.128.0/17")
_TRANSIT_V6: Final = int(ipaddress.ip_address("fd00:ed9e:4a1d::"))


@dataclass(frozen=True)
class Sharer:
    network: Network
    transit: str
    cable: str
    """The host's end."""


def transit(name: str, network: Network, others: Mapping[str, Sharer]) -> str:
    """Give the address in between of a namespace: ever the same, as long as no other one has it."""
    if not network.shared:
        return ""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    if ":" in network.shared:
        return str(ipaddress.ip_address(_TRANSIT_V6 + number))
    taken = {other.transit for found, other in others.items() if found != name}
    size = _TRANSIT_V4.num_addresses - 2
    for step in range(size):
        address = str(_TRANSIT_V4[1 + (number + step) % size])
        if address not in taken:
            return address
    raise NotApplied("no address in between is left for another namespace that shares the host's")


def conflict(name: str, network: Network, others: Mapping[str, Sharer]) -> str:
    """Say which of its peers is another namespace's already; blank where none is."""
    for found, other in others.items():
        if found == name or other.network.shared != network.shared:
            continue
        for peer in sorted(set(other.network.peers) & set(network.peers)):
            return (f"peer {peer} of the shared address {network.shared} belongs to {found} already;"
                    " give one of the two an outside address of its own")  # fmt: skip
    return ""


def host_text(sharers: Mapping[str, Sharer]) -> str:
    """Give what nft reads in the host's network."""
    found = [sharers[name] for name in sorted(sharers) if sharers[name].network.peers]
    if not found:
        return _ANEW
    maps, rules = [], []
    for index, shared in enumerate(sorted({one.network.shared for one in found})):
        family, kind = ("ip6", "ipv6_addr") if ":" in shared else ("ip", "ipv4_addr")
        mine = [one for one in found if one.network.shared == shared]
        elements = ", ".join(f"{peer} : {one.transit}" for one in mine for peer in sorted(one.network.peers))
        maps.append(
            f"\tmap peers{index} {{\n\t\ttype {kind} : {kind}\n\t\telements = {{ {elements} }}\n\t}}\n"
        )
        to = f"{family} daddr set {family} saddr map @peers{index} notrack"
        for what in ("udp dport { 500, 4500 }", "meta l4proto { esp, ah }"):
            rules.append(f"{family} daddr {shared} {what} {to}")
        for one in mine:
            rules.append(f'iifname "{one.cable}" {family} saddr {shared} notrack')
    chain = _chain(rules)
    return f"{_ANEW}table inet {TABLE} {{\n{''.join(maps)}{chain}}}\n"


def inside_text(network: Network, address: str) -> str:
    """Give what nft reads inside: what was sent to the address in between is for the public one."""
    if not network.shared:
        return _ANEW
    family = "ip6" if ":" in address else "ip"
    rules = [f'iifname "{OUTSIDE}" {family} daddr {address} {family} daddr set {network.shared}']
    return f"{_ANEW}table inet {TABLE} {{\n{_chain(rules)}}}\n"


def _chain(rules: list[str]) -> str:
    lines = "".join(f"\t\t{rule}\n" for rule in rules)
    return f"\tchain handed {{\n\t\ttype filter hook prerouting priority raw; policy accept;\n{lines}\t}}\n"
