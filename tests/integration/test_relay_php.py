"""nginx → relay → php-fpm, all Debian's but the relay: the how-to, and a name that moves under load."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.name_server import NameServer, name_server
from tests.integration.processes import Process, running, until
from tests.integration.relay_rig import asked
from tests.ports import free_port

HOW_TO = Path(__file__).parents[2] / "docs/how-to/relay-nginx-php-fpm.md"
NAME = "php.internal.example"
FPM = """
[global]
error_log = {directory}/{address}.log
daemonize = no
[www]
user = {user}
listen = {address}
pm = static
pm.max_children = 3
env[BACKEND] = {address}
"""


@pytest.fixture
def programs(needs: Callable[[str], str]) -> dict[str, str]:
    needs("nginx")
    needs("curl")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
    return {"PATH": path, "php-fpm": needs("php-fpm8.2")}


@pytest.fixture
def dns() -> Iterator[NameServer]:
    with name_server() as made:
        yield made


@contextmanager
def followed(directory: Path, env: dict[str, str]) -> Iterator[str]:
    """Do what the how-to says in an empty directory, to the letter; gives what it printed."""
    part = HOW_TO.read_text().partition("## Try it in an empty directory")[2]
    script = "cd " + str(directory) + "\n" + "\n".join(re.findall(r"```sh\n(.*?)```", part, re.DOTALL))
    directory.mkdir()
    with running(["/bin/sh", "-e", "-c", f"{script}\necho followed\nset +e\nwait"], env=env) as shell:
        try:
            until(lambda: "followed\n" in shell.output() or not shell.alive(), timeout=60, what="the how-to")
            assert shell.alive(), shell.output()
            yield shell.output()
        finally:
            for path in directory.glob("*.pid"):
                with suppress(ProcessLookupError):
                    os.kill(int(path.read_text()), signal.SIGTERM)
            shell.wait()


@contextmanager
def php(programs: dict[str, str], directory: Path, address: str) -> Iterator[Process]:
    config = directory / f"{address}.conf"
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    config.write_text(FPM.format(directory=directory, address=address, user=user))
    with running([programs["php-fpm"], "-R", "-y", config]) as process:
        yield process


@dataclass
class Load:
    """Visitors who ask one thing after the other; ``failed``: when each request that failed began."""

    port: int
    answered: dict[str, int] = field(default_factory=dict)
    failed: list[tuple[float, str]] = field(default_factory=list)
    _over: bool = False

    @contextmanager
    def going_on(self, visitors: int = 6) -> Iterator[None]:
        threads = [threading.Thread(target=self._visit) for _ in range(visitors)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over = True
            for thread in threads:
                thread.join()

    def _visit(self) -> None:
        while not self._over:
            began = time.monotonic()
            visitor = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                visitor.request("GET", "/")
                answer = visitor.getresponse()
                text = answer.read().decode().strip()
                if answer.status == 200 and text.startswith("Hello from "):
                    self.answered[text] = self.answered.get(text, 0) + 1
                else:
                    self.failed.append((began, f"{answer.status} {text[:80]}"))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append((began, str(error)))
            finally:
                visitor.close()


def test_the_how_to_followed_to_the_letter_in_an_empty_directory_works(
    programs: dict[str, str], state_dir: Path
) -> None:
    http_port, port = free_port(), free_port()
    env = {
        "HTTP": f"127.0.0.1:{http_port}",
        "PHP": f"127.0.0.1:{port}",
        "TARGET": f"localhost:{port}",
        "OPTIONS": "",
    }
    with followed(state_dir / "new", programs | env) as printed:
        assert f"Hello from 127.0.0.1:{port}\n" in printed
        tried = r"(1 in all|\d+ in all(?=.* times not reached))"  # php-fpm may listen later than nginx asks
        where = rf"localhost:{port} at .*127.0.0.1:{port}(; \d+ times not reached)?"
        assert re.search(rf"0 of at most \d+ connections; {tried}; {where}\n", printed)


def test_no_request_fails_while_the_name_moves_and_only_those_on_a_killed_backend_do_then(
    programs: dict[str, str], dns: NameServer, state_dir: Path
) -> None:
    http_port, port = free_port(), free_port()
    first, second = f"127.0.0.11:{port}", f"127.0.0.12:{port}"
    dns.put(NAME, "A", 1, "127.0.0.11")
    env = {
        "HTTP": f"127.0.0.1:{http_port}", "PHP": first, "TARGET": f"{NAME}:{port}",
        "OPTIONS": f"--resolver {dns.address}",
    }  # fmt: skip
    directory, load = state_dir / "new", Load(http_port)

    def now_at(address: str) -> bool:
        return asked(directory / "status")["addresses"] == [address]

    with followed(directory, programs | env), php(programs, state_dir, second):
        with load.going_on():
            for address in (second, first, second):
                dns.put(NAME, "A", 1, address.partition(":")[0])
                until(lambda to=address: now_at(to), timeout=10, what=f"the name at {address}")
                time.sleep(0.5)
            assert load.failed == []
            killed = time.monotonic()
            os.kill(int((directory / "php-fpm.pid").read_text()), signal.SIGTERM)  # at once, for php-fpm
            time.sleep(0.7)
        assert [why for began, why in load.failed if began > killed] == []
        assert load.answered[f"Hello from {first}"] > 10
        assert load.answered[f"Hello from {second}"] > 10
