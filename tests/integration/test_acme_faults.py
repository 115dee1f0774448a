"""Orders at an authority that refuses nonces, has had enough, fails, stalls, and loses answers."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from edgeward.certificates.model import Issuer
from edgeward.certificates.orders.fulfilment import Limited, Rejected
from edgeward.errors import Unavailable
from tests.integration.acme import Needs, Pebble, pebble, trust
from tests.integration.acme_faults import Lose, Proxy, Reset, Say, Stall
from tests.integration.acme_orders import Desk, issuer, leaf, names

PROBLEM = "urn:ietf:params:acme:error:"


def ordered(between: Proxy) -> Issuer:
    return issuer(between.authority, directory=between.directory)


@pytest.mark.parametrize("refused", [50, 90])
async def test_refused_nonces_are_survived(ours: Desk, state_dir: Path, needs: Needs, refused: int) -> None:
    with pebble(state_dir, needs, refused_nonces=refused, always_valid=True) as authority:
        made = await ours.order(issuer(authority), "shop.example.com")

    assert names(leaf(made)) == ["shop.example.com"]


@pytest.mark.parametrize(
    ("detail", "scope", "key"),
    [
        ("too many new orders (300) from this account in the last 3h0m0s", "orders", ""),
        (
            'too many certificates (50) already issued for "example.com" in the last 168h',
            "domain",
            "example.com",
        ),
        (
            "too many certificates (5) already issued for this exact set of identifiers",
            "exact",
            "a.example.com",
        ),
        (
            'too many failed authorizations (5) for "a.example.com" in the last 1h',
            "failures",
            "a.example.com",
        ),
        ("Service busy; retry later.", "account", ""),
    ],
)
async def test_too_many_requests_say_which_limit_and_until_when(
    ours: Desk, between: Proxy, detail: str, scope: str, key: str
) -> None:
    between.always(
        Say(429, {"type": PROBLEM + "rateLimited", "detail": detail}, {"Retry-After": "1800"}), "newOrder"
    )
    now = time.time()

    with pytest.raises(Limited) as caught:
        await ours.order(ordered(between), "a.example.com")

    assert (caught.value.scope, caught.value.key) == (scope, key)
    assert caught.value.until == pytest.approx(now + 1800, abs=30)
    assert between.count("newOrder") == 1


async def test_the_next_look_comes_no_sooner_than_the_authority_says(ours: Desk, between: Proxy) -> None:
    waiting = {"status": "processing", "finalize": between.url, "authorizations": []}
    between.once("order", Say(200, waiting, {"Retry-After": "2"}))

    made = await ours.order(ordered(between), "a.example.com")

    looks = [request.at for request in between.seen if request.what == "order"]
    assert names(leaf(made)) == ["a.example.com"]
    assert looks[1] - looks[0] >= 2


@pytest.mark.parametrize(
    "what", ["directory", "newNonce", "newAccount", "authorization", "finalize", "order", "certificate"]
)
@pytest.mark.parametrize("fault", [Say(500), Reset(), Lose()], ids=["500", "reset", "lost"])
async def test_a_step_that_fails_once_is_done_again(
    ours: Desk, between: Proxy, what: str, fault: Say | Reset | Lose
) -> None:
    before = between.authority.orders()
    between.once(what, fault)

    made = await ours.order(ordered(between), "a.example.com")

    assert names(leaf(made)) == ["a.example.com"]
    assert between.authority.orders() == before + 1


@pytest.mark.parametrize("fault", [Say(502), Reset(), Lose()], ids=["502", "reset", "lost"])
async def test_an_order_whose_answer_is_lost_is_found_again_instead_of_made_twice(
    ours: Desk, between: Proxy, fault: Say | Reset | Lose
) -> None:
    before = between.authority.orders()
    between.once("newOrder", fault)

    made = await ours.order(ordered(between), "a.example.com")

    assert names(leaf(made)) == ["a.example.com"]
    assert between.authority.orders() == before + 1


async def test_an_authority_that_fails_again_and_again_is_unavailable(ours: Desk, between: Proxy) -> None:
    between.always(Say(503), "newOrder", "order", "authorization")

    with pytest.raises(Unavailable, match="503"):
        await ours.order(ordered(between), "a.example.com")


async def test_a_refusal_is_final_and_carries_the_authoritys_words(ours: Desk, between: Proxy) -> None:
    refused = {"type": PROBLEM + "rejectedIdentifier", "detail": "we do not\r\nserve this\x00 name"}
    between.always(Say(400, refused), "newOrder")

    with pytest.raises(Rejected, match="we do not serve this"):
        await ours.order(ordered(between), "a.example.com")


@pytest.mark.slow
async def test_an_authority_that_stalls_is_given_up(ours: Desk, between: Proxy) -> None:
    between.always(Stall(), "newAccount")

    with pytest.raises(Unavailable, match="does not answer in time"):
        await ours.order(ordered(between), "a.example.com")


async def test_ending_waits_for_no_authority(ours: Desk, between: Proxy) -> None:
    between.always(Stall(), "newAccount")
    order = asyncio.create_task(ours.order(ordered(between), "a.example.com"))
    while not between.count("newAccount"):
        await asyncio.sleep(0.01)

    ours.fulfiller.close()

    with pytest.raises(Unavailable):
        await asyncio.wait_for(order, 30)


async def test_roots_that_are_not_there_or_none_are_named(
    ours: Desk, authority: Pebble, tmp_path: Path
) -> None:
    with pytest.raises(Rejected, match=r"acme\.ca_file: .*No such file"):
        await ours.order(issuer(authority, ca_file=str(tmp_path / "none")), "a.example.com")
    (tmp_path / "text").write_text("no certificates")
    with pytest.raises(Rejected, match=r"acme\.ca_file: .* cannot be read as PEM"):
        await ours.order(issuer(authority, ca_file=str(tmp_path / "text")), "a.example.com")


async def test_roots_that_were_replaced_are_read_again(ours: Desk, authority: Pebble, tmp_path: Path) -> None:
    roots = tmp_path / "roots"
    roots.write_text(trust(tmp_path / "other").ca_file.read_text())
    with pytest.raises(Unavailable, match="not trusted"):
        await ours.order(issuer(authority, ca_file=str(roots)), "a.example.com")

    roots.write_text(authority.ca_file.read_text())
    os.utime(roots, (1, 1))

    assert await ours.order(issuer(authority, ca_file=str(roots)), "a.example.com")
