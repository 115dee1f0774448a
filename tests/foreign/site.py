"""Sets a site up with openstacksdk, run by OpenStack's own environment: ``site.py AUTH_TYPE KEY=VALUE…``."""

import json
import sys

import openstack
from openstack import exceptions

auth = dict(argument.split("=", 1) for argument in sys.argv[2:])
verify = auth.pop("verify", None)
cloud = openstack.connection.Connection(auth_type=sys.argv[1], auth=auth, verify=verify)
net = cloud.network
world = net.create_network(name="world", is_router_external=True)
inner = net.create_network(name="inner")
out = net.create_subnet(name="out", network_id=world.id, cidr="203.0.113.0/24", ip_version=4)
inside = net.create_subnet(name="in", network_id=inner.id, cidr="10.1.0.0/24", ip_version=4)
router = net.create_router(name="gw", external_gateway_info={"network_id": world.id})
net.add_interface_to_router(router, subnet_id=inside.id)
ike = net.create_vpn_ike_policy(name="ike", ike_version="v2")
ipsec = net.create_vpn_ipsec_policy(name="ipsec")
service = net.create_vpn_service(name="svc", router_id=router.id)
here = net.create_vpn_endpoint_group(name="here", type="subnet", endpoints=[inside.id])
there = net.create_vpn_endpoint_group(name="there", type="cidr", endpoints=["10.2.0.0/24"])
connection = net.create_vpn_ipsec_site_connection(
    name="con",
    vpnservice_id=service.id,
    ikepolicy_id=ike.id,
    ipsecpolicy_id=ipsec.id,
    local_ep_group_id=here.id,
    peer_ep_group_id=there.id,
    peer_address="203.0.113.9",
    peer_id="203.0.113.9",
    psk="hush",
)
renamed = net.update_vpn_endpoint_group(there, name="over there")
try:
    net.delete_vpn_service(service)
except exceptions.ConflictException as error:
    refused = str(error)
try:
    net.update_vpn_ipsec_site_connection(connection, name="new")
except exceptions.BadRequestException as error:
    pending = str(error)
found = net.find_vpn_ipsec_site_connection("con")
psk = net.get_vpn_ipsec_site_connection(found.id).psk
paged = [policy.name for policy in net.vpn_ike_policies(limit=1)]
net.delete_vpn_ipsec_site_connection(connection)
net.delete_vpn_ipsec_site_connection(connection, ignore_missing=True)
net.delete_vpn_service(service)
gone = net.find_vpn_service("svc", ignore_missing=True)
print(
    json.dumps(
        {
            "service": service.external_v4_ip,
            "status": connection.status,
            "found": found.id == connection.id,
            "psk": psk,
            "renamed": renamed.name,
            "refused": refused,
            "pending": pending,
            "paged": paged,
            "ports": sorted(port.device_owner for port in net.ports(device_id=router.id)),
            "gone": gone is None,
        }
    )
)
