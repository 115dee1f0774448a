"""A whole controller without sockets: its parts over a real database, asked in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeward.access.model import EVERY_PROJECT, Principal, Role
from edgeward.controller import starting
from edgeward.controller.assembly import Parts, put_together
from edgeward.controller.config import Settings
from edgeward.database.engine import open_database
from edgeward.database.migrations import migrate
from edgeward.wrapping import Sources

ADMIN = Principal("t", "ann", "admin", EVERY_PROJECT)
on_both = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
"""Runs a test on both databases that takes the fixture ``here``."""


@dataclass
class Controller:
    parts: Parts
    http: httpx.AsyncClient
    """Without a token."""

    async def token(self, name: str, role: Role, project: str = EVERY_PROJECT) -> dict[str, str]:
        """Give the headers of somebody new."""
        _, text = await self.parts.cases.tokens.minted(ADMIN, name, role, project, None)
        return {"authorization": f"Bearer {text}"}

    async def node(self, name: str) -> dict[str, str]:
        identity = await self.parts.nodes.identity(name, "https://127.0.0.1:1", "test")
        return {"authorization": f"Bearer {identity.token}"}

    async def apply(self, headers: Mapping[str, str], source: str = "file:a", **rest: Any) -> httpx.Response:
        options = {k: rest.pop(k) for k in ("keep", "take_over", "dry_run") if k in rest}
        body = {"source": source, "document": {"version": 1, **rest}, **options}
        return await self.http.post("/v1/apply", json=body, headers=dict(headers))


@asynccontextmanager
async def controller(state_dir: Path, url: str | None = None) -> AsyncIterator[Controller]:
    settings = Settings(
        state_dir,
        None,
        (),
        (),
        None,
        url or f"sqlite:///{state_dir}/edgeward.db",
        "info",
        {},
        Sources(state_dir / "seal.key"),
    )
    database = open_database(settings.database)
    await migrate(database.engine)
    try:
        seal, wrapping = await starting.seal_of(database, settings.seal_keys, time.time())
        parts = await put_together(settings, database, seal, wrapping)
        await parts.keys.take()
        async with database.reading() as connection:
            await parts.state.catch_up(connection)
        transport = httpx.ASGITransport(parts.app, raise_app_exceptions=False)
        parts.seeing.started = True
        working = asyncio.create_task(parts.certificates.obtainer.run())
        async with httpx.AsyncClient(transport=transport, base_url="https://controller") as http:
            yield Controller(parts, http)
        working.cancel()
        await asyncio.wait({working})
    finally:
        await database.close()
