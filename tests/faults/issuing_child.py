"""Issues certificates until it is killed: `python -m tests.faults.issuing_child STATE_DIR`.

For every line of its input it forks a child that opens the store as a controller does and issues on; the child
prints each name once its certificate is acknowledged. The line says how SQLite is to sync: FULL, or OFF.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
import uuid
from pathlib import Path

from sqlalchemy import event

from edgeward.certificates import policy
from edgeward.certificates.issue import Issuance
from edgeward.certificates.local import authority
from edgeward.certificates.model import Domain
from edgeward.certificates.on_demand import obtain
from edgeward.controller import starting
from edgeward.database.engine import open_database
from edgeward.wrapping import Sources


async def issue(directory: Path, synchronous: str) -> None:
    database = open_database(f"sqlite:///{directory}/edgeward.db")
    if synchronous != "FULL":

        @event.listens_for(database.engine.sync_engine, "connect")
        def _off(connection, _record):  # type: ignore[no-untyped-def]
            connection.cursor().execute(f"PRAGMA synchronous={synchronous}")

    await starting.open_when_there(database)
    seal, _ = await starting.seal_of(database, Sources(directory / "seal.key"), time.time())
    own = await authority.ensure(database, seal, time.time())
    suffix = f"{uuid.uuid4().hex}.cut.example"  # below one wildcard there may be 10,000 new names an hour
    declared = policy.Policy([Domain(name=f"*.{suffix}", on_demand=True)], [])
    obtainer = obtain.Obtainer(
        Issuance(database, seal, lambda: own, lambda: declared, time.time, random.random)
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(obtainer.run())
        for _ in range(3):
            group.create_task(_visitor(obtainer, suffix))


async def _visitor(obtainer: obtain.Obtainer, suffix: str) -> None:
    while True:
        kept = await obtainer.obtain(f"{uuid.uuid4().hex}.{suffix}")
        os.write(1, f"have {kept.certificate.name}\n".encode())


if __name__ == "__main__":
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(issue(Path(sys.argv[1]), line.strip()))
        os.write(1, f"pid {pid}\n".encode())
        os.waitpid(pid, 0)
        os.write(1, b"ended\n")
