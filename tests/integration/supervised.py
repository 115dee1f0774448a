"""Runs the supervisor of `edgeward up` over small scripts: argv is the state directory, then NAME=SCRIPT …."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from edgeward import log
from edgeward.cli.tree.supervisor import Program, Supervisor
from edgeward.cli.up import supervise

_BEHAVIOURS = {
    "steady": """
        import signal, sys, time
        from edgeward.notify import notify
        name, events = sys.argv[1:]
        def note(text):
            with open(events, "a") as file:
                file.write(f"{name} {text}\\n")
        def end(number, frame):
            note(signal.Signals(number).name)
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGHUP, lambda number, frame: note("SIGHUP"))
        notify("READY=1\\nSTATUS=doing well")
        note("started")
        while True:
            time.sleep(0.05)
    """,
    "stubborn": """
        import signal, sys, time
        from edgeward.notify import notify
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        notify("READY=1")
        while True:
            time.sleep(0.05)
    """,
    "crashing": """
        import sys
        sys.exit(1)
    """,
    "hopeless": """
        import sys
        sys.exit(2)
    """,
}


def main() -> int:
    state_dir = Path(sys.argv[1])
    programs = []
    for argument in sys.argv[2:]:
        name, _, behaviour = argument.partition("=")
        code = "\n".join(line[8:] for line in _BEHAVIOURS[behaviour].splitlines())
        argv = (sys.executable, "-c", code, name, str(state_dir / "events"))
        programs.append(Program(name, argv, patience=1.0, reloads=name == "controller"))
    log.set_up("up")
    return asyncio.run(supervise(Supervisor(programs, state_dir)))


if __name__ == "__main__":
    sys.exit(main())
