"""Where an authority's checks of names (ACME) go in Envoy: to two sockets of the node, whatever is declared.

http-01: a filter asks the node about requests for a token, and about nothing else. The node says no (418)
to a token it knows, and what it says besides is the answer; any other request goes on as if nobody had
asked, also where the node does not answer. tls-alpn-01: whoever says the protocol ``acme-tls/1`` (RFC 8737)
gets a filter chain that leads to the node, bytes unread.
"""

from __future__ import annotations

from typing import Any, Final

from edgeward.gateway.envoy.proxied import typed
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

HTTP_SOCKET: Final = "http.sock"
TLS_SOCKET: Final = "alpn.sock"
KNOWN: Final = 418
"""The status by which the node says that the rest of its answer is the authority's."""
TLS_CHAIN: Final = "acme-tls/1"
_HTTP, _TLS = "proofs http-01", "proofs tls-alpn-01"  # no service's: their names have a slash
_OWNER = "listen/default/listen"
_PATH = r"/\.well-known/acme-challenge/[A-Za-z0-9_-]{16,256}"
_ANSWER_SECONDS = 5.0
_MOST = 256


def clusters(sockets: str) -> tuple[Resource, ...]:
    """Give the clusters of the node's two sockets; ``sockets`` is their directory."""
    return tuple(
        resource(_cluster(name, f"{sockets}/{socket}"), name, _OWNER)
        for name, socket in ((_HTTP, HTTP_SOCKET), (_TLS, TLS_SOCKET))
    )


def _cluster(name: str, path: str) -> Any:
    most = m.UInt32Value(value=_MOST)
    limits = m.CircuitBreakers.Thresholds(max_connections=most, max_pending_requests=most, max_requests=most)
    endpoint = m.Endpoint(address=m.Address(pipe=m.Pipe(path=path)))
    places = [m.LocalityLbEndpoints(lb_endpoints=[m.LbEndpoint(endpoint=endpoint)])]
    return m.Cluster(
        name=name,
        type=m.Cluster.STATIC,
        connect_timeout=m.seconds(1.0),
        per_connection_buffer_limit_bytes=m.UInt32Value(value=32 * 1024),
        circuit_breakers=m.CircuitBreakers(thresholds=[limits]),
        load_assignment=m.ClusterLoadAssignment(cluster_name=name, endpoints=places),
    )


# --- http-01 -----------------------------------------------------------------------------------


def http_filter() -> Any:
    """Give the HTTP filter that asks the node about tokens; other requests pass it by."""
    asking = m.ExtAuthz(
        http_service=m.AuthorizationService(
            server_uri=m.HttpUri(uri="http://node", cluster=_HTTP, timeout=m.seconds(_ANSWER_SECONDS))
        ),
        failure_mode_allow=True,
        transport_api_version=m.ApiVersion.V3,
    )
    path = m.HttpRequestHeaderMatchInput(header_name=":path")
    only = m.ChainMatcher(
        matcher_list=m.ChainMatcher.MatcherList(
            matchers=[
                m.ChainMatcher.MatcherList.FieldMatcher(
                    predicate=m.ChainMatcher.MatcherList.Predicate(
                        not_matcher=_is(path, rf"{_PATH}(\?.*)?"),
                    ),
                    on_match=m.ChainMatcher.OnMatch(action=typed("skip", m.SkipFilter())),
                )
            ]
        )
    )
    delegate = m.ExtensionWithMatcher(
        xds_matcher=only, extension_config=m.extension("envoy.filters.http.ext_authz", asking)
    )
    return m.HttpFilter(name="envoy.filters.http.match_delegate", typed_config=m.packed(delegate))


def _is(value: Any, regex: str) -> Any:
    match = m.ChainRegex(regex=regex)
    match.google_re2.SetInParent()
    return m.ChainMatcher.MatcherList.Predicate(
        single_predicate=m.ChainMatcher.MatcherList.Predicate.SinglePredicate(
            input=typed("request-headers", value), value_match=m.ChainString(safe_regex=match)
        )
    )


def known_reply() -> Any:
    """Turn the node's no into the authority's answer."""
    return m.ResponseMapper(
        filter=m.AccessLogFilter(
            extension_filter=m.ExtensionFilter(
                name="envoy.access_loggers.extension_filters.cel",
                typed_config=m.packed(
                    m.ExpressionFilter(
                        expression=f"response.code == {KNOWN} && response.code_details == 'ext_authz_denied'"
                    )
                ),
            )
        ),
        status_code=m.UInt32Value(value=200),
        body_format_override=m.SubstitutionFormatString(
            text_format_source=m.DataSource(inline_string="%LOCAL_REPLY_BODY%")
        ),
    )


def nowhere() -> Any:
    """Give the last route of a virtual host: filters are not asked about requests that have none."""
    return m.Route(
        match=m.RouteMatch(safe_regex=m.RegexMatcher(regex=_PATH)),
        direct_response=m.DirectResponse(status=404),
    )


# --- tls-alpn-01 -------------------------------------------------------------------------------


def tls_chain() -> Any:
    """Give the filter chain of authorities that check a name by TLS."""
    limit = m.ConnectionLimit(stat_prefix="proofs", max_connections=m.UInt64Value(value=_MOST))
    proxy = m.TcpProxy(
        stat_prefix="proofs",
        cluster=_TLS,
        idle_timeout=m.seconds(10.0),
        max_downstream_connection_duration=m.seconds(20.0),
    )
    return m.FilterChain(
        name=TLS_CHAIN,
        filters=[
            m.Filter(name="envoy.filters.network.connection_limit", typed_config=m.packed(limit)),
            m.Filter(name="envoy.filters.network.tcp_proxy", typed_config=m.packed(proxy)),
        ],
    )


def checked_first(checks: Any, visits: Any) -> Any:
    """Choose the matcher: ``checks`` for who says ``acme-tls/1`` and nothing else, ``visits`` for others."""
    tree = m.ChainMatcher.MatcherTree(
        input=typed("envoy.matching.inputs.application_protocol", m.ApplicationProtocolInput()),
        exact_match_map=m.ChainMatcher.MatcherTree.MatchMap(map={f"'{TLS_CHAIN}'": checks}),
    )
    return m.ChainMatcher(matcher_tree=tree, on_no_match=m.ChainMatcher.OnMatch(matcher=visits))
