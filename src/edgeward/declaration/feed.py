"""The messages by which a node follows the declared state and its certificates.

One JSON object a line over one long HTTP answer. A transaction is one or more ``change`` messages
with the same revision, all but the last with ``more``: the node takes it in whole or not at all.
Revisions only grow; ``since`` in the request is the last one taken in whole.

Controllers and nodes of neighbouring versions understand each other (docs/decisions/0011): fields and
messages that a reader does not know it leaves out, and fields that are newer than the other side's
``protocol`` a writer leaves out (``dumped``): protocol 1 refused what it did not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from edgeward.parsing import Value

PROTOCOL: Final = 2
"""What this version speaks; 1 is what is meant where nobody says."""


Revision = Annotated[int, Field(ge=0, lt=2**63)]
"""As databases hold them, and as a node may say: it says what it likes."""


class Said(Value):
    """What one program tells another: of another version it may have fields that are not known here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Hello(Said):
    """First message. ``reset``: forget everything, what follows is the whole state."""

    type: Literal["hello"] = "hello"
    store: str
    """Identity of the store; revisions of two stores cannot be compared."""
    version: str
    reset: bool
    protocol: int = 1
    controllers: tuple[str, ...] = ()
    """URLs of all controllers that are there; none: nobody knows."""


class Put(Said):
    """One object as it is now. Kinds: ``listen``, ``cache``, ``domains``, ``services``, ``routes``,
    ``tcp_routes``, ``certificates`` (value: chain, key, not_after as ISO 8601, fingerprint, issuer; of hot
    names also ``rsa`` with chain and key, and ``ticket_keys`` in base64, the newest first)."""

    kind: str
    project: str
    name: str
    revision: int
    value: dict[str, Any]


class Removed(Said):
    kind: str
    project: str
    name: str


class ChangeMessage(Said):
    type: Literal["change"] = "change"
    revision: int
    put: tuple[Put, ...] = ()
    remove: tuple[Removed, ...] = ()
    expire: tuple[str, ...] = ()
    """Names whose copies in Envoy and in memory go now, with what is remembered as not to be had; ``*``
    alone stands for all of them. The sealed copy stays: the feed itself keeps it like the store."""
    more: bool = False


class Synced(Said):
    """Everything up to ``revision`` was sent; sent after catching up and with each change after that."""

    type: Literal["synced"] = "synced"
    revision: int


class Ping(Said):
    """Sent every 2 s (protocol 1: 5 s); a node that hears nothing for 8 s asks another controller."""

    type: Literal["ping"] = "ping"
    ready: bool = True
    """False: another controller may know more, as this one's ``/readyz`` tells."""


class Ask(Said):
    """A question to this node; it posts an Answer with the same id within 2 s."""

    type: Literal["ask"] = "ask"
    id: str
    question: Literal["name"] = "name"
    name: str


class Run(Said):
    """An action for this node's rootd; it posts an Answer with the same id once that has come to its end."""

    type: Literal["run"] = "run"
    id: str
    action: str
    """Blank: which there are for this asker."""
    values: dict[str, str | int] = {}
    asker: dict[str, str] = {}
    """The role, token and address that it is asked with."""


class Gateways(Said):
    """The gateways of tunnels that this node has (``vpn.desired.Gateway``), apart from revisions: secrets are
    in clear, so that they stand nowhere but in the node's sealed copy.

    The first one of a connection says ``whole``: others than these are no more. A message with ``more``
    goes on in the next one, and both are taken in together.
    """

    type: Literal["gateways"] = "gateways"
    put: tuple[dict[str, Any], ...] = ()
    remove: tuple[str, ...] = ()
    """Ids."""
    whole: bool = False
    more: bool = False


class Steer(Said):
    """What to do with a tunnel of this node; it posts an Answer with the same id.

    Its ``run`` has ``outcome``, ``reason`` where it failed, the connection's ``state`` afterwards, after
    ``verbosity`` the ``commands`` that look inside its daemon, or the ``lines`` that are wanted: pairs of
    Unix time and text, the oldest first.
    """

    type: Literal["steer"] = "steer"
    id: str
    gateway: str
    namespace: str
    driver: str
    connection: str
    what: Literal["look", "initiate", "terminate", "verbosity"]
    level: int = 1
    """Of ``verbosity``: -1 (nothing) to 4 (everything)."""
    lines: int = 0
    """Of ``look``: so many lines of its daemon's log are wanted instead of how it does."""
    by: str = ""
    """The name of the token that asked for it."""


class Unknown(Said):
    """A message of another version, to be passed over."""

    type: str


Message = Annotated[
    Hello | ChangeMessage | Synced | Ping | Ask | Run | Gateways | Steer, Field(discriminator="type")
]
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
_TYPES: Final = frozenset({"hello", "change", "synced", "ping", "ask", "run", "gateways", "steer"})


def read(line: bytes) -> Message | Unknown:
    """Read one message; raises pydantic.ValidationError for what is none."""
    try:
        return _MESSAGE.validate_json(line)
    except ValidationError:
        unknown = Unknown.model_validate_json(line)
        if unknown.type in _TYPES:
            raise
        return unknown


def dumped(message: Value, protocol: int) -> dict[str, Any]:
    """Give a message as JSON data that the other side understands."""
    newer = _NEWER.get(type(message), set()) if protocol < PROTOCOL else set()
    return message.model_dump(mode="json", exclude=newer)


# --- from the node ---------------------------------------------------------------------------


class Rejection(Said):
    """What Envoy would not take, as a sentence about the object it came from."""

    object: str
    """Key of the object (``services/default/shop``), or of the Envoy resource where none is known."""
    message: str
    revision: int


class TierFigures(Said):
    size: int
    bound: int
    hits: int
    misses: int
    evictions: int = 0


class EnvoyState(Said):
    state: str
    """``starting``, ``serving``, ``draining``, ``down``."""
    version: str = ""
    since: str = ""
    hot_restarts: int = 0
    """How often another Envoy took over from the one before."""
    draining: int = 0
    """Envoys that others have taken over from, and that still have visitors."""
    failure: str = ""
    """Why the last restart that was asked for came to nothing."""


class LogHead(Said):
    """The newest line of the audit log of a node's rootd: its number and its hash."""

    n: Revision
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class GatewayState(Said):
    """How the daemon of one gateway does, and its connections (``vpn.driver.State``) by id."""

    id: str
    phase: str
    """``starting``, ``running``, ``standby``, ``down``; ``reason`` says why it is down."""
    since: float
    reason: str = ""
    connections: tuple[dict[str, Any], ...] = ()
    whole: bool = True
    """False: connections that are not among these do as before."""


class Tunnels(Said):
    """What a node says of its gateways: of those that changed, at once; of all of them when a feed begins."""

    gateways: tuple[GatewayState, ...] = ()
    whole: bool = False
    """True: it has no others."""


class Claim(Said):
    """The gateways that this node has with others and could carry now; said each second."""

    gateways: tuple[str, ...] = ()
    """Ids."""


class Granted(Said):
    """Those of them that it has active until it hears otherwise."""

    gateways: tuple[str, ...] = ()
    free_in: float | None = None
    """After how many seconds one of the others may be free, if its node does not ask for it again."""


class Report(Said):
    """What a node says of itself: on each change, and at least every 10 s."""

    version: str
    protocol: int = 1
    revision: Revision
    """Everything up to here is in force in Envoy (acknowledged)."""
    received: Revision
    rejections: tuple[Rejection, ...] = ()
    envoy: EnvoyState
    cache: dict[str, TierFigures] = {}
    """By tier: ``resident``, ``spellings``, ``memory``, ``disk``, ``redis``, ``misses``."""
    certificates: int = 0
    """In the sealed copy."""
    backends: dict[str, str] = {}
    """Services with something wrong: key → sentence (name not resolved, address refused, …)."""
    left_out: dict[str, str] = {}
    """Services that do without some of their backends for a while: key → sentence."""
    root_log: LogHead | None = None
    rootd: str = ""
    """Why it does nothing for the tunnels of this node; blank: it does, or there are none."""


class Answer(Said):
    """A node's answer to an Ask about a name, or to a Run."""

    id: str
    tier: str
    """``resident``, ``memory``, ``disk``, ``redis``, ``missed``, ``none``."""
    not_after: str | None = None
    fingerprint: str | None = None
    service: dict[str, str] = {}
    """Services the name's routes use that cannot serve: key → sentence."""
    notes: tuple[str, ...] = ()
    """What is wrong and does not keep it from being served: one of several backends is down."""
    run: dict[str, Any] | None = None
    """What rootd said."""


class Join(Said):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Identity(Said):
    """What a node needs to talk to its controller; kept in ``STATE_DIR/node/identity.json`` (0600)."""

    name: str
    controller: str
    """Base URL, ``https://127.0.0.1:2443``."""
    token: str
    ca: str
    """PEM of the authority to trust, and nothing else."""
    controllers: tuple[str, ...] = ()
    """All of them, as far as they are known; the one above is among them."""


_NEWER: Final[Mapping[type[Value], set[str]]] = {
    Hello: {"protocol", "controllers"},
    Ping: {"ready"},
    Report: {"left_out", "protocol", "root_log", "rootd"},
    Identity: {"controllers"},
}
"""Fields that protocol 1 did not have."""
