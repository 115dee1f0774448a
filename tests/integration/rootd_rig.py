"""A rootd of a test's own: its actions, its socket, its log; and people of other users who ask it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeward import actions
from edgeward.cli import chain
from edgeward.cli.up import rootd_command
from tests.integration.processes import Process, running, until

NOBODY = 65534


class Rootd:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.actions = place / "actions.d"
        self.log = place / "log"
        self.socket = str(place / "run" / "rootd.sock")
        self.actions.mkdir(mode=0o755, parents=True)
        place.chmod(0o755)
        self.process: Process | None = None

    def command(self) -> list[str]:
        options = ("--socket", self.socket, "--actions", str(self.actions), "--log", str(self.log))
        return [*rootd_command(), *options]

    @contextmanager
    def serving(self, *more: str, before: Sequence[str] = ()) -> Iterator[Process]:
        with running([*before, *self.command(), *more], output=self.place / "rootd.out") as process:
            self.process = process
            until(self.answers, what="rootd answers")
            yield process

    def answers(self) -> bool:
        assert self.process is None or self.process.alive(), self.process.output()
        try:
            return self.ask("list")["outcome"] == "done"
        except actions.Unanswered:
            return False

    def action(self, name: str, argv: Sequence[str], more: str = "") -> Path:
        path = self.actions / f"{name}.toml"
        path.write_text(f"name = {json.dumps(name)}\nargv = {json.dumps(list(argv))}\n{more}\n")
        path.chmod(0o644)
        return path

    def script(self, name: str, text: str) -> str:
        path = self.place / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def ask(self, action: str, /, **values: str | int) -> dict[str, Any]:
        return actions.ask({"action": action, "values": values}, path=self.socket, timeout=30)

    def connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(self.socket)
        return connection

    def written(self) -> list[dict[str, Any]]:
        """Give the lines of its log, once they are found to be whole."""
        found = list(chain.lines(chain.files(self.log)))
        assert chain.verify(found).problems == []
        return [json.loads(line) for _, line in found]

    def as_user(self, uid: int, code: str) -> str:
        """Run Python as another user, in the directory of ``edgeward.actions``, and give what it prints."""
        become = f"import os; os.setgroups([]); os.setgid({uid}); os.setuid({uid})"
        argv = [sys.executable, "-I", "-S", "-c", f"{_CLIENT}\n{become}\nPATH = {self.socket!r}\n{code}"]
        done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr


class Readable(Rootd):
    """A rootd of an installation that all users can read, wherever the tests' own Python is."""

    def __init__(self, place: Path, python: str) -> None:
        super().__init__(place)
        self.python = python

    def command(self) -> list[str]:
        return [self.python, *super().command()[1:]]


@contextmanager
def readable_python(needs: Callable[[str], str]) -> Iterator[str]:
    """Make an installation that all users can read; gives its Python."""
    with tempfile.TemporaryDirectory(prefix="ew-", dir="/tmp") as directory:
        home = Path(directory)
        home.chmod(0o755)
        argv = [needs(f"/usr/bin/python3.{sys.version_info.minor}"), "-m", "venv", "--without-pip", home]
        subprocess.run(argv, check=True, timeout=60)
        packages = home / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        ours = (Path(actions.__file__).parents[1], sysconfig.get_path("platlib"))
        packages.joinpath("ours.pth").write_text("\n".join(map(str, ours)))
        yield str(home / "bin" / "python")


_CLIENT = Path(actions.__file__).read_text().replace("from __future__ import annotations", "")
IS_ROOT = os.geteuid() == 0
