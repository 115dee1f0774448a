"""The controller killed at exact moments: what it acknowledged is there afterwards, and nothing is half done."""

from __future__ import annotations

import signal
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from edgeward.declaration import feed
from tests.faults.injection import SYNCS, killed_at
from tests.faults.ledger import DECLARED, Follower, Ledger
from tests.integration.controller_setup import Controller
from tests.integration.processes import until

NODE = ("--local-node", "n1")


@pytest.fixture
def here(state_dir):
    controller = Controller(state_dir / "state")
    controller.state_dir.mkdir(mode=0o700)
    controller.declare(DECLARED)
    return controller


def identity(here: Controller) -> feed.Identity:
    return feed.Identity.model_validate_json((here.state_dir / "node" / "identity.json").read_text())


def killed_under_load(here: Controller, wrapper: tuple[str, ...], ledger: Ledger, node: Follower) -> None:
    """Apply documents, obtain certificates and follow the feed until the injected death."""
    stop = threading.Event()
    with here.start(*NODE, wrapper=wrapper, ready=False) as process:
        until(lambda: here.answers() or not process.alive(), 30)
        clients = [
            threading.Thread(target=ledger.obtain, args=(here, node.identity.token, stop)),
            threading.Thread(target=node.follow, args=(here,)),
        ]
        for client in clients:
            client.start()
        with suppress(httpx.TransportError):
            ledger.apply(here)
        assert process.wait(30) == -signal.SIGKILL, process.output()
        stop.set()
        for client in clients:
            client.join(30)
    assert [(a.status_code, a.text) for a in ledger.refused] == []


def check_all(here: Controller, ledger: Ledger, node: Follower) -> None:
    database = here.state_dir / "edgeward.db"
    ledger.check(database)
    with here.start(*NODE), here.client(token=node.identity.token) as client:
        node.catch_up(here)
        for name in list(ledger.obtained)[-3:]:
            again = client.post(f"/v1/certificates/{name}/obtain").json()
            assert again["fingerprint"] == ledger.obtained[name], "not issued anew"
        with suppress(httpx.TransportError):
            ledger.apply(here, rounds=1)
        assert ledger.acknowledged == ledger.attempted, "it goes on"
        until(lambda: node.revision >= ledger.revision, 5, "the feed to go on")
        until(lambda: node.holds_exactly(database), 8, "the feed to bring exactly what is stored")
        key, value = node.held.popitem()
        assert not node.holds_exactly(database), "control: one thing less would be seen"
        node.held[key] = value
    ledger.check(database)


def kill_and_check(here: Controller, strace: str, nths: range) -> Ledger:
    ledger = Ledger()
    with here.start(*NODE):
        node = Follower(identity(here))
        ledger.apply(here, rounds=2)
        ledger.obtain_one(here, node.identity.token)
    for nth in nths:
        killed_under_load(
            here, killed_at(strace, SYNCS, nth, here.state_dir.parent / f"{nth}.strace"), ledger, node
        )
        check_all(here, ledger, node)
    assert ledger.attempted > 2 + len(nths), "load"
    return ledger


def test_killed_at_an_exact_sync_it_keeps_what_it_acknowledged_and_nothing_by_halves(here, needs):
    ledger = kill_and_check(here, needs("strace"), range(16, 17))

    _control(here.state_dir / "edgeward.db", ledger)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("nths", [range(1, 9), range(9, 17), range(20, 51, 15)], ids=str)
def test_killed_at_each_sync_of_a_range_it_keeps_what_it_acknowledged(here, needs, nths):
    kill_and_check(here, needs("strace"), nths)


def _control(database: Path, ledger: Ledger) -> None:
    """The check sees each kind of loss: every statement is what some half-done change would leave."""
    one = next(iter(ledger.obtained))
    for damage in (
        "DELETE FROM objects WHERE rowid = (SELECT max(rowid) FROM objects WHERE source = 'file:ledger')",
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit WHERE source = 'file:ledger')",
        "DELETE FROM tombstones WHERE rowid = (SELECT max(rowid) FROM tombstones)",
        "UPDATE counter SET revision = revision - 1",
        f"DELETE FROM certificates WHERE name = '{one}'",
    ):
        copy = database.with_name("control.db")
        copy.unlink(missing_ok=True)
        with sqlite3.connect(database) as raw:
            raw.execute("VACUUM INTO ?", (str(copy),))
        with sqlite3.connect(copy) as raw:
            assert raw.execute(damage).rowcount == 1, damage
        with pytest.raises(AssertionError):
            ledger.check(copy)


# --- killed while it starts for the first time ----------------------------------------------


def starts_whole(here: Controller) -> None:
    """Start, with nothing in the way, and find everything a first start makes."""
    with here.start(*NODE), here.client() as client:
        assert client.get("/v1/status").raise_for_status().json()["file"]["state"] == "applied"
        with here.client(token=identity(here).token) as node:
            assert node.post("/v1/certificates/x.c.example/obtain").status_code == 200
    with sqlite3.connect(here.state_dir / "edgeward.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert raw.execute("SELECT count(*) FROM authorities").fetchone() == (2,)
    modes = {p.name: p.stat().st_mode & 0o077 for p in here.state_dir.rglob("*") if p.name != "root.pem"}
    assert not any(modes.values()), modes


def killed_at_first_start(here: Controller, strace: str, calls: str, nth: int) -> bool:
    """Whether there was an Nth such call."""
    trace = here.state_dir.parent / "strace"
    with here.start(*NODE, wrapper=killed_at(strace, calls, nth, trace), ready=False) as process:
        until(lambda: here.answers() or not process.alive(), 30)
        return not process.alive()


def test_killed_in_its_first_start_it_starts_whole_the_next_time(here, needs):
    assert killed_at_first_start(here, needs("strace"), "fsync", 3), "admin.token: written, not committed"

    starts_whole(here)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "calls", ["fsync", "fdatasync", "rename,renameat,renameat2,link,linkat,unlink,unlinkat"]
)
def test_killed_at_each_step_of_its_first_start_it_starts_whole_the_next_time(state_dir, needs, calls):
    deaths = 0
    for nth in range(1, 40):
        here = Controller(state_dir / f"s{nth}")
        here.state_dir.mkdir(mode=0o700)
        here.declare(DECLARED)
        if not killed_at_first_start(here, needs("strace"), calls, nth):
            break
        deaths += 1
        starts_whole(here)
    assert deaths >= 5
