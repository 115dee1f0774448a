"""Sockets of the relay's own: what is taken from whom, and what is left alone."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from edgeward.relay.listening import close, opened
from edgeward.relay.place import Unusable, listening
from tests.patience import PATIENCE


def test_what_a_killed_process_left_behind_is_taken(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()

    close(opened([listening(f"unix:{tmp_path}/s")]))
    assert not (tmp_path / "s").exists()


def test_a_socket_somebody_listens_on_is_left_alone_and_not_waited_for_when_its_backlog_is_full(
    tmp_path: Path,
) -> None:
    others = socket.socket(socket.AF_UNIX)
    others.bind(str(tmp_path / "s"))
    others.listen(0)
    waiting = []
    try:
        while True:
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect(str(tmp_path / "s"))
    except BlockingIOError:
        pass
    said: list[str] = []

    def listen() -> None:
        with pytest.raises(Unusable) as refused:
            opened([listening(f"unix:{tmp_path}/s")])
        said.append(str(refused.value))

    trying = threading.Thread(target=listen, daemon=True)
    trying.start()
    trying.join(5 * PATIENCE)
    others.close()  # which ends a wait there may be
    trying.join(5 * PATIENCE)
    for one in waiting:
        one.close()

    assert said == [f"cannot listen on unix:{tmp_path}/s: Address already in use; choose another address"]
