"""`edgeward up`: controller, node and Envoy as one supervised tree; and the commands for each one alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeward.cli.options import StateDir
from edgeward.launcher.config import default_node_name, default_state_dir

if TYPE_CHECKING:
    from edgeward.cli.tree.supervisor import Program, Supervisor

_OF_THE_STORE = ("EDGEWARD_DATABASE", "PGPASSWORD", "PGPASSFILE")
_SEAL_KEY = "EDGEWARD_SEAL_KEY"
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
_ALONE = {
    "controller": ("edgeward.controller", "Run the controller alone: it says what should be."),
    "node": ("edgeward.node", "Run a node alone: it makes it so on one host. `node label`: label one."),
    "envoy": (
        "edgeward.launcher",
        "Run Envoy alone: start, restart, drain. `envoy restart`: have another take over.",
    ),
}


def register(app: typer.Typer) -> None:
    app.command("up")(up)
    for name, (module, text) in _ALONE.items():
        app.command(name, help=text, context_settings=_PASSED_ON, add_help_option=False)(_alone(module))
    text = "Run rootd alone: it does typed, allow-listed actions as root, and nothing else."
    app.command("rootd", help=text, context_settings=_PASSED_ON, add_help_option=False)(_rootd)


def up(
    config: Annotated[Path, typer.Option("--config", "-c", help="The file that declares everything.")] = Path(
        "edgeward.yaml"
    ),
    state_dir: StateDir = None,
    envoy: Annotated[Path | None, typer.Option(help="Envoy's binary instead of the packaged one.")] = None,
    name: Annotated[str, typer.Option(help="The node's name.", show_default="the host's")] = "",
    node: Annotated[bool, typer.Option("--node/--no-node", help="Serve visitors on this host.")] = True,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="KEY=VALUE: label the node on this host.")
    ] = None,
    user: Annotated[
        str, typer.Option(envvar="EDGEWARD_USER", help="As whom all but rootd goes on, started as root.")
    ] = "edgeward",
    drain_seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="Longest wait for visitors to finish.")
    ] = 5.0,
) -> None:
    """Run controller, node and Envoy on this host until SIGTERM or Ctrl-C; SIGHUP re-reads the file."""
    from edgeward import capabilities, log
    from edgeward.cli import nodes
    from edgeward.cli.options import resolve_state_dir
    from edgeward.cli.tree import dropping, preflight, rootd
    from edgeward.cli.tree.supervisor import Supervisor

    os.umask(0o077)
    labels = nodes.labels(label or ())
    level = log.level_of(os.environ)
    state = resolve_state_dir(state_dir)
    name = name or default_node_name()
    declared = preflight.read_declaration(config, alone=not preflight.has_store(state, os.environ))
    listen = preflight.listen_of(declared).of_node(name)
    binary = preflight.find_envoy(envoy) if node else None
    dropping.drop(user, config.absolute(), state, binary)
    capabilities.hand_on_low_ports()
    preflight.check_state_dir(state)
    lock = preflight.take_lock(state)
    preflight.check_addresses(listen, with_node=node)
    log.set_up("up", level)
    programs = _programs(config.absolute(), state, binary, name, drain_seconds, labels)
    code = asyncio.run(supervise(Supervisor(programs, state, rootd.taken(os.environ))))
    os.close(lock)
    raise typer.Exit(code)


async def supervise(supervisor: Supervisor) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.end)
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
    return await supervisor.run()


def _programs(
    config: Path,
    state_dir: Path,
    envoy: Path | None,
    name: str,
    drain_seconds: float,
    labels: Mapping[str, str],
) -> list[Program]:
    """Give the programs in the order they start; without Envoy's binary the controller alone."""
    from edgeward.cli.tree.supervisor import Program

    state = ("--state-dir", str(state_dir))
    controller = (*_module("edgeward.controller"), *state, "--config", str(config))
    if envoy is None:
        return [Program("controller", controller, patience=10.0, reloads=True)]
    launcher = (
        *_module("edgeward.launcher"), *state, "--envoy", str(envoy), "--node-name", name,
        "--drain-seconds", str(drain_seconds),
    )  # fmt: skip
    local = ("--local-node", name, *(w for k, v in labels.items() for w in ("--label", f"{k}={v}")))
    return [
        Program("controller", (*controller, *local), patience=10.0, reloads=True),
        Program(
            "node", (*_module("edgeward.node"), *state), patience=5.0, gives_up=False,
            not_told=_OF_THE_STORE,
        ),
        Program(
            "envoy", launcher, patience=drain_seconds + 10.0,
            orphaned=signal.SIGTERM, watched=False, not_told=(*_OF_THE_STORE, _SEAL_KEY, "EDGEWARD_REDIS"),
            low_ports=True,
        ),
    ]  # fmt: skip


def without_token(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Give the arguments without ``--join TOKEN``, and the environment that says the same.

    Everybody may read a command line, and only its owner a program's environment.
    """
    kept, token = [], {}
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option != "--join":
            kept.append(word)
        elif value := value if equals else next(words, ""):
            token = {"EDGEWARD_JOIN": value}
    return kept, token


def _alone(module: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        if module == "edgeward.launcher" and context.args[:1] == ["restart"]:
            from edgeward.cli import restart

            restart.run(context.args[1:])
            return
        if module == "edgeward.node" and context.args[:1] == ["label"]:
            from edgeward.cli import nodes

            nodes.run(context.args[1:])
            return
        arguments, token = without_token(context.args)
        argv = [*_module(module), *arguments]
        environment = {"EDGEWARD_STATE_DIR": str(default_state_dir()), **os.environ, **token}
        os.execve(argv[0], argv, environment)  # noqa: S606 - becomes that program, no shell

    return run


def _rootd(context: typer.Context) -> None:
    argv = [*rootd_command(), *context.args]
    os.execve(argv[0], argv, dict(os.environ))  # noqa: S606 - becomes that program, no shell


def rootd_command() -> tuple[str, ...]:
    """Give rootd's command; -I -S: no environment and no installed package adds to what it runs."""
    return _of_root("__main__.py")


def keeper_command() -> tuple[str, ...]:
    """Give the command of what starts rootd, again whenever it dies; rootd's own command follows it."""
    return _of_root("keeper/__main__.py")


def _of_root(path: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "rootd" / path))


def _module(module: str) -> tuple[str, ...]:
    """Give the command of one of our programs; -P: nothing in the current directory is ever imported."""
    return (sys.executable, "-P", "-m", module)
