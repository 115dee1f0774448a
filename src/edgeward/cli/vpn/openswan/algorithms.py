"""Algorithms as Openswan and Libreswan spell them, in the words of profiles."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, Final

from edgeward.errors import Invalid
from edgeward.vpn.algorithms import AEADS

_TAGS: Final = {"a": 8, "b": 12, "c": 16, "8": 8, "12": 12, "16": 16, "": 16}
_AES: Final = re.compile(
    r"aes(?:_(?P<mode>cbc|ctr|gcm|ccm))?(?P<tag>_[abc]|_8|_12|_16)?_?(?P<size>128|192|256)?(?P<after>_8|_12|_16)?"
)
_HASHES: Final = {
    "sha": "sha1", "sha1": "sha1", "sha2": "sha256", "sha256": "sha256", "sha2_256": "sha256",
    "sha384": "sha384", "sha2_384": "sha384", "sha512": "sha512", "sha2_512": "sha512",
    "aes_xcbc": "aes-xcbc", "aes_cmac": "aes-cmac",
}  # fmt: skip
_MODP: Final = {
    "1024": 2, "1536": 5, "2048": 14, "3072": 15, "4096": 16, "6144": 17, "8192": 18,
}  # fmt: skip
_NAMED: Final = {
    "ecp256": 19, "ecp_256": 19, "ecp384": 20, "ecp_384": 20, "ecp521": 21, "ecp_521": 21,
    "curve25519": 31, "x25519": 31,
}  # fmt: skip
_MOST: Final = 10

Offer = dict[str, Any]


def ike(text: str) -> list[Offer]:
    """Read ``ike=``; raises Invalid naming what is not known here."""
    offers: list[Offer] = []
    for proposal in _proposals(text):
        for cipher, integrity, group in _choices(proposal):
            found = {"encryption": cipher, "integrity": integrity or "sha256"}
            offers += [{**found, "groups": [group]}] if group else [{**found, "groups": ["group14"]}]
    return _bounded(offers, text)


def esp(text: str, group: str | None, *, ah: bool = False) -> list[Offer]:
    """Read ``esp=``, ``ah=`` or ``phase2alg=``; ``group`` is that of PFS where none is said."""
    offers: list[Offer] = []
    for proposal in _proposals(text):
        for cipher, integrity, said in _choices(("aes128", *proposal) if ah else proposal):
            one: Offer = {"encryption": cipher}
            if ah or cipher not in AEADS:
                one["integrity"] = integrity or "sha256"
            if chosen := said or group:
                one["groups"] = [chosen]
            offers.append(one)
    return _bounded(offers, text)


def group(word: str) -> str | None:
    """Give ``group14`` for ``modp2048``, ``dh14`` or ``14``; None for what is no group."""
    if found := re.fullmatch(r"dh_?(\d+)", word):
        return f"group{int(found[1])}"
    if found := re.fullmatch(r"modp_?(\d+)", word):
        return f"group{_MODP[found[1]]}" if found[1] in _MODP else None
    return f"group{_NAMED[word]}" if word in _NAMED else None


def _proposals(text: str) -> Iterator[tuple[str, ...]]:
    for proposal in text.lower().replace("!", "").split(","):
        words = [word for word in re.split(r"[-;]", proposal.strip()) if word]
        if words:
            yield tuple(words)


def _choices(words: tuple[str, ...]) -> Iterator[tuple[str, str | None, str | None]]:
    """Give (encryption, integrity, group); ``+`` stands between alternatives."""
    first, *rest = (word.split("+") for word in words)
    ciphers = [_cipher(word) for word in first]
    hashes: list[str | None] = []
    groups: list[str | None] = []
    for word in itertools.chain(*rest):
        if (found := group(word)) is not None:
            groups.append(found)
        elif word in _HASHES:
            hashes.append(_HASHES[word])
        elif not word.isdecimal() and word not in ("null", "none"):
            raise Invalid(f"'{word[:40]}' is no algorithm that there is here")
    return itertools.product(ciphers, hashes or [None], groups or [None])


def _cipher(word: str) -> str:
    if word in ("3des", "3des_cbc"):
        return "3des"
    if word.startswith("chacha20"):
        return "chacha20poly1305"
    found = _AES.fullmatch(word)
    if found is None:
        raise Invalid(f"'{word[:40]}' is no cipher that there is here")
    size, mode = found["size"] or "128", found["mode"] or "cbc"
    if mode in ("gcm", "ccm"):
        tag = (found["tag"] or found["after"] or "").removeprefix("_")
        return f"aes-{size}-{mode}-{_TAGS[tag]}"
    return f"aes-{size}" + ("-ctr" if mode == "ctr" else "")


def _bounded(offers: list[Offer], text: str) -> list[Offer]:
    if not offers:
        raise Invalid(f"'{text[:60]}' names no algorithm")
    unique = [offer for index, offer in enumerate(offers) if offer not in offers[:index]]
    return unique[:_MOST]
