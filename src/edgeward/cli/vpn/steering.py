"""Commands that do something with a tunnel: initiate, terminate, debug, promote."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.cli.vpn.telling import Name, Project, show_one

_PATIENCE: Final = 60.0


def initiate(
    name: Name,
    project: Project = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Have a tunnel come up now, and wait for it."""
    _done(name, "initiate", {"project": project}, output, api, state_dir)


def terminate(
    name: Name,
    project: Project = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """End a tunnel; it stays declared, and comes up again when it is needed or initiated."""
    _done(name, "terminate", {"project": project}, output, api, state_dir)


def debug(
    name: Name,
    level: Annotated[int, typer.Option(min=-1, max=4, help="From nothing to everything; 1 is usual.")] = 2,
    project: Project = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Have the daemon of a tunnel's gateway log more, or less; print the commands that look inside it.

    The other daemons of the node go on as they are.
    """
    _done(name, "debug", {"project": project, "level": level}, output, api, state_dir)


def promote(
    name: Name,
    node: Annotated[str, typer.Option(help="The node that is to have its gateway active from now on.")],
    project: Project = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Have another node take over the gateway of a tunnel, as keepalived does when it elects one."""
    with connect(api, state_dir) as client:
        where = "" if project is None else f"?project={segment(project)}"
        came = client.post(f"/v1/vpn/{segment(name)}/promote{where}", {"node": node})
    if output is not show.Format.table:
        show.data(came, output)
        return
    show.line(f"{came['name']} is given to node {came['node']}")


def _done(name: str, what: str, where: dict[str, Any], output: show.Format, api: Any, state_dir: Any) -> None:
    with connect(api, state_dir) as client:
        path = f"/v1/vpn/{segment(name)}/{what}"
        came = client.act(path, where, _PATIENCE)
    if output is not show.Format.table:
        show.data(came, output)
        return
    show_one(came["tunnel"], time.time())
    if came["commands"]:
        show.line(f"\nas root on node {came['node']}:")
    for command in came["commands"]:
        show.line(f"  {command}")
