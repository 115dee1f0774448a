"""`edgeward database migrate|copy`: what is to be done with the database while no controller runs."""

from __future__ import annotations

import os
import sys

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


def database(context: typer.Context) -> None:
    """Become the program that knows databases."""
    argv = [sys.executable, "-P", "-m", "edgeward.database", *context.args]
    environment = {"EDGEWARD_STATE_DIR": str(default_state_dir()), **os.environ}
    os.execve(argv[0], argv, environment)  # noqa: S606 - becomes that program, no shell
