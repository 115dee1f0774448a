"""Changes of headers as Envoy's options."""

from __future__ import annotations

from typing import Any

from edgeward.gateway.model import HeaderChange, Route
from edgeward.xds import messages as m

_SET = m.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
ADD = m.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD


def change_headers(message: Any, route: Route, *, hsts: bool) -> None:
    message.request_headers_to_add.extend(_options(route.request_headers))
    message.request_headers_to_remove.extend(route.request_headers.remove)
    message.response_headers_to_add.extend(_options(route.response_headers))
    message.response_headers_to_remove.extend(route.response_headers.remove)
    if hsts and route.hsts is not None:
        value = f"max-age={route.hsts.max_age}"
        value += "; includeSubDomains" if route.hsts.include_subdomains else ""
        value += "; preload" if route.hsts.preload else ""
        message.response_headers_to_add.append(replaced("strict-transport-security", value))


def _options(change: HeaderChange) -> list[Any]:
    return [
        *(replaced(n, literal(v)) for n, v in sorted(change.set.items())),
        *(option(n, literal(v), ADD) for n, v in sorted(change.add.items())),
    ]


def option(name: str, value: str, action: Any) -> Any:
    return m.HeaderValueOption(
        header=m.HeaderValue(key=name, value=value), append_action=action, keep_empty_value=True
    )


def replaced(name: str, value: str) -> Any:
    return option(name, value, _SET)


def literal(value: str) -> str:
    """Envoy reads %…% in header values as commands; a doubled sign stands for itself."""
    return value.replace("%", "%%")
