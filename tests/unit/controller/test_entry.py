"""The first way in: one admin token whatever happens, and an identity of the local node that works."""

from __future__ import annotations

import time

import pytest

from edgeward.access.authenticate import Authenticator
from edgeward.controller import entry
from edgeward.declaration.feed import Identity
from tests.unit.controller.assembled import ADMIN, controller


@pytest.fixture
async def here(tmp_path, database_url):
    async with controller(tmp_path, database_url) as found:
        yield found


async def made(here, path) -> str | None:
    await entry.admin_token(here.parts.database, path, time.time)
    return path.read_text().strip() if path.exists() else None


async def works(here, text: str) -> bool:
    return (await here.http.get("/v1/tokens", headers={"authorization": f"Bearer {text}"})).status_code == 200


async def test_the_first_admin_token_is_made_once(here, tmp_path):
    first = await made(here, tmp_path / "admin.token")

    assert await works(here, first)
    assert await made(here, tmp_path / "admin.token") == first
    assert (tmp_path / "admin.token").stat().st_mode & 0o777 == 0o600


async def test_a_crash_between_file_and_commit_leaves_a_way_in(here, tmp_path, monkeypatch):
    def written_and_dead(path, text):
        path.write_text(text)
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "write_secret", written_and_dead)
    with pytest.raises(KeyboardInterrupt):
        await made(here, tmp_path / "admin.token")
    useless = (tmp_path / "admin.token").read_text()
    monkeypatch.undo()

    good = await made(here, tmp_path / "admin.token")
    assert good != useless
    assert await works(here, good)


async def test_a_revoked_admin_token_does_not_come_back_while_another_admin_is_there(here, tmp_path):
    first = await made(here, tmp_path / "admin.token")
    await here.token("other", "admin")
    await here.parts.cases.tokens.revoked(ADMIN, "admin")

    assert await made(here, tmp_path / "admin.token") == first
    assert not await works(here, first)


async def test_when_nobody_is_left_who_may_do_everything_there_is_a_new_token(here, tmp_path):
    first = await made(here, tmp_path / "admin.token")
    await here.token("tenant", "admin", "t")
    await here.parts.cases.tokens.revoked(ADMIN, "admin")

    second = await made(here, tmp_path / "admin.token")
    assert second != first
    assert await works(here, second)


async def identity(here, path, url="https://127.0.0.1:1", name="n1", roots="ROOTS") -> Identity:
    parts = here.parts
    access = Authenticator(parts.database, time.time)
    await entry.local_identity(path, name, url, parts.nodes, access, roots)
    return Identity.model_validate_json(path.read_text())


async def test_the_local_identity_keeps_its_token_while_address_and_roots_change(here, tmp_path):
    path = tmp_path / "node" / "identity.json"
    first = await identity(here, path)
    moved = await identity(here, path, url="https://127.0.0.1:2", roots="NEW ROOTS")

    assert moved == first.model_copy(update={"controller": "https://127.0.0.1:2", "ca": "NEW ROOTS"})


@pytest.mark.parametrize(
    "damage", ["", "{", "{}", '{"name": "n1", "controller": "x", "token": "ew_x", "ca": ""}']
)
async def test_a_damaged_identity_is_made_anew(here, tmp_path, damage):
    path = tmp_path / "identity.json"
    first = await identity(here, path)
    path.write_text(damage)

    second = await identity(here, path)
    assert second.token != first.token
    assert (
        await here.http.get("/v1/nodes/n1/watch?since=x", headers={"authorization": f"Bearer {first.token}"})
    ).status_code == 401


async def test_another_name_is_another_identity(here, tmp_path):
    first = await identity(here, tmp_path / "identity.json")

    assert (await identity(here, tmp_path / "identity.json", name="n2")).token != first.token
