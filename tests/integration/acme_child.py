"""One order in a process of its own, to be killed: ``python -m tests.integration.acme_child JOB.json``.

What it saves it appends to a file, a line each, as durable as the planner's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from edgeward.certificates.acme.fulfiller import AcmeFulfiller
from edgeward.certificates.model import Issuer
from edgeward.certificates.orders.fulfilment import Job, Saved
from edgeward.database.engine import open_database
from edgeward.sealing import Seal
from edgeward.secret import Secret


def written(saved: Saved) -> str:
    return json.dumps([saved.step, saved.url, saved.key.reveal() if saved.key else None]) + "\n"


def last_saved(path: Path) -> Saved:
    lines = path.read_text().splitlines() if path.exists() else []
    if not lines:
        return Saved()
    step, url, key = json.loads(lines[-1])
    return Saved(step, url, Secret(key) if key else None)


async def order(job: dict[str, Any]) -> None:
    database = open_database(job["database"])
    fulfiller = AcmeFulfiller(database, Seal(job["seal"].encode()), time.time)
    path = Path(job["saves"])

    async def save(saved: Saved) -> None:
        with path.open("a") as file:
            file.write(written(saved))
            file.flush()
            os.fsync(file.fileno())

    issuer = Issuer.model_validate(job["issuer"])
    wanted = Job(tuple(job["names"]), issuer.project, issuer)
    await fulfiller.fulfil(wanted, last_saved(path), save)
    fulfiller.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(order(json.loads(Path(sys.argv[1]).read_text())))
