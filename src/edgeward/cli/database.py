"""`edgeward database migrate|copy` while no controller runs; `edgeward wait-for database` before one does."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import typer

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


def database(context: typer.Context) -> None:
    _become(context.args)


def wait_for(
    what: Annotated[Literal["database"], typer.Argument(help="The database that EDGEWARD_DATABASE names.")],
    timeout: Annotated[float, typer.Option(min=0, max=86400, help="Longest wait, in seconds.")] = 60.0,
) -> None:
    """Return as soon as it answers: 0 where it does, 1 where it does not in time."""
    _become(["wait", "--timeout", str(timeout)])


def _become(arguments: Sequence[str]) -> None:
    """Become the program that knows databases."""
    argv = [sys.executable, "-P", "-m", "edgeward.database", *arguments]
    environment = {"EDGEWARD_STATE_DIR": str(default_state_dir()), **os.environ}
    os.execve(argv[0], argv, environment)  # noqa: S606 - becomes that program, no shell
