"""Keeps a directory of PEM files as the server has its certificates, once or for as long as it runs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from edgeward.cli.connect import segment
from edgeward.cli.pem.directory import PemDirectory, opened
from edgeward.cli.printing import show
from edgeward.errors import EdgewardError, Invalid, NotFound, Unavailable
from edgeward.secret import Secret

if TYPE_CHECKING:
    from edgeward.cli.client import Client

_EVERY: Final = 2.0
_AGAIN: Final = 10.0
_HOOK_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Wish:
    path: Path
    after: tuple[str, ...] = ()
    """The command as it is run, without a shell; none: nothing is run."""
    follow: bool = False
    project: str | None = None


def command(text: str | None) -> tuple[str, ...]:
    """Read a command line as a shell would split it; raises Invalid where there is no such program."""
    if text is None:
        return ()
    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise Invalid(f"--after: {error}; quote it as for a shell") from error
    found = shutil.which(argv[0]) if argv else None
    if found is None:
        raise Invalid(f"--after: there is no program '{show.shown(argv[0] if argv else '')}'; give its path")
    return (found, *argv[1:])


def keep(client: Client, wish: Wish) -> None:
    """Write what differs, run the hook once for all of it, and go on so where that is wished."""
    with opened(wish.path) as directory:
        since = _round(client, wish, directory, None)
        while wish.follow:
            time.sleep(_EVERY)
            try:
                since = _round(client, wish, directory, since)
            except EdgewardError as error:
                typer.echo(f"edgeward: {error}; trying again", err=True)
                time.sleep(_AGAIN)


def _round(client: Client, wish: Wish, directory: PemDirectory, since: int | None) -> int:
    """Bring the directory up to date; give the revision it was brought to."""
    where = {"project": wish.project, "since": since}
    listed = list(client.items("/v1/certificates", where))
    changed = _put(client, directory, listed)
    if since is None:
        held = directory.holds()
        show.line(f"{len(held)} certificates in {wish.path}, {changed} of them new or changed")
    if directory.due and wish.after:
        _run(wish.after)
    directory.done()
    return max((int(item["revision"]) for item in listed), default=since or 0)


def _put(client: Client, directory: PemDirectory, listed: Iterable[Mapping[str, Any]]) -> int:
    held = directory.holds()
    changed = 0
    for item in listed:
        name = str(item["name"])
        beginning = held.get(name)
        if item["withheld"] or (beginning and str(item["fingerprint"]).startswith(beginning)):
            continue
        try:
            taken = client.post(f"/v1/certificates/{segment(name)}/take")
        except NotFound:  # it has expired, or is gone by now: what is there stays
            continue
        if not changed:
            directory.begin()
        directory.put(name, taken["chain"], Secret(taken["key"]), taken["fingerprint"])
        changed += 1
        show.line(f"{'~' if beginning else '+'} {name}  {str(taken['fingerprint'])[:16]}")
    return changed


def _run(argv: tuple[str, ...]) -> None:
    """Run the hook; raises Unavailable where it fails, and it is due still."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=_HOOK_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{argv[0]} did not end within {_HOOK_SECONDS:g} s; it is run again") from error
    except OSError as error:
        raise Unavailable(f"{argv[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise Unavailable(f"{argv[0]} ended with {done.returncode}; it is run again next time")
