"""Has a namespace's network be what it is to be: cables to the host, addresses, routes, forwarding.

Looks first and changes only what differs, so that nothing that runs notices that it was asked again.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from edgeward.rootd import trusted
from edgeward.rootd.table import daemons, ip, kernel, namespaces
from edgeward.rootd.table.guard import OUTSIDE
from edgeward.rootd.table.network import Network

PREFIX: Final = "ew"
_CARRIER_SECONDS: Final = 1.0
_HOST_V4, _HOST_V6 = "169.254.1.1", "fe80::1"
"""The host's end of a cable that no bridge has; on every one of them the same."""


@dataclass(frozen=True)
class Cable:
    host: str
    within: str
    bridge: str
    addresses: tuple[str, ...]


def ends(name: str, network: Network, transit: str = "") -> tuple[Cable, ...]:
    """Give the cables of a namespace; ``transit``: its own address where it shares the host's."""
    own = network.outside if network.bridge else tuple(_alone(one) for one in network.outside)
    if network.shared:
        own = (_alone(transit), _alone(network.shared))
    outside = [Cable(_host_end(name, OUTSIDE), OUTSIDE, network.bridge, own)] if own else []
    insides = [
        Cable(_host_end(name, one.address), _within(one.address), one.bridge, (one.address,))
        for one in network.inside
        if one.bridge
    ]
    return (*outside, *insides)


def apply(records: int, name: str, network: Network, transit: str) -> None:
    """Make it so; raises ip.NotMade, namespaces.Missing."""
    trusted.program(ip.PROGRAM)
    wanted = ends(name, network, transit)
    bridges = {cable.bridge for cable in wanted} - {""}
    missing = bridges - ip.links("type", "bridge").keys() if bridges else set()
    if missing:
        raise ip.NotMade(f"this host has no bridge {min(missing)}; make it, or name another one")
    with inside(records, name):
        there = frozenset(ip.links())
    _plug(records, name, wanted, there)
    for cable in wanted:
        _host_side(cable, network, transit)
    with inside(records, name):
        _forward()
        changed = _address(wanted, network) | _set_up(wanted, network)
        _route(network)
        _announce(sorted(changed))


def announce(records: int, name: str) -> str:
    """Have the neighbours hear whose the outside's addresses are.

    Setting a link's address has the kernel send what arp_notify and ndisc_notify ask for (NETDEV_CHANGEADDR
    in devinet.c and ndisc.c): no packet of our making.
    """
    trusted.program(ip.PROGRAM)
    with inside(records, name):
        link = ip.links().get(OUTSIDE, {})
        if "UP" not in link.get("flags", ()):
            return f"{name} has nothing outside that is plugged in"
        ip.batch(f"link set {OUTSIDE} address {link['address']}")
    return f"{name} is announced"


def present() -> frozenset[str]:
    """Give the ends of cables that the host has."""
    return frozenset(link for link in ip.links() if link.startswith(PREFIX))


def own_addresses() -> frozenset[str]:
    """Give the addresses of the namespace that this is in."""
    return frozenset(_bare(one) for found in ip.addresses().values() for one in found)


@contextmanager
def inside(records: int, name: str) -> Iterator[None]:
    """Be in a namespace for a while, and back where it began after it."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.enter(records, name)
        try:
            yield
        finally:
            kernel.enter_network(before)
    finally:
        os.close(before)


# --- the host's side -------------------------------------------------------------------------


def _plug(records: int, name: str, wanted: Sequence[Cable], there: frozenset[str]) -> None:
    links = ip.links()
    mine = {link for link in links if link.startswith(_start(name))}
    whole = {cable.host for cable in wanted if cable.host in mine and cable.within in there}
    found = daemons.living(records, name)
    if found is None:
        raise namespaces.Missing(f"there is no namespace {name}; create it first")
    try:
        ip.batch(
            *(f"link del {link}" for link in sorted(mine - whole)),
            *(
                f"link add {cable.host} type veth peer"
                f" name {cable.within} address {_mac(name, cable.within)} netns {found[0]}"
                for cable in wanted
                if cable.host not in whole
            ),
            *(line for cable in wanted for line in _plugged(cable, links if cable.host in whole else {})),
        )
    finally:
        os.close(found[1])


def _plugged(cable: Cable, links: Mapping[str, Mapping[str, Any]]) -> list[str]:
    master = str(links.get(cable.host, {}).get("master", ""))
    if cable.bridge == master:
        return []
    return [f"link set {cable.host} {f'master {cable.bridge}' if cable.bridge else 'nomaster'}"]


def _host_side(cable: Cable, network: Network, transit: str) -> None:
    """Have the host take part as far as it does: not at all in what a bridge has, else as the next hop."""
    up = "down" if network.standby and cable.within == OUTSIDE else "up"
    if cable.bridge:
        ip.settle(f"ipv6/conf/{cable.host}/disable_ipv6", "1")
        ip.batch(f"link set {cable.host} {up}")
        return
    ip.settle(f"ipv4/conf/{cable.host}/rp_filter", "0")
    ip.settle(f"ipv4/conf/{cable.host}/accept_local", "1" if network.shared else "0")
    ip.batch(f"link set {cable.host} {up}")
    if up == "down":
        return
    routed = [transit] if network.shared else [_bare(one) for one in cable.addresses]
    lines = []
    for six in {":" in one for one in routed}:
        if ip.setting(f"ipv{6 if six else 4}/conf/all/forwarding") != "1":
            kind, key = ("IPv6", "net.ipv6.conf.all.forwarding") if six else ("IPv4", "net.ipv4.ip_forward")
            raise ip.NotMade(f"this host does not forward {kind}, as it is to between {routed[0]} and the"
                          f" world; run: sysctl -w {key}=1, and keep it in /etc/sysctl.d")  # fmt: skip
        here = f"{_HOST_V6}/64" if six else f"{_HOST_V4}/32"
        lines.append(f"address replace {here} dev {cable.host} {'nodad' if six else 'scope link'}")
    ip.batch(*lines, *(f"route replace {_alone(one)} dev {cable.host}" for one in routed))


# --- the namespace's side --------------------------------------------------------------------


def _forward() -> None:
    ip.settle("ipv4/ip_forward", "1")
    ip.settle("ipv6/conf/all/forwarding", "1")
    for which in ("all", "default"):
        # what a tunnel brings comes from where no route leads; who checks that is the guard
        ip.settle(f"ipv4/conf/{which}/rp_filter", "0")
        ip.settle(f"ipv4/conf/{which}/send_redirects", "0")


def _address(wanted: Sequence[Cable], network: Network) -> set[str]:
    """Give each interface its addresses, and no others; gives those that have one more than before."""
    should = {cable.within: set(cable.addresses) for cable in wanted}
    should["lo"] = {_alone(one.address) for one in network.inside if not one.bridge}
    lines, changed = [], set()
    for link, have in ip.addresses().items():
        if link in should:
            lines += [f"address del {one} dev {link}" for one in sorted(have - should[link])]
            more = sorted(should[link] - have)
            lines += [f"address add {one} dev {link}{' nodad' if ':' in one else ''}" for one in more]
            changed |= {link} if more else set()
    ip.batch(*lines)
    return changed - {"lo"}


def _set_up(wanted: Sequence[Cable], network: Network) -> set[str]:
    """Plug in what is to be and is not yet, and pull out what is not to be; gives the former."""
    links = ip.links()
    lines, changed = [], set()
    for cable in wanted:
        ip.settle(f"ipv4/conf/{cable.within}/arp_notify", "1")
        ip.settle(f"ipv6/conf/{cable.within}/ndisc_notify", "1")
        is_up = "UP" in links.get(cable.within, {}).get("flags", ())
        to_be = not (network.standby and cable.within == OUTSIDE)
        if is_up != to_be:
            lines.append(f"link set {cable.within} {'up' if to_be else 'down'}")
            changed |= {cable.within} if to_be else set()
    ip.batch(*lines)
    return changed


def _announce(changed: Sequence[str]) -> None:
    """Tell the neighbours of addresses that somebody else may have had before (arp_notify, ndisc_notify): the
    kernel does where the interface is given its hardware address, also the one that it has."""
    end = time.monotonic() + _CARRIER_SECONDS
    while waiting := [one for one in changed if _is_waiting(ip.links().get(one, {}))]:
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    links = ip.links()
    ip.batch(
        *(f"link set {one} address {links[one]['address']}"
          for one in changed if one not in waiting and "UP" in links[one]["flags"])
    )  # fmt: skip


def _is_waiting(link: Mapping[str, Any]) -> bool:
    """Whether an interface is to carry, and does not yet: what it said now would be lost."""
    return "UP" in link.get("flags", ()) and link.get("operstate") != "UP"


def _route(network: Network) -> None:
    for version, family in (("-4", ip.is_v4), ("-6", ip.is_v6)):
        want = None if network.standby else _default(network, family)
        found = [
            (str(one.get("gateway", "")), str(one.get("prefsrc", "")))
            for one in ip.asked(version, "route", "show", "default")
            if one.get("dev") == OUTSIDE
        ]
        if want is not None and found != [want]:
            source = f" src {want[1]}" if want[1] else ""
            ip.batch(f"route replace default via {want[0]} dev {OUTSIDE} onlink{source}")
        elif want is None and found:
            ip.batch(*(f"route del default via {gateway} dev {OUTSIDE}" for gateway, _ in found))


def _default(network: Network, family: Callable[[str], bool]) -> tuple[str, str] | None:
    """Give (next hop, source) of the way out, None where there is none."""
    own = [_bare(one) for one in network.outside if family(one)]
    if network.bridge:
        hops = [hop for hop in network.next_hops if family(hop)] if own else []
        return (hops[0], "") if hops else None
    if network.shared and family(network.shared):
        own = [network.shared]
    return (_HOST_V4 if family(_HOST_V4) else _HOST_V6, own[0] if network.shared else "") if own else None


# --- names -----------------------------------------------------------------------------------


def _start(name: str) -> str:
    return PREFIX + _short(name, 8)


def _host_end(name: str, what: str) -> str:
    return _start(name) + _short(what, 5)


def _within(address: str) -> str:
    return "in" + _short(address, 8)


def _short(text: str, characters: int) -> str:
    digest = base64.b32encode(hashlib.sha256(text.encode()).digest())
    return digest[:characters].decode().lower()


def _mac(name: str, within: str) -> str:
    """Give an address that is ever the same: neighbours go on knowing it when the namespace is made anew, and
    when another host has it."""
    digest = hashlib.sha256(f"{name} {within}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (2, *digest[:5]))


def _bare(interface: str) -> str:
    return interface.partition("/")[0]


def _alone(interface: str) -> str:
    bare = _bare(interface)
    return f"{bare}/128" if ip.is_v6(bare) else f"{bare}/32"
