"""What the daemon of a gateway is told of connections: how each was loaded last, and what it did not take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from edgeward.errors import Invalid
from edgeward.log import logger
from edgeward.node.tunnels.kept import Kept
from edgeward.vpn import plan as steps
from edgeward.vpn.desired import Connection, Gateway
from edgeward.vpn.driver import Driver, State
from edgeward.vpn.plan import Loaded

log = logger(__name__)


class Loading:
    """``loaded``: how connections were loaded last, by id; ``changed()`` is called when one is not taken."""

    def __init__(
        self, gateway: str, kept: Kept, changed: Callable[[], None], loaded: Mapping[str, Loaded]
    ) -> None:
        self._gateway, self._kept, self._changed = gateway, kept, changed
        self._loaded = dict(loaded)
        self._told: set[str] = set()
        """What the driver was told since it was opened: before, it may not know what it is to keep up."""
        self._problems: dict[str, tuple[Connection, State]] = {}

    @property
    def problems(self) -> Mapping[str, State]:
        """What the daemon did not take, by id."""
        return {id_: state for id_, (_, state) in self._problems.items()}

    def known(self) -> list[Connection]:
        return [one.as_it_was for one in self._loaded.values() if one.as_it_was is not None]

    def as_told(self, id_: str, gateway: Gateway | None) -> Loaded:
        """Give how one was loaded. A driver opened anew is told again what it is to keep up."""
        one = self._loaded.get(id_, Loaded(None))
        if gateway is not None and gateway.active and id_ not in self._told:
            return Loaded(one.as_it_was, active=False)
        return one

    def without_refused(self, gateway: Gateway | None) -> Gateway | None:
        """Leave out what the daemon did not take, as long as it is the same."""
        if gateway is None:
            self._problems.clear()
            return None
        same = {one.id for one in gateway.connections if self._refused(one)}
        self._problems = {id_: found for id_, found in self._problems.items() if id_ in same}
        if not same:
            return gateway
        before = {id_: self._loaded.get(id_) for id_ in same}
        kept = [before[one.id].as_it_was if one.id in same else one  # type: ignore[union-attr]
                for one in gateway.connections if one.id not in same or before[one.id]]  # fmt: skip
        return gateway.model_copy(update={"connections": tuple(one for one in kept if one is not None)})

    async def tell(self, driver: Driver, step: steps.Told) -> None:
        """Have the daemon know what is to be of one connection; raises Unavailable."""
        if isinstance(step, steps.Unload):
            await driver.unload(step.connection)
            self._forget([step.connection])
            return
        one = step.connection
        try:
            loaded = await _told(driver, step)
        except Invalid as error:
            log.warning("a connection is not taken", connection=one.name, problem=str(error))
            self._problems[one.id] = (one, refused(one.id, str(error), "change what it names"))
            if not isinstance(step, steps.Load):  # else what was before is to be told again
                self._told.add(one.id)
            self._changed()
            return
        self._remember(loaded)

    def tell_again(self) -> None:
        """Have all be told once more."""
        self._told.clear()

    def forget_all(self) -> None:
        """Note that the daemon has ended, and knows nothing any more."""
        self._forget(list(self._loaded))

    def _refused(self, one: Connection) -> bool:
        found = self._problems.get(one.id)
        return found is not None and found[0] == one

    def _remember(self, loaded: Loaded) -> None:
        assert loaded.as_it_was is not None
        id_ = loaded.as_it_was.id
        self._told.add(id_)
        if self._loaded.get(id_) != loaded:
            self._loaded[id_] = loaded
            self._kept.remember(self._gateway, [loaded])

    def _forget(self, gone: list[str]) -> None:
        for id_ in gone:
            self._loaded.pop(id_, None)
        if gone:
            self._kept.forget(self._gateway, gone)


async def _told(driver: Driver, step: steps.Load | steps.Activate | steps.Rest) -> Loaded:
    """Have the daemon know one; gives how it is loaded now. Raises Invalid where it does not take it."""
    match step:
        case steps.Load(one, before, active):
            await driver.load(one, before, initiate=step.initiate)
            return Loaded(one, active)
        case steps.Activate(one):
            await driver.load(one, one, initiate=step.initiate)
            return Loaded(one, active=True)
        case steps.Rest(one):
            problem = None
            try:
                await driver.load(one, one, initiate=False)
            except Invalid as error:
                problem = error
            if one.enabled:  # all the same: another node has its tunnels
                await driver.terminate(one.id)
            if problem is not None:
                raise problem
            return Loaded(one, active=False)


def refused(id_: str, reason: str, remedy: str) -> State:
    return State(connection=id_, phase="error", since=time.time(), reason=reason, remedy=remedy)
