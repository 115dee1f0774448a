"""What the API is given to work with: use cases put together by the controller, no store in sight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edgeward.access.model import Principal, Role, Token
from edgeward.declaration.feed import Answer, Identity, Report
from edgeward.declaration.model import Applied, Key, Stored

if TYPE_CHECKING:
    from edgeward.api.accounts import Accounts
    from edgeward.api.actions import Actions
    from edgeward.api.bringing import Bringing
    from edgeward.api.certificates import Certificates
    from edgeward.api.challenges import Challenges
    from edgeward.api.events import Events
    from edgeward.api.explain import Explaining
    from edgeward.api.history import History
    from edgeward.api.holding import Holding
    from edgeward.api.keys import Keys
    from edgeward.api.orders import Orders
    from edgeward.api.sites import Sites
    from edgeward.api.tunnels import Steering, Telling


@dataclass(frozen=True)
class Filter:
    """Which objects of a kind are asked for; None means any. ``name`` may end in ``*``."""

    project: str | None = None
    source: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Page:
    limit: int = 100
    after: tuple[str, ...] | None = None
    """Sort key of the last item of the page before."""


@dataclass(frozen=True)
class Precondition:
    """If-Match and If-None-Match: ``match`` lists acceptable revisions; None where not given."""

    match: tuple[int, ...] | None = None
    exists: bool = False
    """If-Match: * was given."""
    absent: bool = False
    """If-None-Match: * was given."""
    unless: tuple[int, ...] | None = None
    """If-None-Match: revisions the reader holds already."""


@dataclass(frozen=True)
class ApplyRequest:
    source: str
    document: str | Mapping[str, Any]
    keep: bool = False
    take_over: bool = False
    dry_run: bool = False
    match: tuple[int, ...] | None = None


Progress = Callable[[str, int, int], None]
"""Told the step (reading, comparing, checking, writing), how many objects are done, and of how many."""


class Authenticator(Protocol):
    async def authenticate(self, token: str | None, client: str) -> Principal:
        """Give whose token it is; raises Unauthenticated or Throttled."""
        ...


class Declarations(Protocol):
    async def listed(
        self, who: Principal, kind: str, where: Filter, limit: int, after: tuple[str, ...] | None
    ) -> Sequence[Stored]: ...

    async def found(self, who: Principal, kind: str, name: str, project: str | None) -> Stored: ...

    async def put(
        self, who: Principal, key: Key, value: object, expected: Precondition, take_over: bool
    ) -> tuple[Stored, bool]:
        """Give the object as it is now and whether it was made; raises every kind of error."""
        ...

    async def deleted(
        self,
        who: Principal,
        kind: str,
        name: str,
        project: str | None,
        expected: Precondition,
        take_over: bool,
    ) -> None: ...

    async def applied(
        self, who: Principal, request: ApplyRequest, progress: Progress | None = None
    ) -> Applied: ...

    async def exported(
        self, who: Principal, project: str | None, source: str | None
    ) -> tuple[Mapping[str, Any], int]:
        """Give the document and the revision of the last change of anything declared."""
        ...

    async def audited(
        self, who: Principal, where: Filter, kind: str | None, limit: int, before: int | None
    ) -> Sequence[Mapping[str, Any]]: ...


class Tokens(Protocol):
    async def minted(
        self,
        who: Principal,
        name: str,
        role: Role,
        project: str,
        expires_in: float | None,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[Token, str]: ...

    async def listed(self, who: Principal, limit: int, after: str | None) -> Sequence[Token]: ...

    async def revoked(self, who: Principal, id_or_name: str) -> None: ...


class Nodes(Protocol):
    async def listed(self, who: Principal) -> Sequence[Mapping[str, Any]]: ...

    async def found(self, who: Principal, name: str) -> Mapping[str, Any]: ...

    async def forgotten(self, who: Principal, name: str) -> None: ...

    async def labelled(self, who: Principal, name: str, labels: Mapping[str, str]) -> Mapping[str, Any]: ...

    async def joined(self, who: Principal, name: str, controller: str) -> Identity: ...

    async def watched(
        self, who: Principal, since: int, store: str, protocol: int = 1
    ) -> AsyncIterator[bytes]:
        """Give the feed of the node ``who`` is, line by line, until its token or the program ends."""
        ...

    async def reported(self, who: Principal, report: Report) -> None: ...

    async def answered(self, who: Principal, answer: Answer) -> None: ...

    async def logged(self, who: Principal, name: str) -> Mapping[int, str]:
        """Give what the audit log of a node's rootd ended with, each minute: hashes by line number."""
        ...

    async def opening(self, who: Principal) -> Sequence[bytes]:
        """Give the keys with which the node ``who`` is opens what it may serve in the tier in Redis."""
        ...

    async def waited(
        self, who: Principal, revision: int, timeout: float, unlike: str | None = None
    ) -> Mapping[str, Any]: ...


class Seeing(Protocol):
    async def status(self, who: Principal) -> Mapping[str, Any]: ...

    async def ready(self) -> str | None:
        """Give None when ready, else the reason why not."""
        ...

    async def metrics(self) -> bytes: ...

    def stale_since(self) -> float | None:
        """Give since when (Unix seconds) answers come from memory: the database cannot be asked."""
        ...


@dataclass(frozen=True)
class UseCases:
    """Everything the routes call; those with a module of their own are declared beside their routes."""

    access: Authenticator
    declarations: Declarations
    tokens: Tokens
    nodes: Nodes
    seeing: Seeing
    certificates: Certificates
    bringing: Bringing
    explain: Explaining
    history: History
    orders: Orders
    events: Events
    actions: Actions
    challenges: Challenges
    keys: Keys
    accounts: Accounts
    tunnels: Telling
    holding: Holding
    steering: Steering
    sites: Sites
