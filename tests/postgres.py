"""A real PostgreSQL for tests: a server of its own in a directory of its own, ended by its process id."""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.patience import PATIENCE
from tests.ports import free_port

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "max_connections": "60",
    "jit": "off",
    "listen_addresses": "127.0.0.1",
}
USER = "edgeward"
_libc = ctypes.CDLL(None)
_END_OTHERS = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_EMPTY = """DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'
        AND tablename NOT IN ('alembic_version', 'counter') LOOP
        EXECUTE 'DELETE FROM ' || one.name;
    END LOOP;
    FOR one IN SELECT sequencename AS name FROM pg_sequences WHERE last_value IS NOT NULL LOOP
        EXECUTE 'ALTER SEQUENCE ' || one.name || ' RESTART';
    END LOOP;
    UPDATE counter SET revision = 0, floor = 0, history = 0, events = 0;
END $$"""


def binaries() -> Path | None:
    """Give the directory of the newest installed server's programs."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    beside = shutil.which("initdb")
    return Path(beside).resolve().parent if beside else None


class Postgres:
    """One server. ``start`` and ``stop`` as often as wanted; ``durable`` for tests that pull its plug."""

    def __init__(self, programs: Path, durable: bool = False, port: int | None = None) -> None:
        self._programs = programs
        self._settings = {**_SETTINGS, **({"fsync": "on", "synchronous_commit": "on"} if durable else {})}
        self._numbers = itertools.count()
        self.port = port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="ew-pg-", dir="/tmp"))
        self._child: subprocess.Popen[bytes] | None = None
        self._as = _unprivileged()
        if self._as:
            shutil.chown(self.directory, **{k: self._as[k] for k in ("user", "group")})
        self._run(
            "initdb",
            "-D",
            self._data,
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def named(self, url: str) -> Named:
        """Give one database of it, for whoever asks for nothing but its address."""
        return Named(url)

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        argv = [
            self._programs / "postgres",
            "-D",
            self._data,
            "-p",
            self.port,
            "-k",
            self.directory,
            *options,
        ]
        with (self.directory / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=_end_with_us,
                **self._as,
            )
        _until(self._answers, self.output)

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT is ``immediate``, as good as pulling the plug; SIGINT is ``fast``."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)
            self._child.wait(30)

    def pause(self, paused: bool) -> None:
        """Stop or continue all its processes: connections stay, and nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP if paused else signal.SIGCONT)
        for pid in self._backends():  # each is in a session of its own
            os.kill(pid, signal.SIGSTOP if paused else signal.SIGCONT)

    def remove(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self.pause(False)
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def fresh(self, template: str = "template1", options: str = "STRATEGY file_copy") -> str:
        """Make a database and give its address; copying files is seven times as fast without fsync."""
        name = f"t{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def empty(self, url: str) -> None:
        """Make a database as good as new: copying one for each test takes four times as long."""
        name = url.rpartition("/")[2]
        self.execute(_END_OTHERS, name)
        self.execute(_EMPTY, name)

    def execute(self, statement: str, name: str = "postgres") -> None:
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute(statement.encode())

    def output(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def _backends(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children]

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _run(self, program: str, *arguments: object) -> None:
        argv = [str(self._programs / program), *(str(a) for a in arguments)]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=60, check=False, cwd="/", **self._as
        )
        assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Named:
    """One database of a server that others use, too."""

    address: str

    def url(self) -> str:
        return self.address


def _end_with_us() -> None:
    """End the server where the tests are killed: prctl(2), PR_SET_PDEATHSIG."""
    _libc.prctl(1, int(signal.SIGQUIT))


def _unprivileged() -> Mapping[str, object]:
    """Give as whom to run it: it refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("neither the user postgres nor nobody exists")


def _until(condition: Callable[[], bool], output: Callable[[], str], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout * PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"PostgreSQL does not start:\n{output()[-2000:]}")
        time.sleep(0.05)
