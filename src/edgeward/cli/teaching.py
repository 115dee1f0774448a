"""What the help says beside what each command does: which belong together, and an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import typer
from typer.core import TyperGroup

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Begin": ("demo", "doctor", "up", "install"),
    "Declare": ("validate", "diff", "apply", "get", "export", "delete", "import"),
    "Look": ("status", "explain", "events"),
    "Go back": ("history", "show", "rollback"),
    "Certificates": ("certificates", "accounts", "ca"),
    "Tunnels and root": ("vpn", "action"),
    "Access and storage": ("token", "keys", "backup", "restore", "database", "wait-for"),
    "Programs, each alone": ("controller", "node", "envoy", "rootd", "relay"),
}
"""The commands in the order in which they are shown; others come first, under no name."""

EXAMPLES: Final[Mapping[str, str]] = {
    "demo": "--once",
    "doctor": "-c edgeward.yaml",
    "up": "-c edgeward.yaml",
    "install systemd": "--dry-run",
    "validate": "-f edgeward.yaml",
    "diff": "-f edgeward.yaml",
    "apply": "-f edgeward.yaml --wait",
    "get": "certificates --expiring 14d",
    "export": "--project shop",
    "delete": "routes old-shop",
    "import certbot": "/etc/letsencrypt",
    "import caddy": "/var/lib/caddy/.local/share/caddy",
    "import kong": "kong.yaml",
    "status": "-o json",
    "explain": "https://shop.example/cart",
    "events": "--follow --types change,node",
    "history": "domains shop.example",
    "show": "17",
    "rollback": "16 --dry-run",
    "certificates upload": "shop.example --cert fullchain.pem --key privkey.pem",
    "certificates revoke": "shop.example --reason keyCompromise --replace",
    "certificates deactivate": "shop.example --reason unpaid",
    "certificates activate": "shop.example",
    "certificates history": "shop.example",
    "certificates expire": "shop.example",
    "accounts change-key": "letsencrypt",
    "ca root": "--how",
    "vpn status": "berlin",
    "vpn explain": "berlin",
    "vpn log": "berlin --last 50 --follow",
    "vpn initiate": "berlin",
    "vpn terminate": "berlin",
    "vpn debug": "berlin --level 3",
    "vpn promote": "berlin --node edge-2",
    "vpn migrate": "berlin --driver libreswan",
    "vpn peer-config": "berlin --for strongswan",
    "vpn plan": "-f edgeward.yaml",
    "vpn import": "/etc/ipsec.conf --secrets-into secrets",
    "action run": "ipsec-restart-connection connection=berlin --node edge-2",
    "action list": "--node edge-2",
    "action verify-log": "--node edge-2",
    "token create": "ci --role operator --project shop --expires-in 30d",
    "token revoke": "ci",
    "keys rotate": "--wait",
    "backup": "edgeward.backup",
    "restore": "edgeward.backup --state-dir /var/lib/edgeward",
    "wait-for": "database --timeout 30",
}
"""What to say after each command; every one is read by the command itself in a test."""

FIRST: Final = (
    "See it work: edgeward demo. Serve what a file declares: edgeward up -c edgeward.yaml. Then, from another"
    " shell: edgeward status, and edgeward explain NAME where something is not as it should be."
)


class Sorted(TyperGroup):
    """Commands in the order of ``GROUPS``, whichever way they were added."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = [name for names in GROUPS.values() for name in names]
        return sorted(super().list_commands(ctx), key=lambda name: order.index(name) if name in order else -1)


def teach(app: typer.Typer) -> None:
    """Give each command its place in the list, and its example."""
    panels = {name: panel for panel, names in GROUPS.items() for name in names}
    for one in app.registered_commands:
        name = _name(one)
        one.rich_help_panel = panels.get(name)
        one.epilog = _example(name)
    for group in app.registered_groups:
        group.rich_help_panel = panels.get(str(group.name))
        for one in group.typer_instance.registered_commands if group.typer_instance else ():
            one.epilog = _example(f"{group.name} {_name(one)}")


def _name(command: Any) -> str:
    return str(command.name or command.callback.__name__)


def _example(command: str) -> str | None:
    return f"Example: edgeward {command} {EXAMPLES[command]}" if command in EXAMPLES else None
