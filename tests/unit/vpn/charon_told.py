"""Listens in the place of charon, and keeps what swanctl tells it of a file."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from vici.protocol import FiniteStream, Message


class Told:
    """Answers everything with success; one at a time."""

    def __init__(self, place: Path) -> None:
        self._swanctl = shutil.which("swanctl") or shutil.which("swanctl", path="/usr/sbin")
        if self._swanctl is None:
            pytest.skip("swanctl is not there; see apt-packages.txt")
        self._file, self._path = place / "swanctl.conf", place / "vici"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self._path))
        self._socket.listen(8)
        self._said: list[tuple[str, Any]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def load(self, text: str) -> list[tuple[str, Any]]:
        """Have swanctl read a file, and give its commands with their messages."""
        self._said = []
        self._file.write_text(text)
        argv = [
            self._swanctl,
            "--load-all",
            "--noprompt",
            "--file",
            self._file,
            "--uri",
            f"unix://{self._path}",
        ]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr + text
        return self._said

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, client.makefile("rb") as reader:
                while header := reader.read(4):
                    packet = reader.read(struct.unpack("!I", header)[0])
                    name = packet[2 : 2 + packet[1]].decode()
                    self._said.append(
                        (name, _plain(Message.deserialize(FiniteStream(packet[2 + packet[1] :]))))
                    )
                    answer = b"\x01" + Message.serialize({"success": "yes"})
                    client.sendall(struct.pack("!I", len(answer)) + answer)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()}


@contextmanager
def listening() -> Iterator[Told]:
    with tempfile.TemporaryDirectory() as place:
        told = Told(Path(place))
        try:
            yield told
        finally:
            told.close()
