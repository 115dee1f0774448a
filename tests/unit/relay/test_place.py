from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.relay.place import Address, Name, Unusable, listening, target


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("backend.example:9000", Name("backend.example", 9000)),
        ("Backend.Example.:80", Name("backend.example.", 80)),
        ("127.0.0.1:80", Address(socket.AF_INET, ("127.0.0.1", 80))),
        ("[2001:db8:0::1]:80", Address(socket.AF_INET6, ("2001:db8::1", 80, 0, 0))),
        ("unix:/run/app.sock", Address(socket.AF_UNIX, "/run/app.sock")),
        ("/run/app.sock", Address(socket.AF_UNIX, "/run/app.sock")),
        ("unix:@app", Address(socket.AF_UNIX, "\0app")),
        ("srv:_http._tcp.example", Name("_http._tcp.example", srv=True)),
    ],
)
def test_places_are_read_as_people_write_them(text: str, place: Address | Name) -> None:
    assert target(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "", "backend", "backend:", ":80", "backend:65536", "backend:0", "backend:-1", "backend:٣", "::1:80",
        "bäckend:80", "a..b:80", "-a:80", f"{'a' * 64}:80", "a b:80", "unix:", "unix:relative", "unix:/",
        f"unix:/{'x' * 107}", "unix:/a\0b", "srv:", "srv:a b", "fe80::1%\n:80", "[fe80::1%none]:80",
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Unusable):
        target(text)


@given(st.text(max_size=40))
def test_no_text_at_all_does_more_than_be_refused(text: str) -> None:
    for read in (target, listening):
        try:
            read(text)
        except Unusable:
            continue


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_is_read_back_as_it_is_written(address: object, port: int) -> None:
    written = f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
    found = target(written)

    assert isinstance(found, Address)
    assert target(str(found)) == found
    assert listening(written) == found


def test_a_port_alone_listens_on_loopback() -> None:
    assert listening("8080") == Address(socket.AF_INET, ("127.0.0.1", 8080))


def test_listening_needs_an_address_of_the_host() -> None:
    with pytest.raises(Unusable, match="is no IP address"):
        listening("shop.example:80")
