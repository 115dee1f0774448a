"""What people are told of OpenResty gateways."""

from __future__ import annotations

from edgeward.cli.printing import openresty

NOW = 1_800_000_000.0
GATEWAY = {
    "url": "https://gw1.example",
    "state": "failing",
    "reason": "https://gw1.example: no answer within 5 s",
    "flushed": NOW - 60,
    "flushes": 3,
    "failures": 1,
    "cached": {"valid": 10, "invalid": 2, "client": "0.5.0"},
}
STATUS = {
    "listen": ["127.0.0.1:7201"],
    "problem": None,
    "here": True,
    "redis": {"url": "redis://r", "state": "primed", "written": 1234, "reason": None},
    "gateways": [GATEWAY],
}


def test_only_what_needs_a_person_is_a_trouble():
    assert list(openresty.troubles({})) == []
    assert list(openresty.troubles({**STATUS, "gateways": [{**GATEWAY, "state": "flushed"}]})) == []
    assert len(list(openresty.troubles(STATUS))) == 1
    failing = {"url": "redis://r", "state": "failing", "reason": "redis://r: gone"}
    everything = [*openresty.troubles({**STATUS, "problem": "taken", "redis": failing})]
    assert len(everything) == 3
    assert any("redis://r: gone" in sentence for sentence in everything)


def test_that_keys_lie_in_plain_text_is_always_said(capsys):
    openresty.show_status(STATUS, NOW)

    told = capsys.readouterr().out
    assert "PRIVATE KEYS IN PLAIN TEXT" in told
    assert "gw1.example" in told


def test_nothing_is_said_where_it_is_off(capsys):
    openresty.show_status({}, NOW)

    assert capsys.readouterr().out == ""
