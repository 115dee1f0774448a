"""Commands about the database itself: `database migrate|copy`, `backup`, `restore`, `wait-for database`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeward.cli.options import StateDir
from edgeward.launcher.config import default_state_dir

_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    app.command(
        "database",
        help="Bring the schema up to date (migrate), or move a store to PostgreSQL (copy --to URL).",
        context_settings=_PASSED_ON,
        add_help_option=False,
    )(database)
    app.command("wait-for")(wait_for)
    app.command("backup")(backup)
    app.command("restore")(restore)


def database(context: typer.Context) -> None:
    _become(context.args)


def wait_for(
    what: Annotated[Literal["database"], typer.Argument(help="The database that EDGEWARD_DATABASE names.")],
    timeout: Annotated[float, typer.Option(min=0, max=86400, help="Longest wait, in seconds.")] = 60.0,
) -> None:
    """Return as soon as it answers: 0 where it does, 1 where it does not in time."""
    _become(["wait", "--timeout", str(timeout)])


def backup(
    file: Annotated[Path, typer.Argument(help="Readable by you alone; one that is there is replaced.")],
    state_dir: StateDir = None,
) -> None:
    """Write the whole store and its key into one file, at one moment, while everything goes on running."""
    _become(["backup", str(file.absolute()), *_named(state_dir)])


def restore(
    file: Annotated[Path, typer.Argument(help="What `edgeward backup` wrote.")],
    state_dir: StateDir = None,
) -> None:
    """Make a store from a backup: STATE_DIR/edgeward.db, or the empty database EDGEWARD_DATABASE names."""
    _become(["restore", str(file.absolute()), *_named(state_dir)])


def _named(state_dir: Path | None) -> list[str]:
    return [] if state_dir is None else ["--state-dir", str(state_dir)]


def _become(arguments: Sequence[str]) -> None:
    """Become the program that knows databases."""
    argv = [sys.executable, "-P", "-m", "edgeward.database", *arguments]
    environment = {"EDGEWARD_STATE_DIR": str(default_state_dir()), **os.environ}
    os.execve(argv[0], argv, environment)  # noqa: S606 - becomes that program, no shell
