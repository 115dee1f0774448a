"""Algorithms as Libreswan 4.10 and later spell them, and which of ours they do not know.

What is refused here is what ``ipsec algparse`` refuses of Debian's build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from edgeward.vpn.desired import Connection, Proposal

_AEADS: Final = {
    f"aes-{bits}-{mode}-{icv}": f"aes_{mode}_{'abc'[icv // 4 - 2]}{bits}"
    for bits in (128, 192, 256)
    for mode in ("ccm", "gcm")
    for icv in (8, 12, 16)
} | {"chacha20poly1305": "chacha20_poly1305"}
_PLAIN: Final = {"3des": "3des"} | {
    f"aes-{bits}{suffix}": f"aes{name}{bits}"
    for bits in (128, 192, 256)
    for suffix, name in (("", ""), ("-ctr", "_ctr"))
}
_CIPHERS: Final[Mapping[str, str]] = {**_AEADS, **_PLAIN}
_HASHES: Final[Mapping[str, str]] = {
    "sha1": "sha1", "sha256": "sha2_256", "sha384": "sha2_384", "sha512": "sha2_512",
    "aes-xcbc": "aes_xcbc", "aes-cmac": "aes_cmac",
}  # fmt: skip
_GROUPS: Final = frozenset({5, 14, 15, 16, 17, 18, 19, 20, 21, 31})
_GROUPS_OF_IKEV1_ESP: Final = frozenset({5, 14, 15, 16, 17, 18})
_USUAL: Final = "sha256"
"""Where none is said."""
_ELSEWHERE: Final = "or take the driver strongswan"


def ike(proposals: tuple[Proposal, ...]) -> str:
    """Give the value of ``ike=``."""
    return ",".join(
        f"{_CIPHERS[one.encryption]}-{_HASHES[one.integrity or _USUAL]};{_group(one)}" for one in proposals
    )


def ipsec(proposals: tuple[Proposal, ...], protocol: str) -> str:
    """Give the value of ``esp=`` or ``ah=``."""
    return ",".join(_ipsec(one, protocol) for one in proposals)


def _ipsec(one: Proposal, protocol: str) -> str:
    integrity = _HASHES[one.integrity or _USUAL]
    if protocol == "ah":
        words = integrity
    elif one.encryption in _AEADS:
        words = _CIPHERS[one.encryption]
    else:
        words = f"{_CIPHERS[one.encryption]}-{integrity}"
    return f"{words};{_group(one)}" if one.groups else words


def _group(one: Proposal) -> str:
    return f"dh{one.groups[0].removeprefix('group')}"


def refusals(connection: Connection) -> Iterator[tuple[str, str]]:
    """Give (field, sentence with the remedy) for each algorithm that Libreswan does not take."""
    old = connection.ike.version == 1
    for one in connection.ike.proposals:
        for what, why in _of_ike(one, old=old):
            yield f"ike.{what}", why
    for one in connection.ipsec.proposals:
        for what, why in _of_ipsec(one, connection.ipsec.protocol, old=old):
            yield f"ipsec.{what}", why
    if len({one.groups[:1] for one in connection.ipsec.proposals}) > 1:
        yield (
            "ipsec.groups",
            f"Libreswan takes one group for all proposals of ESP; say the same in each, {_ELSEWHERE}",
        )


def _of_ike(one: Proposal, *, old: bool) -> Iterator[tuple[str, str]]:
    cipher, integrity = one.encryption, one.integrity or _USUAL
    if cipher not in _CIPHERS or "-ccm-" in cipher:
        yield "encryption", f"Libreswan does not know {cipher} for IKE; take aes-256-gcm-16, {_ELSEWHERE}"
    elif old and cipher in _AEADS:
        yield "encryption", f"Libreswan does not do {cipher} with IKEv1; take IKEv2 or aes-256, {_ELSEWHERE}"
    if integrity not in _HASHES or integrity == "aes-cmac":
        yield "integrity", f"Libreswan does not know {integrity} for IKE; take sha256, {_ELSEWHERE}"
    elif old and integrity == "aes-xcbc":
        yield "integrity", f"Libreswan does not do {integrity} with IKEv1; take IKEv2 or sha256, {_ELSEWHERE}"
    if not one.groups:
        yield "groups", "IKE needs a group; name one, such as group19"
    yield from _of_groups(one, _GROUPS, "")


def _of_ipsec(one: Proposal, protocol: str, *, old: bool) -> Iterator[tuple[str, str]]:
    cipher, integrity = one.encryption, one.integrity or _USUAL
    if protocol == "esp" and cipher not in _CIPHERS:
        yield "encryption", f"Libreswan does not know {cipher}; take aes-256-gcm-16, {_ELSEWHERE}"
    elif protocol == "esp" and old and cipher == "chacha20poly1305":
        yield "encryption", f"Libreswan does not do {cipher} with IKEv1; take aes-256-gcm-16, {_ELSEWHERE}"
    if integrity not in _HASHES and (protocol == "ah" or cipher not in _AEADS):
        yield "integrity", f"Libreswan does not know {integrity}; take sha256, {_ELSEWHERE}"
    known = _GROUPS_OF_IKEV1_ESP if old else _GROUPS
    yield from _of_groups(one, known, f" for {protocol.upper()} with IKEv1" if old else "")


def _of_groups(one: Proposal, known: frozenset[int], where: str) -> Iterator[tuple[str, str]]:
    if len(one.groups) > 1:
        yield "groups", f"Libreswan does no additional key exchange; leave out {one.groups[1]}, {_ELSEWHERE}"
    for group in one.groups[:1]:
        number = group.removeprefix("group")
        if not (number.isascii() and number.isdecimal() and int(number) in known):
            yield "groups", f"Libreswan does not know {group}{where}; take group14, {_ELSEWHERE}"
