"""The actions that rootd brings along, for the node; as typed as those of the operators."""

from __future__ import annotations

import pwd
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from edgeward.rootd.table import charon, filters, guard, hands, network, ports
from edgeward.rootd.table.actions import Action, Allowed
from edgeward.rootd.table.placeholders import Type, Wrong, type_of
from edgeward.rootd.table.reading import Table

RELAY_USER = "edgeward-relay"
VPN_USER = "edgeward-vpn"
_SECONDS = 20.0
_OUTPUT = 65_536
_OUTPUT_OF_ALL = 1 << 19
"""Of what says something of each namespace: of five thousand."""
LENT = "network.toml"


class _Value(NamedTuple):
    spec: Mapping[str, object]
    """As `edgeward action list` shows it."""
    type: Type


def table(
    path: Path, place: Path, faces: Sequence[int], relay_user: str, vpn_user: str, libreswan: Path = Path("/")
) -> Table:
    """Give the table of these and of the operators' actions at a path."""
    return Table(
        path, actions(place, faces, relay_user, vpn_user, libreswan, path.parent / LENT), frozenset(faces)
    )


def actions(
    place: Path, faces: Sequence[int], relay_user: str = RELAY_USER, vpn_user: str = VPN_USER,
    libreswan: Path = Path("/"), lent: Path = Path("/etc/edgeward", LENT),
) -> Mapping[str, Action]:  # fmt: skip
    """Give them by name. ``place``: where their records are; ``faces``: who may ask, Envoy's user first;
    ``libreswan``: what it is installed below; ``lent``: the file of what root lends to tunnels.
    """
    allowed = Allowed(uids=frozenset(faces))

    def made(
        name: str, description: str, values: Mapping[str, _Value], fixed: Sequence[str] = ()
    ) -> Action:  # fmt: skip
        asked = [f"{{{value}}}" for value in values]
        words = (name, str(place), *asked[:1], *fixed, *asked[1:])  # a namespace first, by which hands lock
        types = {key: value.type for key, value in values.items()}
        specs = {key: value.spec for key, value in values.items()}
        return Action(
            name, description, words, types, specs, allowed,
            timeout=_SECONDS, output=_OUTPUT, begin=hands.begin,
        )  # fmt: skip

    namespace, relay = {"namespace": _ID}, {"namespace": _ID, "relay": _ID}
    target = {"address": _HOST, "port": _PORT, "resolver": _RESOLVER}
    to_run, daemon = (vpn_user, str(_group(faces))), namespace | {"level": _LEVEL}
    to_start = (sys.executable, relay_user, str(_group(faces)))
    found = (
        made("create-namespace", "Make a network namespace, its loopback up", namespace),
        made("remove-namespace", "End a network namespace of ours and its relays", namespace),
        made("start-relay", "Carry streams to an address inside a namespace", relay | target, to_start),
        made("stop-relay", "End a relay", relay),
        made("start-charon", "Have strongSwan's daemon run in a namespace", daemon, to_run),
        made(
            "start-pluto",
            "Have Libreswan's daemon run in a namespace",
            namespace,
            (str(libreswan), vpn_user, str(next(iter(faces), 0)), str(_group(faces))),
        ),
        made("stop-daemon", "End the IKE daemon of a namespace", namespace),
        made(
            "leave-keys",
            "End the IKE daemon of a namespace for one of another kind; the kernel goes on with its keys",
            namespace | {"driver": _DRIVER},
        ),
        made("clear-keys", "End the keys that the former IKE daemon of a namespace left", namespace),
        made(
            "apply-nft",
            "Have these rules, and no others, in our table of a namespace",
            namespace | {"rules": _RULES},
        ),
        made("adopt-namespace", "Use somebody else's namespace", namespace, (str(lent),)),
        made(
            "apply-network",
            "Connect a namespace in this way: cables, addresses, routes, forwarding",
            namespace | {"network": _NETWORK},
            (str(lent),),
        ),
        made(
            "apply-guard",
            "Have these networks of a namespace be carried by tunnels, or not at all",
            namespace | {"elsewhere": _ELSEWHERE, "pairs": _PAIRS},
            (relay_user,),
        ),
        made("announce", "Tell a namespace's neighbours whose its outside addresses are", namespace),
        made("observe-networks", "Say which namespaces there are, and what was made of them", {}),
    )
    observed = next(action for action in found if action.name == "observe-networks")
    port = {"transport": _TRANSPORT, "address": _ADDRESS, "port": _LOW_PORT}
    name, about = "bind-port", "Bind a port below 1024 and hand the socket over"
    words, types = (name, *(f"{{{key}}}" for key in port)), {key: value.type for key, value in port.items()}
    specs = {key: value.spec for key, value in port.items()}
    low = Action(name, about, words, types, specs, allowed, at_once=ports.bound)
    return {
        action.name: action for action in (*found, replace(observed, looks=True, output=_OUTPUT_OF_ALL), low)
    }


def _group(faces: Sequence[int]) -> int:
    try:
        return pwd.getpwuid(faces[0]).pw_gid
    except (IndexError, KeyError):
        return faces[0] if faces else 0


def _value(spec: Mapping[str, object]) -> _Value:
    return _Value(spec, type_of(spec))


_LEVELS = {"integer": [-1, 4]}
_known_level = type_of(_LEVELS)


def _level(value: str | int) -> str:
    """Give what no daemon's log says anything at as a word that is no option."""
    text = _known_level(value)
    return charon.NOTHING if text == "-1" else text


_ip, _domain = type_of({"ip": True}), type_of({"domain": True})


def _host(value: str | int) -> str:
    try:
        return _ip(value)
    except Wrong:
        return _domain(value)


def _resolver(value: str | int) -> str:
    return "none" if value == "none" else _ip(value)


_ID = _value({"pattern": "[a-z0-9][a-z0-9-]{0,47}"})
_PORT = _value({"integer": [1, 65535]})
_LEVEL = _Value(_LEVELS, _level)
_DRIVER = _value({"enum": ["strongswan", "libreswan"]})
_LOW_PORT = _value({"integer": [1, 1023]})
_TRANSPORT = _value({"enum": ["tcp", "udp"]})
_ADDRESS = _value({"ip": True})
_HOST = _Value({"host": "ADDRESS|NAME"}, _host)
_RULES = _Value({"rules": "VERDICT NETWORK NETWORK; ..."}, filters.rules)
_NETWORK = _Value({"network": "outside ADDRESS/LENGTH; bridge NAME; next-hop ADDRESS; ..."}, network.typed)
_ELSEWHERE = _value({"enum": list(guard.ELSEWHERE)})
_PAIRS = _Value({"pairs": "LOCAL MTU PEER...; ..."}, guard.typed)
_RESOLVER = _Value({"resolver": "ADDRESS|none"}, _resolver)
