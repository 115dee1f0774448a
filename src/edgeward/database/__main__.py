"""`python -m edgeward.database`: the schema brought up to date; a store moved, backed up and restored."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import urlsplit

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from edgeward.database.backing_up import back_up
from edgeward.database.copying import copy
from edgeward.database.engine import open_database
from edgeward.database.migrations import migrate
from edgeward.database.opening import open_engine, reach
from edgeward.database.restoring import restore_database, restore_file
from edgeward.errors import EdgewardError, Invalid, Unavailable

_AGAIN: Final = 1.0


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Carry out one command and give its exit code."""
    given = _parser(environment).parse_args(arguments)
    state_dir, url = Path(given.state_dir).absolute(), environment.get("EDGEWARD_DATABASE")
    own = state_dir / "edgeward.db"
    try:
        if given.command == "wait":
            asyncio.run(_wait(url or f"sqlite:///{own}", given.timeout))
        elif given.command == "migrate":
            asyncio.run(_migrate(url or f"sqlite:///{_existing(own)}"))
        elif given.command == "backup":
            asyncio.run(_back_up(url or f"sqlite:///{_existing(own)}", state_dir, given.file))
        elif given.command == "restore":
            asyncio.run(_restore(given.file, url, state_dir))
        else:
            asyncio.run(_copy(_existing(own), given.to or url or ""))
    except EdgewardError as error:
        _say(f"edgeward: {error}\n", sys.stderr)
        return 2 if isinstance(error, Invalid) else 1
    return 0


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("edgeward database", description="What is to be done with the database.")
    # wait, backup and restore are commands of their own: edgeward wait-for, backup, restore
    commands = parser.add_subparsers(dest="command", required=True, metavar="{migrate,copy}")
    migrating = commands.add_parser(
        "migrate", help="Bring the schema up to date; every controller does it when it starts."
    )
    copying = commands.add_parser(
        "copy", help="Move a stopped store of SQLite to an empty database of PostgreSQL, all or nothing."
    )
    copying.add_argument("--to", metavar="URL", type=_without_password, help="instead of EDGEWARD_DATABASE")
    waiting = commands.add_parser("wait")
    waiting.add_argument("--timeout", type=_seconds, default=60.0, metavar="SECONDS", help="60 unless told")
    backing_up, restoring = commands.add_parser("backup"), commands.add_parser("restore")
    for command in (backing_up, restoring):
        command.add_argument("file", metavar="FILE", type=Path)
    for command in (migrating, copying, waiting, backing_up, restoring):
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


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError("say seconds, from 0 to 86400")
    return seconds


async def _wait(url: str, timeout: float) -> None:
    if url.startswith("sqlite"):
        _say("SQLite is a file of the controller's own: nothing to wait for")
        return
    now = asyncio.get_running_loop().time
    began, said = now(), ""
    while (reason := await _silence(url, max(timeout - (now() - began), 1.0))) is not None:
        if now() - began + _AGAIN >= timeout:
            raise Unavailable(f"the database does not answer within {timeout:g} s: {reason}")
        if reason != said:
            _say(f"waiting for the database: {reason}\n", sys.stderr)
            said = reason
        await asyncio.sleep(_AGAIN)
    _say(f"the database answers after {now() - began:.1f} s")


async def _silence(url: str, timeout: float) -> str | None:
    """Give why the database does not answer; None where it does."""
    engine = open_engine(url)
    try:
        async with asyncio.timeout(timeout), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return None
    except TimeoutError:
        return "no answer"
    except (DBAPIError, OSError) as error:
        link = reach(engine)
        return link.reason(getattr(error, "orig", None) or error) if link else str(error)
    finally:
        await engine.dispose()


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


async def _back_up(url: str, state_dir: Path, path: Path) -> None:
    database = open_database(url)
    try:
        made = await back_up(database, state_dir, path, time.time(), _progress)
    finally:
        await database.close()
    what = ", ".join(("the database", *made.files))
    _say(f"{path}: revision {made.head.revision}, {sum(made.rows.values())} rows; {what}")
    if made.missing:
        _say(
            f"not in it: the key that opens it (id {', '.join(sorted(made.missing))}), which controllers are"
            " given by EDGEWARD_SEAL_KEY_FILE or alike; keep that, too\n",
            sys.stderr,
        )
    elif "seal.key" in made.files:
        _say("whoever has this file can read every secret in it: keep it where nobody else comes")


async def _restore(path: Path, url: str | None, state_dir: Path) -> None:
    if url is None:
        head = await restore_file(path, state_dir, _progress)
    else:
        head = await restore_database(path, url, state_dir, _progress)
    when = datetime.fromtimestamp(head.created, UTC).isoformat(timespec="seconds")
    _say(f"restored revision {head.revision} as of {when}; now start the controllers")


def _existing(path: Path) -> Path:
    try:
        there = path.exists()
    except PermissionError as error:
        remedy = "run this as the user Edgeward runs as, or as root"
        raise Invalid(f"{path}: {error.strerror}; {remedy}") from error
    if not there:
        raise Invalid(f"{path} is not there; name the state directory of the store with --state-dir")
    return path


def _progress(table: str, done: int, total: int) -> None:
    end = "\n" if done == total else ""
    if sys.stderr.isatty():
        _say(f"\r\x1b[K{table} {done}/{total}{end}", sys.stderr)
    elif end:
        _say(f"{table} {done}/{total}{end}", sys.stderr)


def _say(line: str, where: TextIO | None = None) -> None:
    print(line, end="" if where else "\n", file=where or sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
