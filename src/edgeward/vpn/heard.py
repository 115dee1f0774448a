"""What was heard of gateways and of the tunnels in them: values, as nodes said them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeward.vpn.driver import State

STANDBY: Final = "standby"


@dataclass(frozen=True)
class Heard:
    """What a node says of one of its gateways; not ``whole``: its other connections do as before."""

    gateway: str
    phase: str
    """``starting``, ``running``, ``standby``, ``down``."""
    since: float
    reason: str = ""
    states: Sequence[State] = ()
    whole: bool = True


@dataclass(frozen=True)
class Daemon:
    """How the daemon of a gateway does on one node, as that said at ``at``."""

    gateway: str
    node: str
    phase: str
    since: float
    reason: str
    at: float


@dataclass(frozen=True)
class Held:
    """How a connection does, as its node said at ``at``. ``told``: the phase that the webhook was told."""

    state: State
    gateway: str
    node: str
    at: float
    told: str = ""


@dataclass(frozen=True)
class Moved:
    """A connection that is in another phase than before, or there for another reason."""

    before: State | None
    now: State
    gateway: str
    node: str
