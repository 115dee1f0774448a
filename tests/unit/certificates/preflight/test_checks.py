from __future__ import annotations

import asyncio

import pytest

from edgeward.certificates.model import AcmeIssuer, Issuer, LocalIssuer
from edgeward.certificates.orders.fulfilment import Job
from edgeward.certificates.preflight.checks import Preflight
from edgeward.certificates.preflight.lookups import Caa
from edgeward.errors import Refused, Unavailable

LOCAL = Issuer(name="local", local=LocalIssuer())
HERE = ("192.0.2.0/28", "2001:db8::1/128")


def acme(*challenges: str) -> Issuer:
    said = list(challenges) or ["http-01", "tls-alpn-01"]
    dns = {"dns": {"provider": {"name": "cloudflare"}}} if "dns-01" in said else {}
    settings = {"directory": "https://ca.example/dir", "challenges": said, **dns}
    return Issuer(name="le", acme=AcmeIssuer.model_validate(settings))


class Names:
    """DNS as a test has it; ``broken``: names DNS says nothing about."""

    def __init__(self) -> None:
        self.leads: dict[str, set[str]] = {}
        self.records: dict[str, set[Caa]] = {}
        self.broken: set[str] = set()
        self.asked: list[str] = []

    async def addresses(self, name: str) -> frozenset[str]:
        return frozenset(self._found(self.leads, name))

    async def caa(self, name: str) -> frozenset[Caa]:
        self.asked.append(name)
        return frozenset(self._found(self.records, name))

    def _found(self, place: dict, name: str):
        if name in self.broken:
            raise Unavailable(f"DNS fails for {name}")
        return place.get(name, ())


@pytest.fixture
def names() -> Names:
    made = Names()
    made.leads["shop.example.com"] = {"192.0.2.3", "2001:db8::1"}
    return made


async def identified(issuer: Issuer) -> tuple[str, ...]:
    return ("le.example",)


def check(names: Names, *wanted: str, issuer: Issuer | None = None, public=HERE) -> None:
    job = Job(wanted, "default", issuer or acme())
    asyncio.run(Preflight(names, lambda: public, identified).check(job))


def test_a_name_that_leads_here_and_that_nobody_forbids_is_ordered(names):
    check(names, "shop.example.com")

    assert names.asked == ["shop.example.com", "example.com", "com"]


@pytest.mark.parametrize(
    ("leads", "reason"),
    [
        (set(), "no address in DNS"),
        ({"198.51.100.7"}, "leads to 198.51.100.7 in DNS"),
        ({"192.0.2.3", "2001:db8::2"}, "leads to 2001:db8::2 in DNS.*192.0.2.0/28, 2001:db8::1 only"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_with_the_remedy(names, leads, reason):
    names.leads["shop.example.com"] = leads

    with pytest.raises(Refused, match=reason):
        check(names, "shop.example.com")


def test_where_nobody_said_what_the_edges_addresses_are_a_name_has_only_to_lead_somewhere(names):
    names.leads["shop.example.com"] = {"198.51.100.7"}

    check(names, "shop.example.com", public=())
    with pytest.raises(Refused, match="no address"):
        check(names, "none.example.com", public=())


def test_names_proven_by_dns_may_lead_anywhere(names):
    check(names, "*.example.com", "none.example.com", issuer=acme("dns-01"))
    check(names, "none.example.com", issuer=acme("http-01", "dns-01"))


def test_the_nearest_name_with_records_decides(names):
    names.records["example.com"] = {Caa("issue", "other.example")}
    with pytest.raises(Refused, match=r"^example.com, which decides about shop.example.com, has CAA"):
        check(names, "shop.example.com")

    names.records["shop.example.com"] = {Caa("issue", "le.example")}
    check(names, "shop.example.com")


def test_wildcards_are_judged_by_their_own_records(names):
    names.records["example.com"] = {Caa("issue", "le.example"), Caa("issuewild", ";")}

    check(names, "shop.example.com")
    with pytest.raises(Refused, match="CAA"):
        check(names, "*.example.com", issuer=acme("dns-01"))


def test_dns_that_fails_is_no_refusal_and_hides_none(names):
    names.broken.add("com")
    with pytest.raises(Unavailable):
        check(names, "shop.example.com")

    with pytest.raises(Refused):
        check(names, "none.example.com")


def test_local_issuers_ask_nobody(names):
    names.broken.add("shop.example.com")

    check(names, "shop.example.com", issuer=LOCAL)
    assert names.asked == []


async def test_what_is_over_many_names_is_looked_up_once_for_all(names):
    preflight = Preflight(names, lambda: HERE, identified)
    for n in range(3):
        names.leads[f"n{n}.example.com"] = {"192.0.2.3"}
        await preflight.check(Job((f"n{n}.example.com",), "default", acme()))

    assert sorted(names.asked) == ["com", "example.com", "n0.example.com", "n1.example.com", "n2.example.com"]
