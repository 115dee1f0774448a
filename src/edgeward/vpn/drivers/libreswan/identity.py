"""Names of peers as Libreswan's files spell them: only those of which it makes what was meant.

A connection's id that pluto cannot read becomes the peer's address, and a secret's becomes none at all, so
that the secret is anybody's; neither is an error to it. Thus what is not surely read is refused here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from edgeward.errors import Invalid

_MOST: Final = 255
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_MAIL: Final = re.compile(rf"[A-Za-z0-9._+-]+@{_NAME.pattern}")
_PART: Final = r"(?:C|ST|L|O|OU|CN|E)=[A-Za-z0-9](?:[A-Za-z0-9 ._@()':-]*[A-Za-z0-9.)])?"
_DISTINGUISHED: Final = re.compile(rf"{_PART}(?:, ?{_PART})*")


def spelled(identity: str) -> str:
    """Give it as one word of ``ipsec.conf`` and ``ipsec.secrets``; raises Invalid with the remedy."""
    if len(identity) <= _MOST:
        name = identity.removeprefix("@")
        if _is_address(identity):
            return str(ipaddress.ip_address(identity))
        if _NAME.fullmatch(name):
            return f"@{name}"
        if _MAIL.fullmatch(identity):
            return identity
        if _DISTINGUISHED.fullmatch(identity):
            return f'"{identity}"'
    raise Invalid(
        f"Libreswan cannot be told the id {_shown(identity)}; take an address, a name as gw.example.com, "
        "user@example.com or C=DE, O=Example, CN=gw in ASCII letters, or the driver strongswan"
    )


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _shown(identity: str) -> str:
    return repr(identity if len(identity) <= 60 else f"{identity[:60]}…")
