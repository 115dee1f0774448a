"""Which id OpenStack's clients know an object by, and which name it has for them."""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import Annotated, Final

from pydantic import Field

from edgeward.parsing import Name, Value

KINDS: Final = (
    "networks",
    "subnets",
    "routers",
    "ikepolicies",
    "ipsecpolicies",
    "vpnservices",
    "endpoint_groups",
    "ipsec_site_connections",
)
_OURS: Final = uuid.UUID("6d1bb9a2-7a52-5f0a-9b39-0f4f8f7d4c11")
LONGEST: Final = 255
_REMEMBERED: Final = 1 << 16
Text = Annotated[str, Field(max_length=LONGEST)]


class Known(Value):
    """What every object of OpenStack has."""

    name: Name
    """What other objects say when they mean it; a UUID where a client of OpenStack made it."""
    project: Name = "default"
    label: Text = ""
    """Its name for OpenStack's clients, which need not be unique; if none is given, its name here unless
    that is a UUID."""
    description: Text = ""
    """For people."""


def canonical(text: str) -> str | None:
    """Give a UUID in its one spelling, None where it is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


@lru_cache(_REMEMBERED)
def id_of(kind: str, project: str, name: str) -> str:
    """Give the id of an object: its name where that is a UUID, else one made of kind, project and name."""
    return name if canonical(name) == name else str(uuid.uuid5(_OURS, f"{kind}/{project}/{name}"))


def label_of(known: Known) -> str:
    """Give the name that OpenStack's clients see."""
    return known.label or ("" if canonical(known.name) == known.name else known.name)
