"""`edgeward relay` in the list of commands; `__main__` hands over to the relay before this is read."""

from __future__ import annotations

import sys

import typer


def register(app: typer.Typer) -> None:
    app.command(
        "relay",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )(relay)


def relay(context: typer.Context) -> None:
    """Carry streams from given sockets to a backend whose address may move; `relay status`: how it is."""
    from edgeward.relay.__main__ import main

    sys.exit(main(context.args))
