"""Networks, subnets, routers and their ports, as far as VPN as a service needs them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.api.openstack.neutron import NOBODY, neutron


async def test_addresses_come_from_the_external_networks_pools(tmp_path):
    async with neutron(tmp_path) as here:
        world = await here.made("/networks", "network", **{"router:external": True})
        pool = [{"start": "203.0.113.10", "end": "203.0.113.11"}]
        await here.made(
            "/subnets",
            "subnet",
            network_id=world["id"],
            cidr="203.0.113.0/24",
            ip_version=4,
            allocation_pools=pool,
        )
        await here.subnet("out6", world["id"], "2001:db8::/64", 6)
        info = {"network_id": world["id"]}
        routers = [await here.made("/routers", "router", external_gateway_info=info) for _ in range(2)]
        third = await here.made("/routers", "router", external_gateway_info=info)
        services = await here.made("/vpn/vpnservices", "vpnservice", router_id=routers[0]["id"])
        asked = {**info, "external_fixed_ips": [{"ip_address": "203.0.113.10"}]}
        taken = await here.error("POST", "/routers", {"router": {"external_gateway_info": asked}})
        wrong = await here.error(
            "POST", "/routers", {"router": {"external_gateway_info": {**info, "external_fixed_ips": 5}}}
        )
        said = {**info, "enable_snat": False, "external_fixed_ips": [{"ip_address": "203.0.113.99"}]}
        chosen = await here.made("/routers", "router", external_gateway_info=said)

    places = [
        [place["ip_address"] for place in router["external_gateway_info"]["external_fixed_ips"]]
        for router in (*routers, third)
    ]
    assert places == [["203.0.113.10", "2001:db8::2"], ["203.0.113.11", "2001:db8::3"], ["2001:db8::4"]]
    assert (services["external_v4_ip"], services["external_v6_ip"]) == ("203.0.113.10", "2001:db8::2")
    assert taken[:2] == (409, "IpAddressInUse")
    assert wrong[:2] == (400, "HTTPBadRequest")
    assert chosen["external_gateway_info"]["enable_snat"] is False
    assert chosen["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] == "203.0.113.99"


async def test_routers_that_are_made_at_once_get_addresses_of_their_own(tmp_path):
    async with neutron(tmp_path) as here:
        world = await here.made("/networks", "network", **{"router:external": True})
        await here.subnet("out", world["id"], "203.0.113.0/24")
        info = {"network_id": world["id"]}
        made = await asyncio.gather(
            *(here.made("/routers", "router", external_gateway_info=info) for _ in range(8))
        )
        inner = await here.made("/networks", "network")
        await here.subnet("a", inner["id"], "10.1.0.0/24")
        await here.subnet("b", inner["id"], "10.2.0.0/24")
        path = f"/routers/{made[0]['id']}/add_router_interface"
        added = await asyncio.gather(
            *(here.ask("PUT", path, {"subnet_id": here.ids[name]}) for name in ("a", "b"))
        )
        ports = (await here.ask("GET", f"/ports?device_id={made[0]['id']}")).json()["ports"]

    places = [router["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] for router in made]
    assert len(set(places)) == 8
    assert [answer.status_code for answer in added] == [200, 200]
    assert len(ports) == 3


async def test_interfaces_come_and_go(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        router = here.ids["router"]
        ports = (await here.ask("GET", f"/ports?device_id={router}")).json()["ports"]
        inner = next(p for p in ports if p["fixed_ips"][0]["subnet_id"] == here.ids["in6"])
        again = await here.error(
            "PUT", f"/routers/{router}/add_router_interface", {"subnet_id": here.ids["in"]}
        )
        nothing = await here.error("PUT", f"/routers/{router}/add_router_interface", {})
        removed = await here.ask(
            "PUT", f"/routers/{router}/remove_router_interface", {"port_id": inner["id"]}
        )
        gone = await here.error("GET", f"/ports/{inner['id']}")
        missing = await here.error(
            "PUT", f"/routers/{router}/remove_router_interface", {"subnet_id": here.ids["in6"]}
        )
        one = await here.ask("GET", f"/ports?fixed_ips=subnet_id={here.ids['in']}")

    assert [p["device_owner"] for p in ports] == [
        "network:router_gateway", "network:router_interface", "network:router_interface",
    ]  # fmt: skip
    assert inner["fixed_ips"][0]["ip_address"] == "2001:db8:1::1"
    assert again[:2] == (400, "BadRequest")
    assert "already has a port on subnet" in again[2]
    assert nothing[2] == "Bad router request: Either subnet_id or port_id must be specified."
    assert removed.json()["subnet_id"] == here.ids["in6"]
    assert gone[1] == "PortNotFound"
    assert missing[1] == "RouterInterfaceNotFoundForSubnet"
    assert len(one.json()["ports"]) == 1


async def test_a_gateway_can_be_taken_away_and_given_again(tmp_path):
    async with neutron(tmp_path) as here:
        world = await here.made("/networks", "network", **{"router:external": True})
        inner = await here.made("/networks", "network")
        await here.subnet("out", world["id"], "203.0.113.0/24")
        made = await here.made("/routers", "router", name="gw")
        path = f"/routers/{made['id']}"

        async def gateway(info: object) -> object:
            body = {"router": {"external_gateway_info": info}}
            return (await here.ask("PUT", path, body)).json()["router"]["external_gateway_info"]

        given = await gateway({"network_id": world["id"]})
        kept = await gateway({"network_id": world["id"], "enable_snat": False})
        none = await gateway({})
        body = {"router": {"external_gateway_info": {"network_id": inner["id"]}}}
        wrong = await here.error("PUT", path, body)
        body = {"router": {"external_gateway_info": {"network_id": NOBODY}}}
        absent = await here.error("PUT", path, body)

    assert given["external_fixed_ips"][0]["ip_address"] == "203.0.113.2"
    assert kept == {**given, "enable_snat": False}
    assert none is None
    assert "is not an external network" in wrong[2]
    assert absent[1] == "NetworkNotFound"


async def test_networks_go_with_their_subnets(tmp_path):
    async with neutron(tmp_path) as here:
        made = await here.made("/networks", "network", name="n")
        await here.subnet("s", made["id"], "10.9.0.0/24")
        body = {"subnet": {"network_id": made["id"], "cidr": "10.9.0.0/24", "ip_version": 6}}
        mixed = await here.error("POST", "/subnets", body)
        body = {"subnet": {"network_id": NOBODY, "cidr": "10.9.0.0/24", "ip_version": 4}}
        absent = await here.error("POST", "/subnets", body)
        shown = (await here.ask("GET", f"/networks/{made['id']}")).json()["network"]
        gone = await here.ask("DELETE", f"/networks/{made['id']}")
        left = (await here.ask("GET", "/subnets")).json()["subnets"]

    assert mixed[0] == 400
    assert absent[:2] == (404, "NetworkNotFound")
    assert shown["subnets"] == [here.ids["s"]]
    assert gone.status_code == 204
    assert left == []


async def test_what_is_no_name_of_a_bridge_is_refused_by_the_clients_own_word(tmp_path):
    async with neutron(tmp_path) as here:
        body = {"network": {"name": "world", "provider:physical_network": "br ex"}}
        status, _, message = await here.error("POST", "/networks", body)

    assert status == 400
    assert message == (
        "Invalid input for provider:physical_network. Reason: 'br ex' is not the name of a bridge of the host."
    )


async def test_subnets_of_one_network_have_no_addresses_in_common(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        inner = here.ids["inner"]
        body = {"subnet": {"network_id": inner, "cidr": "10.1.0.128/25", "ip_version": 4}}
        assert await here.error("POST", "/subnets", body) == (
            400,
            "InvalidInput",
            "Invalid input for operation: Requested subnet with cidr: 10.1.0.128/25 for network: "
            f"{inner} overlaps with another subnet.",
        )
        elsewhere = await here.made("/networks", "network", name="elsewhere")
        await here.subnet("same", elsewhere["id"], "10.1.0.0/24")


@pytest.mark.parametrize("value", [5, ["a"], {"a": 1}, "x", "203.0.113.300", "fe80::1%eth0", "\ud800"])
async def test_a_place_that_is_none_is_refused(tmp_path, value):
    async with neutron(tmp_path) as here:
        await here.site()
        places = [{"external_fixed_ips": [{key: value}]} for key in ("subnet_id", "ip_address")]
        for place in places:
            info = {"network_id": here.ids["world"], **place}
            said = json.dumps({"router": {"external_gateway_info": info}}).encode()
            found = await here.error("POST", "/routers", content=said)
            assert found[:2] == (400, "HTTPBadRequest")
            assert "external_gateway_info" in found[2]
        subnet = {"network_id": here.ids["inner"], "cidr": "10.99.0.0/24", "ip_version": 4}
        pool = {"start": value, "end": "10.99.0.9"}
        said = json.dumps({"subnet": {**subnet, "allocation_pools": [pool]}}).encode()
        found = await here.error("POST", "/subnets", content=said)
        assert found[:2] == (400, "HTTPBadRequest")


async def test_a_router_has_few_addresses_outside(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        info = {"network_id": here.ids["world"], "external_fixed_ips": [{}] * 9}
        found = await here.error("POST", "/routers", {"router": {"external_gateway_info": info}})

    assert found[:2] == (400, "InvalidInput")
    assert "Exceeded maximum amount of fixed ips per port" in found[2]
