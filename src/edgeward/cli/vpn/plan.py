"""``edgeward vpn plan``: what applying a file would do to live tunnels."""

from __future__ import annotations

import typer

from edgeward.cli import declare
from edgeward.cli.connect import Api, connect
from edgeward.cli.declared_file import sent
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.errors import Invalid

_SIGNS = {"new": "+", "gone": "-"}
_SHOWN = 100


def plan(
    file: declare.File,
    keep: declare.Keep = False,
    take_over: declare.TakeOver = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Say what applying this file would do to live tunnels; exit code 3 when it would touch any."""
    sending = sent(file, keep=keep, take_over=take_over)
    with connect(api, state_dir) as client:
        try:
            found = client.post("/v1/vpn/plan", sending.body)
        except Invalid as error:
            raise sending.placed(error) from error
    touched = found["connections"]
    lines = []
    for one in touched[:_SHOWN]:
        now = f", {one['phase']} now" if one.get("phase") else ""
        name = f"{one['project']}/{one['name']}"
        lines.append((_SIGNS.get(one["what"], "~"), f"{show.shown(name)}{now}: {one['says']}"))
    show.signed(lines)
    if len(touched) > _SHOWN:
        show.line(f"  and {len(touched) - _SHOWN} more")
    show.line(show.shown(found["summary"]))
    if touched:
        raise typer.Exit(declare.WOULD_CHANGE)
