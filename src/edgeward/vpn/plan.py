"""What is to be done for a gateway to be as it is declared: pure, and nothing where it already is.

Whoever stops after any of the steps, and plans again from what is there, arrives. What belongs in a tunnel is
guarded before the tunnel is there, and as long as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from edgeward.vpn import wiring
from edgeward.vpn.desired import Connection, DriverName, Gateway


@dataclass(frozen=True)
class Loaded:
    """A connection that a daemon knows. ``as_it_was``: how it was loaded last; None: nobody remembers.

    ``active``: its gateway was the active one then.
    """

    as_it_was: Connection | None
    active: bool = True


@dataclass(frozen=True)
class Observed:
    """One gateway, as it is found."""

    namespace: str = ""
    """Blank: there is none."""
    stale: bool = False
    """Somebody else's, who made it anew: what is in use is not it any more."""
    network: str = ""
    guard: str = ""
    """Digests of what rootd carried out last and is still there; blank: nothing."""
    daemon: DriverName | None = None
    loaded: Mapping[str, Loaded] = field(default_factory=dict)
    """By id; of a daemon that is there."""
    left: bool = False
    """The kernel goes on with the keys of a daemon that has ended."""
    taken_over: bool = False
    """What was left is of no use any more: there are others, or they do not come."""


@dataclass(frozen=True)
class Make:
    """Have the namespace; ``lent``: somebody else's."""

    namespace: str
    lent: bool


@dataclass(frozen=True)
class Guard:
    namespace: str
    elsewhere: wiring.Elsewhere
    pairs: str

    @property
    def digest(self) -> str:
        return wiring.digest(f"{self.elsewhere} {self.pairs}")


@dataclass(frozen=True)
class Connect:
    namespace: str
    network: str


@dataclass(frozen=True)
class Start:
    namespace: str
    driver: DriverName


@dataclass(frozen=True)
class Load:
    connection: Connection
    before: Connection | None
    active: bool

    @property
    def initiate(self) -> bool:
        return self.active and self.connection.enabled and self.connection.initiator


@dataclass(frozen=True)
class Unload:
    connection: str


@dataclass(frozen=True)
class Activate:
    """Have one that is loaded begin, as far as it is to."""

    connection: Connection

    @property
    def initiate(self) -> bool:
        return self.connection.enabled and self.connection.initiator


@dataclass(frozen=True)
class Rest:
    """Have one that is loaded end its tunnels: another node has them now."""

    connection: Connection


@dataclass(frozen=True)
class Rehearse:
    """See in a namespace of its own that another daemon is there and takes all of it, before one is ended."""

    namespace: str
    driver: DriverName
    connections: tuple[Connection, ...]


@dataclass(frozen=True)
class Leave:
    """Have the daemon end, and the kernel go on with its keys until ``driver`` has others."""

    namespace: str
    driver: DriverName


@dataclass(frozen=True)
class Clear:
    """End the keys that a former daemon left."""

    namespace: str


@dataclass(frozen=True)
class Stop:
    namespace: str
    driver: DriverName


@dataclass(frozen=True)
class Remove:
    namespace: str


Told = Load | Unload | Activate | Rest
Step = Make | Guard | Connect | Start | Told | Rehearse | Leave | Clear | Stop | Remove


def plan(desired: Gateway | None, observed: Observed) -> list[Step]:
    """Give the steps from what is found to what should be; ``desired`` None: nothing should be."""
    if desired is None:
        return _undone(observed)
    steps: list[Step] = []
    if observed.namespace and (observed.stale or observed.namespace != wiring.namespace(desired)):
        steps, observed = _undone(observed), Observed()
    if observed.daemon not in (None, desired.driver):
        enabled = tuple(one for one in desired.connections if one.enabled)
        steps.append(Rehearse(wiring.rehearsing(desired.id), desired.driver, enabled))
        steps.append(Leave(observed.namespace, desired.driver))
        observed = replace(observed, daemon=None, loaded={}, left=True, taken_over=False)
    return [*steps, *_done(desired, observed)]


def _done(desired: Gateway, observed: Observed) -> list[Step]:
    where = wiring.namespace(desired)
    wanted = {one.id: one for one in desired.connections}
    known = [one.as_it_was for one in observed.loaded.values() if one.as_it_was is not None]
    first = _guard(desired, [*desired.connections, *known])
    last = _guard(desired, desired.connections)
    network = wiring.network(desired)
    steps: list[Step] = []
    if not observed.namespace:
        steps.append(Make(where, lent=desired.namespace is not None))
    if first.digest != observed.guard:
        steps.append(first)
    if network is not None and wiring.digest(network) != observed.network:
        steps.append(Connect(where, network))
    if observed.daemon is None:
        steps.append(Start(where, desired.driver))
    steps += [Unload(id_) for id_ in observed.loaded if id_ not in wanted]
    for id_, connection in wanted.items():
        steps += _carried(connection, observed.loaded.get(id_), active=desired.active)
    if observed.left and observed.taken_over:
        steps.append(Clear(where))
    if last.digest != first.digest:
        steps.append(last)
    return steps


def _carried(connection: Connection, loaded: Loaded | None, *, active: bool) -> list[Step]:
    if loaded is None or loaded.as_it_was != connection:
        before = None if loaded is None else loaded.as_it_was
        rest = [Rest(connection)] if loaded is not None and loaded.active and not active else []
        return [Load(connection, before, active), *rest]
    if loaded.active == active:
        return []
    return [Activate(connection) if active else Rest(connection)]


def _undone(observed: Observed) -> list[Step]:
    """Give how it is taken away: the guard goes with its namespace, last."""
    if not observed.namespace:
        return []
    return [*_stopped(observed), Remove(observed.namespace)]


def _stopped(observed: Observed) -> list[Step]:
    return [] if observed.daemon is None else [Stop(observed.namespace, observed.daemon)]


def _guard(gateway: Gateway, connections: list[Connection] | tuple[Connection, ...]) -> Guard:
    return Guard(wiring.namespace(gateway), wiring.elsewhere(gateway), wiring.pairs(connections))


def batches(todo: Sequence[Step], most: int) -> Iterator[list[Step]]:
    """Give the steps in their order; what is told of different connections goes side by side."""
    batch: list[Step] = []
    for step in todo:
        alike = batch and type(step) is type(batch[0]) and isinstance(step, OF_A_DAEMON)
        if batch and (not alike or len(batch) >= most):
            yield batch
            batch = []
        batch.append(step)
    if batch:
        yield batch


OF_A_DAEMON: Final = (Load, Unload, Activate, Rest)
"""What a daemon that runs is told: of all else root has a part."""
