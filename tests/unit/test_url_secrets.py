"""What a URL tells of a secret is found and taken out, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.url_secrets import holds_secret, masked

_SECRET = st.text("abcXYZ0189-_.~!$%:@", min_size=8, max_size=40).map(lambda text: f"S{text}S")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@ops.example/hook", "https://****@ops.example/hook"),
        ("https://tokenalone@ops.example", "https://****@ops.example"),
        ("https://a@b:pw@ops.example/x@y", "https://****@ops.example/x@y"),
        ("http://[::1]:80:x@h/", "http://****@h/"),
        ("https://h/x?room=1&token=abc&z=2", "https://h/x?room=1&token=****&z=2"),
        ("https://h/x?API_KEY=abc#end", "https://h/x?API_KEY=****#end"),
    ],
)
def test_a_secret_is_found_and_masked(url, shown):
    assert holds_secret(url)
    assert masked(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "https://ops.example/a@b",
        "http://h:8080/x?room=token",
        "https://h/?monkey=1&keys=2",
        "https://h/x#a@b",
        "x",
    ],
)
def test_what_is_no_secret_stays(url):
    assert not holds_secret(url)
    assert masked(url) == url


@given(_SECRET, st.sampled_from(["https://me:{}@h/x?y=1", "https://{}@h", "https://h/?a=1&secret={}"]))
def test_nothing_of_a_secret_is_left(secret, where):
    assert secret not in masked(where.format(secret))
