"""Access logs: one JSON object a line, for requests, for plain streams and for handshakes that failed.

Envoy escapes every value, so that no visitor can forge a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeward.xds import messages as m

_CONNECTION = {
    "time": "%START_TIME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "sni": "%REQUESTED_SERVER_NAME%",
    "flags": "%RESPONSE_FLAGS%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "milliseconds": "%DURATION%",
}
_REQUEST = {
    **_CONNECTION,
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "detail": "%RESPONSE_CODE_DETAILS%",
    "route": "%ROUTE_NAME%",
    "service": "%UPSTREAM_CLUSTER%",
    "via": "%METADATA(CLUSTER:edgeward:via)%",
    "backend": "%UPSTREAM_HOST%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client_certificate": "%DOWNSTREAM_PEER_SUBJECT%",
}
_STREAM = {
    **_CONNECTION,
    "address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "protocol": "TCP",
    "detail": "%CONNECTION_TERMINATION_DETAILS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "service": "%UPSTREAM_CLUSTER%",
    "via": "%METADATA(CLUSTER:edgeward:via)%",
    "backend": "%UPSTREAM_HOST%",
}
_HANDSHAKE = {
    **_CONNECTION,
    "address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "protocol": "TLS",
    "failure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
}


def of_requests(where: str) -> list[Any]:
    """Give the log of an HTTP connection manager; ``where`` is ``stdout``, ``off`` or a file's path."""
    return _log(where, _REQUEST)


def of_streams(where: str) -> list[Any]:
    """Give the log of connections whose bytes are passed on unread."""
    return _log(where, _STREAM)


def of_failed_handshakes(where: str) -> list[Any]:
    """Give a listener's log: only connections whose handshake began and did not succeed."""
    failed = m.AccessLogFilter(
        extension_filter=m.ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=m.packed(m.ExpressionFilter(expression="connection.transport_failure_reason != ''")),
        )
    )
    return [
        m.AccessLog(name=log.name, typed_config=log.typed_config, filter=failed)
        for log in _log(where, _HANDSHAKE)
    ]


def _log(where: str, values: Mapping[str, str]) -> list[Any]:
    if where == "off":
        return []
    fields = m.Struct()
    fields.update({"log": "access", **values})
    form = m.SubstitutionFormatString(json_format=fields, omit_empty_values=True)
    if where == "stdout":
        log, name = m.StdoutAccessLog(log_format=form), "envoy.access_loggers.stdout"
    else:
        log, name = m.FileAccessLog(path=where, log_format=form), "envoy.access_loggers.file"
    return [m.AccessLog(name=name, typed_config=m.packed(log))]
