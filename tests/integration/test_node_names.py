"""How names get their certificates at the handshake: a real node, a real Envoy, a controller that speaks the feed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.hello import shake
from tests.integration.node_rig import Rig, rig, within

ACTIVE = r"listener\.https\.on_demand_secret\.cert_active"
REQUESTED = r"listener\.https\.on_demand_secret\.cert_requested"


@pytest.fixture
def edge(state_dir: Path) -> Iterator[Rig]:
    with rig(state_dir) as made:
        yield made


def test_a_stored_certificate_is_served_at_the_first_handshake(edge: Rig) -> None:
    edge.controller.declare("shop.example", "*.many.example")
    issued = edge.controller.certify("shop.example", "*.many.example", "one.many.example")
    edge.start()

    assert edge.visit("shop.example") == issued["shop.example"]["fingerprint"]
    assert edge.visit("one.many.example") == issued["one.many.example"]["fingerprint"]
    assert edge.visit("two.many.example") == issued["*.many.example"]["fingerprint"]
    for stranger in ("other.example", "deep.one.many.example", "many.example", None):
        assert edge.visit(stranger) is None
    assert edge.controller.obtained == []


def test_a_name_without_certificate_is_obtained_once_for_all_who_wait(edge: Rig) -> None:
    edge.controller.declare("*.new.example")
    edge.controller.obtain_seconds = 0.3
    edge.start()

    with ThreadPoolExecutor(20) as visitors:
        seen = set(visitors.map(edge.visit, ["a.new.example"] * 20))

    assert len(seen) == 1
    assert None not in seen
    assert edge.controller.obtained == ["a.new.example"]
    within(5, lambda: edge.metric("edgeward_node_certificates")[""] == 1, "its place in the sealed copy")


def test_a_name_the_controller_refuses_is_not_asked_for_again_at_once(edge: Rig) -> None:
    edge.controller.declare("*.new.example")
    edge.controller.refuse_obtain = True
    edge.start()

    assert [edge.visit("a.new.example") for _ in range(5)] == [None] * 5
    assert edge.controller.obtained == ["a.new.example"]

    edge.controller.certify("a.new.example")
    within(1, lambda: edge.served("a.new.example"), "what is issued to be served")


def test_where_there_may_be_no_more_new_names_they_are_not_asked_for_one_by_one(edge: Rig) -> None:
    edge.controller.declare("*.new.example", "*.other.example")
    edge.controller.certify("known.new.example")
    edge.controller.no_new_names = True
    edge.start()
    with ThreadPoolExecutor(4) as visitors:
        seen = set(visitors.map(edge.visit, [f"n{n}.new.example" for n in range(400)]))

    assert seen == {None}
    assert len(edge.controller.obtained) < 100
    assert edge.served("known.new.example")
    edge.controller.no_new_names = False
    assert edge.served("a.other.example"), "another domain has names left"
    edge.controller.certify("b.new.example")
    within(3, lambda: edge.served("b.new.example"), "what is issued to be served")
    within(3, lambda: edge.served("c.new.example"), "new names to be asked for again")


def test_names_nobody_declared_cost_neither_the_controller_nor_envoy(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    edge.controller.certify("shop.example")
    edge.start()
    assert edge.served("shop.example")
    with ThreadPoolExecutor(8) as visitors:
        list(visitors.map(edge.visit, [f"w{n}.stranger.example" for n in range(200)]))
        before = edge.rss_mb(edge.envoy_pid())
        refused = list(visitors.map(edge.visit, [f"n{n}.stranger.example" for n in range(2000)]))

    assert set(refused) == {None}
    assert edge.controller.obtained == []
    within(3, lambda: edge.stat(ACTIVE) == 1, "strangers' names to leave Envoy")
    assert edge.rss_mb(edge.envoy_pid()) - before < 8
    assert edge.served("shop.example")


def test_envoy_holds_no_more_than_the_bound_and_what_left_comes_back(edge: Rig) -> None:
    names = [f"n{n}.many.example" for n in range(30)]
    edge.controller.change({("cache", "cache"): {"resident": 10}})
    edge.controller.declare("*.many.example")
    issued = edge.controller.certify(*names)
    edge.start()

    for _ in range(2):
        for name in names:
            assert edge.visit(name) == issued[name]["fingerprint"]
    within(3, lambda: edge.stat(ACTIVE) == 10, "Envoy to hold ten")
    assert edge.metric("edgeward_node_tier_evictions_total")['{tier="resident"}'] == 50
    assert edge.controller.obtained == []


def test_spellings_have_a_quota_of_their_own(edge: Rig) -> None:
    edge.controller.change({("cache", "cache"): {"resident": 10, "spellings": 3}})
    edge.controller.declare("shop.example")
    issued = edge.controller.certify("shop.example")["shop.example"]["fingerprint"]
    edge.start()
    assert edge.visit("shop.example") == issued

    spellings = ["".join(c.upper() if n >> i & 1 else c for i, c in enumerate("shop")) for n in range(1, 16)]
    for spelling in spellings:
        assert edge.visit(f"{spelling}.example") == issued
    asked = edge.stat(REQUESTED)
    assert edge.visit("shop.example") == issued

    assert edge.stat(REQUESTED) == asked, "the canonical name never left"
    within(3, lambda: edge.stat(ACTIVE) == 4, "one canonical name and three spellings")


def test_a_replaced_certificate_is_served_within_a_second(edge: Rig) -> None:
    edge.controller.declare("shop.example", "*.many.example")
    edge.controller.certify("shop.example", "*.many.example")
    edge.start()
    assert edge.served("shop.example")
    assert edge.served("a.many.example")

    fresh = edge.controller.certify("shop.example", "*.many.example")

    for visited, name in (("shop.example", "shop.example"), ("a.many.example", "*.many.example")):
        print_ = fresh[name]["fingerprint"]
        within(1, lambda v=visited, p=print_: edge.visit(v) == p, f"{visited} to be new")


def test_a_deleted_domain_is_refused_within_a_second_and_served_again_when_it_is_back(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    issued = edge.controller.certify("shop.example")["shop.example"]["fingerprint"]
    edge.start()
    assert edge.served("shop.example")

    edge.controller.change(remove=[("domains", "shop.example")])
    within(1, lambda: not edge.served("shop.example"), "the refusal")

    edge.controller.declare("shop.example")
    within(1, lambda: edge.visit("shop.example") == issued, "its old certificate")
    assert edge.controller.obtained == []


def test_a_removed_certificate_is_served_no_more(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    edge.controller.certify("shop.example")
    edge.controller.refuse_obtain = True
    edge.start()
    assert edge.served("shop.example")

    edge.controller.change(remove=[("certificates", "shop.example")])

    within(1, lambda: not edge.served("shop.example"), "the refusal")


def test_expiring_takes_certificates_out_of_envoy_until_they_are_asked_for(edge: Rig) -> None:
    edge.controller.declare("*.many.example")
    edge.controller.certify("a.many.example", "b.many.example")
    edge.start()
    assert edge.served("a.many.example")
    assert edge.served("b.many.example")

    edge.controller.change(expire=["a.many.example"])
    within(1, lambda: edge.stat(ACTIVE) == 1, "one to leave")
    edge.controller.change(expire=["*"])
    within(1, lambda: edge.stat(ACTIVE) == 0, "all to leave")

    assert edge.served("a.many.example")


def test_a_certificate_whose_time_is_over_is_served_no_more(edge: Rig) -> None:
    edge.controller.declare("short.example")
    edge.controller.refuse_obtain = True
    edge.start()
    edge.controller.certify("short.example", lifetime=timedelta(seconds=5))
    within(1, lambda: edge.served("short.example"), "a short life")

    within(6, lambda: not edge.served("short.example"), "its end")


def test_a_visitor_without_a_name_gets_the_default_domain(edge: Rig) -> None:
    edge.controller.declare("shop.example", "help.example")
    issued = edge.controller.certify("shop.example", "help.example")
    edge.start()
    assert edge.visit(None) is None

    for name in ("shop.example", "help.example"):
        edge.controller.declare(https=[f"127.0.0.1:{edge.port}"], default_domain=name)
        fingerprint = issued[name]["fingerprint"]
        within(2, lambda f=fingerprint: edge.visit(None) == f, f"{name} as the default")

    edge.controller.declare(https=[f"127.0.0.1:{edge.port}"])
    within(2, lambda: edge.visit(None) is None, "no default")


@pytest.mark.parametrize("first", [b"*", b"x" * 255])
def test_odd_names_are_refused_at_once_and_leave_nothing_behind(edge: Rig, first: bytes) -> None:
    edge.controller.declare("shop.example")
    edge.controller.certify("shop.example")
    edge.start()

    for name in (
        first,
        b"x" * 254,
        b"*",
        b"*.example",
        b" ",
        b"a\r\nb.example",
        b"127.0.0.1",
        b"edgeward:no-sni",
    ):
        assert shake(edge.port, name) in ("refused", "closed"), name
    assert edge.served("shop.example")
    within(3, lambda: edge.stat(ACTIVE) == 1, "odd names to leave Envoy")


def test_the_controllers_questions_about_names_are_answered(edge: Rig) -> None:
    edge.controller.declare("shop.example", "*.many.example")
    issued = edge.controller.certify("shop.example", "a.many.example")
    edge.start()
    assert edge.served("shop.example")

    for question, name in (
        ("1", "SHOP.example"),
        ("2", "a.many.example"),
        ("3", "b.many.example"),
        ("4", "no name"),
    ):
        edge.controller.ask(question, name)
    within(3, lambda: len(edge.controller.answers) == 4, "four answers")

    answers = {a["id"]: a for a in edge.controller.answers}
    assert [answers[q]["tier"] for q in "1234"] == ["resident", "disk", "none", "none"]
    assert answers["1"]["fingerprint"] == issued["shop.example"]["fingerprint"]
    assert answers["2"]["not_after"] is not None


@pytest.mark.parametrize("proxies", [(), ("127.0.0.2/32",)])
def test_names_that_would_end_envoy_or_cut_it_off_never_reach_the_selector(
    edge: Rig, proxies: tuple[str, ...]
) -> None:
    edge.controller.declare("shop.example")
    edge.controller.certify("shop.example")
    edge.start()
    edge.controller.declare(https=[f"127.0.0.1:{edge.port}"], trusted_proxies=list(proxies))
    within(5, lambda: edge.metric("edgeward_node_revision_in_force")[""] == edge.controller.revision, "it")
    pid = edge.envoy_pid()

    for name in (b"xdstp://x", b"xdstp://a/b/c", b"\xff\xfe.example", b"shop.example\xff", b"a:b"):
        assert shake(edge.port, name) == "closed", name
    assert edge.served("shop.example")
    assert edge.envoy_pid() == pid
    assert edge.stat(r"control_plane\.connected_state") == 1
