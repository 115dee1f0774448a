"""What has to hold before `edgeward up` starts anything; each check raises Invalid with the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgeward import kinds
from edgeward.cli.tree import sockets
from edgeward.declaration import document, references
from edgeward.declaration.model import Declared
from edgeward.declaration.notation import MOST_BYTES
from edgeward.domain_name import printable
from edgeward.errors import Invalid, Problem
from edgeward.gateway.model import Address, Listen
from edgeward.launcher import config as launcher_config
from edgeward.launcher import files
from edgeward.world.checks import Missing, check

_LONGEST_SOCKET = 107
_LONGEST_SOCKET_NAME = "node/admin.sock"


def read_declaration(path: Path, *, alone: bool = True) -> tuple[Declared, ...]:
    """Read and check a whole declaration file; raises Invalid with every problem, file and line named.

    Unless it stands ``alone``, what it names and does not say may be in the store.
    """
    text = _read(path)
    read = references.reader(path.parent, os.environ)
    found = document.parse(text, str(path), kinds.KINDS, read, os.environ)
    problems = [p for p in check(found.objects) if alone or not isinstance(p, Missing)]
    if problems:
        lines = {str(declared.key): declared.line for declared in found.objects}
        raise Invalid(*(_placed(problem, str(path), lines.get(problem.object or "")) for problem in problems))
    return found.objects


def has_store(state: Path, environment: Mapping[str, str]) -> bool:
    """Whether something may be declared already."""
    return bool(environment.get("EDGEWARD_DATABASE")) or (state / "edgeward.db").exists()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{_shown(path)}: {error.strerror}; name a file this user may read: -c FILE") from error
    if len(text) > MOST_BYTES:
        raise Invalid(f"{_shown(path)} is over {MOST_BYTES >> 20} MB; is it the right file?")
    return text


def _placed(problem: Problem, file: str, line: int | None) -> Problem:
    if problem.line is not None:
        return problem
    field = f"{problem.object}: {problem.field}" if problem.object else problem.field
    return Problem(field, problem.message, line, file, problem.object)


def listen_of(objects: Iterable[Declared]) -> Listen:
    """Give what the file says of listening, or the defaults."""
    return next((d.value for d in objects if isinstance(d.value, Listen)), Listen())


def check_state_dir(path: Path) -> None:
    """Make the directory (0700) and see that it can be written and holds Unix sockets; raises Invalid."""
    excess = len(os.fsencode(path / _LONGEST_SOCKET_NAME)) - _LONGEST_SOCKET
    if excess > 0:
        raise Invalid(
            f"the path {_shown(path)} is {excess} bytes too long for Unix sockets in it;"
            " name a shorter --state-dir"
        )
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = path / f".probe.{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
        if path.stat().st_mode & 0o077 and not any(path.iterdir()):
            path.chmod(0o700)
    except OSError as error:
        raise Invalid(
            f"{_shown(path)}: {error.strerror}; name a --state-dir this user may write to"
        ) from error
    if path.stat().st_mode & 0o077:
        raise Invalid(
            f"{_shown(path)} is open to other users, and keys will be in it; run chmod 700 {_shown(path)}"
        )


def take_lock(state_dir: Path) -> int:
    """Be the only `edgeward up` of this directory until this process ends; raises Invalid."""
    path = state_dir / "up.lock"
    lock = files.take_lock(path)
    if lock is None:
        pid = path.read_text().strip()
        raise Invalid(
            f"another `edgeward up` (pid {pid or 'unknown'}) runs on {_shown(state_dir)};"
            " end it first, or name another --state-dir"
        )
    return lock


def check_addresses(listen: Listen, with_node: bool) -> None:
    """See that every address can be listened on; raises Invalid naming all that cannot."""
    fields = {"http": listen.http, "https": listen.https, "metrics": listen.metrics} if with_node else {}
    problems = []
    for field, addresses in {"api": listen.api, **fields}.items():
        for text in addresses:
            sentence = sockets.why_not(Address.parse(text))
            if sentence is not None:
                problems.append(Problem(f"listen.{field}", sentence))
    if problems:
        raise Invalid(*problems)


def find_envoy(given: Path | None) -> Path:
    """Give Envoy's binary; raises Invalid where there is none."""
    try:
        return launcher_config.find_envoy(given)
    except launcher_config.Unusable as error:
        raise Invalid(str(error)) from error


def _shown(path: Path) -> str:
    return printable(str(path))
