"""Another daemon takes over a gateway: the kernel has the former one's keys until there are others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from edgeward.errors import Unavailable
from edgeward.node.tunnels.root import Root
from edgeward.vpn.desired import DriverName, Gateway
from edgeward.vpn.driver import Handover, State

MOST_SECONDS: Final = 30.0
"""A daemon that was just started has so long, as has one that does not start; then it is the other's turn."""


class TakingOver:
    """``handover``: what the last one cost; ``left``: when a daemon ended whose keys are there yet, in Unix
    seconds as rootd notes it, or 0. How long is waited goes by ``clock``, which nobody sets.

    What does not come up in time goes back to the former one, as long as the declaration stays the same.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.handover: Handover | None = None
        self.left = 0.0
        self._clock = clock
        self._since = 0.0
        """From when on what is to come up has its time: something was left, or the other daemon runs."""
        self._up_at = 0.0
        """Unix time, as what it is compared with."""
        self._before: frozenset[str] | None = None
        """What was up; None: nobody knows any more."""
        self._former: DriverName | None = None
        self._declined: tuple[Gateway, DriverName, str] | None = None
        """For what the former one is taken again, and why."""

    def begin(self, states: Mapping[str, State], former: DriverName | None) -> None:
        """Note what was up when the former one ended."""
        self.left, self._since, self._before = time.time(), self._clock(), _up(states)
        self._former = former if self._declined is None else None
        self.handover = None

    def found(self, left: float) -> None:
        """Take in what rootd says is left; after a restart that has its time once more."""
        if left and not self.left:
            self._since = self._clock()
        self.left = left

    def opened(self) -> None:
        """Note that the other one runs now."""
        self._since = self._clock()

    def judged(self, gateway: Gateway | None) -> tuple[Gateway | None, str]:
        """Give the gateway with the daemon that it is to have now, and why that is not the declared one."""
        if self._declined is None or gateway is None or self._declined[0] != gateway:
            self._declined = None
            return gateway, ""
        _, former, why = self._declined
        return gateway.model_copy(update={"driver": former}), why

    def is_over(self, gateway: Gateway | None, states: Mapping[str, State], refused: Collection[str]) -> bool:
        """Tell whether what was left may end: what was up is so again, or does not come."""
        if not self.left or gateway is None or not gateway.active:
            return bool(self.left)
        wanted = {one.id for one in gateway.connections if one.enabled} - set(refused)
        if self._before is not None:
            wanted &= self._before
        self._up_at = time.time()
        missing = wanted - _up(states)
        late = self._clock() > self._since + MOST_SECONDS
        if missing and late and self._former is not None:
            self._decline(gateway, states, missing)
            return False
        return late or not missing

    def _decline(self, gateway: Gateway, states: Mapping[str, State], missing: Collection[str]) -> None:
        assert self._former is not None
        first = next(one for one in gateway.connections if one.id in missing)
        said = states.get(first.id)
        why = said.reason if said is not None and said.reason else "nothing is known of it"
        cannot = f"{gateway.driver} cannot take over, all goes back to {self._former}"
        late = f"{first.name} was not up within {MOST_SECONDS:g} s"
        self._declined = gateway, self._former, f"{cannot}: {late}: {why}"
        self._former = None

    def wait(self) -> float | None:
        """Give how long to wait for what does not come; None: nothing is left."""
        if not self.left:
            return None
        return max(0.05, self._since + MOST_SECONDS - self._clock() + 0.05)

    async def clear(self, root: Root, namespace: str) -> None:
        """End what was left; raises Unavailable."""
        try:
            said = json.loads(await root.do("clear-keys", namespace=namespace))
            self.left = 0.0
            if said:
                self.handover = Handover(
                    at=said["at"], seconds=max(0.0, self._up_at - said["at"]), dropped=said["dropped"],
                    carried=bool(said["keys"]),
                )  # fmt: skip
        except (ValueError, TypeError, KeyError) as error:
            raise Unavailable("rootd is of another version: what it says is not understood") from error


def _up(states: Mapping[str, State]) -> frozenset[str]:
    return frozenset(id_ for id_, state in states.items() if state.phase == "active")
