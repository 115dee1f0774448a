"""What is declared once for the whole installation: bounds, and who is told of trouble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, WithJsonSchema

from edgeward.parsing import Value
from edgeward.sealing import Sealed

OpenUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+(/[^\s]*)?$", max_length=1000)]


def _which(given: object) -> str:
    return "secret" if isinstance(given, Mapping | Sealed) else "open"


def _object(field: str) -> dict[str, Any]:
    return {"type": "object", "properties": {field: {"type": "string"}}, "required": [field]}


_Secret = Annotated[
    Sealed, WithJsonSchema({"title": "Secret", "anyOf": [_object("secret"), _object("kept")]}), Tag("secret")
]
HookUrl = Annotated[Annotated[OpenUrl, Tag("open")] | _Secret, Discriminator(_which)]
"""A URL that everybody may see, or one that is secret as a whole."""


class Budgets(Value):
    """How many new names strangers may bring about within an hour; one object, named ``budgets``."""

    each_domain: int = Field(default=10_000, ge=1, le=100_000_000)
    """Below one wildcard on demand, with certificates of this installation's own authority."""
    each_ordering_domain: int = Field(default=300, ge=1, le=100_000_000)
    """Below one whose certificates are ordered from an authority that allows only so many."""
    each_project: int = Field(default=20_000, ge=1, le=100_000_000)
    """Below all wildcards of a project."""
    in_all: int = Field(default=50_000, ge=1, le=100_000_000)
    """Below all there are."""


class Alarms(Value):
    """Who is told of certificates that are not renewed in time and of tunnels that stay down; one object,
    named ``alarms``.

    A certificate is late when half of the time for its renewal has gone: with a sixth of its life left, a
    quarter where that is below ten days. It is told of at once, and each day until it is renewed. A tunnel
    is told of when it is down for ten seconds, and when it is up again.
    """

    webhook: HookUrl | None = None
    """URL they are sent to: a POST of JSON with ``alarm`` (``certificates_late``, ``tunnels``), ``count``,
    and ``certificates`` or ``tunnels``. Where the URL itself is a secret, ``{env: NAME}`` or
    ``{file: PATH}``, over the API ``{secret: URL}``."""
    authorization: Sealed | None = None
    """What is sent with it as the header ``Authorization``."""


class Cache(Value):
    """Bounds and durations of the tiers on every node; one object, named ``cache``."""

    resident: int = Field(default=10_000, ge=10, le=1_000_000)
    """Certificates in Envoy."""
    spellings: int = Field(default=256, ge=1, le=100_000)
    """Certificates in Envoy under non-canonical spellings, counted apart."""
    memory: int = Field(default=20_000, ge=0, le=1_000_000)
    """Certificates in the node's memory."""
    memory_seconds: float = Field(default=3600, ge=1, le=86400 * 30)
    """How long a certificate stays in memory at most."""
    misses: int = Field(default=50_000, ge=0, le=1_000_000)
    """Names remembered as not to be had."""
    miss_seconds: float = Field(default=5, ge=0, le=3600)
    """How long a name is remembered as not to be had; any change of its domain forgets it."""
