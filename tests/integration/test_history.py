"""History and events of a real controller that is killed: nothing acknowledged is missing or told twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
from contextlib import suppress

import httpx
import pytest

from tests.integration.controller_setup import Controller
from tests.integration.processes import until


@pytest.fixture
def here(state_dir):
    controller = Controller(state_dir / "state")
    controller.state_dir.mkdir(mode=0o700)
    controller.declare()
    return controller


class Writer:
    """Changes and rolls back one after another; remembers what was acknowledged."""

    def __init__(self, here: Controller) -> None:
        self.here = here
        self.chance = random.Random(7)
        self.acknowledged: list[int] = []
        self.went_back: dict[int, int] = {}
        """Revision → the one it went back to."""
        self.refused: list[str] = []

    def run(self) -> None:
        """Go on until the controller is dead."""
        with suppress(httpx.TransportError), self.here.client() as client:
            while True:
                self.step(client)

    def step(self, client: httpx.Client) -> None:
        if self.acknowledged and self.chance.random() < 0.3:
            self.back(client, self.chance.choice(self.acknowledged[-20:]))
            return
        names = [f"d{self.chance.randint(0, 30)}.example" for _ in range(self.chance.randint(1, 8))]
        domains = [{"name": n, "on_demand": self.chance.random() < 0.5} for n in set(names)]
        document = {"version": 1, "domains": domains}
        source = self.chance.choice(["file:a", "file:b"])
        body = {"source": source, "document": document, "take_over": True}
        self.note(client.post("/v1/apply", json=body))

    def back(self, client: httpx.Client, revision: int) -> None:
        made = self.note(client.post(f"/v1/history/{revision}/rollback", json={}))
        if made is not None:
            self.went_back[made] = revision

    def note(self, answer: httpx.Response) -> int | None:
        if answer.status_code != 200:
            self.refused.append(answer.text)
            return None
        done = answer.json()
        if not done["changes"]:
            return None
        self.acknowledged.append(done["revision"])
        return int(done["revision"])


class Follower:
    """Follows events as a browser does: cut off, it goes on behind the last id it was sent."""

    def __init__(self, here: Controller) -> None:
        self.here = here
        self.last_id = "0"
        self.seen: list[tuple[int, str, dict]] = []
        self.connections = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            with suppress(httpx.HTTPError):
                self.follow()
            self.ended.wait(0.05)

    def follow(self) -> None:
        headers = {"last-event-id": self.last_id}
        with self.here.client() as client, client.stream("GET", "/v1/events", headers=headers) as answer:
            answer.raise_for_status()
            self.connections += 1
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                if self.ended.is_set():
                    return
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    self.seen.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
                fields = {}


def test_killed_amid_changes_and_rollbacks_it_misses_nothing_and_tells_nothing_twice(here):
    writer, follower = Writer(here), Follower(here)
    with here.start():
        pass
    following = threading.Thread(target=follower.run)
    following.start()
    try:
        for seen in range(1, 4):
            before = len(writer.acknowledged)
            with here.start() as process:
                writing = threading.Thread(target=writer.run)
                writing.start()
                until(lambda start=before: len(writer.acknowledged) > start + 15, 30, what="changes")
                until(lambda seen=seen: follower.connections >= seen, what="being followed")
                process.send(signal.SIGKILL)
                writing.join(30)
        with here.start(), here.client() as client:
            newest = client.get("/v1/history?limit=1").json()["items"][0]["revision"]
            until(lambda: follower.seen and follower.seen[-1][2].get("revision") == newest, what="the newest")
            revisions = every_revision(client)
            follower.ended.set()
            check(client, writer, follower, revisions)
    finally:
        follower.ended.set()
        following.join(30)
    assert follower.connections >= 4


def every_revision(client: httpx.Client) -> list[int]:
    found, after = [], ""
    while after is not None:
        page = client.get(f"/v1/history?limit=1000{after}").json()
        found += [item["revision"] for item in page["items"]]
        after = f"&after={page['next']}" if page["next"] else None
    return found[::-1]


def check(client: httpx.Client, writer: Writer, follower: Follower, revisions: list[int]) -> None:
    assert writer.refused == []
    ids = [event_id for event_id, _, _ in follower.seen]
    assert ids == sorted(set(ids)), "in order, and none twice"
    assert {kind for _, kind, _ in follower.seen} == {"change"}
    told = [data["revision"] for _, _, data in follower.seen]
    assert told == revisions, "each revision, once"
    assert set(writer.acknowledged) <= set(revisions)
    back = {
        data["revision"]: data["rolled_back_to"] for _, _, data in follower.seen if data["rolled_back_to"]
    }
    assert writer.went_back.items() <= back.items()
    assert back
    for revision, target in list(back.items())[-6:]:
        then = client.get(f"/v1/export?revision={revision}").json()
        assert then == client.get(f"/v1/export?revision={target}").json()


def test_what_curl_gets_is_an_event_stream_that_beats(here, needs):
    curl = needs("curl")
    token = ""
    with here.start():
        token = (here.state_dir / "admin.token").read_text().strip()
        config = here.state_dir.parent / "curlrc"
        config.write_text(f'header = "Authorization: Bearer {token}"\n')
        argv = [curl, "-sSN", "-i", "-K", str(config), "--cacert", str(here.state_dir / "ca" / "root.pem")]
        once = [*argv, "-H", "Last-Event-ID: 0", f"{here.url}/v1/events?follow=false"]
        text = subprocess.run(once, capture_output=True, text=True, timeout=30, check=True).stdout
        with subprocess.Popen([*argv, f"{here.url}/v1/events"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            beginning = [process.stdout.readline() for _ in range(3)]
            here.declare(backend="http://other.example")
            lines = iter(process.stdout.readline, "")
            kind = next(line for line in lines if line.startswith("event: "))
            data = json.loads(next(lines).removeprefix("data: "))
            process.terminate()

    assert beginning[0].startswith("HTTP/1.1 200")
    assert "content-type: text/event-stream" in text.lower()
    assert "\n: events\nretry: 2000\nid: 0\n\nid: 1\nevent: change\ndata: {" in text.replace("\r", "")
    assert kind == "event: change\n"
    assert [o["key"] for o in data["objects"]] == ["services/default/shop"]
