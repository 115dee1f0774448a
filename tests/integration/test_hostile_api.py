"""The API under people who mean harm: strangers without a token, tenants who want more than their project."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.integration.controller_setup import Controller
from tests.integration.processes import Process

_STATE = """version: 1
domains:
  - {name: shop.example}
  - {name: "*.c.example", on_demand: true}
services:
  - {name: shop, backends: ["http://secret-backend.example"]}
routes:
  - {name: r, hosts: [shop.example, "*.c.example"], service: shop}
"""


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Controller, Process]]:
    here = Controller(tmp_path_factory.mktemp("hostile") / "state")
    here.state_dir.mkdir(mode=0o700)
    here.declare(_STATE)
    with here.start() as process:
        yield here, process
        assert process.alive()


@pytest.fixture
def here(controller: tuple[Controller, Process]) -> Controller:
    return controller[0]


@pytest.fixture
def pid(controller: tuple[Controller, Process]) -> int:
    return controller[1].pid


def token(here: Controller, name: str, role: str, project: str) -> str:
    with here.client() as admin:
        admin.delete(f"/v1/tokens/{name}")
        made = admin.post("/v1/tokens", json={"name": name, "role": role, "project": project})
        return str(made.raise_for_status().json()["token"])


def raw(here: Controller) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(here.state_dir / "ca" / "root.pem"))
    plain = socket.create_connection(("127.0.0.1", here.port), timeout=30)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def elsewhere(here: Controller) -> httpx.HTTPTransport:
    """Give the way of a visitor from another address."""
    context = ssl.create_default_context(cafile=str(here.state_dir / "ca" / "root.pem"))
    return httpx.HTTPTransport(verify=context, local_address="127.0.0.2")


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def everything(connection: socket.socket, seconds: float) -> tuple[bytes, bool]:
    """Give what comes until the other side ends (True) or the time is over (False)."""
    data, deadline = b"", time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            more = connection.recv(65536)
            if not more:
                return data, True
            data += more
    except TimeoutError:
        return data, False
    except OSError:
        return data, True
    return data, False


# --- strangers --------------------------------------------------------------------------------


def test_trailers_without_end_cost_a_stranger_the_connection_and_us_no_memory(
    here: Controller, pid: int
) -> None:
    trailers = b"".join(b"X-%d: yyyyyyyyyy\r\n" % i for i in range(1000))
    before, sent = resident_mb(pid), 0
    with raw(here) as stranger:
        stranger.sendall(b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert stranger.recv(100).startswith(b"HTTP/1.1 401")
        stranger.sendall(b"5\r\nhello\r\n0\r\n")
        started = time.monotonic()
        try:
            while sent < 500 << 20 and time.monotonic() - started < 60:
                stranger.sendall(trailers)
                sent += len(trailers)
                if sent > 20 << 20:
                    time.sleep(0.1)
            ended = False
        except OSError:
            ended = True

    assert ended
    assert resident_mb(pid) < before + 15


def test_trailers_are_not_taken_for_headers_and_harm_no_honest_request(here: Controller) -> None:
    admin = (here.state_dir / "admin.token").read_text().strip()
    head = f"PUT /v1/domains/t.example HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n"
    with raw(here) as client:
        client.sendall(
            head.encode() + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nIf-Match: "
            b'"999"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
        )
        answers, ended = everything(client, 60)

    assert answers.count(b"HTTP/1.1 20") == 2 and ended


def test_the_rest_of_a_body_nobody_reads_is_not_waited_for(here: Controller) -> None:
    with raw(here) as stranger:
        stranger.sendall(b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert stranger.recv(100).startswith(b"HTTP/1.1 401")
        started = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - started < 60:
                stranger.sendall(b"x")
                time.sleep(0.2)


@pytest.mark.parametrize(
    "request_text",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"Content-Length: +5\r\n\r\nhello",
        b"Transfer-Encoding: xchunked\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"No-Colon\r\n\r\n",
        b"Space : x\r\n\r\n",
        b"Nul: a\0b\r\n\r\n",
        b"Bare: a\rb: c\r\n\r\n",
    ],
)
def test_ambiguous_requests_are_refused_once_and_end_the_connection(
    here: Controller, request_text: bytes
) -> None:
    with raw(here) as stranger:
        stranger.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\n" + request_text)
        answer, ended = everything(stranger, 5)

    assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1 ") == 1
    assert ended


def test_only_probes_the_roots_and_the_schema_are_for_strangers(here: Controller) -> None:
    with here.client(token=None) as stranger:
        paths = stranger.get("/openapi.json").json()["paths"]
        open_to_all = {
            (method, path)
            for path, methods in paths.items()
            for method in methods
            if stranger.request(method, path.replace("{name}", "x").replace("{id_or_name}", "x")).status_code
            != 401
        }

    assert open_to_all == {("get", "/healthz"), ("get", "/readyz"), ("get", "/v1/ca/root")}


def test_who_takes_every_connection_keeps_nobody_else_out(here: Controller) -> None:
    held: list[ssl.SSLSocket] = []
    try:
        with suppress(OSError):
            for _ in range(540):
                held.append(raw(here))
        with here.client(token=None, transport=elsewhere(here)) as other:
            assert other.get("/healthz").status_code == 200
        alive = 0
        for connection in held:
            with suppress(OSError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                alive += connection.recv(100).startswith(b"HTTP/1.1 200")
        assert 400 < alive <= 500
    finally:
        for connection in held:
            connection.close()


def test_a_token_waits_so_often_at_once_and_no_more(here: Controller) -> None:
    viewer = {"authorization": f"Bearer {token(here, 'waiting', 'viewer', 'a')}"}

    async def waited() -> list[int]:
        context = ssl.create_default_context(cafile=str(here.state_dir / "ca" / "root.pem"))
        limits = httpx.Limits(max_connections=70)
        async with httpx.AsyncClient(
            base_url=here.url, verify=context, headers=viewer, trust_env=False, limits=limits, timeout=30
        ) as client:
            ask = [client.get("/v1/wait", params={"revision": 10**9, "timeout": 3}) for _ in range(60)]
            return [answer.status_code for answer in await asyncio.gather(*ask)]

    statuses = asyncio.run(waited())
    assert (statuses.count(200), statuses.count(503)) == (50, 10)
    with here.client() as admin:
        assert admin.get("/v1/wait", params={"revision": 0, "timeout": 0}).status_code == 200


# --- what is sent -----------------------------------------------------------------------------


def _billion() -> str:
    levels = "".join(f"l{i}: &l{i} [{','.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 10))
    return f"version: 1\nl0: &l0 [x,x]\n{levels}"


@pytest.mark.parametrize(
    "document",
    [
        _billion(),
        "version: 1\ndomains: " + "[" * 5000,
        "version: 1\n? [a]\n: b\n",
        'version: 1\ndomains: [!!python/object/apply:os.system ["id"]]\n',
        "a: &a [*a]\n",
        "version: " + "9" * 90_000,
        {"version": 1, "services": [{"name": "s", "backends": [{"url": {"file": "/etc/passwd"}}]}]},
        {
            "version": 1,
            "services": [
                {
                    "name": "s",
                    "backends": [{"url": "https://b.example", "tls": {"ca": {"file": "/etc/passwd"}}}],
                }
            ],
        },
        {
            "version": 1,
            "services": [
                {"name": "s", "backends": [{"url": "https://b.example", "tls": {"ca": {"env": "PATH"}}}]}
            ],
        },
    ],
    ids=str,
)
def test_documents_made_to_hurt_are_refused_quickly_and_read_nothing_of_the_host(
    here: Controller, document: object
) -> None:
    with here.client() as admin:
        started = time.monotonic()
        answer = admin.post("/v1/apply", json={"source": "file:evil", "document": document})

    assert answer.status_code == 422
    assert time.monotonic() - started < 20
    assert "root:" not in answer.text and "/usr/bin" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b'{"document":{"version":1,"domains":[' + b"[]," * 10_000_000 + b"[]]}}",
        b'{"document":{"version":1,"domains":[' + b"[]," * 2_000_000 + b"[]]}}",
        b'{"document":"' + b"a: b\\n" * 1_000_000 + b'"}',
    ],
    ids=["ten million lists", "two million lists", "a million keys"],
)
def test_a_tenants_document_costs_neither_memory_nor_minutes(here: Controller, pid: int, body: bytes) -> None:
    before, started = resident_mb(pid), time.monotonic()
    with here.client(token(here, "greedy", "operator", "a")) as operator:
        answer = operator.post("/v1/apply", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    assert time.monotonic() - started < 60
    assert resident_mb(pid) < before + 400


def test_bodies_made_to_hurt_are_refused(here: Controller) -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    bomb = gzip.compress(b" " * 50_000_000 + b"{}")
    with here.client() as admin:
        statuses = [
            admin.put("/v1/domains/d.example", content=deep).status_code,
            admin.put(
                "/v1/domains/d.example", content=bomb, headers={"content-encoding": "gzip"}
            ).status_code,
            admin.put("/v1/domains/d.example", content=b" " * (9 << 20)).status_code,
            admin.put("/v1/domains/d.example", content=b'{"project":"a","project":"b"}').status_code,
            admin.put("/v1/domains/d.example", content=b"NaN").status_code,
        ]
        assert statuses == [422, 422, 413, 422, 422]
        assert admin.get("/v1/domains/d.example").status_code == 404


@pytest.mark.parametrize("name", ["\x9b31m", "a\u202eb", "\u2028x", "\u200bx", "a\tb", "a\nb"])
def test_no_source_steers_the_terminals_it_is_shown_on(here: Controller, name: str) -> None:
    body = {"source": f"file:{name}", "document": {"version": 1}}
    with here.client() as admin:
        assert admin.post("/v1/apply", json=body).status_code == 422
        assert admin.post("/v1/apply", json={**body, "source": "file:ä.yaml"}).status_code == 200


# --- tenants ----------------------------------------------------------------------------------

_LOCAL = [
    "http://127.0.0.1", "http://127.0.0.1.", "http://[::1]", "http://[::ffff:127.0.0.1]", "http://0.0.0.0", "http://[::]",
    "http://169.254.169.254", "http://[fe80::1]", "http://[fe80::1%25lo]", "http://2130706433", "http://017700000001", "http://0177.0.0.1",
    "http://127.1", "http://0x7f.1", "http://①②⑦.0.0.1", "http://127。0。0。1", "http://x@127.0.0.1", "http:127.0.0.1",
    "http:///127.0.0.1", "http://127.0.0.1%00.example", "unix:/run/x", "UNIX:/run/x", "unix:///run/x", "h2c://127.0.0.1:2443",
    "grpc://[::1]:2443", "http://10.0.0.1", "http://127.0.0.1:80#@b.example", "http://b.example\\@127.0.0.1", "http://127.0.0.1\t",
]  # fmt: skip


@pytest.mark.parametrize("url", _LOCAL)
def test_an_operator_says_no_place_past_a_name(here: Controller, url: str) -> None:
    with here.client(token(here, "op-a", "operator", "a")) as operator:
        for body in ({"backends": [url]}, {"backends": ["http://b.example", {"url": url}]}):
            assert operator.put("/v1/services/s", json=body).status_code in (403, 422)
        document = {"version": 1, "services": [{"name": "s", "project": "a", "backends": [url]}]}
        assert operator.post("/v1/apply", json={"document": document}).status_code in (403, 422)
        assert operator.put("/v1/services/ok", json={"backends": ["http://b.example"]}).status_code < 300


def test_a_tenant_neither_sees_nor_touches_what_is_another_projects(here: Controller) -> None:
    with here.client() as admin:
        assert admin.get("/v1/certificates/shop.example").status_code == 200
        before = admin.get("/v1/export").json()
    with here.client(token(here, "admin-b", "admin", "b")) as tenant:
        reads = [
            "/v1/domains/shop.example", "/v1/domains/shop.example?project=default", "/v1/services/shop?project=default", "/v1/routes/r?project=default",
            "/v1/certificates/shop.example", "/v1/certificates?project=default", "/v1/export?project=default", "/v1/audit?project=default",
            "/v1/history?project=default", "/v1/history/1", "/v1/history/1/routes/r?project=default", "/v1/events?follow=false&project=default",
            "/v1/listen", "/v1/cache", "/v1/services?project=default", "/v1/domains?project=%2A",
        ]  # fmt: skip
        assert {path: tenant.get(path).status_code for path in reads} == dict.fromkeys(reads, 404)
        writes = [
            ("PUT", "/v1/domains/shop.example?project=default&take_over=true", {}, 404),
            ("PUT", "/v1/domains/shop.example?take_over=true", {}, 409),
            ("PUT", "/v1/domains/x.c.example", {}, 409),
            ("DELETE", "/v1/domains/shop.example?take_over=true", None, 404),
            ("DELETE", "/v1/services/shop?project=default&take_over=true", None, 404),
            ("PUT", "/v1/routes/steal", {"hosts": ["shop.example"], "redirect": {"host": "evil.example"}}, 422),
            ("PUT", "/v1/routes/steal", {"hosts": ["x.c.example"], "redirect": {"host": "evil.example"}}, 422),
            ("POST", "/v1/certificates/shop.example/expire", None, 404),
            ("POST", "/v1/certificates/expire", None, 403),
            ("POST", "/v1/certificates/shop.example/obtain", None, 403),
            ("POST", "/v1/tokens", {"name": "more", "role": "admin", "project": "*"}, 403),
            ("POST", "/v1/tokens", {"name": "more", "role": "viewer", "project": "default"}, 404),
            ("POST", "/v1/tokens", {"name": "more", "role": "node", "project": "*"}, 403),
            ("DELETE", "/v1/nodes/n", None, 403),
            ("PUT", "/v1/listen", {}, 403),
            ("GET", "/metrics", None, 403),
        ]  # fmt: skip
        for method, path, body, status in writes:
            answer = tenant.request(method, path, json=body)
            assert answer.status_code == status, (method, path, answer.text)
            assert "secret-backend" not in answer.text
        for source in ("api", "openstack", f"file:{here.file.name}"):
            for keep in (True, False):
                body = {"source": source, "take_over": True, "keep": keep, "document": {"version": 1}}
                assert tenant.post("/v1/apply", json=body).json()["changes"] == []
        seen = "".join(
            tenant.get(path).text
            for path in (
                *("/v1/export", "/v1/audit", "/v1/status", "/v1/tokens", "/v1/explain/shop.example"),
                *("/v1/history", "/v1/export?revision=1", "/v1/events?follow=false&after=0"),
            )
        )
        assert "secret-backend" not in seen and "routes/default" not in seen
        assert tenant.get("/v1/status").json()["objects"].get("domains", 0) == 0
        explained = tenant.get("/v1/explain/shop.example").json()
        assert not explained["domain"] and not explained["certificate"] and not explained["route"]
    with here.client() as admin:
        assert admin.get("/v1/export").json() == before


def test_node_tokens_open_that_nodes_routes_only(here: Controller) -> None:
    with here.client(token(here, "join", "node", "*")) as joiner:
        first = joiner.post("/v1/nodes/join", json={"name": "n1"}).json()["token"]
        other = joiner.post("/v1/nodes/join", json={"name": "n2"}).json()["token"]
        again = joiner.post("/v1/nodes/join", json={"name": "n1"}).json()["token"]
        assert joiner.get("/v1/nodes/n1/watch").status_code == 403
        assert joiner.post("/v1/certificates/a.c.example/obtain").status_code == 403
    answer = {"id": "x", "tier": "none"}
    with here.client(first) as replaced, here.client(other) as two, here.client(again) as one:
        assert replaced.post("/v1/nodes/n1/answers", json=answer).status_code == 401
        assert one.post("/v1/nodes/n1/answers", json=answer).status_code == 204
        for method, path in (
            ("GET", "/v1/nodes/n1/watch"), ("POST", "/v1/nodes/n1/report"), ("POST", "/v1/nodes/n1/answers"), ("POST", "/v1/nodes/join"),
            ("GET", "/v1/export"), ("GET", "/v1/status"), ("GET", "/v1/certificates"), ("GET", "/v1/tokens"), ("GET", "/metrics"),
            ("PUT", "/v1/domains/n.example"), ("DELETE", "/v1/nodes/n1"), ("GET", "/v1/explain/shop.example"),
        ):  # fmt: skip
            assert two.request(method, path, json=answer).status_code == 403, path
        assert two.post("/v1/certificates/a.c.example/obtain").status_code == 200
        assert two.post("/v1/certificates/other.example/obtain").status_code == 404


# --- secrets ----------------------------------------------------------------------------------


def test_what_is_asked_makes_one_log_record_each(controller: tuple[Controller, Process]) -> None:
    here, process = controller
    with here.client() as admin:
        for evil in ("%0a{%22level%22:%22forged%22}", "%1b[2J", "%00", "%c2%9b31m", "%e2%80%a8"):
            admin.delete(f"/v1/domains/{evil}")
    lines = process.output().splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(records) == len(lines)
    assert not any(record.get("level") == "forged" for record in records)
    assert all(line.isprintable() for line in lines)


def test_no_secret_leaves_the_places_it_belongs_to(controller: tuple[Controller, Process]) -> None:
    here, process = controller
    tenant = token(here, "canary", "viewer", "a")
    with here.client(token(here, "join2", "node", "*")) as joiner:
        node = joiner.post("/v1/nodes/join", json={"name": "canary"}).json()["token"]
    with here.client(node) as client:
        key = client.post("/v1/certificates/canary.c.example/obtain").json()["key"]
    admin_token = (here.state_dir / "admin.token").read_text().strip()
    seal = (here.state_dir / "seal.key").read_bytes()
    secrets = [s.split("_", 2)[2].encode() for s in (tenant, node, admin_token)]
    secrets += ["".join(key.splitlines()[1:3]).encode()[8:60], key.splitlines()[1].encode()]
    secrets += [seal.strip(), seal.hex().encode()]
    assert all(len(secret) > 20 for secret in secrets)

    places = {"log": process.output().encode()}
    for path in Path(f"/proc/{process.pid}").glob("cmdline"):
        places["cmdline"] = path.read_bytes()
    for path in sorted(here.state_dir.rglob("*")):
        if path.is_file() and path.name not in ("admin.token", "seal.key"):
            places[path.name] = path.read_bytes()
    with here.client() as admin:
        for path in (
            "/metrics", "/v1/export", "/v1/audit?limit=1000", "/v1/history", "/v1/events?follow=false&after=0", "/v1/tokens", "/v1/nodes", "/v1/status", "/openapi.json",
            "/v1/certificates", "/v1/certificates/canary.c.example", "/v1/explain/canary.c.example",
        ):  # fmt: skip
            places[path] = admin.get(path).raise_for_status().content
        places["error"] = admin.post("/v1/tokens", json={"name": tenant, "role": node}).content
        bad = httpx.Request("GET", f"{here.url}/v1/status", headers={"authorization": f"Bearer {node[:-1]}!"})
        places["refusal"] = admin.send(bad).content
    assert b"edgeward" in places["log"] and b"canary" in places["edgeward.db-wal"] + places["edgeward.db"]
    assert [(place, s[:6]) for place, text in places.items() for s in secrets if s in text] == []


def test_the_state_directory_is_for_its_owner_and_no_core_is_written(here: Controller, pid: int) -> None:
    open_to_others = [
        (path.relative_to(here.state_dir), oct(path.stat().st_mode))
        for path in (here.state_dir, *here.state_dir.rglob("*"))
        if path.stat().st_mode & 0o077 and path.name != "root.pem"
    ]
    assert open_to_others == []
    limits = Path(f"/proc/{pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


# The last: from here on this address is slowed down.


def test_log_ins_that_fail_are_bounded_whatever_a_proxy_header_says(here: Controller) -> None:
    admin = (here.state_dir / "admin.token").read_text().strip()
    bad = "ew_" + "0" * 12 + "_" + "x" * 43
    with here.client() as known, here.client(token=bad) as guesser:
        assert known.get("/v1/status").status_code == 200
        headers = [{"x-forwarded-for": f"10.0.0.{i}", "x-real-ip": f"10.0.0.{i}"} for i in range(14)]
        statuses = [guesser.get("/v1/status", headers=h).status_code for h in headers]
        assert statuses[-1] == 429
        for near in (f"{admin}  x", admin.swapcase(), admin[:-1], f"{admin}x", f"{admin},{admin}"):
            sent = known.get("/v1/status", headers={"authorization": f"Bearer {near}"})
            assert sent.status_code in (401, 429)
        assert known.get("/v1/status").status_code == 200
