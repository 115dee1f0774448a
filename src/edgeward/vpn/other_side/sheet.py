"""The other side as a sheet: every parameter in words, for any other device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgeward.vpn.algorithms import AEADS
from edgeward.vpn.desired import Proposal
from edgeward.vpn.other_side.seen import Seen, is_unspecified

_GROUPS: Final = {
    "group2": "1024-bit MODP", "group5": "1536-bit MODP", "group14": "2048-bit MODP",
    "group15": "3072-bit MODP",
    "group16": "4096-bit MODP", "group17": "6144-bit MODP", "group18": "8192-bit MODP",
    "group19": "256-bit random ECP, NIST P-256", "group20": "384-bit random ECP, NIST P-384",
    "group21": "521-bit random ECP, NIST P-521", "group22": "1024-bit MODP with 160-bit prime order",
    "group23": "2048-bit MODP with 224-bit prime order", "group24": "2048-bit MODP with 256-bit prime order",
    "group25": "192-bit random ECP", "group26": "224-bit random ECP", "group27": "brainpoolP224r1",
    "group28": "brainpoolP256r1", "group29": "brainpoolP384r1", "group30": "brainpoolP512r1",
    "group31": "Curve25519", "group32": "Curve448",
}  # fmt: skip
_INTEGRITIES: Final = {
    "sha1": "HMAC-SHA-1", "sha256": "HMAC-SHA-256", "sha384": "HMAC-SHA-384", "sha512": "HMAC-SHA-512",
    "aes-xcbc": "AES-XCBC", "aes-cmac": "AES-CMAC",
}  # fmt: skip
_Row = tuple[str, str]


def written(seen: Seen) -> str:
    """Give the sheet as text, one parameter a line."""
    parts = [
        ("Site-to-site connection", [("Name", seen.name), *_peers(seen)]),
        ("Networks", _networks(seen)),
        (f"IKE (phase 1): {_count(len(seen.connection.ike.proposals))}", list(_ike(seen))),
        (f"IPsec (phase 2): {_count(len(seen.connection.ipsec.proposals))}", list(_ipsec(seen))),
        ("Otherwise", list(_otherwise(seen))),
    ]
    width = max(len(name) for _, rows in parts for name, _ in rows) + 2
    return "\n".join(
        f"{title}\n" + "".join(f"  {name + ':':<{width}}{value}\n" for name, value in rows)
        for title, rows in parts
    )


def _count(number: int) -> str:
    return "what both have to agree on" if number == 1 else f"any one of {number} proposals, the best first"


def _peers(seen: Seen) -> Iterator[_Row]:
    one = seen.connection
    yield "Your gateway", seen.mine_name
    yield "Our gateway", seen.theirs or "not known beforehand: take any, it begins"
    yield "Your id", _identity(one.peer_id)
    yield "Our id", "our gateway's address" if is_unspecified(one.local_id) else _identity(one.local_id)
    proof = "a pre-shared key, which comes to you on another way" if seen.by_secret else "certificates"
    yield "Authentication", proof
    who = "your gateway" if seen.begins else "our gateway, or yours"
    yield "Who begins", "our gateway" if seen.theirs is None else who


def _networks(seen: Seen) -> list[_Row]:
    one = seen.connection
    if one.ipsec.mode == "transport":
        return [("Protected", "what the two gateways send each other (transport mode)")]
    yours, ours = ", ".join(one.peer_networks), ", ".join(one.local_networks)
    rows = [("Your networks", yours), ("Our networks", ours)]
    if one.ike.version == 1 and len(seen.pairs) > 1:
        rows.append(("Policies", f"{len(seen.pairs)}, one for each pair of networks"))
    return rows


def _ike(seen: Seen) -> Iterator[_Row]:
    ike = seen.connection.ike
    version = "IKEv2" if ike.version == 2 else f"IKEv1, {'aggressive' if ike.aggressive else 'main'} mode"
    yield "Version", version
    for number, offer in _numbered(ike.proposals):
        yield f"Encryption{number}", _encryption(offer.encryption)
        integrity = _INTEGRITIES[offer.integrity or "sha256"]
        if offer.encryption in AEADS:
            yield f"Integrity{number}", "none beside it"
            yield f"PRF{number}", integrity
        else:
            yield f"Integrity and PRF{number}", integrity
        yield f"Key exchange{number}", _exchange(offer)
    yield "Lifetime", _seconds(ike.lifetime)


def _ipsec(seen: Seen) -> Iterator[_Row]:
    ipsec = seen.connection.ipsec
    yield "Protocol", f"{ipsec.protocol.upper()}, {ipsec.mode} mode"
    for number, offer in _numbered(ipsec.proposals):
        if ipsec.protocol == "esp":
            yield f"Encryption{number}", _encryption(offer.encryption)
        if ipsec.protocol == "ah" or offer.encryption not in AEADS:
            yield f"Integrity{number}", _INTEGRITIES[offer.integrity or "sha256"]
        yield f"PFS{number}", _exchange(offer) if offer.groups else "none"
    yield "Lifetime", _seconds(ipsec.lifetime)


def _otherwise(seen: Seen) -> Iterator[_Row]:
    dpd = seen.connection.dpd
    watched = dpd.action != "disabled" and dpd.interval
    yield "Dead peer detection", f"every {dpd.interval} s" if watched else "none"
    yield "NAT traversal", "on (UDP 500 and 4500; ESP in UDP where there is a NAT)"
    yield "MTU in the tunnel", f"{seen.connection.mtu} bytes"


def _numbered(proposals: tuple[Proposal, ...]) -> Iterator[tuple[str, Proposal]]:
    for index, offer in enumerate(proposals):
        yield (f" {index + 1}" if len(proposals) > 1 else ""), offer


def _encryption(name: str) -> str:
    if name == "3des":
        return "3DES-CBC"
    if name == "chacha20poly1305":
        return "ChaCha20-Poly1305"
    _, size, *rest = name.split("-")
    if not rest:
        return f"AES-CBC, {size}-bit key"
    mode = rest[0].upper()
    tag = f", {8 * int(rest[1])}-bit tag" if len(rest) > 1 else ""
    return f"AES-{mode}, {size}-bit key{tag}"


def _exchange(offer: Proposal) -> str:
    first, *more = offer.groups
    named = f"group {first.removeprefix('group')} ({_GROUPS[first]})"
    return " and ".join((named, *(f"{name.upper().replace('MLKEM', 'ML-KEM-')}" for name in more)))


def _identity(text: str) -> str:
    return f"{text.removeprefix('@')} (FQDN)" if text.startswith("@") else text


def _seconds(number: int) -> str:
    hours = number / 3600
    return f"{number} seconds ({hours:g} h)" if number % 1800 == 0 else f"{number} seconds"
