"""A tiny DNS server on loopback whose answers the demo changes (RFC 1035, A records only)."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Mapping
from typing import Final, cast

_HEADER = struct.Struct("!6H")
_ANSWER_FLAGS: Final = 0x8580  # response, authoritative, recursion desired and available
_NAME_ERROR: Final = 3
_TYPE_A: Final = 1
_TTL: Final = 1


def answer(query: bytes, addresses: Mapping[str, str]) -> bytes | None:
    """Give the answer to one query; None for what is no query."""
    try:
        number, flags, questions, *_ = _HEADER.unpack_from(query)
        name, end = _question_name(query)
        kind, _ = struct.unpack_from("!2H", query, end)
    except (struct.error, IndexError, ValueError):
        return None
    if flags & 0x8000 or questions != 1:
        return None
    question = query[_HEADER.size : end + 4]
    address = addresses.get(name)
    if address is None:
        return _HEADER.pack(number, _ANSWER_FLAGS | _NAME_ERROR, 1, 0, 0, 0) + question
    if kind != _TYPE_A:
        return _HEADER.pack(number, _ANSWER_FLAGS, 1, 0, 0, 0) + question
    record = struct.pack("!3HIH", 0xC00C, _TYPE_A, 1, _TTL, 4) + ipaddress.IPv4Address(address).packed
    return _HEADER.pack(number, _ANSWER_FLAGS, 1, 1, 0, 0) + question + record


def _question_name(query: bytes) -> tuple[str, int]:
    labels, place = [], _HEADER.size
    while length := query[place]:
        if length > 63:
            raise ValueError("a compressed name in a question")
        labels.append(query[place + 1 : place + 1 + length].decode("ascii").lower())
        place += 1 + length
    return ".".join(labels), place + 1


class Names(asyncio.DatagramProtocol):
    """Answers with ``addresses``, which may change at any time."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = answer(data, self.addresses)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)
