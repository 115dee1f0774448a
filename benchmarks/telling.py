"""How soon the API knows of a tunnel: ended by the peer, begun by a call, and with a peer that was killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.table import Goal, Row
from edgeward.vpn.desired import Connection, Dpd
from edgeward.vpn.drivers.strongswan.driver import opened
from tests.integration.rootd_rig import Readable, readable_python
from tests.integration.test_tunnel_status import Installation, installation
from tests.integration.tunnel_rig import Edge, connection, serving
from tests.integration.vpn_drivers import mirrored
from tests.integration.vpn_rig import Charon, has_charon, wide_area

OURS = "Edgeward"
_DPD_SECONDS = 5
_GIVEN_UP_SECONDS = 7.1
"""charon's retransmissions as rootd sets them: 1 + 1.4 + 2 + 2.7 s."""
_NOTE = "node's agent, charon and rootd for real; the controller in the same process"


def measure(rounds: int) -> list[Row]:
    if not has_charon() or os.geteuid() != 0:
        return [Row("a tunnel ended by its peer, in the API after", OURS, "not installed")]
    with tempfile.TemporaryDirectory(prefix="ew-", dir="/tmp") as text:  # short, and open to charon's user
        directory = Path(text)
        directory.chmod(0o755)
        with _edge(directory) as edge:
            return asyncio.run(_measured(edge, directory, 20 if rounds > 1 else 5))


@contextmanager
def _edge(directory: Path) -> Iterator[Edge]:
    with (
        wide_area(directory / "wan") as wan,
        readable_python(lambda name: shutil.which(name) or name) as python,
        serving(Edge(wan, Readable(directory, python), directory)) as edge,
    ):
        yield edge


async def _measured(edge: Edge, directory: Path, rounds: int) -> list[Row]:
    one = connection(edge, initiator=False, dpd=Dpd(interval=_DPD_SECONDS))
    with edge.peer.charon() as charon:
        peer = await opened(charon.socket)
        await peer.load(mirrored(one), None, initiate=False)
        async with installation(edge, directory / "controller", one) as here:
            ended, begun = [], []
            await _until(here, one, "down")
            for _ in range(rounds):
                began = time.monotonic()
                came = await here.ask("POST", f"/v1/vpn/{one.id}/initiate")
                begun.append(time.monotonic() - began)
                if came.get("outcome") != "done":
                    raise RuntimeError(f"{came} {(await here.status(one.id))['reason']}")
                await _until(here, one, "active")
                began = time.monotonic()
                await peer.terminate(one.id)
                await _until(here, one, "down", "connecting")
                ended.append(time.monotonic() - began)
            await here.ask("POST", f"/v1/vpn/{one.id}/initiate")
            await _until(here, one, "active")
            killed = await _killed(here, one, charon)
        await peer.close()
    return [
        _row("a tunnel ended by its peer, in the API after", ended, 0.5),
        _row("a tunnel begun by a call, up after", begun, 0.15),
        _row("a peer killed, in the API after", [killed], _DPD_SECONDS + _GIVEN_UP_SECONDS + 1),
    ]


def _row(what: str, took: list[float], most: float) -> Row:
    middle = statistics.median(took)
    note = f"p50 of {len(took)}, at most {max(took):.3f} s; {_NOTE}"
    return Row(what, OURS, middle, "s", note, (Goal(middle, most),))


async def _killed(here: Installation, one: Connection, charon: Charon) -> float:
    began = time.monotonic()
    os.kill(charon.process.pid, signal.SIGKILL)
    await _until(here, one, "down", "connecting", "error")
    return time.monotonic() - began


async def _until(here: Installation, one: Connection, *phases: str) -> Any:
    async with asyncio.timeout(60):
        while (found := await here.status(one.id))["phase"] not in phases:
            await asyncio.sleep(0.002)
    return found
