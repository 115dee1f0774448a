"""Header names and values, and what may be changed about them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from edgeward.errors import Invalid
from edgeward.parsing import Value, checked

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


def _header_name(text: str) -> str:
    if not _TOKEN.fullmatch(text) or len(text) > 128:
        raise Invalid("a header name has 1 to 128 letters, digits and -!#$%&'*+.^_`|~")
    return text.lower()


def _changeable_header(text: str) -> str:
    name = _header_name(text)
    if name in _FIXED_HEADERS or name.startswith("x-envoy-"):
        raise Invalid(f"'{name}' belongs to the connection and cannot be set or removed")
    return name


_HOP_HEADERS = "host connection content-length transfer-encoding upgrade te trailer keep-alive"
_VISITOR_HEADERS = "x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip"
_FIXED_HEADERS = frozenset(f"{_HOP_HEADERS} {_VISITOR_HEADERS}".split())


def _header_value(text: str) -> str:
    if len(text) > 4096 or not all(c == "\t" or 0x20 <= ord(c) < 0x7F for c in text):
        raise Invalid("a header value has at most 4,096 printable ASCII characters")
    return text


HeaderName = Annotated[str, checked(_header_name)]
ChangeableHeader = Annotated[str, checked(_changeable_header)]
HeaderValue = Annotated[str, checked(_header_value)]


class HeaderChange(Value):
    """Headers set (replaced), added beside what is there, and removed. Values are taken literally."""

    set: dict[ChangeableHeader, HeaderValue] = Field(default={}, max_length=100)
    """Replaced, or added where missing."""
    add: dict[ChangeableHeader, HeaderValue] = Field(default={}, max_length=100)
    """Added beside what is there."""
    remove: tuple[ChangeableHeader, ...] = Field(default=(), max_length=100)
    """Taken away."""

    def __hash__(self) -> int:
        """Being hashable spares every route a deep copy of its default."""
        return hash((frozenset(self.set.items()), frozenset(self.add.items()), self.remove))
