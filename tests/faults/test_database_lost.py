"""Two controllers on one PostgreSQL that is killed, paused and missing, and controllers killed over it."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from edgeward.database.engine import open_engine
from edgeward.database.migrations import migrate
from tests.integration.controller_setup import Controller
from tests.integration.processes import Process, until
from tests.postgres import Named, Postgres

DEMAND = {"issuer": "local", "on_demand": True}


@dataclass
class Pair:
    postgres: Postgres | Named
    controllers: tuple[Controller, Controller]
    processes: list[Process]
    token: str

    def client(self, which: int) -> httpx.Client:
        return self.controllers[which].client(self.token)

    def rows(self, query: str) -> list[tuple]:
        with psycopg.connect(self.postgres.url()) as connection:
            return connection.execute(query).fetchall()

    def node(self, which: int, name: str) -> httpx.Client:
        """Join as a node and give its client."""
        with self.client(which) as client:
            made = client.post("/v1/tokens", json={"name": f"join-{name}", "role": "node"})
            joining = {"authorization": f"Bearer {made.raise_for_status().json()['token']}"}
            joined = client.post("/v1/nodes/join", json={"name": name}, headers=joining)
        return self.controllers[which].client(joined.raise_for_status().json()["token"])


def second(first: Controller, directory: Path) -> Controller:
    """A controller beside the first one: it has its seal key, and nothing else of it."""
    directory.mkdir(mode=0o700)
    shutil.copy(first.state_dir / "seal.key", directory / "seal.key")
    return Controller(directory, env=first.env)


@contextmanager
def two_controllers(directory: Path, postgres: Postgres | Named) -> Iterator[Pair]:
    one = Controller(directory / "one", env={"EDGEWARD_DATABASE": postgres.url()})
    with ExitStack() as stack:
        processes = [stack.enter_context(one.start())]
        other = second(one, directory / "other")
        processes.append(stack.enter_context(other.start()))
        token = (one.state_dir / "admin.token").read_text().strip()
        assert not (other.state_dir / "admin.token").exists()
        yield Pair(postgres, (one, other), processes, token)


@pytest.fixture
def pair(state_dir, pulled_postgres):
    """Two controllers and a database that may be harmed."""
    with two_controllers(state_dir, pulled_postgres) as made:
        yield made


@pytest.fixture(scope="module")
def unharmed(postgres_server):
    """Two controllers for tests that leave them as they are."""
    with tempfile.TemporaryDirectory(prefix="ew-", dir="/tmp") as directory:
        server = postgres_server.named(postgres_server.fresh())
        with two_controllers(Path(directory), server) as made:
            yield made


def is_ready(pair: Pair, which: int) -> bool:
    with pair.client(which) as client:
        return client.get("/readyz").status_code == 200


def test_while_the_database_is_gone_both_say_so_and_show_what_they_know_and_come_back_by_themselves(pair):
    with pair.client(0) as client:
        made = client.put("/v1/domains/a.example", json={"name": "a.example", **DEMAND})
        assert made.status_code == 201
    with pair.client(1) as client:
        until(lambda: client.get("/v1/domains/a.example").status_code == 200)
        assert "edgeward-stale-since" not in client.get("/v1/domains").headers
    pair.postgres.stop(signal.SIGQUIT)

    for which in (0, 1):
        with pair.client(which) as client:
            until(lambda: client.get("/readyz").status_code == 503, what="not being ready")
            assert "database" in client.get("/readyz").json()["detail"]
            assert client.get("/healthz").status_code == 200
            listed = client.get("/v1/domains")
            assert [d["name"] for d in listed.json()["items"]] == ["a.example"]
            assert re.match(r"20\d\d-", listed.headers["edgeward-stale-since"])
            assert client.get("/v1/domains/a.example").json()["name"] == "a.example"
            assert client.get("/v1/domains/b.example").status_code == 404
            assert client.get("/v1/export").json()["domains"][0]["name"] == "a.example"
            status = client.get("/v1/status").json()
            assert status["database"]["lost_since"] and status["objects"] == {"domains": 1}
            refused = client.put("/v1/domains/b.example", json={"name": "b.example"})
            assert (refused.status_code, "database does not answer" in refused.json()["detail"]) == (
                503,
                True,
            )
            with pair.controllers[which].client("ew_0123456789ab_" + "x" * 43) as stranger:
                assert stranger.get("/v1/domains").status_code == 503
    assert all(process.alive() for process in pair.processes)

    pair.postgres.start()
    for which in (0, 1):
        until(lambda which=which: is_ready(pair, which), what="being ready again")
        with pair.client(which) as client:
            name = f"after{which}.example"
            assert client.put(f"/v1/domains/{name}", json={"name": name}).status_code == 201
            assert "edgeward-stale-since" not in client.get("/v1/domains").headers
    with pair.client(0) as client:
        until(lambda: client.get("/v1/domains/after1.example").status_code == 200)


@pytest.mark.slow
def test_a_paused_database_holds_up_nobody_for_long(pair):
    with pair.client(0) as client:
        assert client.put("/v1/domains/a.example", json={"name": "a.example", **DEMAND}).status_code == 201
    pair.postgres.pause(True)
    with pair.client(0) as client:
        client.timeout = httpx.Timeout(20)
        assert client.get("/v1/domains/a.example").status_code == 200
        assert client.put("/v1/domains/b.example", json={"name": "b.example"}).status_code == 503
        until(lambda: client.get("/readyz").status_code == 503)
        assert "edgeward-stale-since" in client.get("/v1/domains").headers
    pair.postgres.pause(False)
    until(lambda: is_ready(pair, 0) and is_ready(pair, 1), timeout=30)
    with pair.client(1) as client:
        assert client.put("/v1/domains/c.example", json={"name": "c.example"}).status_code == 201


def test_a_name_asked_for_at_both_controllers_at_once_gets_one_certificate(unharmed):
    with unharmed.client(0) as client:
        wild = {"name": "*.c.example", **DEMAND}
        assert client.put("/v1/domains/*.c.example", json=wild).status_code == 201
    nodes = [unharmed.node(which, f"n{which}") for which in (0, 1)]
    names = [f"a{n}.c.example" for n in range(25)]

    def obtained(asked: tuple[int, str]) -> str:
        which, name = asked
        until(lambda: nodes[which].post(f"/v1/certificates/{name}/obtain").status_code == 200)
        return nodes[which].post(f"/v1/certificates/{name}/obtain").json()["fingerprint"]

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(obtained, [(which, name) for name in names for which in (0, 1)]))

    assert got[::2] == got[1::2]
    logs = "".join(process.output() for process in unharmed.processes)
    for name in names:
        assert len(re.findall(rf"certificate issued.*{name}|{name}.*certificate issued", logs)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["controller", "database", "pause"])
def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(pair, how):
    acknowledged: list[tuple[str, int]] = []
    ending = threading.Event()

    def write(which: int) -> None:
        number = 0
        with pair.client(which) as client:
            while not ending.is_set():
                number += 1
                name = f"w{which}-{number}.example"
                try:
                    answer = client.put(f"/v1/domains/{name}", json={"name": name, **DEMAND})
                except httpx.HTTPError:
                    time.sleep(0.05)
                    continue
                if answer.status_code == 201:
                    acknowledged.append((name, answer.json()["revision"]))
                elif answer.status_code == 503:
                    time.sleep(0.05)

    writers = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]
    for writer in writers:
        writer.start()
    until(lambda: len(acknowledged) > 20, timeout=30)
    if how == "controller":
        pair.processes[1].send(signal.SIGKILL)
    elif how == "database":
        pair.postgres.stop(signal.SIGQUIT)
        time.sleep(1)
        pair.postgres.start()
    else:
        pair.postgres.pause(True)
        time.sleep(7)
        pair.postgres.pause(False)
    before = len(acknowledged)
    until(lambda: len(acknowledged) > before + 10, timeout=40, what="writes after that")
    ending.set()
    for writer in writers:
        writer.join(30)

    stored = dict(pair.rows("SELECT name, revision FROM objects WHERE kind = 'domains'"))
    assert {name: stored.get(name) for name, _ in acknowledged} == dict(acknowledged)
    created = pair.rows(
        "SELECT name, count(*) FROM audit WHERE action = 'create' AND kind = 'domains' GROUP BY name"
    )
    assert dict(created) == dict.fromkeys(stored, 1)
    assert len(set(stored.values())) == len(stored)
    with pair.client(0) as client:
        until(lambda: len(client.get("/v1/export").json()["domains"]) == len(stored))


@pytest.mark.slow
def test_the_work_of_a_killed_controller_is_done_by_the_other_one(pair):
    held = "SELECT name FROM leases WHERE expires > extract(epoch FROM clock_timestamp())"
    until(lambda: {name for (name,) in pair.rows(held)} >= {"eager", "orders", "sweeping"})
    pair.processes[0].send(signal.SIGKILL)
    with pair.client(1) as client:
        assert client.put("/v1/domains/e.example", json={"name": "e.example"}).status_code == 201
        until(lambda: client.get("/v1/certificates/e.example").status_code == 200, timeout=30)
    (certificates,) = pair.rows("SELECT count(*) FROM certificates WHERE name = 'e.example'")
    assert certificates == (1,)
    assert {token for (token,) in pair.rows("SELECT token FROM leases")} >= {2}


def test_a_controller_waits_for_a_database_that_is_not_there_yet(state_dir, pulled_postgres):
    pulled_postgres.stop()
    here = Controller(state_dir / "one", env={"EDGEWARD_DATABASE": pulled_postgres.url()})
    with here.start(ready=False) as process:
        until(lambda: "waiting for the database" in process.output())
        pulled_postgres.start()
        until(here.answers, timeout=30)
        assert process.alive()


def test_a_controller_with_another_seal_key_says_what_to_do(unharmed, state_dir):
    alone = Controller(state_dir / "alone", env=unharmed.controllers[0].env)
    with alone.start(ready=False) as process:
        assert process.wait() == 2
        assert "copy it from the state directory of another controller" in process.output()
    assert not (alone.state_dir / "seal.key").exists()
    (alone.state_dir / "seal.key").write_bytes(b"k" * 32)
    with alone.start(ready=False) as process:
        assert process.wait() == 2
        assert "copy that of another controller" in process.output()


@pytest.mark.slow
async def test_a_database_of_a_newer_edgeward_stops_a_controller_with_one_sentence(
    state_dir, pulled_postgres
):
    engine = open_engine(pulled_postgres.url())
    await migrate(engine)
    await engine.dispose()
    pulled_postgres.execute("UPDATE alembic_version SET version_num = '9999'")
    here = Controller(state_dir / "one", env={"EDGEWARD_DATABASE": pulled_postgres.url()})
    with here.start(ready=False) as process:
        assert process.wait() == 1
        assert "newer Edgeward" in process.output()
