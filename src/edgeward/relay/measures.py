"""What the relay counts, and how it is told: as Prometheus metrics, as JSON, in one line. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final, NamedTuple

CONNECT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measures:
    """Counters since the start; the last of ``connect_times`` is for what took longer than all bounds."""

    def __init__(self) -> None:
        self.accepted = self.unreached = self.refused = self.idle = self.full = 0
        self.bytes_up = self.bytes_down = 0
        self.connect_times = [0] * (len(CONNECT_SECONDS) + 1)
        self.connect_sum = 0.0

    def connected(self, seconds: float) -> None:
        self.connect_times[bisect_left(CONNECT_SECONDS, seconds)] += 1
        self.connect_sum += seconds


class State(NamedTuple):
    """How things are at one moment; ``dns_age`` and ``dns_failing`` are of names only."""

    measures: Measures
    target: str
    listen: tuple[str, ...]
    connections: int
    connecting: int
    connections_max: int
    bytes_up: int
    bytes_down: int
    addresses: tuple[str, ...]
    log_lines_dropped: int = 0
    dns_age: float | None = None
    dns_failures: int = 0
    dns_failing: str = ""

    def line(self) -> str:
        """Give one line for ``systemctl status``."""
        count = self.connections + self.connecting
        where = ", ".join(self.addresses[:3]) or "no address yet"
        more = f" and {len(self.addresses) - 3} more" if len(self.addresses) > 3 else ""
        parts = [
            f"{count} of at most {self.connections_max} connections",
            f"{self.measures.accepted} in all",
            f"{self.target} at {where}{more}" if where != self.target else self.target,
        ]
        if self.measures.unreached:
            parts.append(f"{self.measures.unreached} times not reached")
        if self.dns_failing:
            age = f", last answer {self.dns_age:.0f} s old" if self.dns_age is not None else ""
            parts.append(f"DNS fails ({self.dns_failing}{age})")
        return "; ".join(parts)

    def document(self) -> dict[str, Any]:
        """Give all of it as plain values."""
        counted = self.measures
        return {
            "target": self.target,
            "listen": list(self.listen),
            "addresses": list(self.addresses),
            "connections": {
                "open": self.connections,
                "connecting": self.connecting,
                "most": self.connections_max,
                "accepted": counted.accepted,
                "unreached": counted.unreached,
                "refused": counted.refused,
                "idle": counted.idle,
                "times_full": counted.full,
            },
            "bytes": {"to_backend": self.bytes_up, "to_clients": self.bytes_down},
            "dns": {"age_seconds": self.dns_age, "failures": self.dns_failures, "failing": self.dns_failing},
            "log_lines_dropped": self.log_lines_dropped,
        }

    def metrics(self) -> str:
        """Give it in Prometheus' text format."""
        counted = self.measures
        lines = _Lines()
        lines.one("connections", "gauge", "Connections open now", self.connections)
        lines.one(
            "connections_connecting", "gauge", "Clients whose backend has not answered yet", self.connecting
        )
        lines.one("connections_max", "gauge", "Connections at most", self.connections_max)
        lines.one("connections_total", "counter", "Connections accepted", counted.accepted)
        lines.one(
            "backend_unreached_total", "counter", "Connections no backend was reached for", counted.unreached
        )
        lines.one(
            "peers_refused_total", "counter", "Connections of users who are not allowed", counted.refused
        )
        lines.one("idle_total", "counter", "Connections ended for being idle", counted.idle)
        lines.one("full_total", "counter", "Times that no more connections were taken", counted.full)
        lines.head("bytes_total", "counter", "Bytes carried")
        lines.add("bytes_total", self.bytes_up, 'to="backend"')
        lines.add("bytes_total", self.bytes_down, 'to="client"')
        self._histogram(lines)
        lines.one("dns_failures_total", "counter", "Questions DNS gave no answer to", self.dns_failures)
        if self.dns_age is not None:
            lines.one("dns_age_seconds", "gauge", "Age of the answer in use", round(self.dns_age, 3))
        lines.head("backend_address", "gauge", "Addresses in use")
        for address in self.addresses:
            lines.add("backend_address", 1, f'address="{_escaped(address)}"')
        lines.one(
            "log_lines_dropped_total", "counter", "Log lines nobody took in time", self.log_lines_dropped
        )
        return str(lines)

    def _histogram(self, lines: _Lines) -> None:
        name, so_far = "connect_seconds", 0
        lines.head("connect_seconds", "histogram", "Time until the backend answered")
        for bound, count in zip((*CONNECT_SECONDS, "+Inf"), self.measures.connect_times, strict=True):
            so_far += count
            lines.add(f"{name}_bucket", so_far, f'le="{bound}"')
        lines.add(f"{name}_sum", round(self.measures.connect_sum, 6))
        lines.add(f"{name}_count", so_far)


class _Lines:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def head(self, name: str, kind: str, about: str) -> None:
        self._lines += [f"# HELP edgeward_relay_{name} {about}.", f"# TYPE edgeward_relay_{name} {kind}"]

    def add(self, name: str, value: float, labels: str = "") -> None:
        self._lines.append(f"edgeward_relay_{name}{f'{{{labels}}}' if labels else ''} {value}")

    def one(self, name: str, kind: str, about: str, value: float) -> None:
        self.head(name, kind, about)
        self.add(name, value)

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
