"""Whatever a client sends, it hears what is wrong with it, and nothing breaks."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeward.api.openstack.attributes import Asker, read
from edgeward.api.openstack.checks import list_of, subnet
from edgeward.api.openstack.faults import Fault
from edgeward.api.openstack.resources import CONNECTION, PORT, RESOURCES
from tests.unit.api.openstack.neutron import neutron

ASKER = Asker("a", everywhere=True)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)
ANYTHING = st.recursive(
    SCALARS
    | st.sampled_from(
        [
            "10.0.0.0/24",
            "fe80::1%eth0",
            "203.0.113.9",
            "2001:db8::9",
            "\ud800",
            "::/0",
            "aes-128",
            "0",
            "1500",
            "%",
            "\x00",
            "1" * 5000,
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
BODIES = [resource for resource in RESOURCES.values() if resource is not PORT]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(BODIES), st.data(), st.sampled_from(["post", "put"]))
def test_reading_gives_values_or_a_fault(resource, data, verb):
    values = data.draw(st.dictionaries(st.sampled_from(resource.names), ANYTHING, max_size=6))
    try:
        found = read(json.dumps({resource.singular: values}).encode(), resource, verb, ASKER)
    except Fault as fault:
        assert 400 <= fault.status < 500
        assert fault.message
    else:
        assert set(found) <= set(resource.names)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    with pytest.raises(Fault):
        read(data, CONNECTION, "post", ASKER)


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
async def test_no_value_of_an_attribute_is_a_defect(tmp_path, url):
    async with neutron(tmp_path, url) as here:
        await here.site()
        loop = asyncio.get_running_loop()
        group = {"name": "g", "type": "cidr", "endpoints": ["10.0.0.0/24"]}
        starts = {
            "ipsec_site_connection": here.connection(peer_address="203.0.113.9"),
            "endpoint_group": group,
            "vpnservice": {"router_id": here.ids["router"]},
            "subnet": {"network_id": here.ids["inner"], "cidr": "10.99.0.0/24", "ip_version": 4},
            "router": {"external_gateway_info": {"network_id": here.ids["world"]}},
        }
        found: list[tuple[int, object]] = []

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(BODIES), st.data())
        def asked(resource, data):
            changed = data.draw(st.dictionaries(st.sampled_from(resource.names), ANYTHING, max_size=2))
            if not str(changed.get("peer_address", "203.")).startswith(("203.", "fe80:", "2001:")):
                del changed["peer_address"]  # nobody's resolver is asked
            body = {resource.singular: {**starts.get(resource.singular, {}), **changed}}
            asking = here.ask("POST", f"/{resource.path}", content=json.dumps(body).encode())
            answer = asyncio.run_coroutine_threadsafe(asking, loop).result(10)
            assert answer.status_code < 500, (body, answer.text)
            found.append((answer.status_code, body))

        await asyncio.to_thread(asked)

    assert {201, 400} <= {status for status, _ in found}


class Counted(str):
    """A text that counts how often it is compared with others."""

    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.times += 1
        return str.__eq__(self, other)


def test_a_list_as_long_as_a_body_is_not_compared_each_with_each():
    values = [Counted(f"10.{at >> 8}.{at & 255}.0/24") for at in range(2000)]
    check = list_of(subnet)

    assert check(values) is None
    assert Counted.times <= 10 * len(values)
    assert (
        check(["10.0.0.0/24", "10.1.0.0/24", "10.0.0.0/24"]) == "Duplicate items in the list: '10.0.0.0/24'"
    )
