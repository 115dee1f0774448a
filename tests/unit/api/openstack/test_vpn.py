"""VPN as a service, asked as OpenStack's clients ask: what comes back, and in which words it is refused."""

from __future__ import annotations

from edgeward.declaration.feed import Tunnels
from edgeward.vpn.naming import gateway_id
from tests.unit.api.openstack.neutron import NOBODY, neutron
from tests.unit.controller.assembled import on_both

CONNECTIONS = "/vpn/ipsec-site-connections"


async def test_policies_have_neutrons_defaults(tmp_path):
    async with neutron(tmp_path) as here:
        ike = await here.made("/vpn/ikepolicies", "ikepolicy")
        ipsec = await here.made("/vpn/ipsecpolicies", "ipsecpolicy", name="p", lifetime={"value": "120"})
        read = (await here.ask("GET", f"/vpn/ipsecpolicies/{ipsec['id']}")).json()["ipsecpolicy"]

    assert ike == {
        "id": ike["id"],
        "tenant_id": "default",
        "project_id": "default",
        "name": "",
        "description": "",
        "auth_algorithm": "sha1",
        "encryption_algorithm": "aes-128",
        "phase1_negotiation_mode": "main",
        "lifetime": {"units": "seconds", "value": 3600},
        "ike_version": "v1",
        "pfs": "group5",
    }
    assert (ipsec["transform_protocol"], ipsec["encapsulation_mode"]) == ("esp", "tunnel")
    assert ipsec["lifetime"] == {"units": "seconds", "value": "120"}
    assert read["lifetime"] == {"units": "seconds", "value": 120}


async def test_a_connection_has_neutrons_defaults_and_waits_for_a_node(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        made = await here.connected(dpd=None)
        service = (await here.ask("GET", f"/vpn/vpnservices/{here.ids['svc']}")).json()["vpnservice"]

    assert made == {
        "id": made["id"],
        "tenant_id": "default",
        "project_id": "default",
        "description": "",
        **here.connection(),
        "peer_cidrs": [],
        "local_id": "",
        "route_mode": "static",
        "auth_mode": "psk",
        "mtu": 1500,
        "initiator": "bi-directional",
        "admin_state_up": True,
        "status": "PENDING_CREATE",
        "dpd": {"action": "hold", "interval": 30, "timeout": 120},
    }
    assert service["external_v4_ip"] == "203.0.113.2"
    assert service["external_v6_ip"] is None
    assert service["status"] == "PENDING_CREATE"


BAD_BODIES = [
    (b"{", 400, "MalformedRequestBody", "Malformed request body: Cannot understand JSON."),
    (b"", 400, "HTTPBadRequest", "Resource body required"),
    (b"{}", 400, "HTTPBadRequest", "Resource body required"),
    (b'{"x": {}}', 400, "HTTPBadRequest", "Unable to find 'ikepolicy' in request body"),
    (b'{"ikepolicy": []}', 400, "HTTPBadRequest", "Object 'ikepolicy' contains invalid data"),
    (b'{"ikepolicy": {"a": 1, "b": 2}}', 400, "HTTPBadRequest", "Unrecognized attribute(s) 'a, b'"),
    (b'{"ikepolicy": {"id": "x"}}', 400, "HTTPBadRequest", "Attribute 'id' not allowed in POST"),
    (
        b'{"ikepolicy": {"project_id": "a", "tenant_id": "b"}}',
        *(400, "HTTPBadRequest", "'project_id' and 'tenant_id' do not match"),
    ),
]


async def test_bodies_are_refused_in_neutrons_words(tmp_path):
    async with neutron(tmp_path) as here:
        found = [await here.error("POST", "/vpn/ikepolicies", content=case[0]) for case in BAD_BODIES]

    assert found == [case[1:] for case in BAD_BODIES]


BAD_VALUES = [
    ({"auth_algorithm": "md5"}, "auth_algorithm. Reason: md5 is not in valid_values."),
    ({"auth_algorithm": "SHA1"}, "auth_algorithm. Reason: SHA1 is not in valid_values."),
    ({"name": 5}, "name. Reason: '5' is not a valid string."),
    ({"name": "n" * 256}, f"name. Reason: '{'n' * 256}' exceeds maximum length of 255."),
    ({"lifetime": {"value": 59}}, "lifetime. Reason: '59' is too small - must be at least '60'."),
    ({"lifetime": {"value": "x"}}, "lifetime. Reason: 'x' is not an integer."),
    ({"lifetime": {"x": 1}}, "lifetime. Reason: Unexpected keys supplied: x."),
    ({"lifetime": []}, "lifetime. Reason: '[]' is not a dictionary."),
    ({"lifetime": {"units": "kilobytes"}}, "lifetime. Reason: kilobytes is not in valid_values."),
]


async def test_values_are_refused_in_neutrons_words(tmp_path):
    async with neutron(tmp_path) as here:
        bodies = [{"ikepolicy": values} for values, _ in BAD_VALUES]
        found = [await here.error("POST", "/vpn/ikepolicies", body) for body in bodies]

    assert found == [(400, "HTTPBadRequest", f"Invalid input for {reason}") for _, reason in BAD_VALUES]


BAD_CONNECTIONS = [
        ({"vpnservice_id": ...}, 400, "HTTPBadRequest",
         "Failed to parse request. Required attribute 'vpnservice_id' not specified"),
        ({"vpnservice_id": "x"}, 400, "HTTPBadRequest",
         "Invalid input for vpnservice_id. Reason: 'x' is not a valid UUID."),
        ({"auth_mode": "psk"}, 400, "HTTPBadRequest", "Attribute 'auth_mode' not allowed in POST"),
        ({"mtu": "abc"}, 400, "InvalidInput", "Invalid input for operation: 'abc' is not an integer."),
        ({"mtu": -1}, 400, "HTTPBadRequest", "Invalid input for mtu. Reason: '-1' should be non-negative."),
        ({"mtu": 67}, 400, "IPsecSiteConnectionMtuError",
         "ipsec_site_connection MTU 67 is too small for ipv4"),
        ({"admin_state_up": "maybe"}, 400, "InvalidInput",
         "Invalid input for operation: 'maybe' cannot be converted to boolean."),
        ({"vpnservice_id": NOBODY}, 404, "VPNServiceNotFound", f"VPNService {NOBODY} could not be found"),
        ({"ikepolicy_id": NOBODY}, 404, "IKEPolicyNotFound", f"IKEPolicy {NOBODY} could not be found"),
        ({"ipsecpolicy_id": NOBODY}, 404, "IPsecPolicyNotFound", f"IPsecPolicy {NOBODY} could not be found"),
        ({"peer_ep_group_id": NOBODY}, 404, "VPNEndpointGroupNotFound",
         f"Endpoint group {NOBODY} could not be found"),
        ({"peer_cidrs": "10.9.0.0/24"}, 400, "PeerCidrsInvalid",
         "Peer CIDRs cannot be specified, when using endpoint groups"),
        ({"peer_cidrs": ["10.9.0.0"]}, 400, "HTTPBadRequest",
         "Invalid input for peer_cidrs. Reason: '10.9.0.0' is not a valid IP subnet."),
        ({"peer_cidrs": ["10.9.0.0/24", "10.9.0.0/24"]}, 400, "HTTPBadRequest",
         "Invalid input for peer_cidrs. Reason: Duplicate items in the list: '10.9.0.0/24'."),
        ({"peer_ep_group_id": None}, 400, "MissingRequiredEndpointGroup",
         "Missing endpoint group peer for IPSec site-to-site connection"),
        ({"peer_ep_group_id": None, "local_ep_group_id": None}, 400, "MissingRequiredEndpointGroup",
         "Missing endpoint groups local and peer for IPSec site-to-site connection"),
        ({"dpd": {"interval": 120}}, 400, "IPsecSiteConnectionDpdIntervalValueError",
         "ipsec_site_connection dpd_timeout is equal to or less than dpd_interval"),
        ({"dpd": {"interval": -1}}, 400, "HTTPBadRequest",
         "Invalid input for dpd. Reason: '-1' should be non-negative."),
        ({"peer_address": "no.such.host.invalid"}, 400, "VPNPeerAddressNotResolved",
         "Peer address no.such.host.invalid cannot be resolved"),
        ({"peer_address": "fe80::1%eth0"}, 400, "VPNPeerAddressNotResolved",
         "Peer address fe80::1%eth0 cannot be resolved"),
        ({"peer_address": ""}, 400, "VPNPeerAddressNotResolved", "Peer address  cannot be resolved"),
]  # fmt: skip


async def test_connections_are_refused_in_neutrons_words(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        bodies = [{"ipsec_site_connection": here.connection(**case[0])} for case in BAD_CONNECTIONS]
        found = [await here.error("POST", CONNECTIONS, body) for body in bodies]

    assert found == [case[1:] for case in BAD_CONNECTIONS]


async def test_endpoints_are_refused_in_neutrons_words(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        ids = here.ids
        await here.group("both", "subnet", [ids["in"], ids["in6"]])
        await here.group("off", "subnet", [ids["elsewhere"]])
        await here.group("there6", "cidr", ["2001:db8:2::/64"])
        await here.group("mixed", "cidr", ["2001:db8:2::/64", "10.2.0.0/24"])

        async def refused(**values: object) -> tuple[str, str]:
            body = {"ipsec_site_connection": here.connection(**values)}
            status, type_, message = await here.error("POST", CONNECTIONS, body)
            assert status == 400
            return type_, message

        mixed = "do not have the same IP version, as required for IPSec site-to-site connection"
        assert await refused(local_ep_group_id=ids["there"]) == (
            "WrongEndpointGroupType",
            f"Endpoint group {ids['there']} type is 'cidr' and should be 'subnet'",
        )
        assert await refused(peer_ep_group_id=ids["here"]) == (
            "WrongEndpointGroupType",
            f"Endpoint group {ids['here']} type is 'subnet' and should be 'cidr'",
        )
        assert await refused(local_ep_group_id=ids["both"]) == (
            "MixedIPVersionsForIPSecEndpoints",
            f"Endpoints in group {ids['both']} {mixed}",
        )
        assert await refused(peer_ep_group_id=ids["mixed"]) == (
            "MixedIPVersionsForIPSecEndpoints",
            f"Endpoints in group {ids['mixed']} {mixed}",
        )
        assert await refused(peer_ep_group_id=ids["there6"]) == (
            "MixedIPVersionsForIPSecConnection",
            "IP versions are not compatible between peer and local endpoints",
        )
        assert await refused(local_ep_group_id=ids["off"]) == (
            "SubnetIsNotConnectedToRouter",
            f"Subnet {ids['elsewhere']} is not connected to Router {ids['router']}",
        )
        assert await refused(peer_address="2001:db8::9") == (
            "ExternalNetworkHasNoSubnet",
            f"Router's {ids['router']} external network has no IPv6 subnet",
        )
        legacy = {"vpnservice_id": ids["old"], "local_ep_group_id": None, "peer_ep_group_id": None}
        assert await refused(**legacy) == (
            "MissingPeerCidrs",
            "Missing peer CIDRs for IPsec site-to-site connection",
        )
        assert await refused(**legacy | {"peer_cidrs": ["10.2.0.0/24", "::/0"]}) == (
            "MixedIPVersionsForPeerCidrs",
            f"Peer CIDRs {mixed}",
        )
        assert await refused(vpnservice_id=ids["old"], peer_cidrs="10.2.0.0/24") == (
            "InvalidEndpointGroup",
            "Endpoint groups local and peer cannot be specified, when VPN Service has subnet specified",
        )
        made = await here.connected(**legacy, peer_cidrs="10.2.0.5/24", mtu="1400")
        assert (made["peer_cidrs"], made["mtu"]) == (["10.2.0.5/24"], 1400)


BAD_GROUPS = [
        ({"type": "cidr", "endpoints": []}, "MissingEndpointForEndpointGroup",
         "No endpoints specified for endpoint group 'g'"),
        ({"type": "cidr", "endpoints": ["10.2.0.0/24", "10.2.0.0/24"]}, "InvalidEndpointInEndpointGroup",
         "Endpoint '10.2.0.0/24' is invalid for group type 'cidr': Endpoints have to be unique"),
        ({"type": "cidr", "endpoints": "10.2.0.0/99"}, "InvalidEndpointInEndpointGroup",
         "Endpoint '10.2.0.0/99' is invalid for group type 'cidr': Invalid CIDR"),
        ({"type": "subnet", "endpoints": ["x"]}, "InvalidEndpointInEndpointGroup",
         "Endpoint 'x' is invalid for group type 'subnet': Invalid UUID"),
        ({"type": "subnet", "endpoints": [NOBODY]}, "NonExistingSubnetInEndpointGroup",
         f"Subnet {NOBODY} in endpoint group does not exist"),
        ({"type": "host", "endpoints": ["x"]}, "HTTPBadRequest",
         "Invalid input for type. Reason: host is not in valid_values."),
]  # fmt: skip


async def test_groups_are_refused_in_neutrons_words(tmp_path):
    async with neutron(tmp_path) as here:
        bodies = [{"endpoint_group": {"name": "g", **values}} for values, *_ in BAD_GROUPS]
        found = [await here.error("POST", "/vpn/endpoint-groups", body) for body in bodies]

    assert found == [(400, type_, message) for _, type_, message in BAD_GROUPS]


async def test_groups_of_other_types_are_kept_unread(tmp_path):
    async with neutron(tmp_path) as here:
        made = await here.made("/vpn/endpoint-groups", "endpoint_group", type="vlan", endpoints=[100])

    assert made["endpoints"] == ["100"]


async def test_services_are_refused_in_neutrons_words(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        closed = await here.made("/routers", "router", name="closed")

        async def refused(**values: object) -> tuple[int, str, str]:
            return await here.error("POST", "/vpn/vpnservices", {"vpnservice": values})

        assert await refused(router_id=NOBODY) == (
            404, "RouterNotFound", f"Router {NOBODY} could not be found",
        )  # fmt: skip
        assert await refused(router_id=closed["id"]) == (
            400, "RouterIsNotExternal", f"Router {closed['id']} has no external network gateway set",
        )  # fmt: skip
        assert await refused(router_id=here.ids["router"], subnet_id=NOBODY) == (
            400, "SubnetIsNotConnectedToRouter",
            f"Subnet {NOBODY} is not connected to Router {here.ids['router']}",
        )  # fmt: skip
        assert await refused(router_id=here.ids["router"], flavor_id=NOBODY) == (
            404, "FlavorNotFound", f"Flavor {NOBODY} could not be found.",
        )  # fmt: skip


async def test_ah_with_esp_can_be_a_policy_and_not_a_connections(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        policy = await here.made("/vpn/ipsecpolicies", "ipsecpolicy", transform_protocol="ah-esp")
        body = {"ipsec_site_connection": here.connection(ipsecpolicy_id=policy["id"], vpnservice_id=NOBODY)}

        assert await here.error("POST", CONNECTIONS, body) == (
            400,
            "IpsecValidationFailure",
            "IPSec does not support IPsec Policy attribute transform_protocol with value 'ah-esp'",
        )


async def test_what_is_in_use_stays(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        ids = here.ids
        connection = await here.connected()
        used = "is in use by existing IPsecSiteConnection and can't be updated or deleted"
        for path, kind, id_, name in (
            ("ikepolicies", "ikepolicy", ids["ike"], "IKEPolicy"),
            ("ipsecpolicies", "ipsecpolicy", ids["ipsec"], "IPsecPolicy"),
        ):
            expected = (409, f"{name}InUse", f"{name} {id_} {used}")
            assert await here.error("DELETE", f"/vpn/{path}/{id_}") == expected
            assert await here.error("PUT", f"/vpn/{path}/{id_}", {kind: {"name": "new"}}) == expected
        assert await here.error("DELETE", f"/vpn/vpnservices/{ids['svc']}") == (
            409, "VPNServiceInUse", f"VPNService {ids['svc']} is still in use",
        )  # fmt: skip
        assert await here.error("DELETE", f"/vpn/endpoint-groups/{ids['there']}") == (
            400, "EndpointGroupInUse", f"Endpoint group {ids['there']} is in use and cannot be deleted",
        )  # fmt: skip
        renamed = await here.ask(
            "PUT", f"/vpn/endpoint-groups/{ids['there']}", {"endpoint_group": {"name": "n"}}
        )
        assert renamed.json()["endpoint_group"]["name"] == "n"
        status, type_, message = await here.error("DELETE", f"/routers/{ids['router']}")
        services = ",".join(sorted([ids["svc"], ids["old"]]))
        assert (status, type_) == (409, "RouterInUse")
        assert message == f"Router {ids['router']} is currently used by VPN services ({services})"
        cleared = {"router": {"external_gateway_info": {}}}
        assert (await here.error("PUT", f"/routers/{ids['router']}", cleared))[:2] == (409, "RouterInUse")
        remove = f"/routers/{ids['router']}/remove_router_interface"
        assert await here.error("PUT", remove, {"subnet_id": ids["in"]}) == (
            409, "SubnetInUseByVPNService", f"Subnet {ids['in']} is used by VPNService {ids['old']}",
        )  # fmt: skip
        assert (await here.ask("DELETE", f"/vpn/vpnservices/{ids['old']}")).status_code == 204
        assert await here.error("PUT", remove, {"subnet_id": ids["in"]}) == (
            409, "SubnetInUseByIPsecSiteConnection",
            f"Subnet {ids['in']} is used by ipsec site connection {connection['id']}",
        )  # fmt: skip
        assert (await here.error("DELETE", f"/subnets/{ids['in']}"))[1] == "SubnetInUseByEndpointGroup"
        assert (await here.error("DELETE", f"/networks/{ids['world']}"))[1] == "NetworkInUse"
        for path in (f"{CONNECTIONS}/{connection['id']}", f"/vpn/ikepolicies/{ids['ike']}"):
            answer = await here.ask("DELETE", path)
            assert (answer.status_code, answer.content) == (204, b"")


@on_both
async def test_a_change_keeps_what_it_does_not_say(tmp_path, url):
    async with neutron(tmp_path, url) as here:
        await here.site()
        made = await here.connected(dpd={"action": "clear", "timeout": 90}, name="before")
        path = f"{CONNECTIONS}/{made['id']}"
        body = {"ipsec_site_connection": {"dpd": {"interval": 5}, "name": "after"}}
        assert await here.error("PUT", path, body) == (
            400,
            "VPNStateInvalidToUpdate",
            f"Invalid state PENDING_CREATE of vpnaas resource {made['id']} for updating",
        )
        bad = {"ipsec_site_connection": {"dpd": {"interval": 90}}}
        assert (await here.error("PUT", path, bad))[1] == "IPsecSiteConnectionDpdIntervalValueError"
        await heard(here, made["id"], "active")
        changed = (await here.ask("PUT", path, body)).json()["ipsec_site_connection"]
        policy = f"/vpn/ikepolicies/{(await here.made('/vpn/ikepolicies', 'ikepolicy'))['id']}"
        renewed = await here.ask("PUT", policy, {"ikepolicy": {"lifetime": {"value": 600}}})

    assert changed == {
        **made,
        "name": "after",
        "status": "ACTIVE",
        "dpd": {"action": "clear", "interval": 5, "timeout": 90},
    }
    assert renewed.json()["ikepolicy"]["lifetime"] == {"units": "seconds", "value": 600}


async def test_a_status_is_what_nodes_say(tmp_path):
    said = {"active": "ACTIVE", "connecting": "DOWN", "disabled": "DOWN", "error": "DOWN"}
    async with neutron(tmp_path) as here:
        await here.site()
        made = await here.connected()
        for phase, status in said.items():
            await heard(here, made["id"], phase)
            one = await here.ask("GET", f"{CONNECTIONS}/{made['id']}")
            some = await here.ask("GET", CONNECTIONS, params={"status": status})
            assert one.json()["ipsec_site_connection"]["status"] == status
            assert [c["id"] for c in some.json()["ipsec_site_connections"]] == [made["id"]]


async def heard(here, connection: str, phase: str) -> None:
    await told(here, "running", {"connection": connection, "phase": phase, "since": 1.0})


async def told(here, daemon: str, *connections: dict[str, object]) -> None:
    gateway = gateway_id("default", "routers", here.ids["router"])
    said = {"id": gateway, "phase": daemon, "since": 1.0, "connections": list(connections)}
    headers = await here.here.node("n1")
    body = Tunnels.model_validate({"gateways": [said]}).model_dump(mode="json")
    answer = await here.here.http.post("/v1/nodes/n1/tunnels", json=body, headers=headers)
    assert answer.status_code in (200, 204), answer.text


async def test_what_cannot_be_changed_is_said(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        made = await here.connected()
        for name in ("id", "tenant_id", "vpnservice_id", "ikepolicy_id", "status", "auth_mode"):
            body = {"ipsec_site_connection": {name: NOBODY}}
            assert await here.error("PUT", f"{CONNECTIONS}/{made['id']}", body) == (
                400, "HTTPBadRequest", f"Cannot update read-only attribute {name}",
            )  # fmt: skip


async def test_secrets_are_for_admins_one_at_a_time(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        made = await here.connected(psk="hush-hush")
        path = f"{CONNECTIONS}/{made['id']}"
        listed = await here.ask("GET", CONNECTIONS)
        reader = await here.here.token("reader", "viewer")
        operator = await here.here.token("operator", "operator")
        found = [
            (await here.here.http.get(f"/v2.0{path}", headers=who)).json()["ipsec_site_connection"]["psk"]
            for who in (here.headers, operator, reader)
        ]
        exported = (await here.here.http.get("/v1/export", headers=await here.here.token("b", "admin"))).text

    assert found == ["hush-hush", None, None]
    assert "hush-hush" not in listed.text
    assert "hush-hush" not in exported
    assert listed.json()["ipsec_site_connections"][0]["psk"] is None


async def test_what_is_not_there_is_said_with_its_kind(tmp_path):
    async with neutron(tmp_path) as here:
        for path, type_, message in (
            ("/vpn/ikepolicies/x", "IKEPolicyNotFound", "IKEPolicy x could not be found"),
            ("/vpn/ipsecpolicies/x", "IPsecPolicyNotFound", "IPsecPolicy x could not be found"),
            ("/vpn/vpnservices/x", "VPNServiceNotFound", "VPNService x could not be found"),
            ("/vpn/endpoint-groups/x", "VPNEndpointGroupNotFound", "Endpoint group x could not be found"),
            (f"{CONNECTIONS}/x", "IPsecSiteConnectionNotFound", "ipsec_site_connection x not found"),
            ("/routers/x", "RouterNotFound", "Router x could not be found"),
            ("/vpn/vpnservices.xml", "HTTPNotFound", "The resource could not be found."),
            ("/vpn", "HTTPNotFound", "The resource could not be found."),
            ("/nothing", "HTTPNotFound", "The resource could not be found."),
        ):
            assert await here.error("GET", path) == (404, type_, message)
            if type_ != "HTTPNotFound":
                assert (await here.error("DELETE", path))[0] == 404
        assert (await here.error("PATCH", "/vpn/ikepolicies"))[:2] == (405, "HTTPMethodNotAllowed")


async def test_what_a_flavors_daemon_cannot_do_is_refused_beforehand(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        flavors = {f["name"]: f["id"] for f in (await here.ask("GET", "/flavors")).json()["flavors"]}
        other = await here.made("/routers", "router", external_gateway_info={"network_id": here.ids["world"]})
        await here.subnet("third", here.ids["inner"], "10.3.0.0/24")
        await here.ask(
            "PUT", f"/routers/{other['id']}/add_router_interface", {"subnet_id": here.ids["third"]}
        )
        service = await here.made(
            "/vpn/vpnservices",
            "vpnservice",
            router_id=other["id"],
            subnet_id=here.ids["third"],
            flavor_id=flavors["libreswan"],
        )
        policy = await here.made("/vpn/ikepolicies", "ikepolicy", encryption_algorithm="aes-256-ccm-16")
        values = here.connection(
            vpnservice_id=service["id"],
            ikepolicy_id=policy["id"],
            local_ep_group_id=None,
            peer_ep_group_id=None,
            peer_cidrs=["10.2.0.0/24"],
        )
        refused = await here.error("POST", CONNECTIONS, {"ipsec_site_connection": values})
        taken = await here.connected(ikepolicy_id=policy["id"])
        values["ikepolicy_id"] = (await here.made("/vpn/ikepolicies", "ikepolicy"))["id"]
        await here.made(CONNECTIONS, "ipsec_site_connection", **values)
        strong = await here.made("/vpn/ipsecpolicies", "ipsecpolicy", encryption_algorithm="aes-256")
        beside = {**values, "ipsecpolicy_id": strong["id"], "peer_cidrs": ["10.9.0.0/24"]}
        mixed = await here.error("POST", CONNECTIONS, {"ipsec_site_connection": beside})

    assert mixed[:2] == (400, "IpsecValidationFailure")
    assert "Libreswan takes one's offers for the other's" in mixed[2]
    assert service["flavor_id"] == flavors["libreswan"]
    assert refused[:2] == (400, "IpsecValidationFailure")
    assert "Libreswan does not know aes-256-ccm-16 for IKE" in refused[2]
    assert taken["status"] == "PENDING_CREATE"


async def test_a_connection_becomes_a_gateway_for_nodes(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        assert [g.connections for g in here.here.parts.tunnels.gateways.now()] == [()]
        made = await here.connected(psk="hush")
        gateway = here.here.parts.tunnels.gateways.now()[0]
        await here.ask("DELETE", f"{CONNECTIONS}/{made['id']}")
        after = here.here.parts.tunnels.gateways.now()[0]

    assert gateway.id == gateway_id("default", "routers", here.ids["router"])
    assert [c.id for c in gateway.connections] == [made["id"]]
    assert gateway.connections[0].auth.secret.reveal() == "hush"
    assert gateway.connections[0].name == "default/con"
    assert after.connections == ()


async def test_a_connection_is_down_with_its_gateways_daemon_and_may_be_changed_then(tmp_path):
    async with neutron(tmp_path) as here:
        await here.site()
        made = await here.connected()
        path = f"{CONNECTIONS}/{made['id']}"
        await told(here, "down")
        shown = (await here.ask("GET", path)).json()["ipsec_site_connection"]
        changed = await here.ask("PUT", path, {"ipsec_site_connection": {"mtu": 1400}})

    assert shown["status"] == "DOWN"
    assert changed.json()["ipsec_site_connection"]["mtu"] == 1400
