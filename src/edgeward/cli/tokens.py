"""Commands on tokens: create, list, revoke."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edgeward.cli import nodes
from edgeward.cli.connect import Api, connect
from edgeward.cli.options import StateDir, group
from edgeward.cli.printing import show
from edgeward.errors import Invalid, Unavailable


def register(app: typer.Typer) -> None:
    group(app, "token", "Make, list and revoke tokens.", {"create": create, "list": listed, "revoke": revoke})


def create(
    name: str,
    role: Annotated[str, typer.Option(help="viewer, operator, admin, or node (to join with).")] = "viewer",
    project: Annotated[str, typer.Option(help="One project, or * for all.")] = "*",
    expires_in: Annotated[str | None, typer.Option(help="Like 12h or 30d; never if left out.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="KEY=VALUE: nodes that join with it are labelled so.")
    ] = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Make a token and print it; it is never shown again."""
    if role not in ("viewer", "operator", "admin", "node"):
        raise Invalid(f"there is no role '{show.shown(role)}'; there are viewer, operator, admin and node")
    body: dict[str, object] = {"name": name, "role": role, "project": project, "expires_in": expires_in}
    if label:
        body["labels"] = nodes.labels(label, name=True)
    with connect(api, state_dir) as client:
        fits = pin(client.text("/v1/ca/root")) if role == "node" else ""
        made = client.post("/v1/tokens", body)
    if output is not show.Format.table:
        show.data(made, output)
        return
    typer.echo(made["token"])
    where = "every project" if made["project"] == "*" else f"project {made['project']}"
    typer.echo(f"{made['role']} of {where}, id {made['id']}; keep it, it is not shown again", err=True)
    if fits:
        typer.echo(f"the pin of the controller's authority, for --ca-sha256: {fits}", err=True)


def pin(roots: str) -> str:
    """Give what ``edgeward node`` knows the authority by: the SHA-256 of its first root, which signs now."""
    import hashlib
    import ssl

    head, end, _ = roots.strip().partition(ssl.PEM_FOOTER)
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(head + end)).hexdigest()
    except ValueError as error:
        raise Unavailable("the server gives no root of its authority that could be pinned") from error


def listed(output: show.Output = show.Format.table, api: Api = None, state_dir: StateDir = None) -> None:
    """List tokens, never their secrets."""
    from edgeward.cli.printing import kinds

    kind = kinds.find("tokens")
    now = time.time()
    with connect(api, state_dir) as client:
        items = list(client.items("/v1/tokens"))
    if output is not show.Format.table:
        show.data(items, output)
        return
    show.table(list(kind.columns), ([cell(item, now) for cell in kind.columns.values()] for item in items))


def revoke(
    name: Annotated[str, typer.Argument(help="Its id or name.")], api: Api = None, state_dir: StateDir = None
) -> None:
    """Revoke a token; it stops working at once."""
    from edgeward.cli.printing import kinds

    with connect(api, state_dir) as client:
        client.delete(kinds.find("tokens").path(name))
    show.line(f"revoked {name}")
