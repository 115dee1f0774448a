"""Which node gets what: exactly what it serves, whatever is changed, moved, labelled or cut in between."""

from __future__ import annotations

import random
from contextlib import aclosing

import pytest

from edgeward.access.model import Principal
from edgeward.controller.nodes import reading, streams
from edgeward.declaration import feed
from edgeward.declaration.feed import ChangeMessage, Hello, Synced
from edgeward.declaration.model import Key
from tests.unit.controller.assembled import ADMIN, controller
from tests.unit.controller.nodes.test_feed import _token_of

EU, US = {"region": "eu"}, {"region": "us"}


@pytest.fixture
async def here(tmp_path):
    async with controller(tmp_path) as found:
        yield found


class Follower:
    """A node as the feed meets it: keeps what it took in whole, and asks for the rest."""

    def __init__(self, here, name: str) -> None:
        self.here, self.name = here, name
        self.held: dict[Key, dict] = {}
        self.revision, self.store = 0, ""
        self.taken = self.resets = 0

    async def follow(self) -> None:
        who = Principal(await _token_of(self.here, self.name), "node", "node", "*", self.name)
        lines = await self.here.parts.cases.nodes.watched(who, self.revision, self.store)
        async with aclosing(lines):
            async for line in lines:
                message = feed.read(line)
                if isinstance(message, Hello):
                    self._begin(message)
                elif isinstance(message, ChangeMessage):
                    self._change(message)
                elif isinstance(message, Synced):
                    self.held, self.revision = self.draft, message.revision
                    return

    def _begin(self, hello: Hello) -> None:
        self.store, self.open = hello.store, None
        self.draft = {} if hello.reset else dict(self.held)
        self.resets += hello.reset

    def _change(self, message: ChangeMessage) -> None:
        assert self.open in (None, message.revision)
        self.open = message.revision if message.more else None
        for put in message.put:
            assert put.kind == "listen" or "nodes" not in put.value, "who else gets it is nobody's business"
            self.draft[Key(put.kind, put.project, put.name)] = put.value
        for gone in message.remove:
            self.draft.pop(Key(gone.kind, gone.project, gone.name), None)
        self.taken += len(message.put)

    @property
    def keys(self) -> set[str]:
        return {f"{k.kind}/{k.name}" for k in self.held}

    @property
    def served(self) -> set[str]:
        return {k.name for k, v in self.held.items() if k.kind == "domains" and not v.get("elsewhere")}


async def expected(here, labels: dict[str, str]) -> set[str]:
    """What a node of these labels is to hold, said as plainly as can be."""
    objects = {k: s.value for k, s in here.parts.state.stored.items()}
    domains = {k.name: v for k, v in objects.items() if k.kind == "domains"}

    def selects(selector) -> bool:
        return selector is None or all(labels.get(k) in v for k, v in selector.items())

    def over(name: str) -> str:
        return "*." + name.partition(".")[2]

    def serves(name: str) -> bool:
        domain = domains.get(name) or domains.get(over(name))
        return domain is not None and selects(domain.nodes)

    routes = [v for k, v in objects.items() if k.kind == "routes"]
    mine = [r for r in routes if selects(r.nodes) and any(serves(h) for h in r.hosts)]
    found = {f"domains/{n}" for n, d in domains.items() if selects(d.nodes)}
    hints = {n for n in domains if not selects(domains[n].nodes) and not n.startswith("*.")}
    found |= {f"domains/{n}" for n in hints if over(n) in domains and selects(domains[over(n)].nodes)}
    found |= {f"routes/{r.name}" for r in mine}
    tcp = [v for k, v in objects.items() if k.kind == "tcp_routes"]
    found |= {f"tcp_routes/{r.name}" for r in tcp if selects(r.nodes)}
    routes, mine = routes + tcp, mine + [r for r in tcp if selects(r.nodes)]
    for key in (k for k in objects if k.kind == "services"):
        users = [r for r in routes if r.service == key.name]
        if not users or any(r in mine for r in users):
            found.add(f"services/{key.name}")
    listed = await here.parts.cases.certificates.listed(ADMIN, _any(), None, 1000, None)
    return found | {f"certificates/{s.name}" for s in listed if serves(s.name)}


def _any():
    from edgeward.certificates.model import Wanted

    return Wanted()


NAMES = ["a.example", "b.example", "*.c.example", "x.c.example", "y.c.example"]
SELECTORS = [None, None, EU, US, {"region": ["eu", "us"]}, {"tier": "gold"}, {"name": "n2"}]


def document(chance: random.Random) -> dict:
    def selected(**fields):
        selector = chance.choice(SELECTORS)
        return fields | ({"nodes": selector} if selector else {})

    names = chance.sample(NAMES, chance.randint(1, len(NAMES)))
    hosts = [n for n in names if not n.startswith("*.")] + (["z.c.example"] if "*.c.example" in names else [])
    services = [f"s{i}" for i in range(3)]
    routes = [
        selected(name=f"r{i}", hosts=chance.sample(hosts, chance.randint(1, len(hosts))), paths=[f"/{i}"],
                 service=chance.choice(services))
        for i in range(chance.randint(0, 3)) if hosts
    ]  # fmt: skip
    tcp = [selected(name=f"t{i}", listen=f":{2500 + i}", service="raw") for i in range(chance.randint(0, 2))]
    return {
        "tcp_routes": tcp,
        "domains": [selected(name=n, on_demand=True) for n in names],
        "services": [
            {"name": "raw", "backends": ["tcp://a.example:25"]},
            *({"name": s, "backends": [f"http://{chance.choice('ab')}.example"]} for s in services),
        ],
        "routes": routes,
    }


@pytest.mark.parametrize(("objects", "certificates", "seed"), [(1, 1, 1), (2, 2, 2), (500, 200, 3)])
async def test_a_node_holds_exactly_what_is_stored_and_selected_for_it(
    here, monkeypatch, objects, certificates, seed
):
    monkeypatch.setattr(reading, "OBJECTS_AT_ONCE", objects)
    monkeypatch.setattr(reading, "CERTIFICATES_AT_ONCE", certificates)
    monkeypatch.setattr(streams, "_GATHER", 0)
    chance = random.Random(seed)
    boss = await here.token("boss", "admin")
    names = ["n1", "n2", "n3"]
    headers = {name: await here.node(name) for name in names}
    labels: dict[str, dict[str, str]] = {name: {} for name in names}
    always, rarely = ({n: Follower(here, n) for n in names} for _ in range(2))
    applied = 0
    for _ in range(10):
        applied += (await here.apply(boss, **document(chance))).status_code == 200
        for name in chance.sample(["a.example", "x.c.example", "y.c.example", "w.c.example"], 2):
            await here.http.post(f"/v1/certificates/{name}/obtain", headers=headers[chance.choice(names)])
        if chance.random() < 0.5:
            name = chance.choice(names)
            labels[name] = chance.choice([{}, EU, US, {**EU, "tier": "gold"}])
            body = {"labels": labels[name]}
            answer = await here.http.put(f"/v1/nodes/{name}/labels", json=body, headers=boss)
            assert answer.json()["labels"] == labels[name]
        for name in names:
            for follower in [always[name]] + ([rarely[name]] if chance.random() < 0.3 else []):
                await follower.follow()
                assert follower.keys == await expected(here, {**labels[name], "name": name})
    assert applied > 4
    anew = Follower(here, "n1")
    await anew.follow()
    assert anew.held == always["n1"].held


async def test_keys_leave_a_node_that_is_no_longer_selected(here):
    boss = await here.token("boss", "admin")
    node = await here.node("n1")
    await here.http.put("/v1/nodes/n1/labels", json={"labels": EU}, headers=boss)
    for nodes in ({}, {"nodes": EU}):
        await here.apply(boss, domains=[{"name": "*.c.example", "on_demand": True, **nodes}])
        await here.http.post("/v1/certificates/x.c.example/obtain", headers=node)
    follower = Follower(here, "n1")
    await follower.follow()
    assert "certificates/x.c.example" in follower.keys

    await here.apply(boss, domains=[{"name": "*.c.example", "on_demand": True, "nodes": US}])
    await follower.follow()

    assert follower.keys == set()
    assert follower.resets == 1
    refused = await here.http.post("/v1/certificates/x.c.example/obtain", headers=node)
    assert refused.status_code == 403
    assert "region: us" in refused.json()["detail"]


async def test_a_change_of_labels_takes_what_it_no_longer_selects_and_brings_the_rest(here):
    boss = await here.token("boss", "admin")
    await here.node("n1")
    await here.http.put("/v1/nodes/n1/labels", json={"labels": EU}, headers=boss)
    await here.apply(boss, domains=[{"name": "eu.example", "nodes": EU}, {"name": "us.example", "nodes": US}])
    follower = Follower(here, "n1")
    await follower.follow()
    assert follower.served == {"eu.example"}

    await here.http.put("/v1/nodes/n1/labels", json={"labels": US}, headers=boss)
    await follower.follow()
    assert follower.served == {"us.example"}
    await follower.follow()
    assert follower.resets == 2


async def test_a_stream_under_way_ends_when_the_labels_change(here):
    boss = await here.token("boss", "admin")
    await here.node("n1")
    who = Principal(await _token_of(here, "n1"), "node", "node", "*", "n1")
    lines = await here.parts.cases.nodes.watched(who, 0, "")
    async with aclosing(lines):
        while not isinstance(feed.read(await anext(lines)), Synced):
            pass
        await here.http.put("/v1/nodes/n1/labels", json={"labels": EU}, headers=boss)
        assert [feed.read(line) async for line in lines] == []


async def test_nodes_that_are_equally_far_share_one_look(here):
    boss = await here.token("boss", "admin")
    await here.apply(boss, domains=[{"name": "a.example", "nodes": EU}, {"name": "b.example"}])
    labels = [{"name": "n1"}, {"name": "n2"}, {"name": "n3"}]
    from edgeward.controller.nodes.feed import Feed

    rounds = [await Feed(here.parts.looks, each, 0).round() for each in labels]

    assert here.parts.looks.read == 1
    assert all(r.lines is rounds[0].lines for r in rounds), "and what is sent is written once"


# --- labels come from operators only ------------------------------------------------------------


async def test_a_node_cannot_label_itself(here):
    node = await here.node("n1")
    refused = await here.http.put("/v1/nodes/n1/labels", json={"labels": EU}, headers=node)
    assert refused.status_code == 403


@pytest.mark.parametrize("labels", [{"name": "n2"}, {"-": "x"}, {"a": ""}, {"a": 1}])
async def test_labels_are_checked(here, labels):
    boss = await here.token("boss", "admin")
    await here.node("n1")
    refused = await here.http.put("/v1/nodes/n1/labels", json={"labels": labels}, headers=boss)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"].startswith("labels")


async def test_a_join_token_gives_its_labels_and_no_others(here):
    async def join(token: str, name: str):
        return await here.http.post("/v1/nodes/join", json={"name": name}, headers=tokens[token])

    async def labels(name: str):
        return (await here.http.get(f"/v1/nodes/{name}", headers=boss)).json()["labels"]

    boss = await here.token("boss", "admin")
    tokens = {}
    for name, given in (("plain", {}), ("eu", EU), ("bound", {"name": "n3", "tier": "gold"})):
        body = {"name": name, "role": "node", "labels": given}
        made = (await here.http.post("/v1/tokens", json=body, headers=boss)).json()
        tokens[name] = {"authorization": f"Bearer {made['token']}"}
    assert (await join("eu", "n1")).status_code == 201
    assert await labels("n1") == EU

    assert (await join("plain", "n1")).status_code == 201
    assert await labels("n1") == {}, (
        "whoever joins under the name of a node that is away gets none of its keys"
    )
    assert (await join("bound", "n2")).status_code == 403
    assert (await join("bound", "n3")).status_code == 201
    assert await labels("n3") == {"tier": "gold"}


async def test_labels_are_for_join_tokens(here):
    boss = await here.token("boss", "admin")
    body = {"name": "x", "role": "viewer", "labels": EU}
    assert (await here.http.post("/v1/tokens", json=body, headers=boss)).status_code == 422


async def test_labels_outlive_the_controller(here, tmp_path):
    boss = await here.token("boss", "admin")
    await here.node("n1")
    await here.http.put("/v1/nodes/n1/labels", json={"labels": EU}, headers=boss)
    async with controller(tmp_path) as later:
        await later.parts.nodes.load()
        found = (await later.http.get("/v1/nodes/n1", headers=boss)).json()
    assert found["labels"] == EU


async def test_where_nodes_listen_reaches_every_node(here):
    boss = await here.token("boss", "admin")
    await here.node("n1")
    await here.apply(boss, listen={"https": "127.0.0.1:8443", "nodes": {"n1": {"https": "127.0.0.2:8443"}}})
    follower = Follower(here, "n1")
    await follower.follow()
    (listen,) = follower.held.values()
    assert listen["nodes"] == {"n1": {"https": ["127.0.0.2:8443"]}}, "these name nodes, and select nothing"
