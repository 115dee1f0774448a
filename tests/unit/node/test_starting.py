"""What a node sees to before it serves."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from edgeward.declaration.feed import Identity
from edgeward.errors import Conflict, EdgewardError, Invalid, Refused, Unavailable
from edgeward.node import starting
from edgeward.node.config import Config, Joining
from edgeward.node.controllers import identity as identities
from edgeward.secret import Secret

IDENTITY = Identity(name="n", controller="https://192.0.2.1:2443", token="t", ca="")


def test_a_directory_is_one_nodes_at_a_time(tmp_path: Path) -> None:
    held = starting.lock(tmp_path / "node")
    with pytest.raises(Conflict, match="another node runs on"):
        starting.lock(tmp_path / "node")

    os.close(held)
    os.close(starting.lock(tmp_path / "node"))


async def test_a_node_waits_for_its_identity_and_then_knows_its_name(tmp_path: Path) -> None:
    config = Config(tmp_path)
    assert starting.own_name(config.identity_file) == ""
    becoming = asyncio.create_task(starting.become(config))
    done, _ = await asyncio.wait([becoming], timeout=0.2)
    assert not done, "there is no identity yet"

    identities.save(config.identity_file, IDENTITY)
    async with asyncio.timeout(30):
        await becoming
    assert starting.own_name(config.identity_file) == "n"


async def test_who_is_given_no_identity_is_told_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "_IDENTITY_SECONDS", 0.0)
    with pytest.raises(Invalid, match="--join TOKEN"):
        await starting.become(Config(tmp_path))


async def test_who_has_served_before_waits_for_nothing_and_a_broken_identity_leaves_it_without_a_name(
    tmp_path: Path,
) -> None:
    config = Config(tmp_path)
    config.node_dir.mkdir()
    (config.node_dir / "last-good.db").touch()
    async with asyncio.timeout(30):
        await starting.become(config)

    config.identity_file.write_text("{")
    assert starting.own_name(config.identity_file) == ""


def joining(path: Path, monkeypatch: pytest.MonkeyPatch, answer: Identity | EdgewardError) -> Config:
    """Give the settings of a node with a join token, to which the controller says this."""

    async def join(*_: object) -> Identity:
        if isinstance(answer, EdgewardError):
            raise answer
        return answer

    monkeypatch.setattr(identities, "join", join)
    config = Config(path, joining=Joining(("https://192.0.2.1:2443",), Secret("t"), "00", "n"))
    config.node_dir.mkdir()
    return config


async def test_who_has_served_before_and_has_no_identity_any_more_joins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = joining(tmp_path, monkeypatch, IDENTITY)
    (config.node_dir / "last-good.db").touch()
    await starting.become(config)

    assert identities.load(config.identity_file) == IDENTITY


@pytest.mark.parametrize("answer", [Unavailable("it is away"), Refused("the token is used up")])
async def test_who_cannot_join_now_goes_on_with_what_it_has_if_it_has_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: EdgewardError
) -> None:
    config = joining(tmp_path, monkeypatch, answer)
    with pytest.raises(type(answer)):
        await starting.become(config)
    (config.node_dir / "last-good.db").touch()
    await starting.become(config)

    assert identities.load(config.identity_file) is None
