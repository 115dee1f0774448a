"""Algorithms as charon's proposals spell them, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgeward.vpn.algorithms import AEADS, MORE_EXCHANGES
from edgeward.vpn.desired import Connection, Proposal

_GROUPS: Final = {
    "group2": "modp1024", "group5": "modp1536", "group14": "modp2048", "group15": "modp3072",
    "group16": "modp4096", "group17": "modp6144", "group18": "modp8192", "group19": "ecp256",
    "group20": "ecp384", "group21": "ecp521", "group22": "modp1024s160", "group23": "modp2048s224",
    "group24": "modp2048s256", "group25": "ecp192", "group26": "ecp224", "group27": "ecp224bp",
    "group28": "ecp256bp", "group29": "ecp384bp", "group30": "ecp512bp", "group31": "x25519",
    "group32": "x448",
}  # fmt: skip
_USUAL: Final = "sha256"
"""Where none is said."""


def ike(proposal: Proposal) -> str:
    """Give ``aes256-sha256-modp2048`` or ``aes256gcm16-prfsha384-ecp384``."""
    integrity = _integrity(proposal.integrity or _USUAL)
    protection = f"prf{integrity}" if proposal.encryption in AEADS else integrity
    return "-".join((_encryption(proposal.encryption), protection, *_exchanges(proposal)))


def esp(proposal: Proposal) -> str:
    """Give ``aes256-sha256-modp2048`` or ``aes256gcm16-ecp384``."""
    own = proposal.encryption in AEADS
    protection = () if own else (_integrity(proposal.integrity or _USUAL),)
    return "-".join((_encryption(proposal.encryption), *protection, *_exchanges(proposal)))


def ah(proposal: Proposal) -> str:
    return "-".join((_integrity(proposal.integrity or _USUAL), *_exchanges(proposal)))


def additional(algorithms: Mapping[str, Any]) -> frozenset[str]:
    """Give the additional key exchanges among the algorithms that charon says it has (get-algorithms)."""
    said = {name.lower().replace("_", "") for name in algorithms.get("ke", {})}
    return MORE_EXCHANGES & said


def refusals(connection: Connection) -> Iterator[tuple[str, str]]:
    """Give (field, sentence) for what strongSwan has no name for, as 5.9.8 does."""
    if connection.ike.version != 1:
        return
    for one in connection.ike.proposals:
        if one.encryption in AEADS or one.encryption.endswith("-ctr"):
            yield "ike.encryption", f"IKEv1 has no {one.encryption}; take aes-256, or IKEv2"
        if one.integrity in ("aes-xcbc", "aes-cmac"):
            yield "ike.integrity", f"IKEv1 has no {one.integrity}; take sha256, or IKEv2"
        if one.groups[1:]:
            yield "ike.groups", "IKEv1 has one key exchange; leave the others out, or take IKEv2"
    for one in connection.ipsec.proposals:
        if one.encryption == "chacha20poly1305":
            yield "ipsec.encryption", "IKEv1 has no chacha20poly1305; take aes-256-gcm-16, or IKEv2"
        if one.encryption not in AEADS and one.integrity == "aes-cmac":
            yield "ipsec.integrity", "IKEv1 has no aes-cmac; take sha256, or IKEv2"


def _encryption(name: str) -> str:
    return name.replace("-", "")


def _integrity(name: str) -> str:
    return name.replace("-", "")


def _exchanges(proposal: Proposal) -> Iterator[str]:
    for index, name in enumerate(proposal.groups):
        yield _GROUPS[name] if index == 0 else f"ke{index}_{_GROUPS.get(name, name)}"
