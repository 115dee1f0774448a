"""Commands that take over what other programs keep: certbot's directory, Caddy's storage, Kong's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeward.cli.connect import Api
from edgeward.cli.options import StateDir, group

Directory = Annotated[Path, typer.Argument(help="It is read, and nothing in it is changed.")]
Apply = Annotated[
    bool, typer.Option("--apply", help="Bring it all to the server, too; what it has already stays.")
]
Project = Annotated[str, typer.Option(help="The project of what is not declared yet.")]
CaFile = Annotated[
    str | None,
    typer.Option(help="On the controller's host: PEM of the roots that the authority's own HTTPS has."),
]


def register(app: typer.Typer) -> None:
    about = "Take over certificates, accounts and names from other programs."
    group(app, "import", about, {"certbot": from_certbot, "caddy": from_caddy, "kong": from_kong})


def from_certbot(
    directory: Directory,
    apply: Apply = False,
    project: Project = "default",
    ca_file: CaFile = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print what to declare for the certificates of certbot, as in /etc/letsencrypt; --apply does it."""
    from edgeward.cli.imports import carrying, certbot

    carrying.carry(certbot.read(directory), carrying.Wish(apply, project, ca_file), api, state_dir)


def from_caddy(
    directory: Directory,
    apply: Apply = False,
    project: Project = "default",
    ca_file: CaFile = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print what to declare for Caddy's certificates, as in ~/.local/share/caddy; --apply does it."""
    from edgeward.cli.imports import caddy, carrying

    carrying.carry(caddy.read(directory), carrying.Wish(apply, project, ca_file), api, state_dir)


def from_kong(
    file: Annotated[Path, typer.Argument(help="Kong's declarative configuration, as decK writes it.")],
    apply: Apply = False,
    project: Project = "default",
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print what Kong's services, routes and certificates are here; --apply declares them, and uploads."""
    from edgeward.cli.imports import kong_carrying

    kong_carrying.carry(file, project if apply else None, api, state_dir)
