"""Secrets within URLs: a password before the host, a token among the parameters; found, and taken out."""

from __future__ import annotations

import re
from typing import Final

_USER: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@")
_NAMES: Final = (
    "access_token|api_?key|api_?token|auth|auth_?token|client_secret|key|passwd|password|pwd|secret|sig"
    "|signature|token"
)
_PARAMETER: Final = re.compile(rf"([?&;](?:{_NAMES})=)[^&;#]+", re.IGNORECASE)


def holds_secret(url: str) -> bool:
    """Whether whoever reads it learns something to log in with."""
    return bool(_USER.match(url) or _PARAMETER.search(url))


def masked(url: str) -> str:
    """Give it with ``****`` for what is secret in it."""
    return _PARAMETER.sub(r"\1****", _USER.sub(r"\1****@", url))
