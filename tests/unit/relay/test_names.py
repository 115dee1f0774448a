from __future__ import annotations

import random
import socket
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edgeward.relay.names import Answer, Book, Server, arranged, interleaved
from edgeward.relay.place import Address


def v4(last: int) -> Address:
    return Address(socket.AF_INET, (f"192.0.2.{last}", 80))


def v6(last: int) -> Address:
    return Address(socket.AF_INET6, (f"2001:db8::{last:x}", 80, 0, 0))


addresses = st.lists(st.one_of(st.integers(1, 250).map(v4), st.integers(1, 250).map(v6)), max_size=20)
servers = st.lists(
    st.builds(Server, addresses.map(tuple), st.integers(0, 3), st.integers(0, 65535)), max_size=8
)
answers = st.builds(Answer, servers.map(tuple), st.integers(0, 100_000))


@given(addresses)
def test_families_take_turns_and_keep_their_own_order(given_: list[Address]) -> None:
    found = interleaved(given_)

    assert set(found) == set(given_)
    assert len(set(found)) == len(found)
    for family in (socket.AF_INET, socket.AF_INET6):
        mine = [a for a in dict.fromkeys(given_) if a.family == family]
        assert [a for a in found if a.family == family] == mine
    both = (
        min(Counter(a.family for a in found).values(), default=0)
        if len({a.family for a in found}) == 2
        else 0
    )
    assert all(found[i].family != found[i + 1].family for i in range(2 * both - 1))


@given(servers, st.randoms(use_true_random=False))
def test_services_are_in_order_of_priority_and_none_is_lost(
    given_: list[Server], chance: random.Random
) -> None:
    found = arranged(given_, chance)

    assert Counter(found) == Counter(given_)
    assert [s.priority for s in found] == sorted(s.priority for s in given_)


def test_services_come_first_as_often_as_they_weigh() -> None:
    heavy, light = Server((v4(1),), 0, 30), Server((v4(2),), 0, 10)
    chance = random.Random(1)
    first = Counter(arranged([light, heavy], chance)[0] for _ in range(4000))

    assert 2850 < first[heavy] < 3150


@given(
    st.lists(st.one_of(answers, st.just("it fails")), max_size=20), st.floats(0.1, 10), st.floats(10, 1000)
)
def test_the_last_good_answer_is_served_and_asking_never_ends(
    told: list[Answer | str], least: float, most: float
) -> None:
    book, good, now = Book(least, most), None, 100.0
    for answer in told:
        now += 1
        if isinstance(answer, str):
            wait = book.take_failure(answer)
            assert book.failing
            assert 0.25 <= wait <= 30
        else:
            wait, good = book.take(answer, now), answer
            assert not book.failing
            assert least <= wait <= most
        assert book.answer == good
    assert book.failures == sum(isinstance(a, str) for a in told)
    assert set(book.order(now, random.Random(0))) == set(good.addresses if good else ())


def test_failures_in_turn_are_asked_again_ever_less_often() -> None:
    book = Book(1, 300)
    waits = [book.take_failure("SERVFAIL") for _ in range(12)]

    assert waits[:3] == [0.25, 0.5, 1.0]
    assert waits[-1] == 30
    book.take(Answer((Server((v4(1),)),), 5), 0)
    assert book.take_failure("SERVFAIL") == 0.25


def test_an_address_that_did_not_answer_is_tried_last_for_a_while() -> None:
    book = Book(1, 300)
    book.take(Answer((Server((v4(1), v4(2), v4(3))),), 60), 0)
    book.avoid([v4(1)], 0)

    assert list(book.order(9, random.Random(0))) == [v4(2), v4(3), v4(1)]
    assert list(book.order(11, random.Random(0))) == [v4(1), v4(2), v4(3)]
