"""What the node's figures say, and leave unsaid."""

from __future__ import annotations

from collections.abc import Sequence

from edgeward.errors import Unavailable
from edgeward.node.backends.addresses import Backends
from edgeward.node.backends.resolver import Resolved
from edgeward.node.certificates.answering import Answering
from edgeward.node.certificates.listener_secrets import Lasting
from edgeward.node.certificates.secrets import Kept
from edgeward.node.certificates.tiers import Tiers
from edgeward.node.controllers.reporting import Reporting
from edgeward.node.envoy.admin import EnvoyAdmin, Seen
from edgeward.node.envoy.publishing import Publishing
from edgeward.node.metrics import Metrics
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import State


class Nobody:
    """DNS and a controller that do not answer."""

    async def resolve(self, host: str) -> Resolved:
        raise Unavailable("no DNS")

    async def fetch(self, name: str, timeout: float) -> Kept:
        raise Unavailable("no controller")


def lines(copy: LastGood, stats: dict[str, int]) -> Sequence[str]:
    """Give the figures while Envoy's admin interface says this; nothing: it does not answer."""
    state, tiers = State(), Tiers(copy)
    lasting = Lasting(state, lambda name: None)
    answering = Answering(state, tiers, Nobody().fetch, lambda kept: None, lambda: None, lasting)
    backends = Backends(Nobody(), {})
    publishing = Publishing(state, backends, answering.offer)
    reporting = Reporting(state, copy, tiers, answering, publishing, backends, EnvoyAdmin(copy._path.parent))
    metrics = Metrics(state, copy, answering, reporting, lambda: False)
    text = metrics.text(0.0, Seen(stats=stats)).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


COUNTS = {
    "listener.https.ssl.handshake": 9,
    "listener.https.on_demand_secret.cert_requested": 2,
    "edge.http_local_rate_limit.rate_limited": 3,
    "http.https.downstream_rq_2xx": 4,
}
FROM_ENVOY = [
    "edgeward_node_envoy_tls_handshakes_total 9.0",
    "edgeward_node_rate_limited_total 3.0",
    'edgeward_node_tier_hits_total{tier="resident"} 7.0',
    'edgeward_node_tier_misses_total{tier="resident"} 2.0',
]


def test_what_envoy_counts_is_left_out_while_it_does_not_answer(copy: LastGood) -> None:
    """At a zero in between, every rate would be as if all had happened since."""
    there, away = lines(copy, COUNTS), lines(copy, {})

    assert set(FROM_ENVOY) <= set(there)
    for line in FROM_ENVOY:
        name = line.rpartition(" ")[0]
        assert not [one for one in away if one.startswith(name)]
    assert 'edgeward_node_tier_hits_total{tier="memory"} 0.0' in away
