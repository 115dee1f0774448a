"""Whatever a peer says becomes one word that is no option, or nothing."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeward.rootd.table.placeholders import Wrong, type_of

SPECS = {
    "enum": {"enum": ["nginx", "haproxy"]},
    "integer": {"integer": [1, 65535]},
    "pattern": {"pattern": ".*"},
    "domain": {"domain": True},
    "ip": {"ip": True},
}
ALLOWED = {
    "enum": re.compile(r"nginx|haproxy"),
    "integer": re.compile(r"[1-9][0-9]{0,4}"),
    "pattern": re.compile(r"(?!-)[\x20-\x7e]{1,255}"),
    "domain": re.compile(r"[a-z0-9][a-z0-9.-]{0,252}"),
    "ip": re.compile(r"[0-9a-f.:]{2,45}"),
}
HOSTILE = [
    "-rf", "--config=/tmp/x", "$(id)", "`id`", ";id", "|id", "&id", "a\nb", "a\0b", "a\rb", "\x1b[31m", "../../etc/passwd",
    "fe80::1%\nx", "fe80::1%eth0;id", "1.2.3.4\n", "\ud800", "١٢٣", "nginx\n", " nginx", "NGINX", "-1", "0x10", "1e3", "1_000",
    "+5", "٣", "65536", "a..b", ".", "-a.example", "a-.example", "a" * 64 + ".example", "1.2.3.4.5", "*", "~", "{x}", "%s", "",
    "a.example.", "xn--", "a_b.example", "0177.0.0.1", "::ffff:1.2.3.4", "true", "null",
]  # fmt: skip
values = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=40),
    st.text(alphabet="-$`;|&\n\0./%:a1 \\'\"", max_size=20),
    st.integers(-(10**20), 10**20),
    st.from_regex(r"-{1,2}[a-z]{1,8}(=.{0,8})?", fullmatch=True),
)


@pytest.mark.parametrize("kind", SPECS)
@settings(max_examples=400)
@given(value=values)
@example(value="a\n")
def test_nothing_but_one_plain_word_that_is_no_option_comes_out(kind, value):
    try:
        text = type_of(SPECS[kind])(value)
    except Wrong:
        return
    assert ALLOWED[kind].fullmatch(text)
    assert not text.startswith("-")


def test_the_check_above_fails_for_a_type_that_takes_everything():
    assert not any(ALLOWED[kind].fullmatch("-rf /; id\n") for kind in SPECS)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("enum", "nginx", "nginx"),
        ("integer", 443, "443"),
        ("integer", "0443", "443"),
        ("pattern", "branch office 1", "branch office 1"),
        ("domain", "Shop.Example", "shop.example"),
        ("ip", "2001:DB8::0:1", "2001:db8::1"),
        ("ip", "192.0.2.1", "192.0.2.1"),
    ],
)
def test_values_come_out_canonical(kind, value, text):
    assert type_of(SPECS[kind])(value) == text


@given(st.ip_addresses())
def test_every_address_is_taken(address):
    if "%" not in str(address):
        assert ipaddress.ip_address(type_of({"ip": True})(str(address))) == address


def test_patterns_match_in_full():
    of_type = type_of({"pattern": "[a-z]+"})
    for value in ("abc\n", "abc1", "1abc", "ABC", "é", 7):
        with pytest.raises(Wrong):
            of_type(value)
    assert of_type("abc") == "abc"


@pytest.mark.parametrize(
    "spec",
    [{}, {"enum": []}, {"enum": ["a", 1]}, {"enum": "ab"}, {"integer": [1]}, {"integer": [1, "2"]}, {"pattern": "("},
     {"pattern": 1}, {"domain": False}, {"ip": "yes"}, {"shell": True}, {"enum": ["a"], "ip": True}, "ip", None],
)  # fmt: skip
def test_a_type_that_says_nothing_sensible_is_refused(spec):
    with pytest.raises(Wrong):
        type_of(spec)
