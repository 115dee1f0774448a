"""Which of several controllers is asked, and for how long."""

from __future__ import annotations

import pytest

from edgeward.errors import Refused, Unavailable
from tests.unit.node.controllers.far import CERTIFICATE, A, Answer, B, C, Far, Here, gives


@pytest.mark.parametrize(
    "first", [None, gives({"detail": "no database"}, 503), gives({}, 429), gives({}, 401)]
)
async def test_a_name_is_obtained_of_any_controller_that_works(
    here: Here, far: Far, first: Answer | None
) -> None:
    order = [c.url for c in here.controllers.candidates()]
    if first is not None:
        far.answers[order[0]] = first
    far.answers[order[2]] = gives(CERTIFICATE)

    kept = await here.asking.obtain("a.example", 5.0)

    assert kept.name == "a.example"
    assert [url for url, _ in far.asked] == order


async def test_what_one_controller_refuses_by_policy_no_other_is_asked_for(here: Here, far: Far) -> None:
    for url in (A, B, C):
        far.answers[url] = gives({"detail": "served on other nodes"}, 403)
    with pytest.raises(Refused, match="served on other nodes"):
        await here.asking.obtain("a.example", 5.0)
    assert len(far.asked) == 1


async def test_where_no_controller_answers_new_names_fail_at_once_for_a_while(here: Here, far: Far) -> None:
    with pytest.raises(Unavailable):
        await here.asking.obtain("a.example", 5.0)
    far.asked.clear()
    with pytest.raises(Unavailable):
        await here.asking.obtain("b.example", 5.0)
    assert far.asked == []


async def test_the_controller_that_is_followed_is_asked_first(here: Here, far: Far) -> None:
    *_, last = here.controllers.candidates()
    far.answers[last.url] = gives(CERTIFICATE)
    here.asking.followed = last

    await here.asking.obtain("a.example", 5.0)

    assert [url for url, _ in far.asked] == [last.url]


async def test_new_names_are_asked_for_again_as_soon_as_a_controller_gives_its_feed(
    here: Here, far: Far
) -> None:
    with pytest.raises(Unavailable):
        await here.asking.obtain("a.example", 5.0)
    far.answers = {url: gives(CERTIFICATE) for url in (A, B, C)}
    here.asking.answered()
    assert (await here.asking.obtain("a.example", 5.0)).name == "a.example"
