"""The facade, the Redis and the flushes for OpenResty fleets, over real programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis
from cryptography import x509

from tests.integration.controller_setup import Controller
from tests.integration.openresty_rig import PASSWORD, SECRET, USER, Rig, names_of
from tests.integration.processes import Process, until

NEW = "new.c.example"
FLUSHES = "/.peter_sslers/nginx/shared_cache"


@pytest.fixture
def rig(tmp_path, state_dir) -> Rig:
    return Rig(tmp_path, Controller(state_dir / "state"))


@dataclass
class Served:
    rig: Rig
    process: Process

    def issued(self, name: str) -> int:
        lines = self.process.output().splitlines()
        return sum('"certificate issued"' in line and f'"{name}"' in line for line in lines)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    """One controller for the tests of the facade that ask for names of their own."""
    directory = tmp_path_factory.mktemp("facade")
    rig = Rig(directory, Controller(directory / "state"))
    rig.declare()
    with rig.started() as process:
        until(lambda: rig.lookup("shop.example").status_code == 200, what="the eager certificate")
        yield Served(rig, process)


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(data)
        sock.settimeout(30)
        found = b""
        while part := sock.recv(65536):
            found += part
        return found


def item_of(answer: httpx.Response) -> dict[str, dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return answer.json()["certificate_signed__latest_multi"]


# --- the facade -----------------------------------------------------------------------------------


def test_the_two_requests_are_answered_as_the_client_needs_it(served):
    rig = served.rig

    own, wild, nobody = (rig.lookup(n) for n in ("shop.example", "any.wild.example", "nobody.test"))
    before, made, after = (
        ask(n) for ask, n in ((rig.lookup, NEW), (rig.autocert, NEW), (rig.lookup, NEW.upper()))
    )
    refused = rig.autocert("nobody.test")

    for answer in (own, wild, nobody, before, made, after, refused):
        assert answer.headers["connection"] == "close"
        assert isinstance(answer.json(), dict)
    assert [a.status_code for a in (nobody, before, refused)] == [404, 404, 404]
    for answer, name in ((own, "shop.example"), (wild, "*.wild.example"), (made, NEW)):
        chain = x509.load_pem_x509_certificates(item_of(answer)["fullchain"]["pem"].encode())
        assert names_of(chain[0]) == [name]
        assert len(chain) == 2
    assert item_of(made) == item_of(after)
    assert served.issued(NEW) == 1
    assert "PRIVATE KEY" not in served.process.output()
    assert SECRET not in served.process.output()


def test_four_handshakes_at_once_make_one_order(served):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: served.rig.autocert("four.c.example"), range(4)))

    assert len({item_of(a)["private_key"]["pem"] for a in answers}) == 1
    assert served.issued("four.c.example") == 1


def test_a_request_that_a_name_with_line_ends_split_in_two_carries_out_neither(served):
    port = served.rig.facade
    second = f"POST /{SECRET}/api/domain/autocert.json?openresty=1 HTTP/1.1"
    body = "domain_name=hidden.c.example"
    hidden = f"{second}\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    names = (
        f"shop.example/config.json?openresty=1 HTTP/1.1\r\nHost: x\r\n\r\n{hidden}",
        f"a.example\r\n\r\n{hidden}",
        f"a.example HTTP/1.1\r\nHost: x\r\n\r\n{hidden}",
    )
    for name in names:
        request = f"GET /{SECRET}/domain/{name}/config.json?openresty=1 HTTP/1.1\r\nHost: y\r\n\r\n"

        answers = raw(port, request.encode())

        assert answers.count(b"HTTP/1.1 ") == 1
    assert served.rig.lookup("hidden.c.example").status_code == 404
    assert served.issued("hidden.c.example") == 0


def test_the_hidden_request_would_be_carried_out_if_it_came_alone(served):
    """Else the test above could not fail."""
    assert served.rig.autocert("alone.c.example").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthz",
        "/v1/status",
        "/openapi.json",
        f"/{SECRET}/v1/certificates",
        "/wrong-secret-0000/domain/shop.example/config.json?openresty=1",
        f"/{SECRET}/domain/a%0d%0ab.example/config.json?openresty=1",
        f"/{SECRET}/domain/a%00.example/config.json?openresty=1",
        f"/{SECRET}/domain/{'a' * 254}/config.json?openresty=1",
    ],
)
def test_there_is_nothing_else_on_the_listener(served, path):
    answers = raw(served.rig.facade, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert 400 <= int(answers.split()[1]) < 500
    assert isinstance(json.loads(answers.partition(b"\r\n\r\n")[2]), dict)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"domain_name=",
        b"domain_name=a\r\nb.example",
        b"domain_name=a.example&x=y",
        b"domain_name=" + b"a" * 600,
    ],
)
def test_a_body_that_is_no_name_is_an_error_of_the_asker(served, body):
    head = f"POST /{SECRET}/api/domain/autocert.json?openresty=1 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"

    answers = raw(served.rig.facade, head.encode() + b"\r\n\r\n" + body)

    assert 400 <= int(answers.split()[1]) < 500


def test_secrets_are_never_shown_and_what_would_hurt_is_refused_with_the_remedy(served):
    with served.rig.controller.client() as client:
        shown = (
            client.get("/v1/openresty").text + client.get("/v1/export").text + client.get("/v1/audit").text
        )
        assert "openresty" in shown
        assert SECRET not in shown

        document = f'version: 1\nopenresty: {{secret: {SECRET}, redis: {{url: "redis://127.0.0.1"}}}}\n'
        answer = client.post("/v1/apply", json={"source": "file:x", "document": document, "dry_run": True})

    assert answer.status_code == 422
    assert "PLAIN TEXT" in answer.text
    assert "plain_keys: true" in answer.text


def test_it_is_off_until_it_is_declared_and_goes_with_its_declaration(rig):
    rig.controller.declare("version: 1\ndomains: [{name: shop.example}]\n")
    with rig.controller.start(), rig.controller.client() as client:
        assert client.get("/v1/status").json()["openresty"] is None
        assert not rig.listens()

        rig.declare()
        until(rig.listens, what="the facade")
        rig.controller.declare("version: 1\ndomains: [{name: shop.example}]\n")

        until(lambda: not rig.listens() and client.get("/v1/status").json()["openresty"] is None)


# --- Redis ----------------------------------------------------------------------------------------


class Reader:
    """Reads as the client does."""

    def __init__(self, port: int) -> None:
        self.redis = redis.Redis(port=port, db=9, decode_responses=True)

    def type_1(self, name: str) -> tuple[str, str] | None:
        c, p, i = self.redis.hmget(f"d1:{name}", "c", "p", "i")
        found = self.redis.get(f"p:{p}"), self.redis.get(f"c:{c}"), self.redis.get(f"i:{i}")
        return None if None in found else (f"{found[1]}\n{found[2]}", found[0])

    def type_2(self, name: str) -> tuple[str, str] | None:
        p, f = self.redis.hmget(f"d2:{name}", "p", "f")
        return None if None in (p, f) else (f, p)

    def has(self, name: str) -> bool:
        return self.type_1(name) is not None and self.type_1(name) == self.type_2(name)


def test_redis_follows_every_change_and_is_primed_anew_after_it_was_lost(rig, needs):
    program = needs("redis-server")
    rig.declare(redis=True)
    reader = Reader(rig.redis)
    with rig.started_redis(program) as _, rig.started() as controller:
        until(lambda: reader.has("shop.example"), what="the eager certificate in Redis")
        item = item_of(rig.autocert("one.c.example"))
        until(lambda: reader.has("one.c.example"), what="the new certificate in Redis")
        assert reader.type_1("one.c.example") == (item["fullchain"]["pem"], item["private_key"]["pem"])
        assert all(reader.redis.ttl(k) > 0 for k in reader.redis.keys("[cpid]*:*"))
        assert "PRIVATE KEYS are written to this redis in plain text" in controller.output()

        reader.redis.flushall()
        until(lambda: reader.has("shop.example") and reader.has("one.c.example"), what="a full prime")
        until(lambda: rig.status()["redis"]["full_primes"] == 2, what="its end")

        rig.withhold("one.c.example")
        until(
            lambda: reader.type_1("one.c.example") is reader.type_2("one.c.example") is None, what="its end"
        )
        assert rig.lookup("one.c.example").status_code == rig.autocert("one.c.example").status_code == 404
        rig.withhold()
        until(lambda: reader.has("one.c.example"), what="its return")

        rig.controller.declare(re.sub(r"  - \{name: shop.example\}\n", "", rig.controller.file.read_text()))
        until(lambda: reader.type_1("shop.example") is reader.type_2("shop.example") is None, what="its end")
        assert reader.has("one.c.example")


def test_a_restarted_controller_goes_on_where_redis_is(rig, needs):
    program = needs("redis-server")
    rig.declare(redis=True)
    reader = Reader(rig.redis)
    with rig.started_redis(program):
        with rig.started():
            until(lambda: reader.has("shop.example"))
        reader.redis.delete("d1:shop.example")  # to be seen below that it is not written again
        with rig.started():
            item_of(rig.autocert("two.c.example"))
            until(lambda: reader.has("two.c.example"))

            assert not reader.has("shop.example")
            assert rig.status()["redis"]["full_primes"] == 0


def test_a_redis_that_is_away_is_told_of_and_everything_else_goes_on(rig, needs):
    program = needs("redis-server")
    rig.declare(redis=True)
    reader = Reader(rig.redis)
    with rig.started():
        until(lambda: rig.redis_is("failing"), what="the trouble in the status")
        item_of(rig.autocert("three.c.example"))
        with rig.started_redis(program):
            until(lambda: reader.has("three.c.example"), what="the prime")
            until(lambda: rig.redis_is("primed"))
        until(lambda: "redis_primed" in rig.told(), what="the event")
        assert "redis_failing" in rig.told()


@pytest.mark.slow
def test_a_full_and_a_paused_redis_delay_neither_certificates_nor_flushes(rig, needs, nginx):
    program = needs("redis-server")
    rig.declare(redis=True, gateway=True)
    reader = Reader(rig.redis)
    with rig.started_redis(program) as server, rig.started_nginx(nginx, use=rig.handshake()), rig.started():
        until(lambda: reader.has("shop.example") and rig.gateway_is("flushed"))

        reader.redis.config_set("maxmemory", "1mb")
        item_of(rig.autocert("full.c.example"))
        until(lambda: rig.redis_is("failing"), what="that it is full")
        assert "maxmemory" in rig.status()["redis"]["reason"]
        reader.redis.config_set("maxmemory", "0")
        until(lambda: reader.has("full.c.example"), what="the prime once there is room")
        until(lambda: rig.redis_is("primed"))

        server.send(signal.SIGSTOP)
        flushes = rig.status()["gateways"][0]["flushes"]
        item_of(rig.autocert("paused.c.example"))
        until(lambda: rig.redis_is("failing"), 30, what="that it does not answer")
        until(lambda: rig.status()["gateways"][0]["flushes"] > flushes, 30, what="the flush all the same")
        server.send(signal.SIGCONT)
        until(lambda: reader.has("paused.c.example"), what="the prime once it answers")


# --- gateways -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (None, 2))])
def test_nginx_serves_our_certificates_and_forgets_them_when_they_change(rig, needs, nginx, strategy):
    program = needs("redis-server")
    rig.declare(redis=True, gateway=True)
    handshake = rig.handshake(strategy)
    with rig.started_redis(program), rig.started_nginx(nginx, use=handshake) as gateway:
        assert names_of(rig.visit("shop.example")) == ["default.invalid"]  # kept as a failure for 600 s
        with rig.started():
            until(lambda: rig.trusted("shop.example"), 40, what="the flush at our start")
            assert rig.trusted("any.wild.example")
            assert rig.trusted("new.c.example")
            assert names_of(rig.visit("nobody.test")) == ["default.invalid"]

            rig.declare(redis=True, gateway=True, domains="  - {name: nobody.test}\n")

            until(lambda: rig.trusted("nobody.test"), 40, what="the flush after a change")
            shown = rig.status()["gateways"][0]
            assert (shown["state"], shown["failures"]) == ("flushed", 0)
        assert "lua entry thread aborted" not in gateway.output()


def test_a_gateway_that_fails_is_tried_again_and_told_of(rig, nginx):
    rig.declare(gateway=True)
    with rig.started():
        until(lambda: rig.gateway_is("failing"))
        with rig.started_nginx(nginx, use=rig.handshake()):
            until(lambda: rig.gateway_is("flushed"))
            until(lambda: "gateway_well" in rig.told(), what="the event")
            told = rig.told()
            with rig.controller.client() as client:
                figures = client.get("/metrics").text
        assert "gateway_failing" in told
        assert f'edgeward_openresty_gateway_well{{gateway="http://127.0.0.1:{rig.gateway}"}} 1.0' in figures
        assert PASSWORD not in told + figures


def test_our_gateway_asks_for_its_password(rig, nginx):
    """Else the test above would prove nothing of ours."""
    with rig.started_nginx(nginx, use=rig.handshake()):
        url = f"http://127.0.0.1:{rig.gateway}{FLUSHES}"
        assert httpx.get(f"{url}/expire/all", trust_env=False).status_code == 401
        assert (
            httpx.get(f"{url}/status", auth=(USER, PASSWORD), trust_env=False).json()["keys"]["valid"] == []
        )


@pytest.mark.slow
def test_of_two_controllers_one_writes_redis_and_flushes_and_the_other_takes_over(
    tmp_path, needs, nginx, postgres_url
):
    program = needs("redis-server")
    first = Rig(tmp_path, Controller(tmp_path / "one", env={"EDGEWARD_DATABASE": postgres_url}))
    second = Rig(tmp_path, Controller(tmp_path / "two", env=first.controller.env), redis=first.redis)
    second.gateway, second.visitors, second.facade = first.gateway, first.visitors, first.facade
    first.declare(redis=True, gateway=True)
    reader = Reader(first.redis)
    with (
        first.started_redis(program),
        first.started_nginx(nginx, use=second.handshake(1)),
        first.started() as one,
    ):
        until(lambda: reader.has("shop.example"))
        second.controller.state_dir.mkdir(mode=0o700)
        for name in ("seal.key", "admin.token"):
            shutil.copy(first.controller.state_dir / name, second.controller.state_dir)
        with second.controller.start():  # without a file of its own: what is declared is in the database
            held = [rig.controller.state_dir.name for rig in (first, second) if rig.here()]
            assert held == ["one"]
            assert "in use" in second.status()["problem"]  # both on one host, which no fleet would have

            one.send(signal.SIGKILL)
            until(second.here, timeout=40, what="the lease in other hands")
            until(second.listens, timeout=20, what="the facade, now that its address is free")
            reader.redis.flushall()
            until(lambda: reader.has("shop.example"), what="a prime by the other one")


@pytest.mark.slow
@pytest.mark.skipif("EDGEWARD_LUA_CLIENT" not in os.environ, reason="EDGEWARD_LUA_CLIENT names no directory")
@pytest.mark.parametrize("strategy", [None, 1, 2])
def test_the_client_itself_serves_our_certificates(rig, needs, nginx, strategy):
    """``EDGEWARD_LUA_CLIENT`` holds resty/: peter_sslers.lua 0.5.0, lua-resty-http, -redis and -string."""
    program = needs("redis-server")
    rig.declare(redis=True, gateway=True)
    handshake = f"""
        local client = require "resty.peter_sslers"
        client.redis_update_defaults("127.0.0.1", {rig.redis}, 9)
        client.set_ssl_certificate({strategy or "nil"}, "http://127.0.0.1:{rig.facade}/{SECRET}", 1)"""
    lua = Path(os.environ["EDGEWARD_LUA_CLIENT"])
    with rig.started_redis(program), rig.started_nginx(nginx, use=handshake, lua=lua) as gateway:
        assert names_of(rig.visit("shop.example")) == ["default.invalid"]
        with rig.started():
            until(lambda: rig.trusted("shop.example"), 40, what="the flush at our start")
            assert rig.trusted("any.wild.example")
            assert rig.trusted("new.c.example")
            assert names_of(rig.visit("nobody.test")) == ["default.invalid"]
        assert "lua entry thread aborted" not in gateway.output()
