"""`edgeward relay status`: asks running relays how they are."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from edgeward.relay.place import Unusable

_UNITS: Final = "/run/edgeward-relay"
_SECONDS: Final = 5.0
_MOST_BYTES: Final = 1 << 20


def main(arguments: Sequence[str]) -> int:
    """Print a line, or with ``-o json`` a document, for each relay; 1 where one does not answer."""
    parser = argparse.ArgumentParser(prog="edgeward relay status", description=__doc__, allow_abbrev=False)
    about = f"a relay's unit instance, or the path of its --metrics socket (default: all in {_UNITS})"
    parser.add_argument("relays", nargs="*", metavar="RELAY", help=about)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    given = parser.parse_args(arguments)
    paths = [_path(relay) for relay in given.relays] or sorted(Path(_UNITS).glob("*/status"))
    if not paths:
        raise Unusable(
            f"no relay runs as a unit here ({_UNITS} is empty); name the path given to one with --metrics"
        )
    answers = [_asked(path) for path in paths]
    if given.output == "json":
        _print(
            json.dumps([{"socket": str(path), **answer} for path, answer in zip(paths, answers, strict=True)])
        )
    else:
        for path, answer in zip(paths, answers, strict=True):
            _print(f"{path}: {answer.get('error') or answer['line']}")
    return 1 if any("error" in answer for answer in answers) else 0


def _path(relay: str) -> Path:
    return Path(relay.removeprefix("unix:")) if "/" in relay else Path(_UNITS, relay, "status")


def _asked(path: Path) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(_SECONDS)
            stream.connect(str(path))
            stream.sendall(b"GET /status HTTP/1.1\r\nHost: relay\r\n\r\n")
            answer = b""
            while len(answer) < _MOST_BYTES and (data := stream.recv(65536)):
                answer += data
        found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    except OSError as error:
        return {"error": f"does not answer: {error.strerror or error}"}
    except ValueError:
        return {"error": "gives an answer that is not a relay's"}
    return found


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
