from __future__ import annotations

from collections.abc import Mapping

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeward.xds import messages as m
from edgeward.xds.delta import DeltaStream
from edgeward.xds.events import Ask, Refused
from edgeward.xds.on_demand import LASTING
from edgeward.xds.resource import Resource, version_of
from edgeward.xds.snapshot import Snapshot, snapshot
from tests.unit.xds.model_envoy import Envoy

World = Mapping[str, Mapping[str, bytes]]


def made(kind: str, name: str, body: bytes) -> Resource:
    return Resource(kind, name, body, version_of(body), owner=f"owner/{name}")


def state(revision: int, world: World, **more: object) -> Snapshot:
    resources = [made(kind, name, body) for kind, bodies in world.items() for name, body in bodies.items()]
    return snapshot(revision, resources, **more)  # type: ignore[arg-type]


def held(envoy: Envoy) -> dict[str, dict[str, bytes]]:
    return {
        kind: {name: body for name, (_, body) in found.items()} for kind, found in envoy.held.items() if found
    }


def connected(world: World, **more: object) -> Envoy:
    envoy = Envoy()
    envoy.connect(DeltaStream(state(1, world, **more)))
    envoy.settle()
    return envoy


FULL: World = {
    m.CLUSTER: {"a": b"eds 1", "b": b"eds 1"},
    m.ENDPOINTS: {"a": b"1", "b": b"1"},
    m.LISTENER: {"l": b"routes=r"},
    m.ROUTES: {"r": b"to a b"},
}


# --- the whole ------------------------------------------------------------------------------------

clusters = st.dictionaries(
    st.sampled_from("abcd"), st.sampled_from([b"eds 1", b"eds 2", b"3", b"bad 4", b"eds bad 5"])
)
listeners = st.dictionaries(
    st.sampled_from("xyz"),
    st.sampled_from([b"routes=r", b"routes=s", b"routes=r 2", b"bad", b"routes=s bad"]),
)
routes = st.fixed_dictionaries({n: st.sampled_from([b"1", b"2", b"bad"]) for n in ("r", "s")})
endpoints = st.fixed_dictionaries({n: st.sampled_from([b"1", b"2", b"bad"]) for n in "abcd"})
worlds = st.fixed_dictionaries(
    {m.CLUSTER: clusters, m.ENDPOINTS: endpoints, m.LISTENER: listeners, m.ROUTES: routes}
)
steps = st.one_of(
    st.tuples(st.just("change"), worlds),
    st.tuples(st.sampled_from(["deliver", "collect", "take", "settle", "reconnect", "hurry"]), st.none()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=25), worlds, st.booleans())
def test_whatever_happens_envoy_ends_with_the_snapshot_less_what_it_refuses(
    happenings: list[tuple[str, World | None]], last: World, names_errors: bool
) -> None:
    current = state(0, {})
    envoy = Envoy(names_errors=names_errors)
    envoy.connect(DeltaStream(current))
    changes = [*happenings, ("change", last)]
    for number, (what, world) in enumerate(changes, 1):
        assert envoy.stream is not None
        if world is not None:
            current = state(number, world)
            envoy.stream.offer(current)
        elif what == "reconnect":
            envoy.connect(DeltaStream(current))
        elif what == "hurry":
            envoy.stream.hurry()
        else:
            {
                "deliver": envoy.deliver_request,
                "collect": envoy.collect,
                "take": envoy.take_response,
                "settle": envoy.settle,
            }[what]()
    envoy.settle()

    assert envoy.stream is not None
    stuck = any(b"bad" in body for kind in (m.LISTENER, m.ROUTES) for body in last[kind].values())
    for kind in (m.CLUSTER, m.LISTENER):
        good = {n: b for n, b in last[kind].items() if b"bad" not in b}
        has = {n: b for n, b in held(envoy).get(kind, {}).items() if b"bad" not in last[kind].get(n, b"")}
        if kind == m.CLUSTER and stuck:
            assert good.items() <= has.items()  # what an old table may still lead to is left
        else:
            assert has == good
    for kind in (m.ENDPOINTS, m.ROUTES):
        for name in envoy.interest.get(kind, set()):
            if b"bad" not in last[kind][name]:
                assert held(envoy)[kind][name] == last[kind][name]
    assert envoy.stream.in_force == len(changes)


@settings(max_examples=100, deadline=None)
@given(worlds, st.integers(0, 6))
def test_a_reconnect_sends_nothing_that_envoy_has(world: World, moves: int) -> None:
    good = {k: {n: b for n, b in v.items() if b"bad" not in b} for k, v in world.items()}
    envoy = connected(good)
    before = held(envoy)
    envoy.resources_received = 0

    envoy.connect(DeltaStream(state(1, good)))
    envoy.settle()

    assert envoy.resources_received == 0
    assert held(envoy) == before


# --- order ----------------------------------------------------------------------------------------


def test_routes_wait_until_their_clusters_are_acknowledged() -> None:
    envoy = connected(FULL)
    assert envoy.stream is not None
    world = {**FULL, m.CLUSTER: {**FULL[m.CLUSTER], "c": b"eds 1"}, m.ROUTES: {"r": b"to c"}}
    envoy.stream.offer(state(2, world, pending=[(m.ENDPOINTS, "c")]))
    envoy.settle()

    assert "c" in envoy.held[m.CLUSTER]
    assert held(envoy)[m.ROUTES] == {"r": b"to a b"}
    assert envoy.stream.in_force is None

    envoy.stream.offer(state(2, {**world, m.ENDPOINTS: {**FULL[m.ENDPOINTS], "c": b"1"}}))
    envoy.settle()
    assert held(envoy)[m.ROUTES] == {"r": b"to c"}
    assert envoy.stream.in_force == 2


def test_a_cluster_that_never_warms_does_not_hold_up_routes_for_ever() -> None:
    envoy = connected(FULL)
    assert envoy.stream is not None
    world = {**FULL, m.CLUSTER: {**FULL[m.CLUSTER], "c": b"eds 1"}, m.ROUTES: {"r": b"2"}}
    envoy.stream.offer(state(2, world, pending=[(m.ENDPOINTS, "c")]))
    envoy.settle()
    assert envoy.stream.waits_for_clusters

    envoy.stream.hurry()
    envoy.settle()

    assert held(envoy)[m.ROUTES] == {"r": b"2"}
    assert envoy.stream.in_force == 2


def test_a_changed_cluster_gets_its_endpoints_once_more() -> None:
    envoy = connected(FULL)
    stream = envoy.stream
    assert stream is not None
    stream.offer(state(2, {**FULL, m.CLUSTER: {**FULL[m.CLUSTER], "a": b"eds 2"}}))

    sent = []
    while (data := stream.response()) is not None:
        response = m.DeltaDiscoveryResponse.FromString(data)
        sent.append((response.type_url, [r.name for r in response.resources]))
    assert sent == [(m.CLUSTER, ["a"]), (m.ENDPOINTS, ["a"])]


def test_a_cluster_is_taken_away_only_after_the_routes_to_it() -> None:
    envoy = connected(FULL)
    assert envoy.stream is not None
    envoy.stream.offer(state(2, {**FULL, m.CLUSTER: {"a": b"eds 1"}, m.ROUTES: {"r": b"to a"}}))
    seen = []
    while envoy.collect() or envoy.take_response() or envoy.deliver_request():
        seen.append((dict(held(envoy)[m.ROUTES]), "b" in envoy.held[m.CLUSTER]))

    assert ({"r": b"to a b"}, False) not in seen
    assert seen[-1] == ({"r": b"to a"}, False)


def test_clusters_stay_while_envoy_refuses_the_routes_that_no_longer_use_them() -> None:
    envoy = connected(FULL)
    assert envoy.stream is not None
    envoy.stream.offer(state(2, {**FULL, m.CLUSTER: {"a": b"eds 1"}, m.ROUTES: {"r": b"bad"}}))
    envoy.settle()

    assert held(envoy)[m.ROUTES] == {"r": b"to a b"}
    assert "b" in envoy.held[m.CLUSTER]


def listening(*names: str, bad: str = "") -> World:
    return {**FULL, m.LISTENER: {name: b"bad" if name == bad else b"1" for name in names}}


def test_listeners_stay_until_those_in_their_place_are_there_and_while_envoy_refuses_one() -> None:
    envoy = connected(listening("https a:1", "http a:2", "tcp a:3"))
    assert envoy.stream is not None
    envoy.stream.offer(state(2, listening("https a:9", "tcp a:8", bad="https a:9")))
    envoy.collect()
    assert envoy.stream.in_force is None
    envoy.settle()

    assert set(held(envoy)[m.LISTENER]) == {"https a:1", "tcp a:8"}
    assert envoy.stream.in_force == 2

    envoy.stream.offer(state(3, listening("https a:10", "tcp a:8")))
    seen = []
    while envoy.collect() or envoy.take_response() or envoy.deliver_request():
        seen.append(set(held(envoy)[m.LISTENER]))
        assert "https a:1" in seen[-1] or envoy.stream.in_force == 3 or envoy.outbox
    assert {"https a:1", "https a:10", "tcp a:8"} in seen
    assert seen[-1] == {"https a:10", "tcp a:8"}


def test_a_listener_goes_with_the_one_that_comes_to_its_very_address() -> None:
    envoy = connected(listening("https a:1"))
    assert envoy.stream is not None
    envoy.stream.offer(state(2, listening("http a:1")))
    while envoy.collect() or envoy.take_response() or envoy.deliver_request():
        assert len(held(envoy)[m.LISTENER]) == 1

    assert set(held(envoy)[m.LISTENER]) == {"http a:1"}


def test_a_refusal_that_comes_after_its_object_is_gone_keeps_nothing_back() -> None:
    envoy = connected({**FULL, m.LISTENER: {}})
    assert envoy.stream is not None
    envoy.stream.offer(state(2, {**FULL, m.CLUSTER: {}, m.LISTENER: {"x": b"bad"}, m.ROUTES: {}}))
    envoy.collect()
    envoy.stream.offer(state(3, {**FULL, m.CLUSTER: {}, m.LISTENER: {}, m.ROUTES: {}}))
    envoy.settle()

    assert envoy.refusals == ["x"]
    assert not held(envoy).get(m.CLUSTER)


def test_an_empty_state_is_said_too_so_that_envoy_goes_on_to_listeners() -> None:
    envoy = connected({})

    assert envoy.responses == 2
    assert envoy.stream is not None
    assert envoy.stream.in_force == 1


def test_nothing_is_taken_away_while_the_state_is_not_whole() -> None:
    envoy = connected(FULL)
    envoy.connect(DeltaStream(state(0, {}, complete=False)))
    envoy.settle()

    assert held(envoy) == {kind: dict(bodies) for kind, bodies in FULL.items()}


def test_nothing_is_said_before_there_is_a_state() -> None:
    envoy = Envoy()
    envoy.connect(DeltaStream())
    envoy.settle()
    assert envoy.responses == 0

    assert envoy.stream is not None
    envoy.stream.offer(state(3, FULL))
    envoy.settle()
    assert envoy.stream.in_force == 3


# --- refusals -------------------------------------------------------------------------------------


def test_a_refused_resource_is_said_once_with_its_owner_and_the_others_go_on() -> None:
    world = {**FULL, m.CLUSTER: {"a": b"eds 1", "b": b"bad", "c": b"1"}}
    envoy = connected(world)

    assert set(envoy.held[m.CLUSTER]) == {"a", "c"}
    refused = [e for e in envoy.events if isinstance(e, Refused)]
    assert [(r.name, r.owner, r.message) for r in refused] == [("b", "owner/b", "it is bad")]
    assert envoy.refusals == ["b"]

    assert envoy.stream is not None
    envoy.stream.offer(state(2, {**world, m.CLUSTER: {**world[m.CLUSTER], "c": b"2"}}))
    envoy.settle()
    assert envoy.refusals == ["b"], "it has not changed"

    envoy.stream.offer(state(3, {**world, m.CLUSTER: {**world[m.CLUSTER], "b": b"good"}}))
    envoy.settle()
    assert held(envoy)[m.CLUSTER]["b"] == b"good"


def test_the_culprit_is_found_where_envoy_names_none() -> None:
    names = [f"e{n}" for n in range(20)]
    world = {
        m.CLUSTER: dict.fromkeys(names, b"eds"),
        m.ENDPOINTS: {n: b"bad" if n == "e7" else b"1" for n in names},
    }
    envoy = connected(world)

    assert [(e.name, e.message) for e in envoy.events if isinstance(e, Refused)] == [("e7", "it is bad")]
    assert set(envoy.held[m.ENDPOINTS]) == set(names) - {"e7"}


def test_large_states_are_sent_in_pieces() -> None:
    world = {m.CLUSTER: {f"c{n}": b"x" * 300_000 for n in range(10)}}
    envoy = Envoy()
    stream = DeltaStream(state(1, world))
    envoy.connect(stream)
    sizes = []
    while True:
        envoy.deliver_request()
        envoy.collect()
        sizes += [len(r) for r in envoy.inbox]
        if not envoy.take_response() and not envoy.outbox:
            break

    assert len(envoy.held[m.CLUSTER]) == 10
    assert len(sizes) > 3
    assert max(sizes) < 1_500_000


# --- secrets --------------------------------------------------------------------------------------

secret_steps = st.one_of(
    st.tuples(st.just("visit"), st.sampled_from("abcdef")),
    st.tuples(st.just("answer"), st.sampled_from("abcdef")),
    st.tuples(
        st.just("change"), st.tuples(st.sampled_from("abcdef"), st.sampled_from([b"1", b"2", b"bad", None]))
    ),
    st.tuples(st.just("evict"), st.sampled_from("abcdef")),
    st.tuples(st.sampled_from(["deliver", "collect", "take", "settle", "reconnect"]), st.none()),
)


@settings(max_examples=400, deadline=None)
@example(
    [("visit", "a"), ("change", ("a", b"1")), ("deliver", None), ("answer", "a"), ("change", ("a", b"2"))]
)
@given(st.lists(secret_steps, max_size=40))
def test_no_handshake_hangs_and_nothing_stale_is_served_once_all_is_answered(
    happenings: list[tuple[str, object]],
) -> None:
    envoy = Envoy()
    stream = DeltaStream(state(1, {}))
    envoy.connect(stream)
    envoy.settle()
    certificates: dict[str, bytes] = {}
    owed: set[str] = set()

    def secret(name: str) -> Resource | None:
        body = certificates.get(name)
        return None if body is None else made(m.SECRET, name, body)

    def note() -> None:
        for event in envoy.events:
            if isinstance(event, Ask):
                owed.add(event.name)
            elif isinstance(event, Refused):
                certificates.pop(event.name, None)
        envoy.events.clear()

    for what, value in happenings:
        if what == "visit":
            envoy.shake_hands(str(value))
        elif what == "answer" and value in owed:
            owed.discard(str(value))
            stream.answer(str(value), secret(str(value)))
        elif what == "change":
            name, body = value  # type: ignore[misc]
            certificates.pop(name, None)
            if body is not None:
                certificates[name] = body
            stream.answer(name, secret(name))
        elif what == "evict":
            stream.answer(str(value), None)
        elif what == "reconnect":
            stream = DeltaStream(state(1, {}))
            envoy.connect(stream)
            owed.clear()
        elif what in ("deliver", "collect", "take", "settle"):
            {
                "deliver": envoy.deliver_request,
                "collect": envoy.collect,
                "take": envoy.take_response,
                "settle": envoy.settle,
            }[what]()
        note()
    for _ in range(20):
        envoy.settle()
        note()
        if not owed:
            break
        for name in sorted(owed):
            stream.answer(name, secret(name))
        owed.clear()

    assert envoy.hanging == set()
    for name, (_, body) in envoy.held.get(m.SECRET, {}).items():
        assert certificates.get(name) == body
    assert set(stream.secrets.held) == set(envoy.held.get(m.SECRET, {}))


def test_a_name_that_no_response_can_carry_is_left_alone() -> None:
    stream = DeltaStream(state(1, {}))
    name = b"\xff\xfe.example"
    request = b"\x12" + bytes([len(m.SECRET)]) + m.SECRET.encode() + b"\x1a" + bytes([len(name)]) + name

    assert stream.received(request) == []
    assert stream.response() is None


def test_a_name_longer_than_any_domain_is_taken_away_without_asking() -> None:
    envoy = connected({})
    envoy.shake_hands("x" * 255)
    envoy.settle()

    assert envoy.hanging == set()
    assert [e for e in envoy.events if isinstance(e, Ask)] == []


def test_a_star_is_a_name_like_any_other_for_secrets() -> None:
    envoy = connected({})
    envoy.shake_hands("*")
    envoy.deliver_request()

    assert [e for e in envoy.events if isinstance(e, Ask)] == [Ask("*")]


def test_answers_that_are_ready_together_go_together() -> None:
    envoy = connected({})
    for n in range(50):
        envoy.shake_hands(f"n{n}.example")
    while envoy.deliver_request():
        pass
    assert envoy.stream is not None
    for event in envoy.events:
        assert isinstance(event, Ask)
        envoy.stream.answer(event.name, made(m.SECRET, event.name, b"1"))
    before = envoy.responses
    envoy.settle()

    assert envoy.hanging == set()
    assert envoy.responses - before == 1


def test_one_refused_secret_does_not_take_others_with_it() -> None:
    envoy = connected({})
    for name in ("a", "bad", "c"):
        envoy.shake_hands(name)
    while envoy.deliver_request():
        pass
    assert envoy.stream is not None
    for name in ("a", "bad", "c"):
        envoy.stream.answer(name, made(m.SECRET, name, name.encode()))
    envoy.settle()

    assert held(envoy)[m.SECRET] == {"a": b"a", "c": b"c"}
    assert envoy.hanging == set()
    assert [e.name for e in envoy.events if isinstance(e, Refused)] == ["bad"]


def refused_after(*, sent: bool) -> Envoy:
    """Give an Envoy that refuses a secret when another one in its place is on its way, or about to be."""
    envoy = connected({})
    envoy.shake_hands("a.example")
    while envoy.deliver_request():
        pass
    assert envoy.stream is not None
    envoy.stream.answer("a.example", made(m.SECRET, "a.example", b"bad"))
    envoy.collect()
    while envoy.take_response():
        pass
    envoy.stream.answer("a.example", made(m.SECRET, "a.example", b"good"))
    if sent:
        envoy.collect()
    envoy.settle()
    return envoy


def test_no_harm_is_done_by_the_refusal_of_a_secret_that_has_been_replaced_meanwhile() -> None:
    for sent in (False, True):
        envoy = refused_after(sent=sent)

        assert envoy.refusals
        assert held(envoy)[m.SECRET] == {"a.example": b"good"}
        assert not [e for e in envoy.events if isinstance(e, Refused)]


def test_who_subscribes_again_has_lost_its_copy_and_gets_another() -> None:
    envoy = connected(FULL)
    envoy.held[m.ENDPOINTS].clear()
    envoy._send(m.ENDPOINTS, subscribe={"a", "b"})
    envoy.settle()

    assert set(envoy.held[m.ENDPOINTS]) == {"a", "b"}


def test_a_name_that_is_not_there_is_said_to_be_absent() -> None:
    envoy = connected({m.LISTENER: {"l": b"routes=nowhere"}})

    assert f"{m.ROUTES}/nowhere" in envoy._answered


def test_a_star_as_the_first_name_of_all_is_answered_too() -> None:
    envoy = connected({})
    envoy.secrets_wanted.add("*")
    envoy._send(m.SECRET)
    envoy.deliver_request()

    assert [e for e in envoy.events if isinstance(e, Ask)] == [Ask("*")]


def test_a_lasting_secret_comes_late_changes_and_is_never_taken_away() -> None:
    """Envoy stays subscribed to what a listener's own configuration says, whatever it is told."""
    envoy = connected({})
    name = f"{LASTING}ca/{'a' * 250}.example"
    envoy.shake_hands(name)
    envoy.settle()
    assert [e for e in envoy.events if isinstance(e, Ask)] == [Ask(name)]
    stream = envoy.stream
    assert stream is not None

    assert stream.answer(name, None)
    envoy.settle()
    assert stream.secrets.pending == {name} and stream.silent
    for body in (b"one", b"bad", b"two"):
        assert stream.answer(name, made(m.SECRET, name, body))
        envoy.settle()
        assert stream.answer(name, None)
        envoy.settle()

    assert held(envoy)[m.SECRET] == {name: b"two"}
    assert [e.name for e in envoy.events if isinstance(e, Refused)] == [name]
