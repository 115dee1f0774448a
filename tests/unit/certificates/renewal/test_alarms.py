"""Certificates that are not renewed in time are told of: once a day, again where nobody took it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from edgeward.certificates import history, store
from edgeward.certificates.eager import make_missing
from edgeward.certificates.model import Alarms, Domain, Order
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.model import Wish
from edgeward.certificates.renewal import alarms
from edgeward.certificates.renewal.webhook import Webhook
from edgeward.errors import Unavailable
from edgeward.sealing import Sealed
from tests.unit.certificates.issuing import DAY, START, Installation, installation


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        made.declare([Domain(name="a.example"), Domain(name="b.example")])
        await make_missing(made.issuance, list(made.policy.eager()))
        yield made


class Hook:
    def __init__(self) -> None:
        self.status = 204
        self.got: list[tuple[str | None, dict]] = []
        self.url = ""


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            read = self.rfile.read(int(self.headers["content-length"]))
            made.got.append((self.headers.get("authorization"), json.loads(read)))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


async def look(here: Installation, hook: Hook) -> list[str]:
    declared = Alarms(webhook=hook.url, authorization=Sealed.of("Bearer x", here.seal))
    found = await alarms.look(here.issuance, declared, Webhook(here.seal).tell)
    return sorted(one.name for one in found)


async def test_a_late_certificate_is_told_of_at_once_and_then_each_day(here, hook):
    assert await look(here, hook) == []
    here.now = START + 5 * DAY
    assert await look(here, hook) == []
    here.now = START + 5.3 * DAY
    assert await look(here, hook) == ["a.example", "b.example"]
    here.now += DAY / 2
    assert await look(here, hook) == []
    here.now += DAY / 2 + 1
    assert await look(here, hook) == ["a.example", "b.example"]

    authorization, told = hook.got[0]
    assert len(hook.got) == 2
    assert authorization == "Bearer x"
    assert (told["alarm"], told["count"]) == ("certificates_late", 2)
    assert {one["name"] for one in told["certificates"]} == {"a.example", "b.example"}


async def test_a_url_that_is_secret_is_sent_to_and_told_nobody(here, hook):
    here.now = START + 5.3 * DAY
    secret = hook.url.replace("//", "//me:s3cret@") + "/s3cret"
    told = Webhook(here.seal).tell

    await alarms.look(here.issuance, Alarms(webhook=Sealed.of(secret, here.seal)), told)
    assert [authorization for authorization, _ in hook.got] == ["Basic bWU6czNjcmV0"]
    here.now += 2 * DAY
    for url in ("http://127.0.0.1:1/s3cret", "http://h:s3cret/", "s3cret://h/", "http://s3cret:s3cret@h:x/"):
        with pytest.raises(Unavailable) as caught:
            await alarms.look(here.issuance, Alarms(webhook=Sealed.of(url, here.seal)), told)
        assert "s3cret" not in str(caught.value)


async def test_it_says_why_the_certificate_could_not_be_had(here, hook):
    async with here.database.writing() as writing:
        wish = Wish(Order("a.example", "default", "local", 0, queued=True), "renewal")
        await queue.add(writing, [wish], START)
        await queue.fail(writing, "a.example", START + DAY, "local: nobody answers", going_on=False)
    here.now = START + 5.3 * DAY
    await look(here, hook)

    told = {one["name"]: one["problem"] for one in hook.got[0][1]["certificates"]}
    assert told == {"a.example": "local: nobody answers", "b.example": None}
    async with here.database.reading() as connection:
        assert [line.outcome for line in await history.of_name(connection, "a.example", 10)] == [
            "late",
            "issued",
        ]


async def test_what_nobody_took_is_told_again(here, hook):
    hook.status = 500
    here.now = START + 5.3 * DAY
    with pytest.raises(Unavailable, match="500"):
        await look(here, hook)
    hook.status = 200
    assert await look(here, hook) == ["a.example", "b.example"]


async def test_what_somebody_uploaded_is_late_too_and_waits_for_its_successor(here, hook):
    here.declare([Domain(name="*.c.example"), Domain(name="own.example", issuer="uploaded")])
    for name in ("x.c.example", "own.example", "gone.example"):
        made = here.authority.issue(Order(name, "default", "uploaded", 90 * DAY), here.now, 0)
        async with here.database.writing() as writing:
            await store.put(writing, here.seal, [replace(made, source="uploaded")], here.now)
    here.now = START + 86 * DAY

    assert await look(here, hook) == ["own.example", "x.c.example"]
    assert "upload its successor" in hook.got[0][1]["certificates"][0]["problem"]


async def test_what_is_renewed_or_not_wanted_any_more_is_not_late(here, hook):
    here.now = START + 5.3 * DAY
    here.declare([Domain(name="a.example")])
    async with here.database.writing() as writing:
        fresh = here.authority.issue(Order("a.example", "default", "local", 7 * DAY), here.now, 0)
        await store.put(writing, here.seal, [fresh], here.now)

    assert await look(here, hook) == []
