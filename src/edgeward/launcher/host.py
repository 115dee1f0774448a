"""How much of this host we may use: CPUs, memory and open files, control groups included."""

from __future__ import annotations

import math
import os
import resource
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cpus() -> int:
    """Give the CPUs this process may run on, at least 1; a control group's quota is rounded up."""
    usable = len(os.sched_getaffinity(0))
    for text in _own_cgroup("cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.strip().isdecimal():
            usable = min(usable, math.ceil(int(quota) / int(period)))
    return max(1, usable)


def memory_bytes() -> int:
    """Give the physical memory, or the smallest limit of our control groups."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += [int(text) for text in _own_cgroup("memory.max") if text.strip().isdecimal()]
    return min(limits)


def open_files() -> int:
    """Give the hard limit of open files."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def _own_cgroup(file: str) -> list[str]:
    """Give a control file's text for our group and all groups above it (cgroup v2 only)."""
    found: list[str] = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                group = _CGROUP / line.removeprefix("0::/")
                for place in (group, *group.parents):
                    if place.is_relative_to(_CGROUP):
                        with suppress(OSError):
                            found.append((place / file).read_text())
    return found
