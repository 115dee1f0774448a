"""The command `edgeward`. Exit codes: 0 done, 1 failed, 2 usage or invalid input, 3 would change."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

TYPE_CHECKING = False  # typing's takes milliseconds, for which a relay's first connection would wait
if TYPE_CHECKING:
    import typer

_COMMANDS = (
    "up",
    "declare",
    "look",
    "explained",
    "history",
    "events",
    "tokens",
    "certificates",
    "keys",
    "install",
    "accounts",
    "database",
    "vpn",
    "relay",
    "actions",
    "doctor",
    "imports",
    "demo",
)


def build() -> typer.Typer:
    import importlib.util

    import typer

    from edgeward.cli import teaching

    app = typer.Typer(
        name="edgeward",
        cls=teaching.Sorted,
        help="Puts customers' domains in front of customers' networks.",
        epilog=teaching.FIRST,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def version(
        show: bool = typer.Option(False, "--version", is_eager=True, help="Show the version and exit."),
    ) -> None:
        if show:
            from edgeward import __version__

            typer.echo(f"edgeward {__version__}")
            raise typer.Exit

    for name in _COMMANDS:
        module = f"edgeward.cli.{name}"
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module).register(app)
    teaching.teach(app)
    return app


def main() -> None:
    _have_standard_streams()
    if sys.argv[1:2] == ["relay"]:  # before anything is imported: somebody waits for its first connection
        from edgeward.relay.__main__ import main as relay

        sys.exit(relay(sys.argv[2:]))
    import typer
    from typer.exceptions import TyperException

    from edgeward.errors import EdgewardError, Invalid

    try:
        came = build()(standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        from edgeward.cli.usage import said

        _say([line for line in [said(error)] if line])
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # while the command is still loaded; later typer makes the same of it
        sys.exit(130)
    except typer.Abort:
        _say(["nothing was done"])
        sys.exit(1)
    except Invalid as error:
        _say([str(problem) for problem in error.problems])
        sys.exit(2)
    except EdgewardError as error:
        _say([str(error)])
        sys.exit(1)
    except OSError as error:
        _drop_output()
        if not isinstance(error, BrokenPipeError):  # who reads no further wants to hear no more
            from edgeward.domain_name import printable

            place = f"{printable(str(error.filename))}: " if error.filename is not None else ""
            _say([f"{place}{error.strerror or error}"])
        sys.exit(1)
    sys.exit(came if isinstance(came, int) else 0)


def _have_standard_streams() -> None:
    """Have those that were closed (``>&-``) lead nowhere: else files we open would take their place.

    What the user's encoding has no character for is escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, nowhere == number)
            setattr(sys, name, open(nowhere, "w" if number else "r"))  # noqa: PTH123, SIM115 - stays open
    if (encoding := getattr(sys.stdout, "encoding", "utf-8")) and encoding.lower() != "utf-8":
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _drop_output() -> None:
    """Have Python's last flush not fail again with what was not taken."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):  # it is no file at all
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _say(lines: list[str]) -> None:
    import typer

    for line in lines:
        typer.echo(f"edgeward: {line}", err=True)


if __name__ == "__main__":
    main()
