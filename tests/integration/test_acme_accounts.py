"""Accounts at a real authority (Pebble): made once, bound, known again, their keys changed."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import delete, select

from edgeward.certificates.acme.accounts import sealed
from edgeward.certificates.model import Issuer
from edgeward.certificates.orders.fulfilment import Rejected
from edgeward.database import schema
from edgeward.errors import Unavailable
from tests.integration.acme import Needs, Pebble, pebble, started
from tests.integration.acme_answers import answers
from tests.integration.acme_faults import Lose, Proxy, Reset, Stall, proxy
from tests.integration.acme_orders import Desk, issuer, leaf, names
from tests.integration.controller_setup import Controller
from tests.pairs import key_pem
from tests.unit.controller.assembled import controller

BINDING = base64.urlsafe_b64encode(b"0123456789abcdef0123456789abcdef").decode()


def ordered(between: Proxy, **more: Any) -> Issuer:
    return issuer(between.authority, directory=between.directory, **more)


async def account(ours: Desk) -> Any:
    async with ours.database.reading() as connection:
        return (await connection.execute(select(schema.accounts))).one()


async def test_one_account_serves_all_orders_also_after_a_restart(ours: Desk, between: Proxy) -> None:
    await asyncio.gather(*(ours.order(ordered(between), f"{n}.example.com") for n in "abc"))
    again = ours.again()
    await again.order(ordered(between), "d.example.com")
    await again.close()

    assert between.count("newAccount") == 1


async def test_an_accounts_key_is_never_in_the_clear(ours: Desk, between: Proxy) -> None:
    await ours.order(ordered(between), "a.example.com")

    row = await account(ours)
    assert b"PRIVATE" not in row.sealed_key
    assert "/my-account/" in row.url


async def test_another_address_is_told_to_the_authority(ours: Desk, between: Proxy) -> None:
    await ours.order(ordered(between, email="old@example.com"), "a.example.com")
    await ours.order(ordered(between, email="new@example.com"), "a.example.com")
    await ours.order(ordered(between, email="new@example.com"), "a.example.com")

    contacts = [
        r.payload["contact"] for r in between.seen if isinstance(r.payload, dict) and "contact" in r.payload
    ]
    assert contacts == [["mailto:old@example.com"], ["mailto:new@example.com"]]
    assert (await account(ours)).email == "new@example.com"


async def brought(ours: Desk, issuer: Issuer, key: str, url: str | None) -> None:
    """Have an account as an import leaves it."""
    assert issuer.acme is not None
    place = (issuer.project, issuer.name, issuer.acme.directory)
    row = {"project": place[0], "issuer": place[1], "directory": place[2], "url": url, "created": 0}
    async with ours.database.writing() as writing:
        await writing.connection.execute(delete(schema.accounts))
        values = {**row, "sealed_key": sealed(ours.seal, place, key)}
        await writing.connection.execute(schema.accounts.insert().values(values))


async def test_an_rsa_account_of_another_program_is_used_as_it_is_and_its_key_changed(
    ours: Desk, between: Proxy
) -> None:
    key = key_pem(rsa.generate_private_key(65537, 2048))
    await brought(ours, ordered(between), key, None)
    await ours.order(ordered(between), "a.example.com")
    url = (await account(ours)).url

    other = ours.again()
    await brought(other, ordered(between), key, url)
    made = await other.order(ordered(between), "b.example.com")
    await other.fulfiller.change_account_key(ordered(between))
    await other.order(ordered(between), "c.example.com")
    await other.close()

    assert names(leaf(made)) == ["b.example.com"]
    assert between.count("newAccount") == 1
    assert (await account(ours)).url == url


async def test_an_account_the_authority_has_lost_is_made_anew(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    with pebble(state_dir, needs, always_valid=True) as authority:
        await ours.order(issuer(authority), "a.example.com")
        authority.processes[0].end()
        with started(authority):
            made = await ours.order(issuer(authority), "b.example.com", saved=ours.saves[-1])

    assert names(leaf(made)) == ["b.example.com"]


# --- bound to an account of the authority's own site ----------------------------------------------


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory, needs: Needs) -> Iterator[Pebble]:
    with pebble(
        tmp_path_factory.mktemp("bound"), needs, always_valid=True, bindings={"kid-1": BINDING}
    ) as made:
        yield made


async def test_a_binding_is_sent_where_the_authority_wants_one(ours: Desk, bound: Pebble) -> None:
    made = await ours.order(
        issuer(bound, eab={"kid": "kid-1", "hmac_key": ours.sealed(BINDING)}), "a.example.com"
    )

    assert names(leaf(made)) == ["a.example.com"]


@pytest.mark.parametrize(
    ("kid", "key", "reason"),
    [
        (
            "kid-1",
            base64.urlsafe_b64encode(b"another key of thirty-two bytes!").decode(),
            "the authority says",
        ),
        ("kid-2", BINDING, "the authority says"),
        ("kid-1", "no base64 at all é", r"acme\.eab\.hmac_key: the key is not base64url"),
    ],
)
async def test_a_wrong_binding_is_rejected_without_showing_the_key(
    ours: Desk, bound: Pebble, kid: str, key: str, reason: str
) -> None:
    with pytest.raises(Rejected, match=reason) as caught:
        await ours.order(issuer(bound, eab={"kid": kid, "hmac_key": ours.sealed(key)}), "a.example.com")

    assert key not in str(caught.value)


async def test_a_missing_binding_is_rejected_with_the_field_to_declare(ours: Desk, bound: Pebble) -> None:
    with pytest.raises(Rejected, match=r"declare acme\.eab"):
        await ours.order(issuer(bound), "a.example.com")


# --- changing the key ------------------------------------------------------------------------------


async def test_a_changed_key_is_used_by_every_controller(ours: Desk, between: Proxy) -> None:
    other = ours.again()
    for one in (ours, other):
        await one.order(ordered(between), "a.example.com")
    before = await account(ours)

    await ours.fulfiller.change_account_key(ordered(between))

    for one in (ours, other):
        await one.order(ordered(between), "b.example.com")
    after = await account(ours)
    await other.close()
    assert after.url == before.url
    assert after.sealed_key != before.sealed_key
    assert after.sealed_next is None


@pytest.mark.parametrize("fault", [Reset, Lose], ids=["reset", "lost"])
async def test_a_change_of_key_whose_answer_is_lost_is_carried_to_its_end(
    ours: Desk, between: Proxy, fault: type[Reset] | type[Lose]
) -> None:
    await ours.order(ordered(between), "a.example.com")
    between.once("keyChange", fault())

    await ours.fulfiller.change_account_key(ordered(between))

    await ours.order(ordered(between), "b.example.com")
    assert (await account(ours)).sealed_next is None


@pytest.mark.parametrize("fault", [Stall, Lose], ids=["before", "after"])
async def test_a_change_of_key_that_was_cut_short_loses_no_account(
    ours: Desk, between: Proxy, fault: type[Stall] | type[Lose]
) -> None:
    """Before the authority hears of it, and after it did it and nobody of ours knows."""
    await ours.order(ordered(between), "a.example.com")
    url = (await account(ours)).url
    loop = asyncio.get_running_loop()
    changing = asyncio.ensure_future(ours.fulfiller.change_account_key(ordered(between)))
    between.once("keyChange", fault(lambda: loop.call_soon_threadsafe(changing.cancel) and None))
    with suppress(asyncio.CancelledError):
        await changing
    assert (await account(ours)).sealed_next is not None

    again = ours.again()
    await again.order(ordered(between), "b.example.com")
    await again.fulfiller.change_account_key(ordered(between))
    await again.order(ordered(between), "c.example.com")
    await again.close()

    assert between.count("newOrder") == 3
    assert (await account(ours)).url == url
    assert (await account(ours)).sealed_next is None


async def test_a_key_that_cannot_be_opened_is_said_so(ours: Desk, between: Proxy) -> None:
    await ours.order(ordered(between), "a.example.com")
    async with ours.database.noting() as connection:
        await connection.execute(schema.accounts.update().values(sealed_key=b"\x01damaged"))
    with ExitStack() as stack:
        again = ours.again()
        stack.callback(again.fulfiller.close)
        with pytest.raises(Unavailable, match="the key of the account of pebble cannot be opened"):
            await again.order(ordered(between), "b.example.com")
        await again.database.close()


async def test_people_see_accounts_without_keys_and_change_their_keys(
    between: Proxy, state_dir: Path
) -> None:
    async with controller(state_dir) as here:
        admin = await here.token("root", "admin")
        declared = ordered(between, email="ann@example.com").model_dump(mode="json", exclude_defaults=True)
        assert (await here.apply(admin, issuers=[declared])).status_code == 200

        changed = await here.http.post("/v1/accounts/pebble/change-key", headers=admin)
        listed = (await here.http.get("/v1/accounts", headers=admin)).json()["items"]
        unknown = await here.http.post("/v1/accounts/nobody/change-key", headers=admin)
        noted = (await here.http.get("/v1/audit", headers=admin)).json()["items"]
        here.parts.certificates.fulfiller.close()

    assert (changed.status_code, unknown.status_code) == (200, 404)
    assert between.count("keyChange") == 1
    assert [(a["issuer"], a["directory"], a["email"]) for a in listed] == [
        ("pebble", between.directory, "ann@example.com")
    ]
    assert set(listed[0]) == {"project", "issuer", "directory", "url", "email", "created"}
    assert noted[0]["action"] == "change key"


async def test_a_key_changed_while_an_order_proves_its_name_is_no_failure_of_the_name(
    ours: Desk, state_dir: Path, needs: Needs
) -> None:
    """What stands ready is the answer of the old key."""
    loop = asyncio.get_running_loop()
    changes = [1]

    with (
        pebble(state_dir, needs) as authority,
        answers(ours.url, authority.http_port),
        proxy(authority) as between,
    ):

        def rule(what: str, payload: object) -> None:
            if what == "challenge" and changes:
                changes.pop()
                change = ours.fulfiller.change_account_key(ordered(between))
                asyncio.run_coroutine_threadsafe(change, loop).result(30)

        between.rule = rule
        with pytest.raises(Unavailable, match="key was changed while"):
            await ours.order(ordered(between), "a.example.com")
        made = await ours.order(ordered(between), "a.example.com", saved=ours.saves[-1])

    assert names(leaf(made)) == ["a.example.com"]


@pytest.mark.slow
async def test_the_commands_show_accounts_and_change_keys(authority: Pebble, state_dir: Path) -> None:
    def edgeward(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "edgeward.cli", "accounts", *words, "--state-dir", str(here.state_dir)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60)

    here = Controller(state_dir / "state")
    acme = f'{{directory: "{authority.directory}", ca_file: "{authority.ca_file}"}}'
    here.declare(f"version: 1\nissuers:\n  - name: pebble\n    acme: {acme}\n")
    with here.start():
        changed = edgeward("change-key", "pebble")
        listed = edgeward("list")
        unknown = edgeward("change-key", "nobody")

    assert "the account of pebble has a new key" in changed.stdout
    assert "/my-account/" in listed.stdout
    assert unknown.returncode == 1 and "no issuer 'nobody'" in unknown.stderr
