"""Figures of the controller; the one door to prometheus_client here."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from edgeward import __version__

_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)


class Metrics:
    """Counts as it is told, and takes the rest when it is read."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        info = Gauge("edgeward_controller_info", "Version of the controller", ["version"], registry=registry)
        info.labels(__version__).set(1)
        self._requests = Counter(
            "edgeward_api_requests", "Answers of the API", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "edgeward_api_request_seconds",
            "Time to the first byte of an answer",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._gauges: dict[str, Gauge] = {}
        self._labelled: dict[str, Gauge] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in ("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def number(self, name: str, help_text: str, value: float) -> None:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(name, help_text, registry=self._registry)
        gauge.set(value)

    def numbers(self, name: str, help_text: str, label: str, values: Mapping[str, float]) -> None:
        """Set one number a label value; label values not named any more go."""
        gauge = self._labelled.get(name)
        if gauge is None:
            gauge = self._labelled[name] = Gauge(name, help_text, [label], registry=self._registry)
        gauge.clear()
        for value, number in values.items():
            gauge.labels(value).set(number)

    def text(self) -> bytes:
        """Give everything in the Prometheus text format."""
        return generate_latest(self._registry)
