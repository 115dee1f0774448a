"""The controller as a process: declared by file and over HTTPS, killed, restarted, and never half done."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import ssl
import threading
import time
from contextlib import suppress

import httpx
import pytest

from edgeward.declaration import feed
from tests.integration.controller_setup import DECLARATION, Controller
from tests.integration.processes import until
from tests.ports import free_port

EMPTY = "version: 1\n"


@pytest.fixture
def here(state_dir):
    controller = Controller(state_dir / "state")
    controller.state_dir.mkdir(mode=0o700)
    controller.declare()
    return controller


def domains(client: httpx.Client) -> list[str]:
    return [item["name"] for item in client.get("/v1/domains").raise_for_status().json()["items"]]


def file_state(client: httpx.Client) -> dict:
    return client.get("/v1/status").raise_for_status().json()["file"]


def test_from_an_empty_directory_to_a_declared_state_over_https(here):
    with here.start() as process, here.client() as client:
        assert domains(client) == ["*.c.example", "shop.example"]
        for path, mode in (
            ("admin.token", 0o600),
            ("seal.key", 0o600),
            ("api/key.pem", 0o600),
            ("edgeward.db", 0o600),
        ):
            assert (here.state_dir / path).stat().st_mode & 0o777 == mode, path
        with here.client(token=None) as nobody:
            assert nobody.get("/healthz").status_code == 200
            assert nobody.get("/v1/domains").status_code == 401
            assert nobody.get("/v1/ca/root").text == (here.state_dir / "ca" / "root.pem").read_text()
        for line in process.output().splitlines():
            assert json.loads(line)["program"] == "controller"
        secret = (here.state_dir / "admin.token").read_text().strip()
        assert secret not in process.output()
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_a_changed_file_is_applied_and_a_bad_one_leaves_everything_as_it_was(here):
    with here.start() as process, here.client() as client:
        here.declare(DECLARATION.format(backend="http://b.example").replace("shop.example", "new.example"))
        until(lambda: domains(client) == ["*.c.example", "new.example"], 5)

        here.declare("version: 1\ndomains:\n  - {name: _}\n")
        until(lambda: file_state(client)["state"] == "refused", 5)
        assert [(p["line"], p["field"]) for p in file_state(client)["problems"]] == [(3, "domains[0].name")]
        assert domains(client) == ["*.c.example", "new.example"]
        here.file.unlink()
        until(lambda: "No such file" in file_state(client)["problems"][0]["message"], 5)
        here.declare(EMPTY)
        process.send(signal.SIGHUP)
        until(lambda: domains(client) == [], 5)
        assert client.get("/healthz").status_code == 200


def test_a_bad_file_at_the_first_start_is_told_line_by_line_and_later_it_does_not_stop_the_controller(here):
    here.declare("version: 1\ndomains:\n  - {name: _}\n  - {nam: x}\n")
    with here.start(ready=False) as process:
        assert process.wait() == 2
        assert f"{here.file}:3: domains[0].name: " in process.output()
        assert f"{here.file}:4: domains[1].nam: " in process.output()

    here.declare()
    with here.start():
        pass
    here.declare("version: 1\ndomains: 7\n")
    with here.start(), here.client() as client:
        assert domains(client) == ["*.c.example", "shop.example"]
        assert file_state(client)["state"] == "refused"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--api", "not-an-address"), "--api: write an address as IP:PORT"),
        (("--config", "/nowhere/edge.yaml"), "/nowhere/edge.yaml: No such file or directory"),
        (("--state-dir", "/proc/nowhere"), "/proc/nowhere"),
    ],
)
def test_what_the_starter_can_put_right_is_one_sentence_and_exit_code_2(here, arguments, sentence):
    with here.start(*arguments, ready=False) as process:
        assert process.wait() == 2
        assert sentence in process.output()
        assert "Traceback" not in process.output()


def test_a_taken_port_is_one_sentence_and_exit_code_2(here):
    with here.start(), here.start(ready=False) as second:
        assert second.wait() == 2
        assert f"cannot listen on 127.0.0.1:{here.port}: Address already in use" in second.output()


def test_the_api_moves_where_the_file_says_without_a_restart(here):
    first, second = free_port(), free_port()
    listen = 'version: 1\nlisten: {{api: ["127.0.0.1:{}"]}}\n'
    here.declare(listen.format(first))
    here.port = first
    argv_without_api = _without_api(here)
    with argv_without_api as process, here.client() as client:
        assert client.get("/healthz").status_code == 200
        here.declare(listen.format(second))
        here.port = second
        until(here.answers, 8, what="the api on its new address")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{first}/healthz", timeout=2)
        assert process.alive()


def _without_api(here: Controller):
    import sys
    from contextlib import contextmanager

    from tests.integration.processes import running

    @contextmanager
    def start():
        argv = [
            sys.executable,
            "-m",
            "edgeward.controller",
            "--state-dir",
            here.state_dir,
            "--config",
            here.file,
        ]
        with running(argv) as process:
            until(lambda: here.answers() or not process.alive(), what="the api")
            yield process

    return start()


def test_settings_of_the_environment_win_over_the_file(here):
    here.declare('version: 1\nlisten: {https: "127.0.0.1:1"}\n')
    here.env = {"EDGEWARD_LISTEN__HTTPS": "127.0.0.1:2,[::1]:3", "EDGEWARD_CACHE__RESIDENT": "123"}
    with here.start(), here.client() as client:
        assert client.get("/v1/listen").json()["value"]["https"] == ["127.0.0.1:2", "[::1]:3"]
        assert client.get("/v1/cache").json()["value"] == {"resident": 123}


def test_the_local_node_gets_an_identity_that_works_and_keeps_it(here):
    path = here.state_dir / "node" / "identity.json"
    with here.start("--local-node", "n1"):
        first = path.read_text()
    with here.start("--local-node", "n1"), here.client() as client:
        assert path.read_text() == first
        identity = feed.Identity.model_validate_json(first)
        assert identity.controller == here.url
        assert path.stat().st_mode & 0o777 == 0o600
        with here.client(token=identity.token) as node:
            answer = node.post("/v1/certificates/x.c.example/obtain")
            assert "BEGIN PRIVATE KEY" in answer.json()["key"]
            assert node.get("/v1/domains").status_code == 403
        assert client.delete("/v1/nodes/n1").status_code == 204
    with here.start("--local-node", "n1"):
        assert path.read_text() != first


def test_a_node_follows_over_https_through_a_restart_of_the_controller(here):
    with here.start("--local-node", "n1"), here.client() as client:
        identity = feed.Identity.model_validate_json((here.state_dir / "node" / "identity.json").read_text())
        hello, held, revision = _followed(here, identity, 0, "")
        assert hello.reset
        assert {"domains/shop.example", "routes/r", "certificates/shop.example"} <= held
        client.put("/v1/domains/later.example", json={"on_demand": True}).raise_for_status()
    with here.start("--local-node", "n1"):
        again, held, _ = _followed(here, identity, revision, hello.store)
        assert not again.reset
        assert held == {"domains/later.example"}


def _followed(here: Controller, identity: feed.Identity, since: int, store: str):
    """Read a feed until everything is there, eager certificates included."""
    held: set[str] = set()
    hello = revision = None
    deadline = time.monotonic() + 60
    path = f"/v1/nodes/{identity.name}/watch?since={since}&store={store}"
    with here.client(token=identity.token) as client, client.stream("GET", path) as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        for line in answer.iter_lines():
            message = feed.read(line.encode())
            assert time.monotonic() < deadline, held
            if isinstance(message, feed.Hello):
                hello = message
            elif isinstance(message, feed.ChangeMessage):
                held |= {f"{p.kind}/{p.name}" for p in message.put}
            elif isinstance(message, feed.Synced):
                revision = message.revision
                if since or "certificates/shop.example" in held:
                    return hello, held, revision
    raise AssertionError("the feed ended")


def test_a_feed_ends_at_once_when_the_controller_is_told_to_end(here):
    """Else each time would be that of connections that do not end by themselves, which is 5 s."""
    assert any(_seconds_to_end_with_a_follower(here) < 3 for _ in range(5))


def _seconds_to_end_with_a_follower(here: Controller) -> float:
    with here.start("--local-node", "n1") as process:
        identity = feed.Identity.model_validate_json((here.state_dir / "node" / "identity.json").read_text())
        with (
            here.client(token=identity.token) as client,
            client.stream("GET", "/v1/nodes/n1/watch") as answer,
        ):
            lines = answer.iter_lines()
            next(lines)
            started = time.monotonic()
            process.send(signal.SIGTERM)
            for _ in lines:
                pass
            assert process.wait() == 0
    return time.monotonic() - started


def test_who_guesses_tokens_is_slowed_down(here):
    with (
        here.start(),
        here.client(token="ew_" + "0" * 12 + "_" + "x" * 43) as guesser,
        here.client() as admin,
    ):
        admin.get("/v1/status").raise_for_status()
        statuses = [guesser.get("/v1/status").status_code for _ in range(15)]
        assert statuses[:10] == [401] * 10
        assert set(statuses[10:]) <= {401, 429}
        throttled = guesser.get("/v1/status")
        assert throttled.status_code == 429
        assert int(throttled.headers["retry-after"]) >= 1
        assert admin.get("/v1/status").status_code == 200


def test_the_apis_certificate_names_every_place_it_is_reached_by(here):
    here.env = {"EDGEWARD_API_NAMES": "controller.example 10.1.2.3"}
    with here.start():
        context = ssl.create_default_context(cafile=str(here.state_dir / "ca" / "root.pem"))
        names = _names(here, context)
        assert ("DNS", "controller.example") in names
        assert ("IP Address", "10.1.2.3") in names
        assert ("IP Address", "127.0.0.1") in names


def _names(here: Controller, context: ssl.SSLContext):
    import socket

    raw = socket.create_connection(("127.0.0.1", here.port), timeout=30)
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
        return tls.getpeercert()["subjectAltName"]


def test_headers_without_end_are_cut_off(here):
    with here.start():
        with _raw(here) as stranger:
            sent = 0
            try:
                stranger.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ")
                while sent < 8 << 20:
                    sent += stranger.send(b"a" * 16384)
                answer = stranger.recv(100)
            except OSError:
                answer = b""
            assert sent < 8 << 20 or b"400" in answer
        with here.client() as client:
            large = client.get("/healthz", headers={"x-large": "a" * 40_000})
            assert large.status_code == 200
            assert client.put("/v1/domains/a.example", content=b" " * 300_000 + b"{}").status_code == 201


@pytest.mark.slow
def test_half_a_request_does_not_hold_a_connection_for_ever(here):
    with here.start(), _raw(here) as stranger:
        stranger.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        stranger.settimeout(30)
        started = time.monotonic()
        with suppress(OSError):
            assert stranger.recv(100) == b""
        assert 10 < time.monotonic() - started < 29


def _raw(here: Controller) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(here.state_dir / "ca" / "root.pem"))
    raw = socket.create_connection(("127.0.0.1", here.port), timeout=30)
    return context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_two_writers_over_https_and_a_file_never_mix(here):
    """Each of them applies whole documents of its own; what is stored is always one of each, whole."""
    here.declare(EMPTY)
    with here.start(), here.client() as client:

        def write(source: str) -> None:
            with here.client() as mine:
                for round_ in range(10):
                    names = [{"name": f"{source}{round_}-{i}.example"} for i in range(5)]
                    body = {"source": f"file:{source}", "document": {"version": 1, "domains": names}}
                    assert mine.post("/v1/apply", json=body).status_code == 200

        writers = [threading.Thread(target=write, args=(s,)) for s in ("a", "b")]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            _assert_whole(domains(client))
        assert len(domains(client)) == 10


def _assert_whole(names: list[str]) -> None:
    groups: dict[str, int] = {}
    for name in names:
        groups[name.partition("-")[0]] = groups.get(name.partition("-")[0], 0) + 1
    assert set(groups.values()) <= {5}, groups
    assert len({group[0] for group in groups}) == len(groups), groups


# --- killed ---------------------------------------------------------------------------------


def document(generation: int, size: int = 300) -> dict:
    on_demand = bool(generation % 2)
    names = [{"name": f"d{(generation * 7 + i) % 400}.example", "on_demand": on_demand} for i in range(size)]
    return {"version": 1, "domains": names}


def test_killed_in_the_midst_of_an_apply_it_is_all_or_nothing_and_what_was_answered_stays(here):
    here.declare(EMPTY)
    chance = random.Random(3)
    with here.start(), here.client() as client:
        client.post("/v1/apply", json={"source": "file:x", "document": document(0)}).raise_for_status()
    possible = [0]  # the last acknowledged, and all that a kill has left in doubt since
    for attempt in range(1, 7):
        with here.start() as process, here.client() as client:
            _assert_one_of(here, possible)
            timer = threading.Timer(chance.uniform(0.05, 0.6), os.kill, (process.pid, signal.SIGKILL))
            timer.start()
            generation = attempt * 1000
            try:
                while True:
                    possible.append(generation)
                    body = {"source": "file:x", "document": document(generation)}
                    client.post("/v1/apply", json=body).raise_for_status()
                    possible = [generation]
                    generation += 1
            except httpx.TransportError:
                process.wait()
            timer.join()
    _assert_one_of(here, possible)


@pytest.mark.slow
def test_killed_at_exact_syncs_it_is_all_or_nothing(here, needs):
    strace = needs("strace")
    here.declare(EMPTY)
    with here.start(), here.client() as client:
        body = {"source": "file:x", "document": document(0)}
        client.post("/v1/apply", json=body).raise_for_status()
    for when in (2, 4, 7):
        killing = ("-e", f"inject=fdatasync,fsync:signal=KILL:when={when}")
        wrapper = (strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", *killing)
        possible = [0]
        with here.start(wrapper=wrapper, ready=False) as process:
            until(lambda: here.answers() or not process.alive(), 30)
            try:
                with here.client() as client:
                    for generation in range(1, 200):  # far more syncs than it is let live for
                        possible.append(generation)
                        body = {"source": "file:x", "document": document(generation)}
                        client.post("/v1/apply", json=body).raise_for_status()
                        possible = [generation]
            except (httpx.TransportError, AssertionError):
                pass
            process.wait(30)
        _assert_one_of(here, possible)
        with here.start(), here.client() as client:
            body = {"source": "file:x", "document": document(0)}
            client.post("/v1/apply", json=body).raise_for_status()


def _assert_one_of(here: Controller, generations: list[int]) -> None:
    """What is stored is exactly one document: the last acknowledged, or one under way when it was killed."""
    database = here.state_dir / "edgeward.db"
    with sqlite3.connect(database) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = raw.execute("SELECT name, value, revision FROM objects WHERE kind='domains'").fetchall()
        (revision,) = raw.execute("SELECT revision FROM counter").fetchone()
        (latest,) = raw.execute("SELECT max(revision) FROM audit").fetchone()
        shared = raw.execute(
            "SELECT count(*) FROM objects o JOIN tombstones t USING (kind, project, name)"
        ).fetchone()
    stored = {name: bool(json.loads(value).get("on_demand", False)) for name, value, _ in rows}
    assert stored in [{d["name"]: d["on_demand"] for d in document(g)["domains"]} for g in generations]
    assert max(r for _, _, r in rows) <= revision
    assert latest <= revision
    assert shared == (0,)


def test_a_large_apply_tells_how_far_it_is_and_its_changes_in_parts(here):
    names = [f"n{i}.example" for i in range(2500)]
    body = {
        "source": "api",
        "document": {"version": 1, "domains": [{"name": n, "on_demand": True} for n in names]},
    }
    lines = {"Accept": "application/x-ndjson"}
    with here.start(), here.client() as client:
        with client.stream("POST", "/v1/apply", json=body, headers=lines) as answer:
            told = [json.loads(line) for line in answer.iter_lines()]
        steps = [line["progress"] for line in told if "progress" in line]
        assert list(dict.fromkeys(s["step"] for s in steps)) == [
            "reading",
            "comparing",
            "checking",
            "writing",
        ]
        assert steps[-1] == {"step": "writing", "done": 2500, "of": 2500}
        changed = [change["name"] for line in told for change in line.get("changes", ())]
        assert changed == names
        assert list(told[-1]["applied"]) == ["revision"]

        body["document"]["domains"][7] = {"name": "_"}
        with client.stream("POST", "/v1/apply", json=body, headers=lines) as answer:
            told = [json.loads(line) for line in answer.iter_lines()]
        assert told[-1]["problem"]["status"] == 422
        assert told[-1]["problem"]["errors"][0]["field"] == "domains[7].name"
        assert "applied" not in told[-1]


def test_who_leaves_during_an_apply_has_changed_all_or_nothing(here):
    document = {"version": 1, "domains": [{"name": f"n{i}.example", "on_demand": True} for i in range(5000)]}
    with here.start(), here.client() as client:
        for reads in (1, 2, 3, 4, 5):
            body = {"source": f"file:{reads}", "document": document, "take_over": True}
            with client.stream(
                "POST", "/v1/apply", json=body, headers={"Accept": "application/x-ndjson"}
            ) as answer:
                for _, _line in zip(range(reads), answer.iter_lines(), strict=False):
                    pass
            time.sleep(0.3)
            count = client.get("/v1/status").json()["objects"]["domains"]
            assert count in (2, 5002), f"after {reads} lines"


def test_every_figure_stands_in_the_reference(state_dir):
    import re

    from docs.generate_reference import REFERENCE

    controller = Controller(state_dir)
    controller.declare()
    with controller.start(), controller.client() as client:
        client.get("/v1/status")
        said = client.get("/metrics").text
    listed = set(re.findall(r"`(edgeward_\w+)", (REFERENCE / "metrics.md").read_text()))
    told = {line.split()[2] for line in said.splitlines() if line.startswith("# TYPE")}

    assert {name for name in told if not name.endswith("_created")} <= listed
