"""The guard of a namespace's tunnels: what belongs in one leaves, and comes, in no other way.

It is there before addresses and daemons are, and is one nft transaction: there is no moment without it.
Tunnels end on ``ipsec0`` (charon does ESP itself) or in the kernel's ESP (``rt ipsec``); it is for both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from edgeward.rootd.table.placeholders import Wrong

TABLE: Final = "edgeward_vpn"
OUTSIDE: Final = "outside"
ELSEWHERE: Final = ("drop", "masquerade", "leave")
"""What becomes of what leaves for elsewhere than the tunnels; ``leave``: the namespace is somebody else's."""
MOST_PAIRS: Final = 10_000
_SHAPE: Final = "10.1.0.0/24 1400 10.2.0.0/24 10.3.0.0/24; fd01::/64 1400 fd02::/64"
_LEAST_MTU, _MOST_MTU = 68, 65_535
TUNNEL: Final = "ipsec0"
_IKE: Final = "{ 500, 4500 }"
_FROM_OUTSIDE: Final = f'iifname "{OUTSIDE}" meta ipsec missing'
_ELSEWHERE: Final = {
    "drop": (f'oifname "{OUTSIDE}" drop', f"{_FROM_OUTSIDE} drop"),
    "masquerade": (f"{_FROM_OUTSIDE} ct state != {{ established, related }} drop",),
    "leave": (),
}
_NEIGHBOURS: Final = "{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report }"
_NEEDED: Final = (
    "icmp type != echo-request accept",
    "icmpv6 type != echo-request accept",
    "meta l4proto { tcp, udp } th dport 53 accept",
)
"""Answers to pings, errors, and names to be looked up."""
HEADERS: Final = {"ip": 40, "ip6": 60}


@dataclass(frozen=True)
class Pairs:
    """What goes through tunnels between one network of ours and some of peers."""

    local: str
    mtu: int
    peers: tuple[str, ...]

    @property
    def family(self) -> str:
        return "ip6" if ":" in self.local else "ip"


def typed(value: str | int) -> str:
    """Read ``LOCAL MTU PEER…; …``, and give it spelled in one way, as one word; raises Wrong."""
    if not isinstance(value, str):
        raise Wrong(f"is a text of networks, as {_SHAPE}")
    return ";".join(f"{one.local} {one.mtu} {' '.join(one.peers)}" for one in read(value))


def read(text: str) -> tuple[Pairs, ...]:
    """Give what a text stands for; raises Wrong."""
    found = tuple(_pairs(words) for clause in text.split(";") if (words := clause.split()))
    if sum(len(one.peers) for one in found) > MOST_PAIRS:
        raise Wrong(f"has more than {MOST_PAIRS} networks of peers")
    return found


def _pairs(words: Sequence[str]) -> Pairs:
    if len(words) < 3 or not (words[1].isascii() and words[1].isdecimal() and len(words[1]) <= 5):
        raise Wrong(f"gives a network of ours, its MTU and networks of peers, as {_SHAPE}")
    mtu = int(words[1])
    if not _LEAST_MTU <= mtu <= _MOST_MTU:
        raise Wrong(f"has an MTU that is not {_LEAST_MTU} to {_MOST_MTU}")
    local, peers = _network(words[0]), [_network(word) for word in words[2:]]
    if any(peer.version != local.version for peer in peers):
        raise Wrong("has a pair of IPv4 and IPv6; write one for each family")
    ends = [str(peer) for peer in ipaddress.collapse_addresses(peers)]  # type: ignore[type-var] # of one family
    return Pairs(str(local), mtu, tuple(ends))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        if "%" in text:  # a zone may hold anything
            raise ValueError
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise Wrong("names networks as 10.0.0.0/24 or fd00::/64, without bits beyond their length") from error


def text(elsewhere: str, pairs: Sequence[Pairs], relays: int | None = None) -> str:
    """Give what nft reads: one transaction, which ends the table that is there and makes it anew.

    ``relays``: the user of relays, who reaches nothing but through tunnels: a customer's DNS server says
    where they go.
    """
    chains = (
        _chain("forward", "type filter hook forward priority filter - 5", _forward(elsewhere, pairs)),
        _chain("output", "type filter hook output priority filter - 5", _output(elsewhere, pairs, relays)),
        _chain("input", "type filter hook input priority filter - 5", _input(pairs)),
        _chain("exempt", "type nat hook postrouting priority srcnat - 10", _exempt(elsewhere, pairs)),
    )
    return f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{''.join(chains)}}}\n"


def _chain(name: str, hook: str, rules: Iterable[str]) -> str:
    lines = "".join(f"\t\t{rule}\n" for rule in rules)
    return f"\tchain {name} {{\n\t\t{hook}; policy accept;\n{lines}\t}}\n"


def _forward(elsewhere: str, pairs: Sequence[Pairs]) -> list[str]:
    return [
        *(rule for one in pairs for rule in _clamped(one)),
        f'oifname "{TUNNEL}" accept',
        "rt ipsec exists accept",
        *(f"{_ours_to_theirs(one)} drop" for one in pairs),
        *(f'iifname != "{TUNNEL}" meta ipsec missing {_theirs_to_ours(one)} drop' for one in pairs),
        *_ELSEWHERE[elsewhere],
    ]


def _output(elsewhere: str, pairs: Sequence[Pairs], relays: int | None) -> list[str]:
    """Give rules for what begins in the namespace: relays learn at once that the tunnel is down. They have
    any source address then, so that in one of ours the target alone decides; and nothing leaves there that a
    gateway does not need."""
    own = [f'oifname "{OUTSIDE}" {one.family} daddr {_set(one.peers)}' for one in pairs]
    ends = [_ours_to_theirs(one) for one in pairs] if elsewhere == "leave" else own
    users = [] if relays is None else [f"meta skuid {relays}"]
    return [
        f'oifname {{ "{TUNNEL}", "lo" }} accept',
        "rt ipsec exists accept",
        f"udp sport {_IKE} accept",
        "meta l4proto { esp, ah } accept",
        f"icmpv6 type {_NEIGHBOURS} accept",
        *(rule for end in (*users, *ends) for rule in _refused(end)),
        *((*_NEEDED, *_refused(f'oifname "{OUTSIDE}"')) if elsewhere == "drop" else ()),
    ]


def _refused(end: str) -> tuple[str, str]:
    """Refuse so that whoever begins learns it at once."""
    return f"{end} meta l4proto tcp reject with tcp reset", f"{end} reject"


def _input(pairs: Sequence[Pairs]) -> list[str]:
    return [
        f'iifname {{ "{TUNNEL}", "lo" }} accept',
        "meta ipsec exists accept",
        f"udp dport {_IKE} accept",
        "meta l4proto { esp, ah } accept",
        *(f"{_theirs_to_ours(one)} drop" for one in pairs),
    ]


def _exempt(elsewhere: str, pairs: Sequence[Pairs]) -> list[str]:
    """Translate to what it is: accepting would not keep another table from translating."""
    kept = [f"{_ours_to_theirs(one)} snat {one.family} to {one.family} saddr" for one in pairs]
    return [*kept, *([f'oifname "{OUTSIDE}" masquerade'] if elsewhere == "masquerade" else [])]


def _clamped(one: Pairs) -> list[str]:
    size = one.mtu - HEADERS[one.family]
    ends = (_ours_to_theirs(one), _theirs_to_ours(one))
    return [f"{end} tcp flags syn / syn,rst tcp option maxseg size set {size}" for end in ends if size > 0]


def _ours_to_theirs(one: Pairs) -> str:
    return f"{one.family} saddr {one.local} {one.family} daddr {_set(one.peers)}"


def _theirs_to_ours(one: Pairs) -> str:
    return f"{one.family} saddr {_set(one.peers)} {one.family} daddr {one.local}"


def _set(peers: Sequence[str]) -> str:
    return peers[0] if len(peers) == 1 else f"{{ {', '.join(peers)} }}"
