"""A million certificates of another authority: a name is found, and all their renewals are planned."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.table import Goal, Row

_DAY = 86400.0
_LOOKS = 2000
_CHAIN = "x" * 3500
_CHILD = """
import asyncio, json, resource, sys, time
from edgeward.certificates import summaries
from edgeward.certificates import store
from edgeward.certificates.model import AcmeIssuer, Issuer
from edgeward.certificates.renewal.outlook import outlook
from edgeward.database.engine import open_database

async def main(url, names):
    database, now = open_database(url), time.time()
    issuer = Issuer(name="ca", acme=AcmeIssuer(directory="https://ca.example/directory"))
    waits = []
    for name in names:
        async with database.reading() as connection:
            began = time.perf_counter()
            assert await summaries.serving(connection, name) is not None
            waits.append(1e3 * (time.perf_counter() - began))
    began, used = time.perf_counter(), time.process_time()
    async with database.reading() as connection:
        found = await outlook(connection, lambda project, name: issuer, now)
    told = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}
    told |= {"renewals": found.renewals, "late": found.late, "waits": sorted(waits)}
    told["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told))
    await database.close()

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""


def measure(directory: Path, certificates: int) -> list[Row]:
    """Half of the names are below a thousand domains, half have a domain of their own."""
    path = directory / "million.db"
    names = _filled(path, certificates)
    argv = [sys.executable, "-P", "-c", _CHILD, f"sqlite:///{path}", json.dumps(names)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    path.unlink()
    if done.returncode != 0:
        raise RuntimeError(f"planning renewals: {done.stderr[-500:]}")
    told = json.loads(done.stdout)
    what = f"{certificates:,} stored certificates"
    p99 = told["waits"][int(0.99 * len(told["waits"]))]
    share = certificates / 1_000_000
    note = (
        f"{told['cpu']:.1f} s CPU; {told['late']:,} of {told['renewals']:,} beyond the limits of one account"
    )
    return [
        Row(what, "a name is found, p99", p99, "ms", f"{len(names)} names", (Goal(p99, 2.0),)),
        Row(
            what, "all renewals planned", told["seconds"], "s", note, (Goal(told["seconds"], 5.0 * share),)
        ),
        Row(what, "memory of that", told["megabytes"], "MB", goals=(Goal(told["megabytes"], 300.0),)),
    ]  # fmt: skip


def _filled(path: Path, number: int) -> list[str]:
    """Write the certificates straight into a migrated database; give some of their names."""
    migrate = "import asyncio, sys; from edgeward.database.engine import open_engine; "
    migrate += (
        "from edgeward.database.migrations import migrate; asyncio.run(migrate(open_engine(sys.argv[1])))"
    )
    subprocess.run([sys.executable, "-P", "-c", migrate, f"sqlite:///{path}"], check=True, timeout=60)
    now, chance = time.time(), random.Random(1)
    rows = (
        (_name(i), "ecdsa", "default", "ca", _CHAIN, b"k" * 300, f"{i:064x}",
         now - 60 * _DAY, ends, due, 1, 1, "ordered")
        for i in range(number)
        for due in (now + chance.random() * 60 * _DAY,)
        for ends in (due + 30 * _DAY,)
    )  # fmt: skip
    columns = "name, algorithm, project, issuer, chain, sealed_key, fingerprint, not_before, not_after"
    columns += ", renew_at, revision, placed, source"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA synchronous=OFF")
        marks = ", ".join("?" * 13)
        database.executemany(f"INSERT INTO certificates ({columns}) VALUES ({marks})", rows)
    return [_name(chance.randrange(number)) for _ in range(_LOOKS)]


def _name(number: int) -> str:
    if number % 2:
        return f"n{number}.customers{number % 1000}.example"
    return f"shop{number}.com"
