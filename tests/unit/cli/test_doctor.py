from __future__ import annotations

from dataclasses import replace

import pytest

from edgeward.capabilities import NET_BIND_SERVICE, Held
from edgeward.cli.doctor import Facts, ways

BIT = 1 << NET_BIND_SERVICE
ALL = (1 << 41) - 1
USER = Facts(1000, Held(0, 0, 0, ALL, 0, False), 1024, None)
ROOT = Facts(0, Held(0, ALL, ALL, ALL, 0, False), 1024, None)


def working(facts: Facts) -> set[str]:
    return {way.name for way in ways(facts) if way.works}


def why(facts: Facts, name: str) -> str:
    return next(way.why for way in ways(facts) if way.name == name)


def held(facts: Facts, **change: object) -> Facts:
    return replace(facts, held=replace(facts.held, **change))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (USER, set()),
        (ROOT, {"edgeward up as root"}),
        (held(USER, permitted=BIT, ambient=BIT), {"inherited capability"}),
        (held(USER, permitted=BIT), {"inherited capability"}),
        (held(USER, inheritable=BIT), set()),
        (replace(USER, first_free_port=0), {"net.ipv4.ip_unprivileged_port_start"}),
        (replace(USER, first_free_port=80), {"net.ipv4.ip_unprivileged_port_start"}),
        (replace(USER, first_free_port=443), set()),
        (held(ROOT, bounding=ALL & ~BIT), set()),
        (replace(USER, program=True), set()),
    ],
)
def test_what_works(facts, expected):
    assert working(facts) == expected


def test_why_the_others_do_not():
    assert "bounding set" in why(held(USER, bounding=0), "inherited capability")
    assert "inheritable only" in why(held(USER, inheritable=BIT), "inherited capability")
    assert "sysctl net.ipv4.ip_unprivileged_port_start=80" in why(USER, "net.ipv4.ip_unprivileged_port_start")
    assert "image layers" in why(USER, "file capability")
    assert "no-new-privs" in why(held(replace(USER, program=True), no_new_privs=True), "file capability")
    assert "not among them" in why(replace(USER, program=False), "file capability")
