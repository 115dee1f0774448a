"""`edgeward demo`: starts everything on loopback, visits it, and prints what was measured."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after one round; exit code 1 if a step fails.")
    ] = False,
) -> None:
    """See Edgeward work on loopback: certificates at the handshake, live changes, a killed controller."""
    import asyncio

    from edgeward.cli.demo.show import play

    raise typer.Exit(asyncio.run(play(once)))
