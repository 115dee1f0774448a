"""What lies in the gateways' Redis: the two layouts lua-resty-peter_sslers reads, as commands.

Type 1: a hash ``d1:NAME`` with c, p, i leads to ``c:ID`` (certificate), ``p:ID`` (key) and ``i:ID`` (the
rest of the chain); the client serves c, a newline and i, and all three must be there. Type 2: a hash
``d2:NAME`` with p (key) and f (full chain). It asks with the name as the visitor spelled it, so only
lower-case names can be found.

The client reads d1, p, c and i one after the other. So ids are of what they stand for, never used twice, and
what is not led to any more stays for a minute: whoever began to read finds an old chain with its old key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from edgeward.api.openresty.payload import leaf_and_rest
from edgeward.certificates.model import Certificate

Command = tuple[str | int, ...]
LINGER: Final = 60
_MARK: Final = "by"
"""A field of ours in both hashes, which no client reads: somebody else's entries are left alone."""
_OURS: Final = "edgeward"
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True)
class There:
    """What is there of one name: the ids type 1 leads to, and whether the entries are ours."""

    c: str | None = None
    p: str | None = None
    ours: bool = False


@dataclass(frozen=True)
class Mark:
    """How far Redis is. ``after``: a full prime is under way and got to this name; else None."""

    store: str
    token: int
    revision: int
    after: str | None = None


def questions(name: str) -> tuple[Command, Command]:
    """Give what ``there`` is asked by."""
    return ("HMGET", f"d1:{name}", "c", "p", _MARK), ("HGET", f"d2:{name}", _MARK)


def there(one: list[str | None], two: str | None) -> There:
    c, p, mark = one
    return There(c, p, _OURS in (mark, two))


def put(certificate: Certificate, types: Collection[int], before: There) -> list[Command]:
    """Give the commands that put a certificate in the place of what is there, all to be done at once."""
    until = int(certificate.not_after.timestamp())
    commands: list[Command] = []
    key = certificate.key.reveal()
    ids = _ids(certificate)
    if 1 in types:
        leaf, rest = leaf_and_rest(certificate.chain)
        commands += [
            ("SET", f"c:{ids['c']}", leaf.rstrip("\n"), "EXAT", until),
            ("SET", f"p:{ids['p']}", key, "EXAT", until),
            *_shared(f"i:{ids['i']}", rest, until),
            *_hash(f"d1:{certificate.name}", ids, until),
        ]
    else:
        commands.append(("DEL", f"d1:{certificate.name}"))
    if 2 in types:
        commands += _hash(f"d2:{certificate.name}", {"p": key, "f": certificate.chain}, until)
    else:
        commands.append(("DEL", f"d2:{certificate.name}"))
    kept = ids if 1 in types else {}
    return commands + _left(before, {kept.get("c"), kept.get("p")})


def drop(name: str, before: There) -> list[Command]:
    """Give the commands that take a name out; nothing where it is somebody else's."""
    if not before.ours:
        return []
    return [("DEL", f"d1:{name}", f"d2:{name}"), *_left(before, ())]


def _ids(certificate: Certificate) -> dict[str, str]:
    """Certificates and keys have ids of their own; the rest of the chain is shared by all that have it."""
    own = certificate.fingerprint[:32]
    rest = leaf_and_rest(certificate.chain)[1]
    return {"c": own, "p": own, "i": hashlib.sha256(rest.encode()).hexdigest()[:32]}


def _hash(key: str, fields: Mapping[str, str], until: int) -> list[Command]:
    said = [word for pair in fields.items() for word in pair]
    return [("DEL", key), ("HSET", key, *said, _MARK, _OURS), ("EXPIREAT", key, until)]


def _shared(key: str, value: str, until: int) -> list[Command]:
    """Write what others use, too: it stays as long as the last of them."""
    return [
        ("SET", key, value, "EXAT", until, "NX"),
        ("SET", key, value, "KEEPTTL"),
        ("EXPIREAT", key, until, "GT"),
    ]


def _left(before: There, kept: Collection[str | None]) -> list[Command]:
    found = (("c", before.c), ("p", before.p))
    return [
        ("EXPIRE", f"{kind}:{number}", LINGER, "LT")
        for kind, number in found
        if number is not None and number not in kept and _ID.fullmatch(number)
    ]
