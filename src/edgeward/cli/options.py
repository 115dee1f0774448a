"""Options that several commands share, and where they come from when nobody gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
