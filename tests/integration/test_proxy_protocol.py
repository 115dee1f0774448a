"""The PROXY protocol on a real Envoy: listed peers say whom they speak for, nobody else can."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeward.gateway.envoy import Gateway
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ShowingBackend, ask, wrap
from tests.ports import free_port

HTTP, HTTPS = free_port(), free_port()
LISTED, STRANGER = "127.0.0.9", "127.0.0.1"
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 443\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 443\r\n"
V1_UNKNOWN = b"PROXY UNKNOWN\r\n"
MAGIC = b"\r\n\r\n\0\r\nQUIT\n"
V2_LOCAL = MAGIC + b"\x20\x00\0\0"


def v2(source: str, tlv: bytes = b"", length: int | None = None) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 4000, 443)
    return MAGIC + b"\x21\x11" + struct.pack(">H", length or len(addresses + tlv)) + addresses + tlv


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    directory = Path(tempfile.mkdtemp(prefix="rig"))
    backend = ShowingBackend()
    made = Rig(directory, {"shop.example": "shop.example"})
    made.show(
        Gateway(
            Listen(
                http=f"127.0.0.1:{HTTP}",
                https=f"127.0.0.1:{HTTPS}",
                proxy_protocol=(f"{LISTED}/32",),
                trusted_proxies=("198.51.100.0/24",),
                limits={"header_timeout": "1s"},
            ),
            (Service(name="shown", backends=(f"http://127.0.0.1:{backend.port}",)),),
            (parse(Route, {"hosts": ["shop.example"], "service": "shown", "http": "serve"}),),
        )
    )
    assert made.discovery.refusals == []
    yield made
    assert made.process.poll() is None
    made.close()
    backend.close()
    shutil.rmtree(directory)


def opened(source: str, secure: bool) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", HTTPS if secure else HTTP), timeout=30, source_address=(source, 0)
    )


def forwarded_for(source: str, preface: bytes, secure: bool) -> str | None:
    """Give the X-Forwarded-For that the backend saw; None where the connection was closed."""
    connection = opened(source, secure)
    try:
        connection.sendall(preface)
        if secure:
            connection = wrap(connection, "shop.example")
        answer = ask(connection, REQUEST).lower()
    except OSError:
        return None
    finally:
        connection.close()
    lines = [line for line in answer.decode().split("\r\n") if line.startswith("x-forwarded-for: ")]
    assert bool(lines) == answer.startswith(b"http/1.1 200")
    return lines[0].removeprefix("x-forwarded-for: ") if lines else None


@pytest.mark.parametrize("secure", [False, True])
def test_a_listed_peer_says_whom_it_speaks_for(rig: Rig, secure: bool) -> None:
    assert forwarded_for(LISTED, V1, secure) == "203.0.113.7"
    assert forwarded_for(LISTED, V1_IPV6, secure) == "2001:db8::7"
    assert forwarded_for(LISTED, v2("203.0.113.8"), secure) == "203.0.113.8"
    assert forwarded_for(LISTED, v2("203.0.113.8", b"\x05\0\x04abcd"), secure) == "203.0.113.8"


@pytest.mark.parametrize("secure", [False, True])
def test_a_listed_peer_that_speaks_for_nobody_is_served_as_itself(rig: Rig, secure: bool) -> None:
    for preface in (b"", V1_UNKNOWN, V2_LOCAL):
        assert forwarded_for(LISTED, preface, secure) == LISTED


@pytest.mark.parametrize("secure", [False, True])
def test_a_stranger_is_served_as_himself_and_cannot_say_he_is_another(rig: Rig, secure: bool) -> None:
    assert forwarded_for(STRANGER, b"", secure) == STRANGER
    forged = (V1, V1_IPV6, v2("203.0.113.8"), v2(LISTED), f"PROXY TCP4 {LISTED} 127.0.0.1 1 2\r\n".encode())
    for preface in forged:
        assert forwarded_for(STRANGER, preface, secure) is None
    assert forwarded_for(STRANGER, V1_UNKNOWN, secure) == STRANGER


def test_whom_it_speaks_for_may_be_a_trusted_proxy_which_says_the_visitor(rig: Rig) -> None:
    trusted = b"PROXY TCP4 198.51.100.9 192.0.2.1 4000 443\r\n"

    assert forwarded_for(LISTED, trusted, True) == "6.6.6.6,198.51.100.9"
    assert forwarded_for(LISTED, trusted, False) == "6.6.6.6,198.51.100.9"


def test_the_access_log_has_the_visitor_of_whom_the_balancer_speaks(rig: Rig) -> None:
    forwarded_for(LISTED, b"PROXY TCP4 203.0.113.99 192.0.2.1 4000 443\r\n", True)

    end = time.monotonic() + 60
    clients: list[str] = []
    while "203.0.113.99" not in clients and time.monotonic() < end:
        time.sleep(0.05)
        clients = [json.loads(line)["client"] for line in rig.access_log.read_text().splitlines()]
    assert "203.0.113.99" in clients


GARBAGE = {
    "no protocol": b"PROXY \r\n",
    "no address": b"PROXY TCP4 a b c d\r\n",
    "wrong family": b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    "port too large": b"PROXY TCP4 10.0.0.1 10.0.0.2 99999 2\r\n",
    "no end": b"PROXY TCP4 " + b"1" * 300,
    "a second one": V1 + V1,
    "version 3": MAGIC + b"\x31\x11\0\x0c" + bytes(12),
    "unix": MAGIC + b"\x21\x31\0\xd8" + bytes(216),
    "command 9": MAGIC + b"\x29\x11\0\x0c" + bytes(12),
    "too short": MAGIC + b"\x21\x11\0\x04" + bytes(4),
    "length over the end": v2("10.0.0.1", length=60_000),
    "a TLV over its end": v2("10.0.0.1", b"\x05\xff\xffab"),
    "only magic": MAGIC,
    "half a word": b"PRO",
}


@pytest.mark.parametrize("source", [LISTED, STRANGER])
@pytest.mark.parametrize("what", GARBAGE)
def test_what_is_no_proxy_header_gets_no_answer(rig: Rig, what: str, source: str) -> None:
    with opened(source, False) as connection:
        connection.settimeout(30)
        try:
            answer = ask(connection, GARBAGE[what] + (b"" if what == "half a word" else REQUEST))
        except OSError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 200")


def test_a_preface_that_never_ends_ends_after_the_time_for_first_bytes(rig: Rig) -> None:
    with opened(LISTED, True) as connection:
        connection.sendall(v2("10.0.0.1", length=65_535))
        connection.settimeout(30)
        try:
            end = connection.recv(1)
        except ConnectionResetError:
            end = b""
    assert end == b""


def test_tlvs_of_the_greatest_size_are_read_past(rig: Rig) -> None:
    tlv = b"\xe0" + struct.pack(">H", 60_000) + bytes(60_000)

    assert forwarded_for(LISTED, v2("203.0.113.8", tlv), True) == "203.0.113.8"


def test_a_handshake_through_a_listed_peer_is_about_the_same_names(rig: Rig) -> None:
    connection = opened(LISTED, True)
    connection.sendall(V1)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        wrap(connection, "xdstp://x")
    connection.close()
