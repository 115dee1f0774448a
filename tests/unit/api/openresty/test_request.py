"""What the facade takes for a request of the client, and what for somebody else's."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeward.api.openresty.request import Asked, Declined, read, read_body
from edgeward.domain_name import normalise

SECRET = "3f9c1d5b7a2e48c6"
QUERY = b"openresty=1"


def lookup(name: bytes) -> Asked:
    return read("GET", b"/" + SECRET.encode() + b"/domain/" + name + b"/config.json", QUERY, SECRET)


def test_the_two_requests_are_read():
    assert lookup(b"Shop.Example") == Asked("lookup", "shop.example")
    assert read("POST", f"/{SECRET}/api/domain/autocert.json".encode(), QUERY, SECRET) == Asked("autocert")
    assert read_body(b"domain_name=shop.example") == "shop.example"


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/", QUERY, 404),
        ("GET", "", QUERY, 404),
        ("GET", "/domain/shop.example/config.json", QUERY, 404),
        ("GET", f"/{SECRET[:-1]}/domain/shop.example/config.json", QUERY, 404),
        ("GET", f"/{SECRET}x/domain/shop.example/config.json", QUERY, 404),
        ("GET", f"x{SECRET}/domain/shop.example/config.json", QUERY, 404),
        ("GET", f"/{SECRET}/domain/config.json", QUERY, 404),
        ("GET", f"/{SECRET}/domain/shop.example", QUERY, 404),
        ("POST", f"/{SECRET}/domain/shop.example/config.json", QUERY, 405),
        ("GET", f"/{SECRET}/api/domain/autocert.json", QUERY, 405),
        ("GET", f"/{SECRET}/domain/shop.example/config.json", b"", 400),
        ("GET", f"/{SECRET}/domain/shop.example/config.json", b"x/config.json?openresty=1", 400),
        ("GET", f"/{SECRET}/domain/{'a.' * 127}/config.json", QUERY, 400),
        ("GET", f"/{SECRET}/domain//config.json", QUERY, 400),
        ("GET", f"/{SECRET}/domain/a/b.example/config.json", QUERY, 400),
        ("GET", f"/{SECRET}/domain/../x.example/config.json", QUERY, 400),
        ("GET", f"/{SECRET}/domain/shop%2Eexample/config.json", QUERY, 400),
        ("GET", f"/{SECRET}/domain/*.example.com/config.json", QUERY, 400),
        ("GET", f"/{SECRET}/domain/192.0.2.1/config.json", QUERY, 400),
    ],
)
def test_whatever_else_is_declined_before_anything_is_done(method, path, query, status):
    with pytest.raises(Declined) as declined:
        read(method, path.encode(), query, SECRET)

    assert declined.value.status == status


@pytest.mark.parametrize(
    "name",
    [
        b"a.example\r\nX: y",
        b"a.example\n",
        b"\0.example",
        b"a.example\0",
        b"a b.example",
        b"\xff.example",
        b"=x",
    ],
)
def test_a_name_that_hides_something_is_declined_in_path_and_body(name):
    for ask in (lambda: lookup(name), lambda: read_body(b"domain_name=" + name)):
        with pytest.raises(Declined) as declined:
            ask()

        assert declined.value.status == 400


@given(st.binary(max_size=300))
@example(b"a." * 126 + b"a.")
def test_a_name_that_is_taken_is_canonical_and_could_have_a_certificate(raw):
    try:
        name = lookup(raw).name
    except Declined as declined:
        assert 400 <= declined.status < 500
    else:
        assert normalise(name) == name
        assert len(name) <= 253


@given(st.binary(max_size=60))
def test_a_body_is_a_name_or_declined(body):
    try:
        assert normalise(read_body(body)) == read_body(body)
    except Declined as declined:
        assert declined.status == 400
