from __future__ import annotations

import ipaddress
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from edgeward.relay.proxy_protocol import header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ports = st.integers(1, 65535)


@given(st.ip_addresses(v=4), ports, st.ip_addresses(v=4), ports)
def test_ipv4_is_told_in_twelve_bytes(source: object, port: int, destination: object, own: int) -> None:
    found = header(socket.AF_INET, (str(source), port), (str(destination), own))

    assert found[:16] == SIGNATURE + b"\x21\x11\0\x0c"
    assert struct.unpack("!4s4sHH", found[16:]) == (
        ipaddress.ip_address(str(source)).packed, ipaddress.ip_address(str(destination)).packed, port, own,
    )  # fmt: skip


@given(st.ip_addresses(v=6), ports, st.ip_addresses(v=6), ports)
def test_ipv6_is_told_in_thirty_six_bytes(source: object, port: int, destination: object, own: int) -> None:
    found = header(socket.AF_INET6, (f"{source}%eth0", port, 0, 2), (str(destination), own, 0, 0))

    assert found[:16] == SIGNATURE + b"\x21\x21\0\x24"
    assert len(found) == 16 + 36
    assert found[16:32] == ipaddress.ip_address(str(source)).packed
    assert struct.unpack("!HH", found[48:]) == (port, own)


def test_a_unix_socket_has_no_address_to_tell() -> None:
    assert header(socket.AF_UNIX, "", "/run/front") == SIGNATURE + b"\x20\0\0\0"
    assert header(socket.AF_UNIX, b"\0abc", "/run/front") == SIGNATURE + b"\x20\0\0\0"
