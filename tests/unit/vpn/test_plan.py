from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.rootd.table import guard, network
from edgeward.secret import Secret
from edgeward.vpn import plan as steps
from edgeward.vpn import wiring
from edgeward.vpn.desired import Outside, Psk
from edgeward.vpn.plan import Loaded, Observed, plan
from tests.unit.vpn.values import CONNECTIONS, GATEWAYS, connection, gateway

LOADED = st.builds(Loaded, st.none() | CONNECTIONS, st.booleans())
SOMETIMES = st.sampled_from(["", "another digest"])


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    """Give any state that there can be: half made, of another namespace or driver, with anything loaded."""
    if draw(st.booleans()):
        return carried_out(plan(draw(GATEWAYS), Observed()), Observed())[-1]
    where = draw(st.sampled_from(["", "vpn-0123456789ab", "qrouter-11111111-2222-4333-8444-555555555555"]))
    daemon = draw(st.sampled_from([None, "memory", "strongswan"])) if where else None
    loaded = draw(st.dictionaries(CONNECTIONS.map(lambda one: one.id), LOADED, max_size=3)) if daemon else {}
    stale = bool(where) and draw(st.booleans())
    left = bool(where) and draw(st.booleans())
    over = left and daemon is not None and draw(st.booleans())
    made = (draw(SOMETIMES) if where else "" for _ in range(2))
    return Observed(where, stale, *made, daemon, loaded, left, over)


def carried_out(todo, observed):
    """Give what is there after each of the steps, beginning with before the first."""
    found = [observed]
    for step in todo:
        observed = after(step, observed)
        found.append(observed)
    return found


def after(step, seen):
    match step:
        case steps.Make(where, _):
            assert not seen.namespace
            return Observed(namespace=where)
        case steps.Guard():
            assert step.namespace == seen.namespace
            return replace(seen, guard=step.digest)
        case steps.Connect(where, text):
            assert where == seen.namespace
            return replace(seen, network=wiring.digest(text))
        case steps.Start(where, driver):
            assert where == seen.namespace and seen.daemon is None
            return replace(seen, daemon=driver, loaded={})
        case steps.Load(one, before, active):
            assert seen.daemon and before == getattr(seen.loaded.get(one.id), "as_it_was", None)
            loaded = seen.loaded.get(one.id)
            still = bool(loaded and loaded.active)
            return replace(seen, loaded={**seen.loaded, one.id: Loaded(one, active or still)})
        case steps.Unload(id_):
            return replace(seen, loaded={key: one for key, one in seen.loaded.items() if key != id_})
        case steps.Activate(one):
            return replace(seen, loaded={**seen.loaded, one.id: Loaded(one, True)})
        case steps.Rest(one):
            return replace(seen, loaded={**seen.loaded, one.id: Loaded(one, False)})
        case steps.Rehearse(where, driver, _):
            assert where != seen.namespace and driver != seen.daemon
            return seen
        case steps.Leave(where, driver):
            assert where == seen.namespace and seen.daemon not in (None, driver)
            return replace(seen, daemon=None, loaded={}, left=True, taken_over=False)
        case steps.Clear(where):
            assert where == seen.namespace and seen.daemon and seen.left and seen.taken_over
            return replace(seen, left=False, taken_over=False)
        case steps.Stop(where, driver):
            assert (where, driver) == (seen.namespace, seen.daemon)
            return replace(seen, daemon=None, loaded={}, left=False)
        case steps.Remove(where):
            assert where == seen.namespace and seen.daemon is None
            return Observed()


@settings(max_examples=150)
@given(GATEWAYS | st.none(), observations())
def test_carrying_out_the_plan_gives_what_was_desired_and_then_nothing_is_left_to_do(desired, observed):
    world = carried_out(plan(desired, observed), observed)[-1]

    assert plan(desired, world) == []
    if desired is None:
        assert world == Observed()
        return
    assert (world.namespace, world.daemon) == (wiring.namespace(desired), desired.driver)
    assert {one.as_it_was for one in world.loaded.values()} == set(desired.connections)
    assert {one.active for one in world.loaded.values()} <= {desired.active}


@settings(max_examples=60)
@given(GATEWAYS | st.none(), observations())
def test_whoever_dies_after_any_step_arrives_the_next_time(desired, observed):
    for world in carried_out(plan(desired, observed), observed):
        assert plan(desired, carried_out(plan(desired, world), world)[-1]) == []


@settings(max_examples=100)
@given(GATEWAYS, GATEWAYS)
def test_what_a_daemon_knows_is_guarded_at_every_moment(before, desired):
    observed = carried_out(plan(before, Observed()), Observed())[-1]
    texts = {step.digest: step.pairs for step in (*plan(before, Observed()), *plan(desired, observed))
             if isinstance(step, steps.Guard)}  # fmt: skip

    for world in carried_out(plan(desired, observed), observed):
        known = [one.as_it_was for one in world.loaded.values()]
        assert covers(texts[world.guard], wiring.pairs(known)) if known else True


def covers(guarded, needed):
    have = [(one.local, ip_network(peer)) for one in guard.read(guarded) for peer in one.peers]
    return all(
        any(local == one.local and ip_network(peer).subnet_of(larger) for local, larger in have)
        for one in guard.read(needed)
        for peer in one.peers
    )


@given(GATEWAYS)
def test_what_stays_as_it_is_is_not_touched_whatever_changes_beside_it(desired):
    world = carried_out(plan(desired, Observed()), Observed())[-1]
    other = connection(id="00000000-0000-4000-8000-00000000ffff", peer_networks=("10.77.0.0/16",))
    more = desired.model_copy(update={"connections": (*desired.connections, other)})

    touched = [step for step in plan(more, world) if not isinstance(step, steps.Guard | steps.Connect)]

    assert touched == [steps.Load(other, None, desired.active)]


def test_a_change_says_what_it_was_before_and_a_switch_to_standby_plugs_out_first():
    one = connection()
    world = carried_out(plan(gateway(one), Observed()), Observed())[-1]
    changed = one.model_copy(update={"auth": Psk(secret=Secret("another"))})

    assert plan(gateway(changed), world) == [steps.Load(changed, one, True)]
    kinds = [type(step) for step in plan(gateway(one, active=False), world)]
    assert kinds == [steps.Connect, steps.Rest]


def test_another_driver_shows_that_it_takes_everything_before_the_present_one_ends():
    one, off = connection(), connection(id="00000000-0000-4000-8000-000000000002", enabled=False)
    world = carried_out(plan(gateway(one, off), Observed()), Observed())[-1]

    first, second, *rest = plan(gateway(one, off, driver="libreswan"), world)

    assert first == steps.Rehearse("vpn-0123456789ab-next", "libreswan", (one,))
    assert second == steps.Leave("vpn-0123456789ab", "libreswan")
    assert not any(isinstance(step, steps.Clear) for step in rest)
    assert [type(step) for step in rest] == [steps.Start, steps.Load, steps.Load]


def test_a_lent_namespace_that_was_made_anew_is_let_go_before_it_is_used_again():
    desired = gateway(connection(), namespace="qrouter-1", outside=Outside())
    world = replace(carried_out(plan(desired, Observed()), Observed())[-1], stale=True)

    kinds = [type(step) for step in plan(desired, world)]

    assert kinds == [steps.Stop, steps.Remove, steps.Make, steps.Guard, steps.Start, steps.Load]


@given(GATEWAYS)
def test_rootd_spells_what_it_is_asked_as_it_is_asked(desired):
    own = wiring.network(desired)

    assert own is None or network.typed(own) == own
    assert guard.typed(wiring.pairs(desired.connections)) == wiring.pairs(desired.connections)


@given(GATEWAYS, observations())
def test_batches_keep_the_order_and_tell_of_a_connection_once_in_each(desired, observed):
    todo = plan(desired, observed)
    found = list(steps.batches(todo, 3))

    assert [step for batch in found for step in batch] == todo
    assert all(len(batch) <= 3 and len({type(step) for step in batch}) == 1 for batch in found)
    assert all(
        len(batch) == 1 for batch in found if isinstance(batch[0], steps.Make | steps.Guard | steps.Start)
    )
