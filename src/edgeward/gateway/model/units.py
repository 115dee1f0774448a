"""How durations, sizes, networks and exact names are written."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from edgeward import domain_name
from edgeward.errors import Invalid
from edgeward.parsing import checked

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_SIZE = re.compile(r"(\d+)(k|m|g)?", re.ASCII | re.IGNORECASE)
_UNIT_BYTES = {"k": 1024, "m": 1024**2, "g": 1024**3, "": 1}


def duration(value: Any) -> Any:
    """Give seconds from a number or ``500ms``, ``30s``, ``5m``, ``1h``, ``7d``."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a duration as seconds or like 500ms, 30s, 5m, 1h, 7d")
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def size(value: Any) -> Any:
    """Give bytes from a number or ``64k``, ``10m``, ``1g`` (powers of 1,024)."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a size as bytes or like 64k, 10m, 1g")
    return int(match[1]) * _UNIT_BYTES[(match[2] or "").lower()]


Seconds = Annotated[float, BeforeValidator(duration), Field(ge=0.001, le=86400 * 30, allow_inf_nan=False)]
Bytes = Annotated[int, BeforeValidator(size), Field(ge=0, le=1 << 40)]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise Invalid("write a network as an address block such as 10.0.0.0/8 or fd00::/8") from error


Network = Annotated[str, checked(_network)]
ExactName = Annotated[str, checked(domain_name.normalise)]
"""An exact domain name, canonical."""
