from __future__ import annotations

import gc
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.declaration.feed import ChangeMessage, Hello, Put, Removed, Synced
from edgeward.errors import Unavailable
from edgeward.node.controllers.following import Following
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import State, Touched
from tests.unit.node.conftest import SEAL

STORE = "store-1"


def hello(reset: bool = False, store: str = STORE) -> Hello:
    return Hello(store=store, version="1", reset=reset)


def put(kind: str, name: str, revision: int, **value: Any) -> Put:
    return Put(kind=kind, project="default", name=name, revision=revision, value={"name": name, **value})


def domain(name: str, revision: int) -> Put:
    return put("domains", name, revision)


def certificate(name: str, revision: int, chain: str = "chain") -> Put:
    value = {
        "chain": chain,
        "key": "key",
        "not_after": "2100-01-01T00:00:00+00:00",
        "fingerprint": chain,
        "issuer": "local",
    }
    return Put(kind="certificates", project="default", name=name, revision=revision, value=value)


def gone(kind: str, name: str) -> Removed:
    return Removed(kind=kind, project="default", name=name)


class Node:
    def __init__(self, path: Path) -> None:
        self.copy = LastGood(path, SEAL)
        self.state = State()
        self.taken: list[Touched] = []
        self.following = Following(self.copy, self.state, self.taken.append)
        self.following.load()

    def view(self) -> tuple[int, dict[str, str], dict[str, str | None]]:
        names = [f"{n}.example" for n in "abc"]
        found = {n: self.copy.find([n], 0) for n in names}
        return (
            self.state.revision,
            dict(self.state.domains),
            {n: k.fingerprint for n, k in found.items() if k is not None},
        )


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "last-good.db")


async def test_a_transaction_counts_with_its_last_part_only(node: Node) -> None:
    await node.following.hello(hello(reset=True))
    await node.following.completed(Synced(revision=1))
    await node.following.change(ChangeMessage(revision=2, put=(domain("a.example", 2),), more=True))
    assert (node.state.revision, node.state.domains) == (1, {})

    await node.following.change(ChangeMessage(revision=2, put=(certificate("a.example", 2),)))
    assert node.view() == (2, {"a.example": "default"}, {"a.example": "chain"})


async def test_what_was_said_of_an_object_is_not_held_until_its_transaction_ends(node: Node) -> None:
    await node.following.hello(hello(reset=True))
    said = domain("a.example", 1)
    held = weakref.ref(said)
    await node.following.change(ChangeMessage(revision=1, put=(said,), more=True))
    del said
    gc.collect()

    assert held() is None
    await node.following.completed(Synced(revision=1))
    assert node.state.domains == {"a.example": "default"}
    assert node.copy.declared("domains", "default", "a.example") == {"name": "a.example"}


async def test_a_cut_in_a_transaction_leaves_the_one_before(node: Node) -> None:
    await node.following.hello(hello(reset=True))
    await node.following.change(ChangeMessage(revision=1, put=(domain("a.example", 1),)))
    await node.following.completed(Synced(revision=1))
    await node.following.change(
        ChangeMessage(
            revision=2, remove=(gone("domains", "a.example"),), put=(certificate("b.example", 2),), more=True
        )
    )
    await node.following.ended()

    assert node.view() == (1, {"a.example": "default"}, {})
    assert node.following.since == (1, STORE)


async def test_a_state_taken_anew_replaces_the_old_one_only_when_it_is_whole(node: Node) -> None:
    await node.following.hello(hello(reset=True))
    await node.following.change(
        ChangeMessage(revision=5, put=(domain("a.example", 5), certificate("a.example", 5)))
    )
    await node.following.completed(Synced(revision=5))

    await node.following.hello(hello(reset=True, store="store-2"))
    await node.following.change(ChangeMessage(revision=1, put=(domain("b.example", 1),)))
    assert node.view() == (5, {"a.example": "default"}, {"a.example": "chain"})

    await node.following.completed(Synced(revision=2))
    assert node.view() == (2, {"b.example": "default"}, {})
    assert node.following.since == (2, "store-2")
    assert node.taken[-1].everything


async def test_revisions_of_another_store_are_not_taken_for_ours(node: Node) -> None:
    await node.following.hello(hello(reset=True))
    await node.following.completed(Synced(revision=5))

    with pytest.raises(Unavailable):
        await node.following.hello(hello(reset=False, store="store-2"))


async def test_one_certificate_nobody_can_read_does_not_stop_the_rest(node: Node) -> None:
    broken = Put(kind="certificates", project="default", name="a.example", revision=1, value={"chain": "x"})
    await node.following.hello(hello(reset=True))
    await node.following.change(ChangeMessage(revision=1, put=(broken, certificate("b.example", 1))))
    await node.following.completed(Synced(revision=1))

    assert node.view() == (1, {}, {"b.example": "chain"})


async def test_an_object_this_node_does_not_understand_is_told_and_left_out(node: Node) -> None:
    await node.following.hello(hello(reset=True))
    await node.following.change(
        ChangeMessage(revision=1, put=(put("services", "shop", 1, future=True), domain("a.example", 1)))
    )
    await node.following.completed(Synced(revision=1))

    assert list(node.state.problems) == ["services/default/shop"]
    assert "a.example" in node.state.domains


async def test_what_the_disk_does_not_take_holds_in_memory_and_is_asked_for_again(node: Node) -> None:
    await node.following.hello(hello(reset=True))
    await node.following.change(
        ChangeMessage(revision=1, put=(domain("a.example", 1), certificate("a.example", 1, "old")))
    )
    await node.following.completed(Synced(revision=1))
    await node.copy.write(lambda c: c._connection.execute("PRAGMA query_only = 1"))

    with pytest.raises(Unavailable):
        await node.following.change(
            ChangeMessage(revision=2, put=(domain("b.example", 2), certificate("a.example", 2, "new")))
        )

    assert "b.example" in node.state.domains
    assert node.following.since == (1, STORE)
    assert node.copy.find(["a.example"], 0) is None, "what was replaced is not served"
    await node.following.ended()
    await node.copy.write(lambda c: c._connection.execute("PRAGMA query_only = 0"))
    await node.following.hello(hello())
    await node.following.change(
        ChangeMessage(revision=2, put=(domain("b.example", 2), certificate("a.example", 2, "new")))
    )
    assert node.view() == (2, {"a.example": "default", "b.example": "default"}, {"a.example": "new"})


names = st.sampled_from([f"{n}.example" for n in "abc"])
transactions = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["domain", "certificate", "undomain", "uncertificate"]), names), max_size=4
    ),
    max_size=8,
)


def messages(steps: list[tuple[str, str]], revision: int) -> list[ChangeMessage]:
    found = []
    for what, name in steps:
        if what == "domain":
            found.append(ChangeMessage(revision=revision, put=(domain(name, revision),), more=True))
        elif what == "certificate":
            body = certificate(name, revision, f"r{revision}")
            found.append(ChangeMessage(revision=revision, put=(body,), more=True))
        else:
            kind = what.removeprefix("un") + "s"
            found.append(ChangeMessage(revision=revision, remove=(gone(kind, name),), more=True))
    return [*found, ChangeMessage(revision=revision)]


@settings(max_examples=60, deadline=None)
@given(transactions, st.lists(st.integers(0, 30), max_size=5), st.booleans())
async def test_cuts_and_restarts_anywhere_lose_nothing_and_invent_nothing(
    log: list[list[tuple[str, str]]], cuts: list[int], restart: bool
) -> None:
    domains: dict[str, str] = {}
    certificates: dict[str, str] = {}
    for revision, steps in enumerate(log, 1):
        for what, name in steps:
            if what == "domain":
                domains[name] = "default"
            elif what == "certificate":
                certificates[name] = f"r{revision}"
            elif what == "undomain":
                domains.pop(name, None)
            else:
                certificates.pop(name, None)
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory) / "copy.db")
        for budget in [*cuts, 10_000]:
            since, store = node.following.since
            await node.following.hello(hello(reset=store != STORE))
            feed = [m for r, steps in enumerate(log, 1) if r > since for m in messages(steps, r)]
            for message in feed[:budget]:
                await node.following.change(message)
            if budget >= len(feed):
                await node.following.completed(Synced(revision=len(log)))
            if restart:
                node.copy._writer.rollback()  # as a process that is killed leaves it
                node.copy.close()
                node = Node(Path(directory) / "copy.db")
            else:
                await node.following.ended()

        assert node.view() == (len(log), domains, certificates)
        node.copy.close()
