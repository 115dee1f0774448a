"""The first admin token, and the identity of the node on this host: written where their users look."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from edgeward.access import store
from edgeward.access.authenticate import Authenticator
from edgeward.access.model import EVERY_PROJECT, Token, Unauthenticated
from edgeward.access.tokens import mint
from edgeward.controller.files import read_text, write_secret
from edgeward.controller.nodes.usecases import Nodes
from edgeward.controller.tokens import add
from edgeward.database.engine import Database
from edgeward.declaration.feed import Identity
from edgeward.errors import Conflict
from edgeward.log import logger

_log = logger("edgeward.controller.entry")


async def admin_token(database: Database, path: Path, clock: Callable[[], float]) -> None:
    """Make an admin token where nobody has one that may do everything, or the file is there and empty:
    that is how who lost it asks for another one.

    The file is written before the commit: a crash in between leaves a token that does not work, and
    the next start makes another one; the other way round nobody would ever know it.
    """
    now = clock()
    asked_for = read_text(path) == ""
    async with database.reading() as connection:
        if not asked_for and await store.has_governor(connection, now):
            return
    fresh = mint()
    async with database.writing() as writing:
        if not asked_for and await store.has_governor(writing.connection, now):
            return
        token = Token(fresh.id, f"admin-{fresh.id}", "admin", EVERY_PROJECT, None, now, None, None)
        if await store.named(writing.connection, "admin") is None:
            token = Token(fresh.id, "admin", "admin", EVERY_PROJECT, None, now, None, None)
        await add(writing, token, fresh, "controller", now)
        write_secret(path, fresh.text.reveal() + "\n")
    _log.info("admin token written", file=str(path))


async def local_identity(
    path: Path, name: str, controller: str, nodes: Nodes, access: Authenticator, roots: str
) -> None:
    """Keep the identity of this host's node good: its token alive, controller and authority as they are.

    Raises Conflict where a node of this name is at work at another controller.
    """
    identity = _read(path)
    if identity is None or identity.name != name or not await _good(access, identity):
        if nodes.follows_another(name):
            raise Conflict(
                f"a node named '{name}' follows another controller; give the one on this host another name"
                " (edgeward up --name)"
            )
        identity = await nodes.identity(name, controller, "controller")
    wanted = identity.model_copy(update={"controller": controller, "ca": roots})
    if wanted != _read(path):
        write_secret(path, wanted.model_dump_json())
        _log.info("identity of the local node written", node=name, controller=controller)


async def _good(access: Authenticator, identity: Identity) -> bool:
    try:
        who = await access.authenticate(identity.token, "")
    except Unauthenticated:
        return False
    return who.node == identity.name


def _read(path: Path) -> Identity | None:
    text = read_text(path)
    try:
        return None if text is None else Identity.model_validate_json(text)
    except ValidationError:
        return None
