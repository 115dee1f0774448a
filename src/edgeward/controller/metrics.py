"""Figures of the controller; the one door to prometheus_client here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from edgeward import __version__

_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)


class _Numbers(NamedTuple):
    help_text: str
    label: str
    values: Mapping[str, float]


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
        self._labelled: dict[str, _Numbers] = {}
        registry.register(self)

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
        self._labelled[name] = _Numbers(help_text, label, dict(values))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the numbers with a label, without an object for each: there may be a hundred thousand."""
        for name, numbers in list(self._labelled.items()):
            family = GaugeMetricFamily(name, numbers.help_text, labels=[numbers.label])
            for value, number in numbers.values.items():
                family.add_metric([value], number)
            yield family

    def text(self) -> bytes:
        """Give everything in the Prometheus text format."""
        return generate_latest(self._registry)
