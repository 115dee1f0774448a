"""When to renew and what takes whose place (RFC 9773), profiles, chains to choose from, and revoking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from edgeward.certificates.acme.ari import identifier
from edgeward.certificates.model import Issuer
from edgeward.certificates.orders.fulfilment import Fulfilled, Rejected
from edgeward.errors import Unavailable
from tests.integration.acme import Needs, Pebble, pebble
from tests.integration.acme_faults import Proxy, Say, proxy
from tests.integration.acme_orders import Desk, issuer, leaf, names

PROBLEM = "urn:ietf:params:acme:error:"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, needs: Needs) -> Iterator[Pebble]:
    env = {"PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_CHAIN_LENGTH": "3"}
    with pebble(tmp_path_factory.mktemp("pebble"), needs, always_valid=True, env=env) as made:
        yield made


@pytest.fixture
def between(authority: Pebble) -> Iterator[Proxy]:
    """Pebble, which suggests nothing itself, with suggestions and profiles added."""
    with proxy(authority) as made:
        made.adds = {"renewalInfo": f"{made.url}/renewal-info", "meta": {"profiles": {"short": "a day"}}}
        yield made


def ordered(between: Proxy, **more: Any) -> Issuer:
    return issuer(between.authority, directory=between.directory, **more)


def suggest(between: Proxy, made: Fulfilled, start: str, end: str, **headers: str) -> None:
    body = {"suggestedWindow": {"start": start, "end": end}, "explanationURL": "https://ca.example/why"}
    between.pages[f"/renewal-info/{identifier(made.chain)}"] = Say(200, body, headers)


async def test_the_suggested_window_is_told_with_the_time_to_ask_again(ours: Desk, between: Proxy) -> None:
    made = await ours.order(ordered(between), "a.example.com")
    suggest(between, made, "2030-01-02T00:00:00Z", "2030-01-04T12:00:00.5Z", **{"Retry-After": "21600"})

    window = await ours.fulfiller.window(ordered(between), made.chain)

    assert window is not None
    assert (window.start, window.end) == (1893542400.0, 1893758400.5)
    assert 0 < window.ask_again - ours.now() <= 21600


async def test_a_window_that_ends_before_it_starts_is_not_believed(ours: Desk, between: Proxy) -> None:
    made = await ours.order(ordered(between), "a.example.com")
    suggest(between, made, "2030-01-04T00:00:00Z", "2030-01-02T00:00:00Z")

    with pytest.raises(Unavailable, match="ends before it starts"):
        await ours.fulfiller.window(ordered(between), made.chain)


async def test_an_authority_without_suggestions_makes_none(ours: Desk, authority: Pebble) -> None:
    made = await ours.order(issuer(authority), "a.example.com")

    assert await ours.fulfiller.window(issuer(authority), made.chain) is None


async def test_a_renewal_says_whose_place_it_takes(ours: Desk, between: Proxy) -> None:
    first = await ours.order(ordered(between), "a.example.com")

    await ours.order(ordered(between), "a.example.com", replaces=identifier(first.chain))

    asked = [request.payload.get("replaces") for request in between.seen if request.what == "newOrder"]
    assert asked == [None, identifier(first.chain)]


async def test_what_was_replaced_before_is_renewed_all_the_same(ours: Desk, between: Proxy) -> None:
    refused = Say(409, {"type": PROBLEM + "alreadyReplaced", "detail": "has been replaced"})
    between.rule = lambda what, payload: refused if what == "newOrder" and "replaces" in payload else None

    made = await ours.order(ordered(between), "a.example.com", replaces="aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")

    assert names(leaf(made)) == ["a.example.com"]


async def test_the_profile_is_ordered(ours: Desk, between: Proxy) -> None:
    await ours.order(ordered(between, profile="short"), "a.example.com")

    assert [r.payload["profile"] for r in between.seen if r.what == "newOrder"] == ["short"]


async def test_a_profile_the_authority_has_not_is_rejected_before_anything_is_ordered(
    ours: Desk, between: Proxy
) -> None:
    with pytest.raises(Rejected, match="no profile 'long': it has short"):
        await ours.order(ordered(between, profile="long"), "a.example.com")

    assert between.count("newOrder") == 0


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_the_chain_that_is_preferred_is_chosen(ours: Desk, authority: Pebble, number: int) -> None:
    root = x509.load_pem_x509_certificate(authority.root(number).encode())
    name = str(root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    made = await ours.order(issuer(authority, preferred_chain=name), "a.example.com")

    chain = x509.load_pem_x509_certificates(made.chain.encode())
    chain[-1].verify_directly_issued_by(root)
    assert len(chain) == 4


async def test_a_preferred_chain_there_is_not_leaves_the_authoritys_own(
    ours: Desk, authority: Pebble
) -> None:
    made = await ours.order(issuer(authority, preferred_chain="Nobody"), "a.example.com")

    root = x509.load_pem_x509_certificate(authority.root().encode())
    x509.load_pem_x509_certificates(made.chain.encode())[-1].verify_directly_issued_by(root)


async def test_a_certificate_is_revoked_and_doing_so_again_is_no_error(ours: Desk, authority: Pebble) -> None:
    made = await ours.order(issuer(authority), "a.example.com")
    assert authority.status(leaf(made).serial_number) == "Valid"

    for _ in range(2):
        await ours.fulfiller.revoke(issuer(authority), made.chain, reason=4)

    assert authority.status(leaf(made).serial_number) == "Revoked"
