"""What is looked up before an order, at a real name server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from edgeward.certificates.preflight.lookups import Caa
from edgeward.certificates.preflight.public_dns import Dns
from edgeward.errors import Unavailable
from tests.integration.acme import Names, Needs
from tests.integration.processes import running, until


@pytest.fixture
def names(needs: Needs) -> Iterator[Names]:
    made = Names()
    with running(made.argv(needs("pebble-challtestsrv"))):
        until(made.ready, what="the tests' name server")
        yield made


async def test_addresses_and_records_are_found_also_behind_an_alias(names: Names) -> None:
    names.at("real.example", "192.0.2.1")
    names.caa("real.example", ("issue", "ca.example; a=b"), ("issuewild", ";"))
    names.alias("shop.example", "real.example")
    dns = Dns([names.address])

    assert await dns.addresses("real.example") == {"192.0.2.1"}
    assert await dns.caa("real.example") == {Caa("issue", "ca.example; a=b"), Caa("issuewild", ";")}
    assert await dns.addresses("shop.example") == {"192.0.2.1"}
    assert await dns.caa("other.example") == frozenset()


async def test_names_without_addresses_have_none(names: Names) -> None:
    names.everywhere("")

    assert await Dns([names.address]).addresses("none.example") == frozenset()


async def test_dns_that_fails_or_is_not_there_is_unavailable(names: Names) -> None:
    names.fail("bad.example")
    with pytest.raises(Unavailable, match="SERVFAIL"):
        await Dns([names.address]).addresses("bad.example")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        nobody = Dns([f"127.0.0.1:{silent.getsockname()[1]}"])
        nobody._resolver.timeout, nobody._resolver.lifetime = 0.1, 0.3
        with pytest.raises(Unavailable, match="in time"):
            await nobody.caa("shop.example")
