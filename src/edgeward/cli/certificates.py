"""Commands on certificates: expire their copies everywhere; and the local authority's root."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeward.cli import show
from edgeward.cli.connect import Api, connect
from edgeward.cli.options import StateDir, resolve_state_dir
from edgeward.errors import Invalid


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Expire copies of certificates; `edgeward get certificates` lists them.")
    group.callback(no_args_is_help=True)(lambda: None)
    group.command("expire")(expire)
    app.add_typer(group, name="certificates")
    authority = typer.Typer(help="The local authority.")
    authority.callback(no_args_is_help=True)(lambda: None)
    authority.command("root")(root)
    app.add_typer(authority, name="ca")


def expire(
    name: Annotated[str, typer.Argument(help="The name whose copies are to go.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Those of every name.")] = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Have Envoy and the memory of every node drop their copies, and look anew."""
    from edgeward.cli.client import segment

    if every == bool(name):
        raise Invalid("say either one name or --all")
    path = "/v1/certificates/expire" if every else f"/v1/certificates/{segment(name)}/expire"
    with connect(api, state_dir) as client:
        revision = client.post(path)["revision"]
    show.line(f"copies of {'every certificate' if every else name} expire with revision {revision}")


def root(
    how: Annotated[
        bool, typer.Option("--how", help="Say how to make the common trust stores trust it.")
    ] = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print the local authority's roots as PEM."""
    path = resolve_state_dir(state_dir) / "ca" / "root.pem"
    if how:
        from edgeward.cli import trust

        typer.echo(trust.how(path if path.is_file() else None))
        return
    if api is None and path.is_file():  # public, and readable without a token
        typer.echo(path.read_text(), nl=False)
        return
    with connect(api, state_dir) as client:
        typer.echo(client.text("/v1/ca/root"), nl=False)
