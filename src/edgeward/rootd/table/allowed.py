"""What of the host's network root lends to tunnels: bridges, addresses that the host is to route to them, and
namespaces of others, in a file of root's.

``network.toml`` beside the directory of actions; where it is not there, nothing is lent::

    bridges = ["br-ex", "br-lan"]
    addresses = ["203.0.113.0/28"]
    namespaces = ["qrouter-*"]
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from edgeward.rootd import trusted

_KEYS = ("addresses", "bridges", "namespaces")


class NotAllowed(Exception):
    """Says what is not lent, and where it would be."""


@dataclass(frozen=True)
class Lent:
    file: Path
    bridges: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    """Networks; the host routes what goes to one of their addresses into the namespace that has it."""

    def address(self, text: str) -> None:
        """See that the host may route an address to a namespace; raises NotAllowed."""
        wanted = ipaddress.ip_address(text)
        if not any(wanted in ipaddress.ip_network(network) for network in self.addresses):
            raise NotAllowed(
                f"address {text} is not lent to tunnels, and without a bridge the host would route what goes"
                f' to it into one; root adds it to {self.file}: addresses = ["{text}"]'
            )

    def bridge(self, name: str) -> None:
        """See that cables may be plugged into it; raises NotAllowed."""
        self._check("bridge", name, self.bridges)

    def namespace(self, name: str) -> None:
        """See that somebody else's namespace may be used; raises NotAllowed."""
        self._check("namespace", name, self.namespaces)

    def _check(self, what: str, name: str, patterns: tuple[str, ...]) -> None:
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            raise NotAllowed(
                f'{what} {name} is not lent to tunnels; root adds it to {self.file}: {what}s = ["{name}"]'
            )


def lent(file: Path) -> Lent:
    """Read it; raises NotAllowed where it cannot be believed."""
    try:
        within = trusted.directory(file.parent)
    except trusted.Untrusted as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return Lent(file)
        raise
    import tomllib  # costs each action a tenth of its time, and most need none

    try:
        said = tomllib.loads(trusted.file(file.name, within, str(file)).decode())
        found = Lent(file, **_texts(said))
        for network in found.addresses:
            ipaddress.ip_network(network)
        return found
    except trusted.Untrusted as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return Lent(file)
        raise
    except ValueError as error:  # not TOML, not UTF-8, no network
        raise NotAllowed(f"{file}: {error}") from error
    finally:
        os.close(within)


def _texts(said: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    for key, value in said.items():
        if key not in _KEYS or not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError(f"{key}: give lists of {' and '.join(_KEYS)}")
    return {key: tuple(value) for key, value in said.items()}
