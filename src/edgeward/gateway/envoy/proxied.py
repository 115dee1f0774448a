"""The PROXY protocol in: whom it is believed of, and where the visitor's address goes from there.

Envoy's filter reads it from anybody or from nobody. So it reads it from anybody, what it changed is
remembered, and the chain matcher turns away whoever changed something without being listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeward.xds import messages as m

CLIENT = "edgeward.client"
"""Filter state: the visitor's address, as the PROXY protocol says or as the socket does."""
_PEER, _SAID, _FORGED = "edgeward.peer", "edgeward.said", "edgeward.forged"


def listener_filters() -> list[Any]:
    """Give what stands before all other listener filters where the PROXY protocol is spoken."""
    address = "%DOWNSTREAM_REMOTE_ADDRESS%|%DOWNSTREAM_LOCAL_ADDRESS%"
    changed = f"%CEL(filter_state['{_PEER}'] != filter_state['{_SAID}'])%"
    proxy = m.ProxyProtocol(allow_requests_without_proxy_protocol=True)
    return [
        _remember((_PEER, address)),
        m.ListenerFilter(name="envoy.filters.listener.proxy_protocol", typed_config=m.packed(proxy)),
        _remember((_SAID, address), (CLIENT, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), (_FORGED, changed)),
    ]


def _remember(*values: tuple[str, str]) -> Any:
    states = [
        m.FilterStateValue(
            object_key=key,
            factory_key="envoy.string",
            format_string=m.SubstitutionFormatString(
                text_format_source=m.DataSource(inline_string=form),
                formatters=[m.extension("envoy.formatter.cel", m.CelFormatter())],
            ),
            read_only=True,
        )
        for key, form in values
    ]
    return m.ListenerFilter(
        name="envoy.filters.listener.set_filter_state",
        typed_config=m.packed(m.ListenerFilterState(on_accept=states)),
    )


def believed(listed: Sequence[str], served: Any, nobody: Any) -> Any:
    """Give the matcher's decision: ``served``, or ``nobody`` for a stranger who spoke the protocol."""
    forging = m.ChainMatcher.MatcherTree(
        input=typed("envoy.matching.inputs.filter_state", m.FilterStateInput(key=_FORGED)),
        exact_match_map=m.ChainMatcher.MatcherTree.MatchMap(map={"false": served}),
    )
    strangers = m.ChainMatcher.OnMatch(matcher=m.ChainMatcher(matcher_tree=forging, on_no_match=nobody))
    return by_network(m.DirectSourceIPInput(), listed, served, strangers)


def by_network(source: Any, networks: Sequence[str], inside: Any, outside: Any) -> Any:
    """Decide by an address: ``inside`` or ``outside`` these networks."""
    ranges = []
    for network in sorted(set(networks)):
        prefix, _, bits = network.partition("/")
        ranges.append(m.ChainRange(address_prefix=prefix, prefix_len=m.UInt32Value(value=int(bits))))
    addresses = m.ChainAddresses(
        range_matchers=[m.ChainAddresses.IPRangeMatcher(ranges=ranges, on_match=inside)]
    )
    name = "direct_source_ip" if isinstance(source, m.DirectSourceIPInput) else "source_ip"
    tree = m.ChainMatcher.MatcherTree(
        input=typed(f"envoy.matching.inputs.{name}", source), custom_match=typed("ip", addresses)
    )
    return m.ChainMatcher.OnMatch(matcher=m.ChainMatcher(matcher_tree=tree, on_no_match=outside))


def typed(name: str, message: Any) -> Any:
    return m.ChainExtension(name=name, typed_config=m.packed(message))
