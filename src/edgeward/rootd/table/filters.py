"""Our own nft table of a network: typed rules become its text, and the kernel takes all of it or nothing."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Mapping
from typing import Final

from edgeward.rootd import trusted
from edgeward.rootd.table.placeholders import Wrong

TABLE: Final = "edgeward"
MOST_RULES: Final = 500
_NFT: Final = "/usr/sbin/nft"
_SECONDS: Final = 10.0
_VERDICTS: Final[Mapping[str, tuple[str, str]]] = {
    "accept": ("forward", "accept"),
    "drop": ("forward", "drop"),
    "snat-exempt": ("exempt", "snat {family} to {family} saddr"),
}
"""The chain of each, and what it does. Exempt is who is translated to what it is: accepting does not keep
another table from translating, a translation that is made does."""
_CHAINS: Final[Mapping[str, str]] = {
    "forward": "type filter hook forward priority filter; policy accept;",
    "exempt": "type nat hook postrouting priority srcnat - 10; policy accept;",
}


class NotApplied(Exception):
    """What nft has against it; nothing was changed."""


def rules(value: str | int) -> str:
    """Read ``VERDICT FROM TO; …`` (networks of one family), and give it as one word; raises Wrong."""
    if not isinstance(value, str):
        raise Wrong("is a text of rules, as accept 10.0.0.0/24 10.1.0.0/24; drop ::/0 fd00::/8")
    found = [rule for rule in value.split(";") if rule.strip(" ")]
    if len(found) > MOST_RULES:
        raise Wrong(f"has more than {MOST_RULES} rules")
    return ";".join(_rule(rule) for rule in found)


def apply(typed: str) -> str:
    """Replace our table in the network this process is in; raises NotApplied."""
    have(text(typed))
    return f"{len([rule for rule in typed.split(';') if rule])} rules are in force"


def have(said: str) -> None:
    """Have nft take a text, all of it or nothing, in the network this process is in; raises NotApplied."""
    trusted.program(_NFT)
    done = subprocess.run(  # noqa: S603 - fixed argv, no shell
        [_NFT, "-f", "-"], input=said.encode(), env={}, cwd="/", capture_output=True, timeout=_SECONDS,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise NotApplied(done.stderr.decode(errors="replace")[:2000])


def text(typed: str) -> str:
    """Give what nft reads: one transaction, which ends the table that is there and makes it anew."""
    lines: dict[str, list[str]] = {chain: [] for chain in _CHAINS}
    for rule in filter(None, typed.split(";")):
        verdict, source, target = rule.split()
        family = "ip6" if ":" in source else "ip"
        chain, action = _VERDICTS[verdict]
        action = action.format(family=family)
        lines[chain].append(f"\t\t{family} saddr {source} {family} daddr {target} {action}\n")
    chains = "".join(
        f"\tchain {name} {{\n\t\t{head}\n{''.join(lines[name])}\t}}\n" for name, head in _CHAINS.items()
    )
    return f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{chains}}}\n"


def _rule(rule: str) -> str:
    words = [word for word in rule.split(" ") if word]
    if len(words) != 3 or words[0] not in _VERDICTS:
        raise Wrong(f"a rule is {', '.join(_VERDICTS)} and two networks, as accept 10.0.0.0/24 10.1.0.0/24")
    verdict, *ends = words
    try:
        source, target = (ipaddress.ip_network(_plain(end)) for end in ends)
    except ValueError as error:
        raise Wrong("names networks as 10.0.0.0/24 or fd00::/64, without bits beyond their length") from error
    if source.version != target.version:
        raise Wrong("has a rule between IPv4 and IPv6; write one for each family")
    return f"{verdict} {source} {target}"


def _plain(network: str) -> str:
    if "%" in network:  # a zone may hold anything
        raise ValueError
    return network
