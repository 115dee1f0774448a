"""Labels of nodes, on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.errors import Invalid


def run(arguments: Sequence[str]) -> None:
    """Be ``edgeward node label``, which stands behind the word that runs a node."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(label)
    app(list(arguments), prog_name="edgeward node label")


def label(
    name: Annotated[str, typer.Argument(help="The node.")],
    changes: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE to set a label, KEY- to remove one.")
    ] = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Label a node: domains and routes say with `nodes:` which nodes serve them. Without changes, show."""
    from edgeward.placement import changes as read

    fresh, gone = read(changes or ())
    path = f"/v1/nodes/{segment(name)}"
    with connect(api, state_dir) as client:
        has = dict(client.get(path).get("labels") or {})
        wanted = {key: value for key, value in {**has, **fresh}.items() if key not in gone}
        if wanted != has:
            has = dict(client.put(f"{path}/labels", {"labels": wanted})["labels"])
    show.line(f"{show.shown(name)}: {show.labels(has) or 'no labels'}")


def labels(words: Sequence[str], *, name: bool = False) -> dict[str, str]:
    """Read the values of ``--label``; raises Invalid. ``name``: the label of this name may be among them."""
    from edgeward.placement import changes as read

    fresh, gone = read(words, name=name)
    if gone:
        raise Invalid("--label sets labels: write KEY=VALUE")
    return fresh
