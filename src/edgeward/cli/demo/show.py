"""Plays the steps of the demo and shows them: one table, and the commands to try by hand."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from pathlib import Path

import httpx
from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from edgeward.cli.demo import declared
from edgeward.cli.demo.step import Row, Step, Wrong
from edgeward.cli.demo.steps import STEPS
from edgeward.cli.demo.steps_as_root import AS_ROOT
from edgeward.cli.demo.visit import Failed
from edgeward.cli.demo.world import World, opened

_STEP_SECONDS = 120.0
_COLUMNS: tuple[tuple[int, JustifyMethod], ...] = ((29, "left"), (28, "left"), (15, "right"))


async def play(once: bool) -> int:
    """Play the demo; give 0, or 1 where a step failed. Without ``once`` it stays until Ctrl-C."""
    console = Console(highlight=False)
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_end.set)
    async with opened() as world:
        playing = asyncio.create_task(_show(world, console))
        asked = asyncio.create_task(asked_to_end.wait())
        await asyncio.wait([playing, asked], return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            playing.cancel()
            return 130
        works = playing.result()
        if works and not once:
            _show_commands(world, console)
            await asyncio.wait([asked, world.ended], return_when=asyncio.FIRST_COMPLETED)
        console.print("Ending …")
        return 0 if works else 1


async def _show(world: World, console: Console) -> bool:
    sections: list[RenderableType] = []
    failure = None
    for title, step in STEPS if world.rooted is None else (*STEPS, *AS_ROOT):
        console.print(f"{title} …", style="dim")
        rows, failure = await _play_step(world, step)
        sections += [f"\n[bold]{escape(title)}[/bold]", _section(rows, failure)]
        if failure is not None:
            break
    console.print(Panel(Group(*sections), title="Edgeward on this machine", expand=False, box=box.ROUNDED))
    if world.left_out:
        console.print(f"Left out: {world.left_out}", style="dim", soft_wrap=True)
    if failure is not None:
        console.print("The last lines of the log:")
        for line in world.log_tail():
            console.print(f"  {line}", markup=False, soft_wrap=True)
    return failure is None


def _section(rows: list[Row], failure: str | None) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for width, justify in _COLUMNS:
        table.add_column(width=width, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(escape(row.what), f"[green]✓[/green] {escape(row.result)}", escape(row.measured))
    if failure is not None:
        table.add_row("", f"[red]✗[/red] {escape(failure)}")
    return table


async def _play_step(world: World, step: Step) -> tuple[list[Row], str | None]:
    try:
        async with asyncio.timeout(_STEP_SECONDS):
            return await step(world), None
    except (Wrong, Failed, OSError, httpx.HTTPError, KeyError) as error:  # TimeoutError is an OSError
        return [], str(error) or type(error).__name__


def _show_commands(world: World, console: Console) -> None:
    edgeward = _own_command()
    state = f"--state-dir {shlex.quote(str(world.state))}"
    config = shlex.quote(str(world.directory / "edgeward.yaml"))
    name, port = "erin.customers.example", world.ports.https
    lines = (
        f"curl --cacert {world.root} --resolve {name}:{port}:127.0.0.1 https://{name}:{port}/",
        f"{edgeward} status {state}",
        f"{edgeward} explain {name} {state}",
        f"{edgeward} explain {declared.UNKNOWN[0]} {state}",
        f"{edgeward} get domains {state}",
        f"$EDITOR {config}   # in force a second after you save it",
        f"kill -9 {world.program('controller').get('pid')}   # visitors do not notice",
    )
    console.print("\nIt stays up until Ctrl-C. Try by hand, in another terminal:")
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _own_command() -> str:
    own = Path(sys.argv[0])
    if own.name != "edgeward":
        return f"{sys.executable} -m edgeward.cli"
    shown = os.path.relpath(own) if own.is_absolute() else str(own)
    return shlex.quote(shown if len(shown) < len(str(own)) else str(own))
