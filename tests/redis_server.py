"""A real Redis of a test's own: started, paused, killed, filled and wiped."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port


@dataclass
class RedisServer:
    """``tls``: with a certificate of an authority of its own, in ``directory/ca.pem``, and a password."""

    program: str
    directory: Path
    tls: bool = False
    password: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        user = f":{self.password}@" if self.password else ""
        return f"{'rediss' if self.tls else 'redis'}://{user}127.0.0.1:{self.port}/0"

    def start(self, *more: str) -> RedisServer:
        self.directory.mkdir(exist_ok=True)
        argv = [self.program, "--bind", "127.0.0.1", "--dir", str(self.directory), "--save", "", *more]
        if self.tls:
            argv += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            for option, name in (("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")):
                argv += [f"--tls-{option}-file", str(self.directory / name)]
        else:
            argv += ["--port", str(self.port)]
        if self.password:
            argv += ["--requirepass", self.password]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "redis-server does not listen"
            time.sleep(0.02)
        return self

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def command(self, *words: str | bytes) -> bytes:
        """Ask it something and give the whole answer as it was sent."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        sent = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        with self._connection() as connection:
            if self.password:
                connection.sendall(b"AUTH " + self.password.encode() + b"\r\n")
                connection.recv(100)
            connection.sendall(sent + b"*1\r\n$4\r\nQUIT\r\n")
            answer = b""
            while data := connection.recv(1 << 16):
                answer += data
        return answer.removesuffix(b"+OK\r\n")

    def names(self, pattern: str = "*") -> list[str]:
        lines = self.command("KEYS", pattern).split(b"\r\n")
        return [line.decode() for line in lines[1:] if line and line[:1] != b"$"]

    def value(self, name: str) -> bytes:
        head, _, rest = self.command("GET", name).partition(b"\r\n")
        return rest[: int(head[1:])]

    def _answers(self) -> bool:
        try:
            return b"PONG" in self.command("PING")
        except OSError:
            return False

    def _connection(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), 5)
        if not self.tls:
            return plain
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
