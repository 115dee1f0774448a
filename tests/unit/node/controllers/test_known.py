"""The controllers that a node knows: in which order it turns to them, and what it remembers of them."""

from __future__ import annotations

from edgeward.declaration.feed import Identity
from edgeward.errors import Refused, Unavailable
from edgeward.node.controllers import identity as identities
from edgeward.node.controllers.known import spread
from tests.unit.node.controllers.far import A, B, C, Here


async def test_one_that_failed_is_the_last_to_be_tried_again(here: Here) -> None:
    first, *others = here.controllers.candidates()
    first.failed(Unavailable("gone"), here.now)
    assert here.controllers.candidates() == [*others, first]
    here.now = 5.0
    assert here.controllers.candidates() == [first, *others]
    here.controllers.prefer(others[1])
    assert here.controllers.candidates()[0] is others[1]


async def test_pauses_grow_with_failures_and_are_never_the_same_for_all(here: Here) -> None:
    first = here.controllers.candidates()[0]
    pauses = []
    for _ in range(12):
        first.failed(Unavailable("gone"), 0.0)
        pauses.append(first.retry_at)
    assert 0.03 <= pauses[0] <= 0.1
    assert all(0.6 <= pause <= 2.0 for pause in pauses[6:])
    assert len(set(pauses)) > 6
    first.failed(Refused("revoked"), 0.0)
    assert first.retry_at > 0.9


async def test_what_a_controller_says_of_the_others_is_remembered(here: Here) -> None:
    d = "https://192.0.2.4:2443"
    await here.controllers.learn([B, f"{d}/", "https://127.0.0.1:2443"])
    assert identities.load(here.file) == Identity(
        name="n", controller=A, token="t", ca="", controllers=(B, d)
    )
    assert {c.url for c in here.controllers.candidates()} == {A, B, d}
    await here.controllers.learn([])
    assert {c.url for c in here.controllers.candidates()} == {A, B, d}, (
        "one that says nothing changes nothing"
    )


async def test_a_token_renewed_in_the_file_is_used_at_once(here: Here) -> None:
    before = here.controllers.candidates()
    await here.controllers.remember(token="other")
    assert not {id(c) for c in before} & {id(c) for c in here.controllers.candidates()}


def test_nodes_spread_over_controllers_and_prefer_one_on_their_own_host() -> None:
    firsts = [spread(f"node-{n}", [A, B, C])[0] for n in range(300)]
    assert all(60 < firsts.count(url) < 140 for url in (A, B, C))
    assert spread("n", [A, "https://[::1]:2443", B])[0] == "https://[::1]:2443"
    assert spread("n", [A, f"{A}/", A]) == [A]
