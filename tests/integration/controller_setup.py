"""A real controller process over HTTPS, and a client that trusts only its authority."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.integration.processes import Process, running, until
from tests.ports import free_port

DECLARATION = """version: 1
domains:
  - {{name: shop.example}}
  - {{name: "*.c.example", on_demand: true}}
services:
  - {{name: shop, backends: ["{backend}"]}}
routes:
  - {{name: r, hosts: [shop.example, "*.c.example"], service: shop}}
"""


@dataclass
class Controller:
    """One state directory and the controller on it; ``start`` as often as wanted, one at a time."""

    state_dir: Path
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def file(self) -> Path:
        return self.state_dir.parent / f"{self.state_dir.name}.yaml"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def declare(self, text: str | None = None, backend: str = "http://b.example") -> None:
        """Write the file as careful editors do: whole, by renaming."""
        draft = self.file.with_suffix(".draft")
        draft.write_text(text or DECLARATION.format(backend=backend))
        draft.replace(self.file)

    @contextmanager
    def start(self, *more: str, wrapper: tuple[str, ...] = (), ready: bool = True) -> Iterator[Process]:
        argv = [*wrapper, sys.executable, "-m", "edgeward.controller", "--state-dir", str(self.state_dir)]
        if self.file.exists():
            argv += ["--config", str(self.file)]
        with running(
            [*argv, "--api", f"127.0.0.1:{self.port}", *self.arguments, *more], env=self.env
        ) as process:
            if ready:
                until(lambda: self.answers() or not process.alive(), what="the api")
                assert process.alive(), process.output()
            yield process

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return client.get("/readyz").status_code == 200
        except (httpx.HTTPError, OSError):
            return False

    def client(self, token: str | None = "", **options: object) -> httpx.Client:
        """Give a client with the first admin token, another one, or (None) without any."""
        import ssl

        context = ssl.create_default_context(cafile=str(self.state_dir / "ca" / "root.pem"))
        if token == "":
            path = self.state_dir / "admin.token"
            token = path.read_text().strip() if path.exists() else None
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx.Client(
            base_url=self.url, verify=context, headers=headers, timeout=30, trust_env=False, **options
        )
