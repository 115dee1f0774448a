"""Names of peers as charon spells them: typed always, so that no text is taken for something else."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from edgeward.errors import Invalid

MOST_BYTES: Final = 250
MOST_OF_OTHERS: Final = 124
"""Bytes of one with other than printable ASCII characters, which takes two digits for each."""
_DISTINGUISHED: Final = re.compile(r"[A-Za-z]{1,32} ?=[ -~]*")


def spelled(identity: str) -> str:
    """Give it with its type; raises Invalid where it is too long, or a pattern.

    As others read it: an address, ``user@example.com``, ``C=DE, CN=gw`` or a name; ``@name`` is a name too,
    ``@@user@example.com`` a mail address, ``@#4711`` bytes in hexadecimal (ipsec.conf(5)). ``%any``: anybody.
    """
    if "*" in identity:
        raise Invalid("a * in an id would stand for many peers; name the one, or write %any for all")
    if "\0" in identity:
        raise Invalid("an id with a NUL character ends there for some; leave it out")
    if identity == "%any" or _is_address(identity):
        return identity
    if re.fullmatch(r"@#([0-9a-fA-F]{2})+", identity, re.ASCII):
        return _typed("keyid", bytes.fromhex(identity[2:]))
    if identity.startswith("@@"):
        return _typed("rfc822", _bytes(identity[2:]))
    if identity.startswith("@"):
        return _typed("fqdn", _bytes(identity[1:]))
    if _DISTINGUISHED.fullmatch(identity):
        return _bounded(identity, len(identity), MOST_BYTES)
    return _typed("rfc822" if "@" in identity else "fqdn", _bytes(identity))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _typed(kind: str, name: bytes) -> str:
    plain = name.isascii() and name.decode("ascii", "replace").isprintable()
    if plain and not name.startswith(b"#"):
        return _bounded(f"{kind}:{name.decode()}", len(name), MOST_BYTES - len(kind))
    return _bounded(f"{kind}:#{name.hex()}", len(name), MOST_OF_OTHERS - len(kind) // 2)


def _bounded(text: str, length: int, most: int) -> str:
    if length > most:
        raise Invalid(f"the id has {length} bytes, and strongSwan takes {most} of its kind; shorten it")
    return text


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False
