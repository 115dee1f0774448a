"""Messages of Envoy's API that xds-protos lacks, made of their fields.

Field numbers as in Envoy 1.40's API (on_demand_secret/v3/config.proto, cert_mappers/sni/v3/sni.proto,
filters/listener/set_filter_state/v3/set_filter_state.proto).
"""

from __future__ import annotations

from typing import Any, Final

from envoy.config.core.v3 import config_source_pb2, extension_pb2
from envoy.extensions.filters.common.set_filter_state.v3 import value_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TLS: Final = "envoy.extensions.transport_sockets.tls"
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_OTHERS: Final = [found.DESCRIPTOR.name for found in (config_source_pb2, extension_pb2, value_pb2)]
"""Files of xds-protos whose messages are fields here."""


def _declare(package: str, name: str, fields: list[tuple[str, int, str | None, bool]]) -> Any:
    """Make one message class: fields are (name, number, message type or None for a string, repeated)."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"edgeward/{package.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    file.dependency.extend(_OTHERS)
    message = file.message_type.add(name=name)
    for field, number, type_name, repeated in fields:
        message.field.add(
            name=field,
            number=number,
            label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
            type=_FIELD.TYPE_MESSAGE if type_name else _FIELD.TYPE_STRING,
            type_name=f".{type_name}" if type_name else None,
        )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


OnDemandSecret = _declare(
    f"{_TLS}.cert_selectors.on_demand_secret.v3",
    "Config",
    [
        ("config_source", 1, "envoy.config.core.v3.ConfigSource", False),
        ("certificate_mapper", 2, "envoy.config.core.v3.TypedExtensionConfig", False),
        ("prefetch_secret_names", 3, None, True),
    ],
)
ListenerFilterState = _declare(
    "envoy.extensions.filters.listener.set_filter_state.v3",
    "Config",
    [("on_accept", 1, "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue", True)],
)
SniMapper = _declare(f"{_TLS}.cert_mappers.sni.v3", "SNI", [("default_value", 1, None, False)])
