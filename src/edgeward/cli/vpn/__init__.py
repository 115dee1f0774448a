"""Commands about tunnels."""

from __future__ import annotations

import typer

from edgeward.cli.options import group
from edgeward.cli.vpn.importing import from_openswan
from edgeward.cli.vpn.migrate import migrate
from edgeward.cli.vpn.peer_config import peer_config
from edgeward.cli.vpn.plan import plan
from edgeward.cli.vpn.steering import debug, initiate, promote, terminate
from edgeward.cli.vpn.telling import explain, log, status


def register(app: typer.Typer) -> None:
    group(app, "vpn", "Tunnels: how they do, and what their other sides need.", {
        "status": status,
        "explain": explain,
        "log": log,
        "initiate": initiate,
        "terminate": terminate,
        "debug": debug,
        "promote": promote,
        "migrate": migrate,
        "peer-config": peer_config,
        "plan": plan,
        "import": from_openswan,
    })  # fmt: skip
