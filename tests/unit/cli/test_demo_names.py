from __future__ import annotations

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st

from edgeward.cli.demo.names import answer

_ADDRESSES = {"backend.internal.example": "127.0.0.2"}


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def test_a_known_name_has_its_address_for_one_second() -> None:
    asked = query("Backend.Internal.Example")
    reply = answer(asked, _ADDRESSES)

    assert reply is not None
    assert struct.unpack_from("!6H", reply) == (4711, 0x8580, 1, 1, 0, 0)
    assert reply[12 : len(asked)] == asked[12:]
    assert struct.unpack_from("!IH", reply, len(asked) + 6) == (1, 4)
    assert reply[-4:] == ipaddress.ip_address("127.0.0.2").packed


def test_another_name_does_not_exist() -> None:
    reply = answer(query("nobody.example"), _ADDRESSES)

    assert reply is not None
    assert struct.unpack_from("!4H", reply) == (4711, 0x8583, 1, 0)


def test_a_known_name_has_no_other_records() -> None:
    reply = answer(query("backend.internal.example", kind=28), _ADDRESSES)

    assert reply is not None
    assert struct.unpack_from("!4H", reply) == (4711, 0x8580, 1, 0)


@given(st.binary(max_size=100))
def test_garbage_is_answered_or_left_alone(data: bytes) -> None:
    answer(data, _ADDRESSES)
