"""The one door to Envoy's protobuf messages: those of xds-protos, and those that it lacks."""

from __future__ import annotations

from typing import Any

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, ExtensionFilter
from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection
from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.config.core.v3.address_pb2 import Address, CidrRange, Pipe, SocketAddress
from envoy.config.core.v3.base_pb2 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    Metadata,
    RuntimeFractionalPercent,
    TransportSocket,
)
from envoy.config.core.v3.config_source_pb2 import (
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
    ExtensionConfigSource,
)
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.health_check_pb2 import HealthCheck
from envoy.config.core.v3.http_uri_pb2 import HttpUri
from envoy.config.core.v3.protocol_pb2 import (
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    QuicProtocolOptions,
)
from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolConfig
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import (
    Filter,
    FilterChain,
    FilterChainMatch,
    ListenerFilter,
)
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.listener.v3.quic_config_pb2 import QuicProtocolOptions as QuicListenerOptions
from envoy.config.listener.v3.udp_listener_config_pb2 import UdpListenerConfig
from envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Policy, Principal
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction as DirectResponse,
)
from envoy.config.route.v3.route_components_pb2 import (
    FilterConfig,
    HeaderMatcher,
    RateLimit,
    RedirectAction,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.access_loggers.stream.v3.stream_pb2 import StdoutAccessLog
from envoy.extensions.common.matching.v3.extension_matcher_pb2 import ExtensionWithMatcher
from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import DRAFT_VERSION_03 as RATE_LIMIT_HEADERS_DRAFT_3
from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import LocalRateLimitDescriptor, RateLimitDescriptor
from envoy.extensions.filters.common.matcher.action.v3.skip_action_pb2 import SkipFilter
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.buffer.v3.buffer_pb2 import Buffer
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import HttpService as AuthorizationService
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as HeaderMutationFilter,
)
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import (
    Mutations as HeaderMutations,
)
from envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2 import LocalRateLimit
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC as RbacFilter  # noqa: N811 - a class, not a constant
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBACPerRoute as RbacPerRoute
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.connection_limit.v3.connection_limit_pb2 import ConnectionLimit
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    LocalReplyConfig,
    Rds,
    ResponseMapper,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.formatter.cel.v3.cel_pb2 import Cel as CelFormatter
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as EarlyHeaderMutation,
)
from envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import (
    ApplicationProtocolInput,
    DirectSourceIPInput,
    FilterStateInput,
    ServerNameInput,
    SourceIPInput,
)
from envoy.extensions.transport_sockets.proxy_protocol.v3.upstream_proxy_protocol_pb2 import (
    ProxyProtocolUpstreamTransport as ProxyProtocolUpstream,
)
from envoy.extensions.transport_sockets.quic.v3.quic_transport_pb2 import QuicDownstreamTransport
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsCertificate,
    TlsParameters,
    TlsSessionTicketKeys,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import (
    HttpProtocolOptions as UpstreamHttpOptions,
)
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
)
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from envoy.type.matcher.v3.http_inputs_pb2 import HttpRequestHeaderMatchInput
from envoy.type.matcher.v3.regex_pb2 import RegexMatchAndSubstitute, RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.metadata.v3.metadata_pb2 import MetadataKey
from envoy.type.v3.hash_policy_pb2 import HashPolicy as StreamHashPolicy
from envoy.type.v3.http_status_pb2 import HttpStatus
from envoy.type.v3.percent_pb2 import FractionalPercent
from envoy.type.v3.range_pb2 import Int64Range
from envoy.type.v3.token_bucket_pb2 import TokenBucket
from google.api.expr.v1alpha1.syntax_pb2 import Constant, Expr
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue, StringValue, UInt32Value, UInt64Value
from xds.core.v3.cidr_pb2 import CidrRange as ChainRange
from xds.core.v3.extension_pb2 import TypedExtensionConfig as ChainExtension
from xds.type.matcher.v3.ip_pb2 import IPMatcher as ChainAddresses
from xds.type.matcher.v3.matcher_pb2 import Matcher as ChainMatcher
from xds.type.matcher.v3.regex_pb2 import RegexMatcher as ChainRegex
from xds.type.matcher.v3.string_pb2 import StringMatcher as ChainString

from edgeward.xds.lacking import ListenerFilterState, OnDemandSecret, SniMapper


def type_url(message: Any) -> str:
    """Give ``type.googleapis.com/…`` of a message or message class."""
    return f"type.googleapis.com/{message.DESCRIPTOR.full_name}"


def packed(message: Any) -> Any:
    """Give the message in an Any, serialized deterministically so that equal means the same bytes."""
    return AnyMessage(type_url=type_url(message), value=message.SerializeToString(deterministic=True))


def extension(name: str, message: Any) -> Any:
    return TypedExtensionConfig(name=name, typed_config=packed(message))


def seconds(value: float) -> Any:
    """Give a Duration of nanosecond precision; ``seconds(0)`` says "off" in most Envoy timeouts."""
    nanos = round(value * 1_000_000_000)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


LISTENER = type_url(Listener)
CLUSTER = type_url(Cluster)
ROUTES = type_url(RouteConfiguration)
ENDPOINTS = type_url(ClusterLoadAssignment)
SECRET = type_url(Secret)
EXTENSION = type_url(TypedExtensionConfig)

__all__ = [
    "CLUSTER",
    "ENDPOINTS",
    "EXTENSION",
    "LISTENER",
    "RATE_LIMIT_HEADERS_DRAFT_3",
    "RBAC",
    "ROUTES",
    "SECRET",
    "AccessLog",
    "AccessLogFilter",
    "Address",
    "AggregatedConfigSource",
    "AnyMessage",
    "ApiVersion",
    "ApplicationProtocolInput",
    "AuthorizationService",
    "BoolValue",
    "Buffer",
    "CelFormatter",
    "CertificateValidationContext",
    "ChainAddresses",
    "ChainExtension",
    "ChainMatcher",
    "ChainRange",
    "ChainRegex",
    "ChainString",
    "CidrRange",
    "CircuitBreakers",
    "Cluster",
    "ClusterLoadAssignment",
    "CommonTlsContext",
    "ConfigSource",
    "ConnectionLimit",
    "Constant",
    "DataSource",
    "DeltaDiscoveryRequest",
    "DeltaDiscoveryResponse",
    "DirectResponse",
    "DirectSourceIPInput",
    "DiscoveryResource",
    "DownstreamTlsContext",
    "EarlyHeaderMutation",
    "Endpoint",
    "Expr",
    "ExpressionFilter",
    "ExtAuthz",
    "ExtensionConfigSource",
    "ExtensionFilter",
    "ExtensionWithMatcher",
    "FileAccessLog",
    "Filter",
    "FilterChain",
    "FilterChainMatch",
    "FilterConfig",
    "FilterStateInput",
    "FilterStateValue",
    "FractionalPercent",
    "HeaderMatcher",
    "HeaderMutation",
    "HeaderMutationFilter",
    "HeaderMutations",
    "HeaderValue",
    "HeaderValueOption",
    "HealthCheck",
    "Http1ProtocolOptions",
    "Http2ProtocolOptions",
    "HttpConnectionManager",
    "HttpFilter",
    "HttpProtocolOptions",
    "HttpRequestHeaderMatchInput",
    "HttpStatus",
    "HttpUri",
    "Int64Range",
    "LbEndpoint",
    "Listener",
    "ListenerFilter",
    "ListenerFilterState",
    "LocalRateLimit",
    "LocalRateLimitDescriptor",
    "LocalReplyConfig",
    "LocalityLbEndpoints",
    "Metadata",
    "MetadataKey",
    "OnDemandSecret",
    "OutlierDetection",
    "Permission",
    "Pipe",
    "Policy",
    "Principal",
    "ProxyProtocol",
    "ProxyProtocolConfig",
    "ProxyProtocolUpstream",
    "QuicDownstreamTransport",
    "QuicListenerOptions",
    "QuicProtocolOptions",
    "RateLimit",
    "RateLimitDescriptor",
    "RawBuffer",
    "RbacFilter",
    "RbacPerRoute",
    "Rds",
    "RedirectAction",
    "RegexMatchAndSubstitute",
    "RegexMatcher",
    "ResponseMapper",
    "RetryPolicy",
    "Route",
    "RouteAction",
    "RouteConfiguration",
    "RouteMatch",
    "Router",
    "RuntimeFractionalPercent",
    "SdsSecretConfig",
    "Secret",
    "ServerNameInput",
    "SkipFilter",
    "SniMapper",
    "SocketAddress",
    "SourceIPInput",
    "StdoutAccessLog",
    "StreamHashPolicy",
    "StringMatcher",
    "StringValue",
    "Struct",
    "SubjectAltNameMatcher",
    "SubstitutionFormatString",
    "TcpProxy",
    "TlsCertificate",
    "TlsInspector",
    "TlsParameters",
    "TlsSessionTicketKeys",
    "TokenBucket",
    "TransportSocket",
    "UInt32Value",
    "UInt64Value",
    "UdpListenerConfig",
    "UpstreamHttpOptions",
    "UpstreamTlsContext",
    "VirtualHost",
    "WeightedCluster",
    "extension",
    "packed",
    "seconds",
    "type_url",
]
