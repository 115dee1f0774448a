"""A client of OpenStack's API over a controller without sockets, with a site half set up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.unit.controller.assembled import Controller, controller

NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass
class Neutron:
    here: Controller
    headers: Mapping[str, str]
    ids: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["json"] = body
        headers = {**self.headers, **options.pop("headers", {})}
        return await self.here.http.request(method, f"/v2.0{path}", headers=headers, **options)

    async def made(self, path: str, singular: str, **values: Any) -> dict[str, Any]:
        answer = await self.ask("POST", path, {singular: values})
        assert answer.status_code == 201, answer.text
        return answer.json()[singular]

    async def error(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str, str]:
        answer = await self.ask(method, path, body, **options)
        assert answer.headers["content-type"] == "application/json"
        error = answer.json()["NeutronError"]
        assert error["detail"] == ""
        return answer.status_code, error["type"], error["message"]

    async def site(self) -> None:
        """Make networks, a router between them, policies, services of both ways and endpoint groups."""
        ids = self.ids
        world = await self.made("/networks", "network", name="world", **{"router:external": True})
        inner = await self.made("/networks", "network", name="inner")
        await self.subnet("out", world["id"], "203.0.113.0/24")
        await self.subnet("in", inner["id"], "10.1.0.0/24")
        await self.subnet("in6", inner["id"], "2001:db8:1::/64", 6)
        await self.subnet("elsewhere", inner["id"], "10.7.0.0/24")
        info = {"network_id": world["id"]}
        router = await self.made("/routers", "router", name="gw", external_gateway_info=info)
        ids |= {"world": world["id"], "inner": inner["id"], "router": router["id"]}
        for name in ("in", "in6"):
            body = {"subnet_id": ids[name]}
            answer = await self.ask("PUT", f"/routers/{ids['router']}/add_router_interface", body)
            assert answer.status_code == 200, answer.text
        ids["ike"] = (await self.made("/vpn/ikepolicies", "ikepolicy", name="ike"))["id"]
        ids["ipsec"] = (await self.made("/vpn/ipsecpolicies", "ipsecpolicy", name="ipsec"))["id"]
        service = await self.made("/vpn/vpnservices", "vpnservice", name="svc", router_id=ids["router"])
        old = await self.made(
            "/vpn/vpnservices", "vpnservice", name="old", router_id=ids["router"], subnet_id=ids["in"]
        )
        ids |= {"svc": service["id"], "old": old["id"]}
        await self.group("here", "subnet", [ids["in"]])
        await self.group("there", "cidr", ["10.2.0.0/24"])

    async def subnet(self, name: str, network: str, cidr: str, version: int = 4) -> None:
        values = {"name": name, "network_id": network, "cidr": cidr, "ip_version": version}
        self.ids[name] = (await self.made("/subnets", "subnet", **values))["id"]

    async def group(self, name: str, type_: str, endpoints: list[str]) -> None:
        values = {"name": name, "type": type_, "endpoints": endpoints}
        self.ids[name] = (await self.made("/vpn/endpoint-groups", "endpoint_group", **values))["id"]

    def connection(self, **changed: Any) -> dict[str, Any]:
        """Give the values of a connection that holds."""
        values = {
            "name": "con",
            "vpnservice_id": self.ids["svc"],
            "ikepolicy_id": self.ids["ike"],
            "ipsecpolicy_id": self.ids["ipsec"],
            "local_ep_group_id": self.ids["here"],
            "peer_ep_group_id": self.ids["there"],
            "peer_address": "203.0.113.9",
            "peer_id": "203.0.113.9",
            "psk": "secret",
        }
        return {key: value for key, value in {**values, **changed}.items() if value is not ...}

    async def connected(self, **changed: Any) -> dict[str, Any]:
        path = "/vpn/ipsec-site-connections"
        return await self.made(path, "ipsec_site_connection", **self.connection(**changed))


@asynccontextmanager
async def neutron(tmp_path: Path, url: str | None = None) -> AsyncIterator[Neutron]:
    async with controller(tmp_path, url) as here:
        token = (await here.token("boss", "admin"))["authorization"].removeprefix("Bearer ")
        yield Neutron(here, {"x-auth-token": token})
