"""The node's Prometheus figures, read from its parts when somebody asks; no label grows with visitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgeward import __version__
from edgeward.node.certificates.answering import Answering
from edgeward.node.controllers.reporting import Reporting
from edgeward.node.envoy.admin import Seen
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import State

_DAY = 86_400.0
_EXPIRY = (("expired", 0.0), ("1d", _DAY), ("7d", 7 * _DAY), ("30d", 30 * _DAY))
_FEED = {
    "connections": "Feeds of controllers that were followed",
    "resets": "Feeds that began with the whole state anew",
    "objects": "Objects taken in from feeds",
    "certificates": "Certificates taken in from feeds",
    "removals": "Removals taken in from feeds",
    "bytes": "Bytes of the feeds' messages",
}
_OF_ENVOY = "resident"
"""The tier whose hits and misses Envoy counts."""
_ENVOY_GAUGES = {
    "server.memory_allocated": ("envoy_memory_allocated_bytes", "Memory Envoy has in use"),
    "server.memory_heap_size": ("envoy_memory_heap_bytes", "Memory Envoy has from the system"),
    "listener.https.on_demand_secret.cert_active": ("envoy_secrets", "Certificates Envoy holds or waits for"),
}


class Metrics:
    """``text(now, seen)`` gives the exposition format; ``now`` in Unix seconds."""

    def __init__(
        self,
        state: State,
        copy: LastGood,
        answering: Answering,
        reporting: Reporting,
        connected: Callable[[], bool],
    ) -> None:
        self._state = state
        self._copy = copy
        self._answering = answering
        self._reporting = reporting
        self._connected = connected
        self.caught_up: Mapping[str, int] = {}
        self.challenges: Callable[[], int] = int
        """How many checks of authorities were answered."""
        """What the feed brought since the start."""
        self.changed_at = 0.0
        """When the state last changed, in Unix seconds."""

    def text(self, now: float, seen: Seen) -> bytes:
        registry = CollectorRegistry()
        registry.register(_Families(lambda: self._families(now, seen)))
        return generate_latest(registry)

    def _families(self, now: float, seen: Seen) -> Iterator[Metric]:
        yield from self._own(now, seen)
        yield from self._tiers(seen)
        yield from self._redis()
        yield from self._certificates(now)
        yield from _envoy(seen)
        yield from _troubled(seen)
        if seen.stats:
            yield from _counted(seen.stats)

    def _own(self, now: float, seen: Seen) -> Iterator[Metric]:
        info = GaugeMetricFamily("edgeward_node_info", "The program's version", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        report = self._reporting.report(seen)
        plain = (
            ("revision_received", "Last revision taken in", report.received),
            ("revision_in_force", "Last revision Envoy acknowledged", report.revision),
            ("configuration_age_seconds", "Since the last change", now - self.changed_at),
            ("controller_connected", "1 while the feed is followed", int(self._connected())),
            ("rejections", "Things Envoy would not take", len(report.rejections)),
            ("backend_problems", "Services with a problem", len(report.backends)),
            ("obtaining", "Names being asked of the controller", self._answering.obtaining),
            ("domains", "Declared domains", len(self._state.domains)),
        )
        for name, text, value in plain:
            yield _gauge(f"edgeward_node_{name}", text, value)
        for what, text in _FEED.items():
            count = self.caught_up.get(what, 0)
            yield CounterMetricFamily(f"edgeward_node_feed_{what}", text, value=count)
        text = "Checks of authorities that this node answered"
        yield CounterMetricFamily("edgeward_node_challenges_answered", text, value=self.challenges())
        handshakes = CounterMetricFamily(
            "edgeward_node_names_answered",
            "Names Envoy asked for, by the tier that answered and how",
            labels=["tier", "outcome"],
        )
        for (tier, outcome), count in sorted(self._answering.handshakes.items()):
            handshakes.add_metric([tier, outcome], count)
        yield handshakes

    def _tiers(self, seen: Seen) -> Iterator[Metric]:
        figures = self._reporting.tiers(seen)
        for what in ("size", "bound"):
            gauge = GaugeMetricFamily(f"edgeward_node_tier_{what}", f"The tier's {what}", labels=["tier"])
            for tier, figure in figures.items():
                gauge.add_metric([tier], getattr(figure, what))
            yield gauge
        for what in ("hits", "misses", "evictions"):
            counter = CounterMetricFamily(f"edgeward_node_tier_{what}", f"The tier's {what}", labels=["tier"])
            for tier, figure in figures.items():
                if what == "evictions" or tier != _OF_ENVOY or seen.stats:
                    counter.add_metric([tier], getattr(figure, what))
            yield counter

    def _redis(self) -> Iterator[Metric]:
        redis = self._reporting.redis
        if redis is None:
            return
        yield _gauge("edgeward_node_redis_open", "1 while Redis is asked for certificates", int(redis.open))
        text = "Questions to Redis that failed or took too long"
        yield CounterMetricFamily("edgeward_node_redis_failures", text, value=redis.failures)
        text = "Entries of Redis that were not believed, by the reason"
        ignored = CounterMetricFamily("edgeward_node_redis_ignored", text, labels=["reason"])
        for reason, count in sorted(redis.ignored.items()):
            ignored.add_metric([reason], count)
        yield ignored

    def _certificates(self, now: float) -> Iterator[Metric]:
        yield _gauge("edgeward_node_certificates", "In the sealed copy", self._copy.certificates())
        gauge = GaugeMetricFamily(
            "edgeward_node_certificates_expiring", "Certificates that expire within", labels=["within"]
        )
        for label, seconds in _EXPIRY:
            gauge.add_metric([label], self._copy.expiring(now + seconds))
        yield gauge


class _Families(Collector):
    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._give = families

    def collect(self) -> Iterator[Metric]:
        yield from self._give()


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _envoy(seen: Seen) -> Iterator[Metric]:
    stats = seen.stats
    yield _gauge("edgeward_node_envoy_up", "1 while Envoy serves", int(seen.state.state == "serving"))
    yield _gauge(
        "edgeward_node_envoy_draining",
        "Envoys another has taken over from that still have visitors; no other figure counts these",
        seen.state.draining,
    )
    for stat, (name, text) in _ENVOY_GAUGES.items():
        if stat in stats:
            yield _gauge(f"edgeward_node_{name}", text, stats[stat])
    active = GaugeMetricFamily("edgeward_node_envoy_connections", "Open connections", labels=["listener"])
    requests = CounterMetricFamily("edgeward_node_envoy_requests", "Requests", labels=["listener", "status"])
    for listener in ("http", "https"):
        if f"listener.{listener}.downstream_cx_active" in stats:
            active.add_metric([listener], stats[f"listener.{listener}.downstream_cx_active"])
        for status in ("1xx", "2xx", "3xx", "4xx", "5xx"):
            count = stats.get(f"http.{listener}.downstream_rq_{status}")
            if count is not None:
                requests.add_metric([listener, status], count)
    yield active
    yield requests


def _counted(stats: Mapping[str, int]) -> Iterator[Metric]:
    """Give what Envoy counts; not while it says nothing: at a zero, all of it would count once more after."""
    made = CounterMetricFamily("edgeward_node_envoy_tls_handshakes", "TLS handshakes completed")
    made.add_metric([], stats.get("listener.https.ssl.handshake", 0))
    yield made
    limited = CounterMetricFamily("edgeward_node_rate_limited", "Requests refused by a route's rate limits")
    limited.add_metric([], stats.get("edge.http_local_rate_limit.rate_limited", 0))
    yield limited


def _troubled(seen: Seen) -> Iterator[Metric]:
    out = GaugeMetricFamily(
        "edgeward_node_backends_left_out", "Backends left out for failing requests", labels=["service"]
    )
    for service, places in sorted(seen.troubled.left_out.items()):
        out.add_metric([service], len(places))
    over = CounterMetricFamily(
        "edgeward_node_over_circuit",
        "Requests and retries over the limits of a service's circuit",
        labels=["service", "what"],
    )
    for (service, what), count in sorted(seen.troubled.over.items()):
        over.add_metric([service, what], count)
    yield out
    yield over
