"""What the API of OpenStack is given to work with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from edgeward.access.model import Principal
from edgeward.declaration.model import Key, Stored
from edgeward.sealing import Sealed
from edgeward.vpn.openstack.view import Ref, View


class Seen(View, Protocol):
    """Everything declared, as it was when the request came."""

    def of_kind(self, kind: str) -> Collection[Ref]:
        """Give all objects of a kind, in the order in which they were made known."""

    def identified(self, kind: str, identity: str) -> Collection[Ref]:
        """Give the objects of a kind with an id."""

    def stored(self, ref: Ref) -> Stored:
        """Give an object with its revision; raises KeyError."""


class Phases(Protocol):
    """How tunnels and their daemons do, as nodes said it last."""

    def connection(self, identity: str) -> str | None:
        """Give the phase of a connection, None where nobody said anything of it."""

    def gateway(self, identity: str) -> str | None:
        """Give the phase of a gateway's daemon on its active node."""


class OpenStack(Protocol):
    """Declared objects, their state, and the resolver."""

    async def seen(self) -> Seen:
        """Give everything declared up to now, whichever controller it was declared at."""

    async def phases(self, connections: Collection[str] | None) -> Phases:
        """Give the phases of these connections, None: of all."""

    async def resolved(self, name: str) -> str | None:
        """Give the first address of a name; None where it has none."""

    def revealed(self, secret: Sealed) -> str:
        """Give the text of a secret, for whoever may see it."""

    async def put(
        self, who: Principal, key: Key, value: Mapping[str, object], revision: int | None
    ) -> Stored:
        """Make an object what ``value`` says; ``revision`` None where it must be new."""

    async def deleted(self, who: Principal, key: Key) -> None:
        """Delete an object."""
