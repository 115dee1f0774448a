"""What is asked of public DNS about names: their addresses, and who may issue for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, order=True)
class Caa:
    """A record of RFC 8659: ``critical`` says that who does not know ``tag`` must not issue."""

    tag: str
    value: str
    critical: bool = False


class Lookups(Protocol):
    """Give what there is, nothing where there is none; raise Unavailable where DNS does not tell."""

    async def addresses(self, name: str) -> frozenset[str]: ...

    async def caa(self, name: str) -> frozenset[Caa]: ...
