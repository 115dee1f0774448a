"""Names whose certificates are on the node's sealed disk and not yet in Envoy, beside the same resident."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.edgeward import Edgeward
from benchmarks.table import Goal, Row
from benchmarks.visits import Told, Visits, visit

WHAT = "stored, not resident: handshake above a resident one"
_RATE = 200.0
_THREADS = 16


def measure(edgeward: Edgeward, names: Sequence[str]) -> list[Row]:
    """Visit each name twice at 200 names a second: at first it is not resident, then it is."""
    before = edgeward.cpu()
    stored = _visits(edgeward, names)
    between = edgeward.cpu()
    resident = _visits(edgeward, names)
    after = edgeward.cpu()
    each = 1e3 * (between["node"] - before["node"]) / len(names)
    idle = 1e3 * (after["node"] - between["node"]) / len(names)
    controller = 1e3 * (between["controller"] - before["controller"]) / len(names)
    return [
        _above(stored, resident, 0.5, "p50", 8.0),
        _above(stored, resident, 0.99, "p99", 25.0),
        Row(
            "stored, not resident: CPU a new name", "Edgeward, node", each, "ms",
            f"{idle:.2f} ms of it also when resident; controller {controller:.2f} ms", (Goal(each, 0.7),),
        ),
    ]  # fmt: skip


def _visits(edgeward: Edgeward, names: Sequence[str]) -> Told:
    told = visit(Visits(edgeward.port, names, rate=_RATE, threads=_THREADS, ca=edgeward.ca))
    if told.failed:
        raise RuntimeError(f"{told.failed} stored names were not served: {told.first_failure}")
    if told.seconds > 1.1 * len(names) / _RATE + 1:
        raise RuntimeError(f"{_RATE:g} names a second were not reached: {told.seconds:.1f} s")
    return told


def _above(stored: Told, resident: Told, share: float, label: str, most: float) -> Row:
    slow, fast = stored.percentile(share), resident.percentile(share)
    note = f"{slow:.2f} ms, resident {fast:.2f} ms; {stored.count} names at {_RATE:g}/s"
    return Row(WHAT, f"Edgeward, {label}", slow - fast, "ms", note, (Goal(slow - fast, most),))
