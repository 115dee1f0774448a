"""The use cases of tokens: made, listed, revoked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeward.access import store
from edgeward.access.authenticate import Authenticator
from edgeward.access.decide import decide, decide_mint, enforce
from edgeward.access.model import Principal, Right, Role, Token, Verdict
from edgeward.access.tokens import Minted, mint
from edgeward.controller.nodes.registry import Registry
from edgeward.database.engine import Database, Writing
from edgeward.declaration import audit
from edgeward.declaration.model import Key
from edgeward.errors import Invalid, NotFound, Problem


class Tokens:
    def __init__(
        self,
        database: Database,
        access: Authenticator,
        registry: Registry,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._access = access
        self._registry = registry
        self._clock = clock

    async def minted(
        self,
        who: Principal,
        name: str,
        role: Role,
        project: str,
        expires_in: float | None,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[Token, str]:
        if role == "node" and project != "*":
            raise Invalid(Problem("project", "a node serves every project; write * or leave it out"))
        if labels and role != "node":
            raise Invalid(Problem("labels", "labels are for nodes; leave them out, or make a token for node"))
        enforce(decide_mint(who, role, project), who, f"make a token for {role} of {project}")
        now = self._clock()
        expires = None if expires_in is None else now + expires_in
        fresh = mint()
        token = Token(fresh.id, name, role, project, None, now, expires, None, labels or None)
        async with self._database.writing() as writing:
            await add(writing, token, fresh, who.name, now)
        return token, fresh.text.reveal()

    async def listed(self, who: Principal, limit: int, after: str | None) -> Sequence[Token]:
        async with self._database.reading() as connection:
            return await store.listed(connection, project=who.projects, limit=limit, after=after)

    async def revoked(self, who: Principal, id_or_name: str) -> None:
        async with self._database.writing() as writing:
            token = await store.named(writing.connection, id_or_name)
            if token is None or not _may_revoke(who, token) or token.revoked is not None:
                raise NotFound(f"there is no token '{id_or_name}'")
            await store.revoke(writing, token.id, self._clock())
            await writing.tell("token", token.id)
            entry = audit.Entry(who.name, "api", "revoke", Key("tokens", token.project, token.name))
            await audit.record(writing, [entry], self._clock())
        self._access.forget(token.id)
        self._registry.cut(token.id)


async def add(writing: Writing, token: Token, fresh: Minted, by: str, now: float) -> None:
    """Keep a token and say so in the audit log."""
    await store.add(writing, token, fresh.hash, now)
    after: dict[str, Any] = {"id": token.id, "role": token.role, "project": token.project}
    after |= {"expires": token.expires} | ({"labels": dict(token.labels)} if token.labels else {})
    entry = audit.Entry(by, "api", "create", Key("tokens", token.project, token.name), None, after)
    await audit.record(writing, [entry], now)


def _may_revoke(who: Principal, token: Token) -> bool:
    if token.project == "*":
        return decide(who, Right.GOVERN) is Verdict.ALLOWED
    return decide(who, Right.ADMINISTER, token.project) is Verdict.ALLOWED
