"""Rate limits: how many requests a route takes, in all or from each client."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from edgeward.gateway.model.header import HeaderName
from edgeward.gateway.model.units import duration
from edgeward.parsing import Value


def _whole(seconds: float) -> float:
    if seconds != int(seconds):
        raise ValueError("write whole seconds, such as 1s, 60 or 5m")
    return seconds


Period = Annotated[
    float, BeforeValidator(duration), Field(ge=1, le=86400, allow_inf_nan=False), AfterValidator(_whole)
]


class ByHeader(Value):
    """Each value of a header is a client."""

    header: HeaderName
    """Requests without it, or with more than 128 bytes there, count by address."""


class RateLimit(Value):
    """A bucket of tokens on each node: every request takes one, and finds 429 where there is none."""

    requests: int = Field(ge=1, le=1_000_000)
    """Tokens added in each ``per``, evenly."""
    per: Period = 1.0
    """In whole seconds, up to a day."""
    burst: int | None = Field(default=None, ge=1, le=1_000_000)
    """Tokens the bucket holds; unset: as many as ``requests``."""
    by: Literal["route", "client"] | ByHeader = "client"
    """``route``: one bucket for all; ``client``: one for each address, or IPv6 /64; or ``{header: NAME}``."""
