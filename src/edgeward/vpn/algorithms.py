"""The names of algorithms, spelled as OpenStack does, and what goes with what."""

from __future__ import annotations

from typing import Final

from edgeward.errors import Invalid

_SIZES: Final = (128, 192, 256)
_BLOCK: Final = ("3des", *(f"aes-{size}" for size in _SIZES), *(f"aes-{size}-ctr" for size in _SIZES))
AEADS: Final = frozenset(
    {f"aes-{size}-{mode}-{tag}" for size in _SIZES for mode in ("ccm", "gcm") for tag in (8, 12, 16)}
    | {"chacha20poly1305"}
)
"""Those that protect by themselves, and take no integrity algorithm beside them."""
ENCRYPTIONS: Final = frozenset(_BLOCK) | AEADS
INTEGRITIES: Final = frozenset({"sha1", "sha256", "sha384", "sha512", "aes-xcbc", "aes-cmac"})
GROUPS: Final = frozenset(f"group{number}" for number in (2, 5, *range(14, 33)))
MORE_EXCHANGES: Final = frozenset({"mlkem512", "mlkem768", "mlkem1024"})
"""Key exchanges that stand beside a group, never alone (RFC 9370)."""


def encryption(text: str) -> str:
    """Give the name of a cipher; raises Invalid."""
    return _one_of(text, ENCRYPTIONS, "cipher", "aes-256-gcm-16, aes-256 or chacha20poly1305")


def integrity(text: str) -> str:
    """Give the name of an integrity algorithm; raises Invalid."""
    return _one_of(text, INTEGRITIES, "integrity algorithm", "sha256, sha384 or sha512")


def group(text: str) -> str:
    """Give the name of a key exchange; raises Invalid."""
    return _one_of(text, GROUPS | MORE_EXCHANGES, "group", "group14, group20 (ECP-384) or mlkem768")


def _one_of(text: str, known: frozenset[str], what: str, such_as: str) -> str:
    word = text.lower()
    if word not in known:
        raise Invalid(f"there is no {what} '{text[:40]}'; take one such as {such_as}")
    return word
