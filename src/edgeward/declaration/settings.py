"""Settings from the environment over those of a document: ``EDGEWARD_LISTEN__HTTPS`` is ``listen.https``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgeward.declaration.model import Kind
from edgeward.declaration.notation import Map, read, scalar
from edgeward.errors import Invalid

_PREFIX: Final = "EDGEWARD_"


def overlaid(data: Any, environment: Mapping[str, str], kinds: Mapping[str, Kind]) -> Any:
    """Give a document with the settings of kinds of which there is one (listen, cache) put over it.

    A value is a scalar, several separated by commas, or YAML in brackets. Not a mapping: as it is.
    """
    for name, text in sorted(environment.items()):
        kind, *path = name.removeprefix(_PREFIX).lower().split("__")
        if name.startswith(_PREFIX) and path and all(path) and kind in kinds and kinds[kind].single:
            data = _set(data, [kind, *path], _value(text))
    return data


def _set(data: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    if data is not None and not isinstance(data, Mapping):
        return data
    line = data.line if isinstance(data, Map) else 1
    copy = Map(line)
    copy.update(data or {})
    copy.lines = data.lines if isinstance(data, Map) else {}
    copy[path[0]] = _set(copy.get(path[0]), path[1:], value)
    return copy


def _value(text: str) -> Any:
    text = text.strip()
    if text.startswith(("[", "{")):
        try:
            return read(text.encode(), "")
        except Invalid:
            pass  # an IPv6 address, say
    parts = [part.strip() for part in text.split(",")]
    return scalar(text) if len(parts) == 1 else [scalar(part) for part in parts if part]
