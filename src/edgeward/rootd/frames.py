"""What travels over the socket: four bytes of length, most significant first, and so many bytes of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 65_536


class Malformed(Exception):
    """What was sent is no request; the message is for who wrote the client."""


@dataclass(frozen=True)
class Asker:
    """For whom the edge's own program asks: role, token id, address and certificate's name of an API user."""

    role: str = ""
    token: str = ""
    address: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class Request:
    action: str
    values: Mapping[str, str | int]
    asker: Asker | None = None


class FrameReader:
    """Fed with bytes, gives whole frames; holds no more than one frame that is not complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        found = []
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            if not 4 < end <= 4 + MOST_BYTES:
                raise Malformed(f"a frame has 1 to {MOST_BYTES} bytes")
            if len(self._buffer) < end:
                break
            found.append(bytes(self._buffer[4:end]))
            del self._buffer[:end]
        return found


def framed(answer: Mapping[str, Any]) -> bytes:
    data = json.dumps(answer).encode()
    return len(data).to_bytes(4, "big") + data


def request(frame: bytes) -> Request:
    """Read a request: ``{"action": NAME, "values": {NAME: text or whole number}}``; raises Malformed."""
    try:
        data = json.loads(frame.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply, huge numbers
        raise Malformed("a request is a JSON object") from error
    if not isinstance(data, dict) or data.keys() - {"action", "values", "asker"}:
        raise Malformed("a request has action, values and, from the edge's own programs, asker")
    action, values, asker = data.get("action"), data.get("values", {}), data.get("asker")
    if not isinstance(action, str) or not 0 < len(action) <= 100:
        raise Malformed("action is a name")
    if not isinstance(values, dict) or not all(type(value) in (str, int) for value in values.values()):
        raise Malformed("values are texts and whole numbers by name")
    if asker is None:
        return Request(action, values)
    texts = isinstance(asker, dict) and all(isinstance(text, str) for text in asker.values())
    if not texts or asker.keys() - vars(Asker()).keys():
        raise Malformed("asker has the texts role, token, address and certificate")
    return Request(action, values, Asker(**asker))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
