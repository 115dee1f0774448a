"""Asks rootd to run an action, for any program: ``run("ipsec-reload")``. Standard library only, to be copied
wherever it is of use.

The protocol: connect to rootd's Unix socket; send four bytes of length (most significant first) and as many
of JSON, ``{"action": NAME, "values": {…}}``; the answer comes in the same way.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOCKET = "/run/edgeward-rootd/rootd.sock"
TIMEOUT = 30.0
_MOST_BYTES = 1 << 20


class Unanswered(Exception):
    """rootd is not there, does not know this user, or did not answer in time; the message says which."""


@dataclass(frozen=True)
class Outcome:
    """What came of it. ``outcome`` is done, timed-out (ended after its time), failed (never started), refused
    (not for who asks), invalid (a value), busy (ask again later) or malformed; ``reason`` says why."""

    outcome: str
    reason: str = ""
    exit: int | None = None
    """Exit code; None where a signal ended it."""
    signal: str | None = None
    output: str = ""
    truncated: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.outcome == "done" and self.exit == 0


def run(
    action: str,
    values: Mapping[str, str | int] | None = None,
    *,
    path: str = SOCKET,
    timeout: float = TIMEOUT,
    asker: Mapping[str, str] | None = None,
) -> Outcome:
    """Run an action and give what came of it; raises Unanswered.

    ``asker`` says for which user of the API Edgeward's own programs ask; rootd takes it from nobody else.
    """
    said = ask({"action": action, "values": dict(values or {})} | ({"asker": dict(asker)} if asker else {}),
               path=path, timeout=timeout)  # fmt: skip
    return Outcome(**{name: said[name] for name in Outcome.__dataclass_fields__ if name in said})


def bind_port(transport: str, address: str, port: int, *, path: str = SOCKET) -> socket.socket:
    """Have rootd bind a port below 1024, ``tcp`` or ``udp``; raises Unanswered. It does not listen yet."""
    taken: list[int] = []
    values = {"transport": transport, "address": address, "port": port}
    said = ask({"action": "bind-port", "values": values}, path=path, taken=taken)
    if said["outcome"] != "done" or not taken:
        raise Unanswered(f"rootd gives no socket: {said.get('reason', said['outcome'])}")
    found = socket.socket(fileno=taken[0])
    found.set_inheritable(False)
    return found


def ask(
    request: Mapping[str, Any],
    *,
    path: str = SOCKET,
    timeout: float = TIMEOUT,
    taken: list[int] | None = None,
) -> dict[str, Any]:
    """Send one request and give its answer as it is; raises Unanswered.

    A descriptor that comes along is added to ``taken``; without, it is closed.
    """
    end = time.monotonic() + timeout
    data = json.dumps(request).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(len(data).to_bytes(4, "big") + data)
            length = int.from_bytes(_received(connection, 4, end, taken), "big")
            if length > _MOST_BYTES:
                raise Unanswered(f"what listens at {path} is not rootd")
            answer = json.loads(_received(connection, length, end))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Unanswered(f"rootd does not listen at {path}; start edgeward rootd") from error
    except TimeoutError as error:
        raise Unanswered(f"rootd did not answer within {timeout:g} s") from error
    except (ConnectionError, EOFError) as error:
        raise Unanswered("rootd does not talk to this user: no action is for it") from error
    except (OSError, ValueError) as error:
        raise Unanswered(f"rootd at {path} cannot be asked: {error}") from error
    if not isinstance(answer, dict):
        raise Unanswered(f"what listens at {path} is not rootd")
    return answer


def _received(connection: socket.socket, length: int, end: float, taken: list[int] | None = None) -> bytes:
    found = b""
    while len(found) < length:
        connection.settimeout(max(0.001, end - time.monotonic()))
        if taken is None:
            data = connection.recv(length - len(found))
        else:
            data, came, *_ = socket.recv_fds(connection, length - len(found), 1)
            taken += came
        if not data:
            raise EOFError
        found += data
    return found
