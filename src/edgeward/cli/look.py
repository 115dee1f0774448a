"""Commands that look: get and status."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from edgeward.cli.connect import Api, connect
from edgeward.cli.options import StateDir, resolve_state_dir
from edgeward.cli.printing import show
from edgeward.errors import Invalid, Unavailable


def register(app: typer.Typer) -> None:
    for command in (get, status):
        app.command()(command)


def get(
    kind: Annotated[
        str, typer.Argument(help="domains, routes, nodes, certificates, …; or KIND/PROJECT/NAME in one word.")
    ],
    name: Annotated[str, typer.Argument(help="One of them; with * at its end, all that begin so.")] = "",
    output: show.Output = show.Format.table,
    project: Annotated[str | None, typer.Option("--project", help="Of this project only.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Of this source only.")] = None,
    expiring: Annotated[str | None, typer.Option(help="Certificates that end within this, as 14d.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Orders, until nothing waits.")] = False,
    most: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many at most.")] = 1000,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print what is declared, and nodes, certificates, tokens and the audit log."""
    from edgeward.cli.printing import kinds

    found, name, project = kinds.addressed(kind, name, project)
    if expiring is not None and found.name != "certificates":
        raise Invalid("--expiring goes with certificates")
    if watch and (found.name != "orders" or name or output is not show.Format.table):
        raise Invalid("--watch goes with orders, all of them, as a table")
    now = time.time()
    with connect(api, state_dir) as client:
        if watch:
            from edgeward.cli import queue

            queue.watch(client, project)
            return
        if found.single or (name and found.one_by_one and not name.endswith("*")):
            one = client.get(found.path(name), {"project": project} if found.declared else None)
            _print_one(found, one, output)
            return
        where = {"project": project, "source": source, "name": name or None, "expiring": expiring}
        items = list(client.items(f"/v1/{found.name}", where, most))
    if output is not show.Format.table:
        show.data(items, output)
        return
    show.table(list(found.columns), ([cell(i, now) for cell in found.columns.values()] for i in items))
    if len(items) == most:
        typer.echo(f"edgeward: only the first {most}; see --most", err=True)


def _print_one(kind: Any, one: Mapping[str, Any], output: show.Format) -> None:
    from edgeward.cli.printing.changes import flat

    if output is not show.Format.table:
        show.data(one, output)
        return
    if not kind.declared:
        show.table(["field", "value"], flat({k: v for k, v in one.items() if k != "chain"}).items())
        return
    show.line(f"{kind.name}/{one['project']}/{one['name']}  {one['source']}, revision {one['revision']}")
    show.table(["field", "value"], flat(one["value"]).items(), empty="every field is at its default")


def status(
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Say how controller, nodes and programs are, and what needs a person."""
    from edgeward.cli.printing import overview

    try:
        with connect(api, state_dir) as client:
            found = client.get("/v1/status")
    except Unavailable:
        if api is None and output is show.Format.table:
            overview.show_programs(resolve_state_dir(state_dir) / "up.json", time.time())
        raise
    if output is not show.Format.table:
        show.data(found, output)
    else:
        overview.show_status(found, time.time())
