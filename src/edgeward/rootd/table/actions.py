"""What an action is, and how its file says so."""

from __future__ import annotations

import grp
import ipaddress
import pwd
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeward.rootd.frames import Asker
from edgeward.rootd.table.placeholders import Type, Wrong, type_of

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_WORD = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_ROLES = ("viewer", "operator", "admin")


@dataclass(frozen=True)
class Peer:
    """Who is at the other end of the socket, as the kernel says (SO_PEERCRED, SO_PEERGROUPS)."""

    uid: int
    gid: int
    groups: frozenset[int]
    pid: int


@dataclass(frozen=True)
class Allowed:
    """Who may ask. Nobody is told by default; root may always."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    roles: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    certificates: frozenset[str] = frozenset()

    def peer(self, peer: Peer) -> bool:
        return peer.uid == 0 or peer.uid in self.uids or bool(self.gids & (peer.groups | {peer.gid}))

    def asker(self, asker: Asker) -> bool:
        if asker.role not in self.roles and asker.token not in self.tokens:
            return False
        if self.certificates and asker.certificate not in self.certificates:
            return False
        if not self.networks:
            return True
        try:
            address = ipaddress.ip_address(asker.address)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


@dataclass(frozen=True)
class Action:
    name: str
    description: str
    argv: tuple[str, ...]
    types: Mapping[str, Type] = field(default_factory=dict)
    specs: Mapping[str, Any] = field(default_factory=dict)
    """The types as the file says them."""
    allowed: Allowed = Allowed()
    timeout: float = 3.0
    output: int = 4096
    run_as: str = ""
    coalesce: bool = False
    cooldown: float = 0.0
    looks: bool = False
    """It changes nothing, and is asked for all the time: only what was not done of it is written down."""
    begin: Callable[[tuple[str, ...], int], int] | None = None
    """Begins a child of rootd's own, that says what it did to a descriptor; gives its pid."""
    at_once: Callable[[tuple[str, ...]], dict[str, Any]] | None = None
    """Does it in rootd itself, for what no child could; must not wait."""

    def rendered(self, values: Mapping[str, str | int]) -> tuple[str, ...]:
        """Give argv with these values in their places; raises Wrong naming the value."""
        for name in sorted(values.keys() ^ self.types.keys()):
            raise Wrong(f"{name!r} is missing" if name in self.types else f"there is no value {name!r}")
        texts = {}
        for name, of_type in self.types.items():
            try:
                texts[name] = of_type(values[name])
            except Wrong as error:
                raise Wrong(f"{name} {error}") from error
        return tuple(_WORD.sub(lambda found: texts[found[1]], word) for word in self.argv)


def read(data: Mapping[str, Any]) -> Action:
    """Give the action a file says; raises Wrong naming the field."""
    taken = {name: _taken(name, kind, data) for name, kind in _FIELDS.items()}
    unknown = sorted(data.keys() - taken.keys())
    if unknown:
        raise Wrong(f"{unknown[0]}: there is no such field; check its spelling or remove it")
    name, argv = taken["name"] or "", taken["argv"] or []
    if not NAME.fullmatch(name):
        raise Wrong("name: give 1 to 63 small letters, digits and hyphens")
    if not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise Wrong("argv: list the program and its arguments as texts")
    if not argv[0].startswith("/") or "{" in argv[0]:
        raise Wrong("argv: the program is a whole path, and no part of it a value")
    types = {}
    for key, spec in (taken["values"] or {}).items():
        try:
            types[key] = type_of(spec)
        except Wrong as error:
            raise Wrong(f"values.{key}: {error}") from error
    used = {found for word in argv for found in _WORD.findall(word)}
    for key in sorted(used ^ types.keys()):
        raise Wrong(
            f"argv: {{{key}}} is not among values" if key in used else f"values.{key}: is not in argv"
        )
    more = {
        k: taken[k] for k in ("timeout", "output", "run_as", "coalesce", "cooldown") if taken[k] is not None
    }
    for key, least, most in (("timeout", 0.1, 600), ("output", 0, 65_536), ("cooldown", 0, 3600)):
        if not least <= more.get(key, least) <= most:
            raise Wrong(f"{key}: give {least} to {most}")
    specs, allowed = taken["values"] or {}, _allowed(taken["ask"] or {})
    return Action(name, taken["description"] or "", tuple(argv), types, specs, allowed, **more)


_FIELDS: Mapping[str, tuple[type, ...]] = {
    "name": (str,), "description": (str,), "argv": (list,), "values": (dict,), "ask": (dict,),
    "timeout": (int, float), "output": (int,), "run_as": (str,), "coalesce": (bool,),
    "cooldown": (int, float),
}  # fmt: skip


def _taken(name: str, kinds: tuple[type, ...], data: Mapping[str, Any]) -> Any:
    value = data.get(name)
    if value is not None and type(value) not in kinds:
        raise Wrong(f"{name}: is a {kinds[-1].__name__}")
    return value


_ASK = ("users", "groups", "roles", "tokens", "networks", "certificates")


def _allowed(data: Mapping[str, Any]) -> Allowed:
    for key, value in data.items():
        if key not in _ASK or not isinstance(value, list):
            raise Wrong(f"ask.{key}: give lists of users, groups, roles, tokens, networks and certificates")
    try:
        return Allowed(
            frozenset(_uid(user) for user in data.get("users", ())),
            frozenset(_gid(group) for group in data.get("groups", ())),
            frozenset(_role(role) for role in data.get("roles", ())),
            frozenset(str(token) for token in data.get("tokens", ()) if token),
            tuple(ipaddress.ip_network(network) for network in data.get("networks", ())),
            frozenset(str(name) for name in data.get("certificates", ()) if name),
        )
    except (TypeError, ValueError) as error:  # fails closed: nobody can be meant by such a file
        raise Wrong(f"ask: {error}") from error


def _uid(user: Any) -> int:
    try:
        return user if type(user) is int else pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise Wrong(f"ask.users: this host has no user {user!r}") from error


def _gid(group: Any) -> int:
    try:
        return group if type(group) is int else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise Wrong(f"ask.groups: this host has no group {group!r}") from error


def _role(role: Any) -> str:
    if role not in _ROLES:
        raise Wrong(f"ask.roles: there is no role {role!r}; give some of {', '.join(_ROLES)}")
    return str(role)
