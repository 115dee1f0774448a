"""The messages by which a node follows the declared state and its certificates.

One JSON object a line over one long HTTP answer. A transaction is one or more ``change`` messages
with the same revision, all but the last with ``more``: the node takes it in whole or not at all.
Revisions only grow; ``since`` in the request is the last one taken in whole.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from edgeward.parsing import Value


class Hello(Value):
    """First message. ``reset``: forget everything, what follows is the whole state."""

    type: Literal["hello"] = "hello"
    store: str
    """Identity of the store; revisions of two stores cannot be compared."""
    version: str
    reset: bool


class Put(Value):
    """One object as it is now. Kinds: ``listen``, ``cache``, ``domains``, ``services``, ``routes``,
    ``tcp_routes``, ``certificates`` (value: chain, key, not_after as ISO 8601, fingerprint, issuer)."""

    kind: str
    project: str
    name: str
    revision: int
    value: dict[str, Any]


class Removed(Value):
    kind: str
    project: str
    name: str


class ChangeMessage(Value):
    type: Literal["change"] = "change"
    revision: int
    put: tuple[Put, ...] = ()
    remove: tuple[Removed, ...] = ()
    expire: tuple[str, ...] = ()
    """Names whose copies in Envoy and in memory go now, with what is remembered as not to be had; ``*``
    alone stands for all of them. The sealed copy stays: the feed itself keeps it like the store."""
    more: bool = False


class Synced(Value):
    """Everything up to ``revision`` was sent; sent after catching up and with each change after that."""

    type: Literal["synced"] = "synced"
    revision: int


class Ping(Value):
    """Sent every 5 s; a node that hears nothing for 15 s reconnects."""

    type: Literal["ping"] = "ping"


class Ask(Value):
    """A question to this node; it posts an Answer with the same id within 2 s."""

    type: Literal["ask"] = "ask"
    id: str
    question: Literal["name"] = "name"
    name: str


Message = Annotated[Hello | ChangeMessage | Synced | Ping | Ask, Field(discriminator="type")]
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def read(line: bytes) -> Message:
    """Read one message; raises pydantic.ValidationError for anything else."""
    return _MESSAGE.validate_json(line)


# --- from the node ---------------------------------------------------------------------------


class Rejection(Value):
    """What Envoy would not take, as a sentence about the object it came from."""

    object: str
    """Key of the object (``services/default/shop``), or of the Envoy resource where none is known."""
    message: str
    revision: int


class TierFigures(Value):
    size: int
    bound: int
    hits: int
    misses: int
    evictions: int = 0


class EnvoyState(Value):
    state: Literal["starting", "serving", "draining", "down"]
    version: str = ""
    since: str = ""
    hot_restarts: int = 0
    """How often another Envoy took over from the one before."""
    draining: int = 0
    """Envoys that others have taken over from, and that still have visitors."""
    failure: str = ""
    """Why the last restart that was asked for came to nothing."""


class Report(Value):
    """What a node says of itself: on each change, and at least every 10 s."""

    version: str
    revision: int
    """Everything up to here is in force in Envoy (acknowledged)."""
    received: int
    rejections: tuple[Rejection, ...] = ()
    envoy: EnvoyState
    cache: dict[str, TierFigures] = {}
    """By tier: ``resident``, ``spellings``, ``memory``, ``disk``, ``misses``."""
    certificates: int = 0
    """In the sealed copy."""
    backends: dict[str, str] = {}
    """Services with something wrong: key → sentence (name not resolved, address refused, …)."""


class Answer(Value):
    """A node's answer to an Ask about a name."""

    id: str
    tier: Literal["resident", "memory", "disk", "missed", "none"]
    not_after: str | None = None
    fingerprint: str | None = None
    service: dict[str, str] = {}
    """Services the name's routes use that cannot serve: key → sentence."""
    notes: tuple[str, ...] = ()
    """What is wrong and does not keep it from being served: one of several backends is down."""


class Join(Value):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Identity(Value):
    """What a node needs to talk to its controller; kept in ``STATE_DIR/node/identity.json`` (0600)."""

    name: str
    controller: str
    """Base URL, ``https://127.0.0.1:2443``."""
    token: str
    ca: str
    """PEM of the authority to trust, and nothing else."""
