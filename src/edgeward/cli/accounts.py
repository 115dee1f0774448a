"""Commands on accounts at ACME authorities: show them, give one a new key."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir, group
from edgeward.cli.printing import show


def register(app: typer.Typer) -> None:
    about = "The accounts that issuers have at ACME authorities."
    group(app, "accounts", about, {"list": listed, "change-key": change_key})


def listed(output: show.Output = show.Format.table, api: Api = None, state_dir: StateDir = None) -> None:
    """List accounts: whose they are, where, and under which URL the authority knows them."""
    with connect(api, state_dir) as client:
        found = client.get("/v1/accounts")["items"]
    if output is not show.Format.table:
        show.data(found, output)
        return
    rows = (
        [one["project"], one["issuer"], one["directory"], one["url"] or "not registered"] for one in found
    )
    show.table(["PROJECT", "ISSUER", "DIRECTORY", "URL"], rows)


def change_key(
    issuer: Annotated[str, typer.Argument(help="The issuer whose account it is.")],
    project: Annotated[str | None, typer.Option(help="Of this project.")] = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Give an account a new key, as after somebody left; orders under way go on.

    Cut short, the account goes on with whichever key the authority knows; then do it once more.
    """
    query = "" if project is None else f"?project={segment(project)}"
    with connect(api, state_dir) as client:
        client.post(f"/v1/accounts/{segment(issuer)}/change-key{query}")
    show.line(f"the account of {issuer} has a new key")
