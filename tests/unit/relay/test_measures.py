from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from edgeward.relay.measures import Measures, State

STATE = State(
    measures=Measures(), target="backend.example:80", listen=("web",), connections=2, connecting=1,
    connections_max=10, bytes_up=5, bytes_down=7, addresses=("192.0.2.1:80",),
)  # fmt: skip


@given(st.lists(st.floats(0, 20)), st.lists(st.text(max_size=20), unique=True, max_size=4))
def test_metrics_are_what_prometheus_reads(seconds: list[float], addresses: list[str]) -> None:
    measures = Measures()
    for each in seconds:
        measures.connected(each)
    state = STATE._replace(measures=measures, addresses=tuple(addresses), dns_age=1.0)

    families = {f.name: f for f in text_string_to_metric_families(state.metrics())}

    samples = {
        s.name: s.value for s in families["edgeward_relay_connect_seconds"].samples if "le" not in s.labels
    }
    assert samples["edgeward_relay_connect_seconds_count"] == len(seconds)
    buckets = [s.value for s in families["edgeward_relay_connect_seconds"].samples if "le" in s.labels]
    assert buckets == sorted(buckets)
    assert buckets[-1] == len(seconds)
    found = [s.labels["address"] for s in families["edgeward_relay_backend_address"].samples]
    assert found == addresses


def test_the_line_says_what_is_and_what_is_wrong() -> None:
    assert STATE.line() == "3 of at most 10 connections; 0 in all; backend.example:80 at 192.0.2.1:80"
    failing = STATE._replace(dns_failing="SERVFAIL", dns_age=12.4)
    assert failing.line().endswith("; DNS fails (SERVFAIL, last answer 12 s old)")
    assert "no address yet" in STATE._replace(addresses=()).line()
