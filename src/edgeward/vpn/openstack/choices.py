"""The values that OpenStack's VPN as a service knows, in its own spelling."""

from __future__ import annotations

from typing import Final, Literal

Hash = Literal["sha1", "sha256", "sha384", "sha512", "aes-xcbc", "aes-cmac"]
Cipher = Literal[
    "3des",
    "aes-128",
    "aes-192",
    "aes-256",
    "aes-128-ctr",
    "aes-192-ctr",
    "aes-256-ctr",
    "aes-128-ccm-8",
    "aes-192-ccm-8",
    "aes-256-ccm-8",
    "aes-128-ccm-12",
    "aes-192-ccm-12",
    "aes-256-ccm-12",
    "aes-128-ccm-16",
    "aes-192-ccm-16",
    "aes-256-ccm-16",
    "aes-128-gcm-8",
    "aes-192-gcm-8",
    "aes-256-gcm-8",
    "aes-128-gcm-12",
    "aes-192-gcm-12",
    "aes-256-gcm-12",
    "aes-128-gcm-16",
    "aes-192-gcm-16",
    "aes-256-gcm-16",
]
Group = Literal[
    "group2",
    "group5",
    "group14",
    "group15",
    "group16",
    "group17",
    "group18",
    "group19",
    "group20",
    "group21",
    "group22",
    "group23",
    "group24",
    "group25",
    "group26",
    "group27",
    "group28",
    "group29",
    "group30",
    "group31",
]
Phase1 = Literal["main", "aggressive"]
IkeVersion = Literal["v1", "v2"]
Protocol = Literal["esp", "ah", "ah-esp"]
Mode = Literal["tunnel", "transport"]
EndpointType = Literal["subnet", "cidr", "vlan", "network", "router"]
Initiator = Literal["bi-directional", "response-only"]
DpdAction = Literal["clear", "disabled", "hold", "restart", "restart-by-peer"]
LEAST_LIFETIME: Final = 60
"""Seconds."""
