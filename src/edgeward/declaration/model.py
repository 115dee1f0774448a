"""The values of the declared state: objects with a key, a source and a revision, and changes between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from edgeward.errors import Conflict
from edgeward.parsing import Value

DEFAULT_PROJECT = "default"
SINGLETONS = ("listen", "cache", "budgets", "alarms", "openresty")
"""Kinds of which there is one object, named like its kind."""


class Key(NamedTuple):
    """Which object: ``str()`` gives ``services/default/shop``."""

    kind: str
    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.project}/{self.name}"


@dataclass(frozen=True)
class Kind:
    """One kind of object: its plural name in files and paths, and the value it holds.

    ``unique_everywhere``: names are unique over all projects, as domain names are; otherwise within one.
    """

    name: str
    model: type[Value]
    unique_everywhere: bool = False
    references: tuple[tuple[str, ...], ...] = ()
    """Fields that may say ``{file: PATH}`` or ``{env: NAME}`` instead of a text; ``*`` is any item,
    of a mapping too."""
    secrets: tuple[tuple[str, ...], ...] = ()
    """Fields of the type ``Sealed``: a text, a reference or ``{kept: DIGEST}``, see ``secrets.py``."""
    urls: tuple[tuple[str, ...], ...] = ()
    """Fields with a URL that stands there for everybody to see, and so holds no password. Those among
    ``secrets`` too may be secret as a whole instead, and then are of the type ``Sealed``."""
    spelling: Callable[[str], str] = str
    """Gives the canonical spelling of a name; raises Invalid where no object can have it."""

    @property
    def single(self) -> bool:
        return self.name in SINGLETONS


@dataclass(frozen=True, slots=True)
class Declared:
    """One object somebody wants, not yet stored. ``line`` is where its file says it."""

    key: Key
    value: Value
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as the store holds it. ``revision`` is that of its last change, also its ETag."""

    key: Key
    value: Value
    source: str
    revision: int


Action = Literal["create", "change", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One step from what is to what should be."""

    action: Action
    key: Key
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    taken_from: str | None = None
    """The source the object belonged to, where it changes hands."""
    owner: str | None = None
    """The source it belongs to afterwards, where that is not the writer's: in a rollback."""

    def source(self, writer: str) -> str:
        """Give whose the object is afterwards; of a deleted one, who deleted it."""
        return self.owner or writer

    def source_before(self, writer: str) -> str | None:
        """Give whose the object was; None where there was none."""
        return None if self.action == "create" else self.taken_from or self.source(writer)


@dataclass(frozen=True)
class Applied:
    """What an apply did: the revision that holds it and its changes, empty where nothing had to change."""

    revision: int
    changes: tuple[Change, ...] = field(default=())


class Outdated(Conflict):
    """What the writer had read was changed in the meantime: HTTP 412 (RFC 9110 13.1.1)."""
