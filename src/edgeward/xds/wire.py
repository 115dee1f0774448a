"""The two messages of the delta protocol as bytes, read and written by hand.

Not with protobuf's own parser: it refuses a whole request for one string that is not UTF-8, and a
visitor chooses these strings (a server name may hold any byte). Names keep such bytes as surrogates.
Field numbers: envoy/service/discovery/v3/discovery.proto, google/rpc/status.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from edgeward.errors import Invalid
from edgeward.xds.resource import Resource

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(slots=True)
class Request:
    """A DeltaDiscoveryRequest as far as it matters here; ``error`` is None unless it is a NACK."""

    type_url: str = ""
    subscribe: list[str] = field(default_factory=list)
    unsubscribe: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str | None = None
    generation: int | None = None
    """Which Envoy of its host asks, counted; said on a stream's first request only."""


def read_request(data: bytes) -> Request:
    """Read a DeltaDiscoveryRequest; raises Invalid where the bytes are not a message."""
    request = Request()
    for number, value in _fields(data):
        if number == 1:
            request.generation = _generation(value)
        elif number == 2:
            request.type_url = _text(value)
        elif number == 3:
            request.subscribe.append(_text(value))
        elif number == 4:
            request.unsubscribe.append(_text(value))
        elif number == 5:
            entry = dict(_fields(value))
            request.versions[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
        elif number == 6:
            request.nonce = _text(value)
        elif number == 7:
            request.error = _text(dict(_fields(value)).get(2, b""))
    return request


def _generation(node: bytes) -> int | None:
    """Read what the launcher put into the bootstrap: ``metadata: {generation: "7"}`` (a protobuf Struct)."""
    for number, metadata in _fields(node):
        for _, entry in _fields(metadata) if number == 3 else ():
            found = dict(_fields(entry))
            if found.get(1) == b"generation":
                text = _text(dict(_fields(found.get(2, b""))).get(3, b""))
                return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
    return None


def write_response(type_url: str, nonce: str, resources: Iterable[Resource], removed: Iterable[str]) -> bytes:
    """Give the bytes of a DeltaDiscoveryResponse; bodies, which may have megabytes, are copied once."""
    parts: list[bytes] = []
    for resource in resources:
        body, after = resource.body, _part(3, _raw(resource.name))
        typed = _part(1, resource.type_url.encode()) + _head(2, len(body))
        before = _part(1, resource.version.encode()) + _head(2, len(typed) + len(body)) + typed
        parts += (_head(2, len(before) + len(body) + len(after)), before, body, after)
    parts.append(_part(4, type_url.encode()))
    parts.append(_part(5, nonce.encode()))
    parts.extend(_part(6, _raw(name)) for name in removed)
    return b"".join(parts)


def size_of(resource: Resource) -> int:
    """Give about how many bytes the resource takes in a response, never less than it does."""
    return len(resource.body) + 4 * len(resource.name) + len(resource.type_url) + len(resource.version) + 40


def part(number: int, value: bytes) -> bytes:
    """Give one length-delimited field: for messages whose parts are serialized once and joined often."""
    return _part(number, value)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _BYTES:
            length, position = _varint(data, position)
            stop = position + length
            if stop > end:
                raise Invalid("a field runs past the end of the message")
            yield key >> 3, data[position:stop]
            position = stop
        elif kind == _VARINT:
            _, position = _varint(data, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            raise Invalid(f"wire type {kind} is not used by any message")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise Invalid("a number runs past the end of the message")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7


def _part(number: int, value: bytes) -> bytes:
    return _head(number, len(value)) + value


def _head(number: int, length: int) -> bytes:
    if length < 0x80:
        return bytes((number << 3 | _BYTES, length))
    head = bytearray((number << 3 | _BYTES,))
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
