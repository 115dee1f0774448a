"""Backends behind sites: how soon visitors notice a tunnel, and how soon a dead node's gateway is back."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import time
from collections.abc import Callable

from benchmarks.table import Goal, Row
from tests.integration.processes import until
from tests.integration.takeover_rig import Host, answering, takeover
from tests.integration.test_everything import everything
from tests.integration.vpn_rig import has_charon

OURS = "Edgeward"
_KILLED = "active node killed with -9 → tunnel on the other one"
_DOWN, _UP = "tunnel ended → visitor gets 503", "tunnel up → visitor is served"
_NOTE = "a node each in a network namespace, one controller on SQLite"


def measure(rounds: int) -> list[Row]:
    if not has_charon() or os.geteuid() != 0:
        return [Row(_KILLED, OURS, "not installed")]
    times = 5 if rounds > 1 else 3
    return [*_visitors(times), *_taken_over(times)]


def _needs(command: str) -> str:
    return shutil.which(command) or command


def _visitors(times: int) -> list[Row]:
    down, up = [], []
    with everything(_needs) as edge:
        until(lambda: edge.serves("paris.example", "paris"), 60, "paris")
        for _ in range(times):
            edge.said("vpn", "terminate", "paris")
            down.append(_after(lambda: edge.visit("paris.example")[0] == 503))
            edge.said("vpn", "initiate", "paris")
            up.append(_after(lambda: edge.serves("paris.example", "paris")))
    figures = ((_DOWN, down, ()), (_UP, up, (Goal(max(up) / 1000, 1.0),)))
    return [Row(what, OURS, statistics.median(one), "ms", "the example with everything", goals)
            for what, one, goals in figures]  # fmt: skip


def _taken_over(times: int) -> list[Row]:
    took = []
    with takeover(_needs) as rig:
        first, second = rig.host("edge-1", 1), rig.host("edge-2", 3)
        with answering(rig.plug(2, bridge=False)):
            first.start(*rig.joining("edge-1"))
            until(lambda: first.active and first.carries, 60, "the first one")
            second.start(*rig.joining("edge-2"))
            active, following = first, second
            for _ in range(times):
                until(lambda one=following: one.stands_by, 60, "the other one stands by")
                time.sleep(1.0)
                took.append(_killed(active, following) / 1000)
                active.start()
                active, following = following, active
    figure, note = statistics.median(took), f"{_NOTE}; the longest {max(took):.2f} s"
    return [Row(_KILLED, OURS, figure, "s", note, (Goal(max(took), 6.0),))]


def _killed(active: Host, following: Host) -> float:
    assert active.node is not None
    active.node.send(signal.SIGKILL)
    after = _after(lambda: following.active and following.carries)
    active.node.wait()
    return after


def _after(condition: Callable[[], bool]) -> float:
    """Give how long it took in milliseconds."""
    began = time.monotonic()
    until(condition, 30, "what is measured")
    return (time.monotonic() - began) * 1000
