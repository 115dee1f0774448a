"""What ip(8) and /proc/sys/net say of this network namespace, and what they are told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edgeward.rootd.table.guard import OUTSIDE

PROGRAM: Final = "/usr/bin/ip"
_SECONDS: Final = 10.0


class NotMade(Exception):
    """The message says why, and what to do."""


def links(*which: str) -> dict[str, Mapping[str, Any]]:
    return {str(one["ifname"]): one for one in asked("link", "show", *which)}


def addresses() -> dict[str, set[str]]:
    """Give those that somebody set: not the loopback's own, nor what the kernel made of a MAC."""
    found = {}
    for link in asked("address", "show"):
        texts = {
            f"{one['local']}/{one['prefixlen']}"
            for one in link.get("addr_info", ())
            if "local" in one and not (one["scope"] in ("host", "link") and link["ifname"] != OUTSIDE and
                                       (one["local"] in ("127.0.0.1", "::1") or is_v6(one["local"])))
        }  # fmt: skip
        found[str(link["ifname"])] = {one for one in texts if not one.startswith("fe80:")}
    return found


def asked(*words: str) -> list[dict[str, Any]]:
    return [one for one in json.loads(_done("-json", *words) or b"[]") if one]


def batch(*lines: str) -> None:
    if lines:
        _done("-batch", "-", said="".join(f"{line}\n" for line in lines))


def run(*words: str, said: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run ip, however it ends."""
    return subprocess.run(  # noqa: S603 - fixed argv, no shell
        [PROGRAM, *words], input=said.encode(), env={}, cwd="/", capture_output=True, timeout=_SECONDS,
        check=False,
    )  # fmt: skip


def _done(*words: str, said: str = "") -> bytes:
    done = run(*words, said=said)
    if done.returncode != 0:
        raise NotMade(f"ip: {done.stderr.decode(errors='replace').strip()[:500]}")
    return done.stdout


def setting(key: str) -> str:
    return Path("/proc/sys/net", key).read_text().strip()


def settle(key: str, value: str) -> None:
    """Set what the kernel goes by, where it is something else."""
    if setting(key) != value:
        Path("/proc/sys/net", key).write_text(value)


def is_v4(address: str) -> bool:
    return ":" not in address


def is_v6(address: str) -> bool:
    return ":" in address
