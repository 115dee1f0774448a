"""The guard in the words of iptables, where there is no nft: the same verdicts, in chains of our own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from edgeward.rootd import trusted
from edgeward.rootd.table.filters import NotApplied
from edgeward.rootd.table.guard import HEADERS, OUTSIDE, TUNNEL, Pairs

_PROGRAMS: Final = ("/usr/sbin/xtables-legacy-multi", "/usr/sbin/xtables-nft-multi")
_SECONDS: Final = 10.0
_WAIT: Final = "--wait=5"
"""There is one lock for all namespaces of the host."""
_CHAINS: Final = {
    "filter": {"FORWARD": "EDGEWARD-FORWARD", "OUTPUT": "EDGEWARD-OUTPUT", "INPUT": "EDGEWARD-INPUT"},
    "mangle": {"FORWARD": "EDGEWARD-SIZE"},
    "nat": {"POSTROUTING": "EDGEWARD-SOURCE"},
}
_IPSEC, _CLEAR = "-m policy --dir {} --pol ipsec", "-m policy --dir {} --pol none"
_FAMILIES: Final = {"ip": "iptables", "ip6": "ip6tables"}


def have(elsewhere: str, pairs: Sequence[Pairs], relays: int | None) -> None:
    """Have these rules, and no others of ours, in the network this process is in; raises NotApplied."""
    program = _program()
    for family, command in _FAMILIES.items():
        mine = [one for one in pairs if one.family == family]
        rules = {
            "filter": [
                *_forward(elsewhere, mine), *_output(elsewhere, mine, relays, family), *_input(mine),
            ],
            "mangle": [rule for one in mine for rule in _sized(one)],
            "nat": _source(elsewhere, mine),
        }  # fmt: skip
        _restore(program, command, "".join(_table(program, command, name, rules[name]) for name in _CHAINS))


def _program() -> str:
    """Give the one whose tables the kernel has."""
    for path in _PROGRAMS:
        if Path(path).exists():
            trusted.program(path)
            if _ran(path, "iptables", "-t", "filter", "-S", "FORWARD").returncode == 0:
                return path
    raise NotApplied("neither nft nor iptables is there to guard tunnels with; install nftables")


def _table(program: str, command: str, table: str, rules: Sequence[str]) -> str:
    jumps = []
    for chain, ours in _CHAINS[table].items():
        if _ran(program, command, "-t", table, "-C", chain, "-j", ours).returncode != 0:
            jumps.append(f"-I {chain} 1 -j {ours}")
    heads = [f":{ours} - [0:0]" for ours in _CHAINS[table].values()]
    return "\n".join((f"*{table}", *heads, *(f"-A {rule}" for rule in rules), *jumps, "COMMIT", ""))


def _forward(elsewhere: str, pairs: Sequence[Pairs]) -> Iterator[str]:
    chain = "EDGEWARD-FORWARD"
    yield f"{chain} -o {TUNNEL} -j RETURN"
    yield f"{chain} {_IPSEC.format('out')} -j RETURN"
    for ours, theirs in _ends(pairs):
        yield f"{chain} -s {ours} -d {theirs} -j DROP"
        yield f"{chain} ! -i {TUNNEL} {_CLEAR.format('in')} -s {theirs} -d {ours} -j DROP"
    if elsewhere == "drop":
        yield f"{chain} -o {OUTSIDE} -j DROP"
        yield f"{chain} -i {OUTSIDE} {_CLEAR.format('in')} -j DROP"
    elif elsewhere == "masquerade":
        back = "-m conntrack ! --ctstate ESTABLISHED,RELATED"
        yield f"{chain} -i {OUTSIDE} {_CLEAR.format('in')} {back} -j DROP"


def _output(elsewhere: str, pairs: Sequence[Pairs], relays: int | None, family: str) -> Iterator[str]:
    chain = "EDGEWARD-OUTPUT"
    six = family == "ip6"
    icmp, kind_of, ping = ("ipv6-icmp", "--icmpv6-type", 128) if six else ("icmp", "--icmp-type", 8)
    for free in (f"-o {TUNNEL}", "-o lo", _IPSEC.format("out"), "-p udp -m multiport --sports 500,4500",
                 "-p esp", "-p ah"):  # fmt: skip
        yield f"{chain} {free} -j RETURN"
    if six:
        for kind in (133, 135, 136, 143):
            yield f"{chain} -p {icmp} {kind_of} {kind} -j RETURN"
    refused = [] if relays is None else [f"-m owner --uid-owner {relays}"]
    if elsewhere == "leave":
        refused += [f"-s {ours} -d {theirs}" for ours, theirs in _ends(pairs)]
    else:
        refused += [f"-o {OUTSIDE} -d {theirs}" for _, theirs in _ends(pairs)]
    yield from (rule for one in refused for rule in _refused(chain, one))
    if elsewhere == "drop":
        yield f"{chain} -p {icmp} ! {kind_of} {ping} -j RETURN"
        for transport in ("udp", "tcp"):
            yield f"{chain} -p {transport} --dport 53 -j RETURN"
        yield from _refused(chain, f"-o {OUTSIDE}")


def _refused(chain: str, what: str) -> tuple[str, str]:
    return f"{chain} -p tcp {what} -j REJECT --reject-with tcp-reset", f"{chain} {what} -j REJECT"


def _input(pairs: Sequence[Pairs]) -> Iterator[str]:
    chain = "EDGEWARD-INPUT"
    for free in (f"-i {TUNNEL}", "-i lo", _IPSEC.format("in"), "-p udp -m multiport --dports 500,4500",
                 "-p esp", "-p ah"):  # fmt: skip
        yield f"{chain} {free} -j RETURN"
    for ours, theirs in _ends(pairs):
        yield f"{chain} -s {theirs} -d {ours} -j DROP"


def _source(elsewhere: str, pairs: Sequence[Pairs]) -> list[str]:
    """Accept, in the table that others translate in too, and before them."""
    kept = [f"EDGEWARD-SOURCE -s {ours} -d {theirs} -j ACCEPT" for ours, theirs in _ends(pairs)]
    return [*kept, *([f"EDGEWARD-SOURCE -o {OUTSIDE} -j MASQUERADE"] if elsewhere == "masquerade" else [])]


def _sized(one: Pairs) -> Iterator[str]:
    size = one.mtu - HEADERS[one.family]
    for ours, theirs in _ends([one]) if size > 0 else ():
        for source, target in ((ours, theirs), (theirs, ours)):
            syn = "-p tcp --tcp-flags SYN,RST SYN"
            smaller = f"-m tcpmss --mss {size + 1}:65535 -j TCPMSS --set-mss {size}"
            yield f"EDGEWARD-SIZE -s {source} -d {target} {syn} {smaller}"


def _ends(pairs: Sequence[Pairs]) -> Iterator[tuple[str, str]]:
    return ((one.local, peer) for one in pairs for peer in one.peers)


def _restore(program: str, command: str, text: str) -> None:
    done = _ran(program, f"{command}-restore", "--noflush", said=text)
    if done.returncode != 0:
        raise NotApplied(done.stderr.decode(errors="replace")[:2000])


def _ran(program: str, *words: str, said: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - fixed argv, no shell
        [program, words[0], _WAIT, *words[1:]], input=said.encode(), env={"PATH": os.defpath}, cwd="/",
        capture_output=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
