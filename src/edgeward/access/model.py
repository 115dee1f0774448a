"""Who asks, and what a route or a change asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from edgeward.errors import Refused

EVERY_PROJECT = "*"

Role = Literal["viewer", "operator", "admin", "node"]


class Right(Enum):
    """What is asked for. The first three are asked of one project, the others of the installation."""

    READ = "read what is declared, its certificates and its state"
    CHANGE = "change domains, services, routes and tunnels, and expire certificates"
    ADMINISTER = "change issuers, literal backends and tokens, and read the audit log"
    SURVEY = "read what belongs to the whole installation: nodes, metrics"
    GOVERN = "change what belongs to the whole installation: listen, cache, nodes"
    JOIN = "join as a node"
    FOLLOW = "follow the state as this node"


class Verdict(Enum):
    ALLOWED = "allowed"
    REFUSED = "refused"
    """Known to the asker, and not theirs to do: 403."""
    HIDDEN = "hidden"
    """Another project's: the asker must not learn that it exists: 404."""


@dataclass(frozen=True)
class Principal:
    """Somebody whose token was verified. ``node`` is set for the token of one joined node."""

    token_id: str
    name: str
    role: Role
    project: str
    node: str | None = None

    @property
    def everywhere(self) -> bool:
        return self.project == EVERY_PROJECT

    def sees(self, project: str) -> bool:
        """Whether objects of ``project`` may be shown to it; nodes see none by this way."""
        return self.role != "node" and self.project in (EVERY_PROJECT, project)

    @property
    def projects(self) -> str | None:
        """The one project it is confined to, or None for all of them."""
        return None if self.everywhere else self.project


@dataclass(frozen=True)
class Token:
    """A token as it is listed: never its secret. Times are Unix seconds."""

    id: str
    name: str
    role: Role
    project: str
    node: str | None
    created: float
    expires: float | None
    revoked: float | None
    labels: Mapping[str, str] | None = None
    """Of a join token: what a node that joins with it is labelled."""


class Unauthenticated(Refused):
    """No token, or none that is known: HTTP 401."""


class Throttled(Refused):
    """Too many failed log-ins from one place: HTTP 429; ``retry_after`` in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
