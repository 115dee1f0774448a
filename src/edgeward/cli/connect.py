"""From a command's options to a client, with the heavy imports only where a command needs them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from edgeward.cli import options
from edgeward.domain_name import printable
from edgeward.errors import Invalid

if TYPE_CHECKING:
    from edgeward.cli.client import Client

Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        envvar="EDGEWARD_API",
        help="The server; else the state directory's own, else port 2443 here.",
    ),
]


def connect(api: str | None, state_dir: Path | None) -> Client:
    """Give a client for the server these options, the environment and the state directory name."""
    from edgeward.cli import server
    from edgeward.cli.client import Client

    directory, named = options.resolve_state_dir(state_dir), state_dir is not None
    return Client(server.find(api, directory, os.environ, named=named))


def segment(text: str) -> str:
    """Give text as one segment of a path."""
    try:
        if text not in (".", ".."):
            return quote(text, safe="*")
    except UnicodeEncodeError:  # bytes on the command line that are no text
        pass
    raise Invalid(f"'{printable(text)}' is not a name")
