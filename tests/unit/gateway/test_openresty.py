"""What may be declared of OpenResty gateways."""

from __future__ import annotations

import pytest

from edgeward.errors import Invalid
from edgeward.gateway.model import OpenResty
from edgeward.parsing import parse

SECRET = {"sealed": "AA==", "digest": "0" * 32}


def test_it_listens_on_loopback_unless_told_otherwise():
    assert parse(OpenResty, {"secret": SECRET}).listen == ("127.0.0.1:7201",)


def test_there_is_none_without_a_secret():
    with pytest.raises(Invalid, match="secret"):
        parse(OpenResty, {})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"redis": {"url": "redis://127.0.0.1:6379"}}, "PLAIN TEXT"),
        ({"redis": {"url": "redis://127.0.0.1:6379", "plain_keys": False}}, "plain_keys: true"),
        ({"redis": {"url": "redis://u:p@127.0.0.1:6379", "plain_keys": True}}, "redis://HOST"),
        ({"redis": {"url": "redis://127.0.0.1:6379/9", "plain_keys": True}}, "redis://HOST"),
        ({"redis": {"url": "redis://127.0.0.1:70000", "plain_keys": True}}, "redis://HOST"),
        ({"gateways": [{"url": "ftp://x"}]}, "https://HOST"),
        ({"gateways": [{"url": "http://x/.peter_sslers"}]}, "https://HOST"),
        ({"gateways": [{"url": "https://x"}, {"url": "https://x/"}]}, "listed twice"),
        ({"gateways": [{"url": "https://x", "username": "a:b"}]}, "username"),
        ({"autocert_seconds": 60}, "autocert_seconds"),
    ],
)
def test_what_would_hurt_is_refused_with_the_remedy(more, said):
    with pytest.raises(Invalid, match=said):
        parse(OpenResty, {"secret": SECRET, **more})


@pytest.mark.parametrize("url", ["https://gw1.example", "http://10.0.0.1:8080/", "https://[2001:db8::1]:443"])
def test_a_gateway_is_an_origin(url):
    found = parse(OpenResty, {"secret": SECRET, "gateways": [{"url": url}]})

    assert found.gateways[0].url == url.removesuffix("/")
