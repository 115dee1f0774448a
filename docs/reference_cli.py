"""Writes docs/reference/cli.md from the commands themselves."""

from __future__ import annotations

import contextlib
import enum
import io
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import typer

from edgeward.cli.__main__ import build
from edgeward.cli.up import rootd_command

HEAD = """# Commands

<!-- Written by docs/generate_reference.py (`make reference`); change the commands, not this file. -->

`edgeward COMMAND --help` says the same. Exit codes: 0 done, 1 failed, 2 usage or invalid input, 3 would
change (`diff`, `rollback --dry-run`, `vpn plan`).

Every command that asks a server takes `--api URL` and `--state-dir DIR`. Without `--api` it is `EDGEWARD_API`
(with `EDGEWARD_TOKEN` and `EDGEWARD_CA`), else the one of the state directory (`EDGEWARD_STATE_DIR`; for root
/var/lib/edgeward, else ~/.local/state/edgeward), else port 2443 here.

## Environment variables

`edgeward up` hands its environment on to the programs it starts. Those of [`envoy`](#envoy) are
told beside its options. In containers `EDGEWARD_X_FILE` is a file to read `EDGEWARD_X` from.

"""
VARIABLES = {
    "API": "The server that commands ask, as `https://HOST:PORT`.",
    "TOKEN": "The token that commands show it.",
    "CA": "PEM file of the authority that its certificate is trusted by.",
    "STATE_DIR": "As `--state-dir`, of every program and command.",
    "LOG_LEVEL": "Of controller, node and `up`: `debug`, `info`, `warning` or `error`; by default `info`.",
    "CONFIG": "As `--config` of `controller`.",
    "LISTEN__X": "Wins over `listen.X` of the controller's file, several values separated by commas; so do "
    "`EDGEWARD_LISTEN__LIMITS__X`, `EDGEWARD_CACHE__X` and all others of a map of which there is one.",
    "API_NAMES": "Further names and addresses, separated by commas, that the certificate of the API is for.",
    "CLIENT_CA": "PEM file of the authorities whose certificates clients of the API may show.",
    "DATABASE": "Where controllers keep everything: `postgresql://USER@HOST:PORT/NAME`; by default SQLite.",
    "SEAL_KEY": "The key that seals what is kept, of controller and node; by default `STATE_DIR/seal.key`.",
    "SEAL_KEY_FILE": "The file that it is read from.",
    "REDIS": "The Redis between nodes and controllers: `rediss://USER:PASSWORD@HOST:PORT/DB`.",
    "REDIS_CA": "PEM file of the authorities that its certificate is trusted by.",
    "DNS_SERVERS": "`IP:PORT`, separated by commas: asked by controller and node in place of those in "
    "/etc/resolv.conf.",
    "CONTROLLER": "As `--controller` of `node`, separated by commas.",
    "JOIN": "As `--join` of `node`.",
    "CA_SHA256": "As `--ca-sha256` of `node`.",
    "NAME": "As `--name` of `node`.",
    "USER": "As `--user` of `up`.",
    "ROOTD_SOCKET": "Where rootd listens on this host, for node, commands and `up`.",
    "ROOTD_ACTIONS": "As `--actions` of the rootd that `up` starts.",
    "ROOTD_LOG": "As `--log` of the rootd that `up` starts.",
}
_OF_THIS_HOST = re.compile(r"\s*\(default:\s+(?!5\.0|900\.0)[^()\s]+\)")
_WIDTH = "100"
_MODULES = {"envoy": "edgeward.launcher"}


def commands() -> str:
    """Give the whole page."""
    root = typer.main.get_command(build())
    parts = [HEAD + _variables()]
    for words, command in _leaves(root, ("edgeward",)):
        parts.append(_section(words, command))
    return "\n".join(parts)


def _variables() -> str:
    rows = [f"| `EDGEWARD_{name}` | {text} |" for name, text in VARIABLES.items()]
    return "\n".join(["| | |", "|---|---|", *rows]) + "\n"


def _leaves(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in group.list_commands(None):
        command = group.commands[name]
        if hasattr(command, "commands"):
            yield from _leaves(command, (*words, name))
        elif not command.hidden:
            yield (*words, name), command


def _section(words: tuple[str, ...], command: Any) -> str:
    title = f"## {' '.join(words[1:])}\n"
    if (command.context_settings or {}).get("ignore_unknown_options"):
        return f"{title}\n{command.help or ''}\n\n```\n{_own_help(words[1:])}\n```\n"
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    if "api" in {p.name for p in options}:
        options = [p for p in options if p.name not in ("api", "state_dir")]
    usage = " ".join([*words, *map(_usage, arguments), *(["[OPTIONS]"] if options else [])])
    rows = [_row(parameter) for parameter in (*arguments, *options)]
    table = "\n".join(["| | default | |", "|---|---|---|", *rows]) + "\n" if rows else ""
    return f"{title}\n`{usage}`\n\n{_prose(command.help)}\n\n{table}{_example(command)}"


def _prose(text: str | None) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", (text or "").strip())


def _example(command: Any) -> str:
    line = (command.epilog or "").removeprefix("Example: ")
    return f"\n```\n$ {line}\n```\n" if line else ""


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _row(parameter: Any) -> str:
    about = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    if parameter.param_type_name == "argument":
        return f"| `{_usage(parameter)}` | | {about} |"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    value = "" if parameter.is_flag else f" `{_metavar(parameter)}`"
    variable = f" (`{parameter.envvar}`)" if parameter.envvar else ""
    return f"| {names}{value} | {_default(parameter)} | {about}{variable} |"


def _metavar(option: Any) -> str:
    kind = option.type_descriptor.annotation
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    choices = [str(one.value) for one in kind] if isinstance(kind, enum.EnumType) else get_args(kind)
    plain = {int: "NUMBER", float: "NUMBER", str: "TEXT"}
    return option.metavar or "|".join(map(str, choices)) or plain.get(kind, "PATH")


def _default(option: Any) -> str:
    said = getattr(option, "show_default", None)
    if isinstance(said, str):
        return said
    value: Any = option.default() if callable(option.default) else option.default
    if option.required:
        return "required"
    if value is True:
        return f"`{option.opts[0]}`"
    if value is None or value is False or value in ("", (), []):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _own_help(words: tuple[str, ...]) -> str:
    """Ask the program itself, and leave out what depends on the host it is asked on."""
    if words == ("rootd",):  # which imports what this process may not
        argv = [*rootd_command(), "--help"]
        environment = {"COLUMNS": _WIDTH}
        said = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout  # noqa: S603
    else:
        said = _said(_MODULES.get(words[0], f"edgeward.{words[0]}"), [f"edgeward {words[0]}", "--help"])
    return _OF_THIS_HOST.sub("", said.strip()) if words == ("envoy",) else said.strip()


def _said(module: str, argv: list[str]) -> str:
    before, columns = sys.argv, os.environ.get("COLUMNS")
    sys.argv, os.environ["COLUMNS"] = argv, _WIDTH
    printed = io.StringIO()
    sys.modules.pop(f"{module}.__main__", None)  # run_module warns of it
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            runpy.run_module(f"{module}.__main__", run_name="__main__")
    finally:
        sys.argv = before
        os.environ.pop("COLUMNS")
        os.environ.update({} if columns is None else {"COLUMNS": columns})
    return printed.getvalue()
