"""Another daemon takes over a gateway: the kernel has the former one's keys until there are others."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Final

from edgeward.errors import Unavailable
from edgeward.node.tunnels.root import Root
from edgeward.vpn.desired import Gateway
from edgeward.vpn.driver import Handover, State

MOST_SECONDS: Final = 30.0
"""For so long may keys be in use that no daemon knows."""


class TakingOver:
    """``handover``: what the last one cost; ``left``: when a daemon ended whose keys are there yet, or 0."""

    def __init__(self) -> None:
        self.handover: Handover | None = None
        self.left = 0.0
        self._up_at = 0.0
        self._before: frozenset[str] | None = None
        """What was up; None: nobody knows any more."""

    def begin(self, states: Mapping[str, State]) -> None:
        """Note what is up when the former one has ended."""
        self.left, self._before = time.time(), _up(states)
        self.handover = None

    def is_over(self, gateway: Gateway | None, states: Mapping[str, State], refused: Collection[str]) -> bool:
        """Tell whether what was left may end: what was up is so again, or does not come."""
        if not self.left or gateway is None or not gateway.active:
            return bool(self.left)
        wanted = {one.id for one in gateway.connections if one.enabled} - set(refused)
        if self._before is not None:
            wanted &= self._before
        self._up_at = time.time()
        return wanted <= _up(states) or self._up_at - self.left > MOST_SECONDS

    def wait(self) -> float | None:
        """Give how long to wait for what does not come; None: nothing is left."""
        if not self.left:
            return None
        return max(0.05, self.left + MOST_SECONDS - time.time() + 0.05)

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
