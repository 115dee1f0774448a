"""What several commands share: options, where these come from unless given, and groups of commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeward.launcher.config import default_state_dir

StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="EDGEWARD_STATE_DIR",
        help="The directory of everything; /var/lib/edgeward for root, else ~/.local/state/edgeward.",
    ),
]


def resolve_state_dir(given: Path | None) -> Path:
    """Give the state directory as an absolute path, with the default where nobody named one."""
    return (given or default_state_dir()).absolute()


def group(app: typer.Typer, name: str, about: str, commands: Mapping[str, Callable[..., Any]]) -> None:
    """Add commands below a word; said alone, it shows them."""
    found = typer.Typer(help=about)
    found.callback(no_args_is_help=True)(lambda: None)  # which keeps the word where there is one command only
    for word, command in commands.items():
        found.command(word)(command)
    app.add_typer(found, name=name)
