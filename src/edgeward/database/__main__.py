"""`python -m edgeward.database`: the schema brought up to date, and a store moved to PostgreSQL."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from edgeward.database.copying import copy
from edgeward.database.migrations import migrate
from edgeward.database.opening import open_engine
from edgeward.errors import EdgewardError, Invalid


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Carry out one command and give its exit code."""
    given = _parser(environment).parse_args(arguments)
    own = Path(given.state_dir).absolute() / "edgeward.db"
    try:
        if given.command == "migrate":
            asyncio.run(_migrate(environment.get("EDGEWARD_DATABASE") or f"sqlite:///{_existing(own)}"))
        else:
            asyncio.run(_copy(_existing(own), given.to or environment.get("EDGEWARD_DATABASE") or ""))
    except EdgewardError as error:
        _say(f"edgeward: {error}\n", sys.stderr)
        return 2 if isinstance(error, Invalid) else 1
    return 0


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("edgeward database", description="What is to be done with the database.")
    commands = parser.add_subparsers(dest="command", required=True)
    migrating = commands.add_parser(
        "migrate", help="Bring the schema up to date; every controller does it when it starts."
    )
    copying = commands.add_parser(
        "copy", help="Move a stopped store of SQLite to an empty database of PostgreSQL, all or nothing."
    )
    copying.add_argument("--to", metavar="URL", type=_without_password, help="instead of EDGEWARD_DATABASE")
    for command in (migrating, copying):
        command.add_argument("--state-dir", required=not environment.get("EDGEWARD_STATE_DIR"),
                             default=environment.get("EDGEWARD_STATE_DIR"), metavar="DIR")  # fmt: skip
    return parser


def _without_password(url: str) -> str:
    """Refuse a secret where everybody on this host can read it."""
    if urlsplit(url).password is not None or "password=" in url:
        raise argparse.ArgumentTypeError(
            "everybody may read a command line; put the password into EDGEWARD_DATABASE or a PGPASSFILE"
        )
    return url


async def _migrate(url: str) -> None:
    engine = open_engine(url)
    try:
        done = await migrate(engine)
    finally:
        await engine.dispose()
    if done.before == done.after:
        _say(f"the schema is {done.after} already")
    else:
        _say(f"the schema went from {done.before or 'nothing'} to {done.after}")


async def _copy(own: Path, to: str) -> None:
    if not to.startswith(("postgresql://", "postgres://")):
        raise Invalid("say where to copy it: --to postgresql://USER@HOST:PORT/DATABASE")
    source, target = open_engine(f"sqlite:///{own}"), open_engine(to)
    try:
        counts = await copy(source, target, _progress)
    finally:
        await source.dispose()
        await target.dispose()
    objects, certificates = counts["objects"], counts["certificates"]
    _say(f"copied and verified {sum(counts.values())} rows: {objects} objects, {certificates} certificates")
    _say(f"now start every controller with EDGEWARD_DATABASE set and with this {own.parent / 'seal.key'}")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise Invalid(f"{path} is not there; name the state directory of the store with --state-dir")
    return path


def _progress(table: str, done: int, total: int) -> None:
    end = "\n" if done == total else ""
    if sys.stderr.isatty():
        _say(f"\r\x1b[K{table} {done}/{total}{end}", sys.stderr)
    elif end:
        _say(f"{table} {done}/{total}{end}", sys.stderr)


def _say(text: str, where: TextIO | None = None) -> None:
    print(text, end="" if where else "\n", file=where or sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
