"""What a relay makes of its command line."""

from __future__ import annotations

import os
import resource

import pycares
import pytest

from edgeward.relay import config


def test_who_says_how_many_connections_gets_the_descriptors_for_them() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(one) for one in os.listdir("/proc/self/fd"))  # of tests before this one, too
    few = min(soft, max(256, highest + 64))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        given = config.read(["--to", "127.0.0.1:9", "--connections-max", "5000"])

        assert given.connections_max == 5000
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ("fe80::1%lo", "[fe80::1]:53%lo"),
        ("[fe80::1%lo]:5353", "[fe80::1]:5353%lo"),
        ("[fe80::1%1]:5353", "[fe80::1]:5353%lo"),
    ],
)
def test_the_dns_server_that_is_written_is_the_one_that_is_asked(written: str, asked: str) -> None:
    (server,) = config.read(["--to", "a.example:80", "--resolver", written]).resolvers

    assert pycares.Channel(servers=[server]).servers == [asked]
