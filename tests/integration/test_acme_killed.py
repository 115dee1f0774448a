"""An order whose process is killed, at every request it makes, is gone on with: one order, one certificate."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from edgeward.certificates.model import Issuer
from tests.integration.acme_child import last_saved
from tests.integration.acme_faults import Lose, Proxy, Stall
from tests.integration.acme_orders import SEAL, Desk, issuer, leaf, names
from tests.integration.processes import Process, running, until

QUICK = [("newAccount", Lose), ("newOrder", Lose), ("finalize", Lose)]
ALL = [
    (what, fault)
    for what in ("newAccount", "newOrder", "authorization", "challenge", "order", "finalize", "certificate")
    for fault in (Stall, Lose)
]


def child(ours: Desk, state_dir: Path, ordered: Issuer, name: str) -> list[str]:
    job = {
        "database": ours.url,
        "seal": SEAL.decode(),
        "saves": str(state_dir / "saves"),
        "issuer": ordered.model_dump(mode="json"),
        "names": [name],
    }
    path = state_dir / "job.json"
    path.write_text(json.dumps(job))
    return [sys.executable, "-m", "tests.integration.acme_child", str(path)]


def kill_at(what: str, fault: type[Lose] | type[Stall], between: Proxy, argv: list[str]) -> None:
    """SIGKILL before the authority hears of the request, or after it did what was asked, before it says so."""
    processes: list[Process] = []
    between.once(what, fault(lambda: os.kill(processes[0].pid, signal.SIGKILL)))
    with running(argv) as process:
        processes.append(process)
        until(lambda: not process.alive(), what=f"a request of {what}")
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("what", "fault"), QUICK)
async def test_an_order_that_was_killed_is_gone_on_with(
    ours: Desk, state_dir: Path, between: Proxy, what: str, fault: type[Lose] | type[Stall]
) -> None:
    orders, issued = between.authority.orders(), between.authority.issued()
    ordered = issuer(between.authority, directory=between.directory)
    await asyncio.to_thread(kill_at, what, fault, between, child(ours, state_dir, ordered, "a.example.com"))

    made = await ours.order(ordered, "a.example.com", saved=last_saved(state_dir / "saves"))

    private = serialization.load_pem_private_key(made.key.reveal().encode(), None)
    assert private.public_key() == leaf(made).public_key()
    assert names(leaf(made)) == ["a.example.com"]
    assert between.authority.orders() == orders + 1
    assert between.authority.issued() == issued + 1


@pytest.mark.slow
@pytest.mark.parametrize(("what", "fault"), [one for one in ALL if one not in QUICK])
async def test_an_order_that_was_killed_at_any_request_is_gone_on_with(
    ours: Desk, state_dir: Path, between: Proxy, what: str, fault: type[Lose] | type[Stall]
) -> None:
    await test_an_order_that_was_killed_is_gone_on_with(ours, state_dir, between, what, fault)
