"""A storm over tunnels too: rootd, daemons, relays and namespaces are killed, and what is declared of tunnels changes."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgeward.cli.demo.visit import Failed, trusting, visit
from edgeward.rootd.table import cables, network
from tests.faults.customers import NETWORKS, WHO, Customer
from tests.faults.kept_rootd import KeptRootd
from tests.faults.storm import CUT_OFF, LONGEST, SERVED_BY, Storm, within
from tests.integration.processes import is_alive

_VISITS_A_SECOND: Final = 10
_HANGING: Final = ("charon", "rootd", "node", "controller")
_HANGS: Final = 0.3
"""How many of these hang for a while instead of being killed."""
_LONGEST_HANG: Final = 8.0


@dataclass
class TunnelStorm(Storm):
    """``lasting`` customers stay declared; ``fleeting`` ones come and go."""

    rootd: KeptRootd = field(kw_only=True)
    lasting: Sequence[Customer] = field(kw_only=True)
    fleeting: Sequence[Customer] = field(kw_only=True)
    pause: float = field(kw_only=True)
    """Seconds between changes, at most."""
    patient: bool = False
    """Visitors try twice: on a machine with too much to do a tunnel may stand still for seconds."""
    order: list[str] = field(default_factory=list)
    """What to kill, one after the other; else at random."""
    sites: set[str] = field(default_factory=set)
    """Those that are declared, as far as it was acknowledged."""
    changes: list[tuple[str, str]] = field(default_factory=list)
    carried: int = 0
    """How many visitors were served through tunnels."""
    cut_off: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """From when to when what was done may keep visitors from a customer."""
    missed: list[tuple[float, float, str, str]] = field(default_factory=list)
    """Who was not served through a tunnel: from when to when, the customer, what came."""
    still: list[str] = field(default_factory=list)
    """What there was at the last look of one that is to be gone."""
    took: list[tuple[str, float, float]] = field(default_factory=list)
    """After how many seconds each that was killed was back, and customers were reached again."""
    wrong: list[str] = field(default_factory=list)
    """Answers of another customer than was asked for."""

    def works(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (*super().works(), self.cross_for_ever(), self.change_for_ever())

    # --- what is killed -----------------------------------------------------------------------

    def victims(self) -> Sequence[str]:
        kinds = ("charon", "charon", "relay", "namespace")
        of_customers = [f"{kind} {one.name}" for kind in kinds for one in self.lasting]
        return (*super().victims(), "rootd", "rootd", "keeper", *of_customers)

    async def strike(self) -> None:
        """Kill some at nearly the same time."""
        if self.order:
            await self.kill(self.order.pop(0))
            return
        several = self.chance.sample(sorted(set(self.victims())), self.chance.choice((1, 1, 2, 3)))
        async with asyncio.TaskGroup() as group:
            for what in several:
                harm = (
                    self.hang if self.chance.random() < _HANGS and what.split()[0] in _HANGING else self.kill
                )
                group.create_task(harm(what))
                await asyncio.sleep(self.chance.uniform(0, 0.4))

    async def kill(self, what: str) -> None:
        name = what.partition(" ")[2]
        harmed = [one.name for one in self.lasting if what in SERVED_BY or one.name == name]
        began = time.monotonic()
        await super().kill(what)
        back = time.monotonic()
        for one in harmed:
            await within(LONGEST, self.crosses, one, about=self.kills)
            self.cut_off.setdefault(one, []).append((began, time.monotonic()))
        self.took.append((what, round(back - began, 1), round(time.monotonic() - began, 1)))

    async def hang(self, what: str) -> None:
        """Have one stand still for a while."""
        await within(LONGEST, self._is_there, what, about=self.kills)
        pid, began = self.pid(what), time.monotonic()
        self.kills.append((began, f"{what}, hung"))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(self.chance.uniform(1, _LONGEST_HANG))
            finally:
                os.kill(pid, signal.SIGCONT)
        for one in [one.name for one in self.lasting if what.endswith(f" {one.name}")]:
            await within(LONGEST, self.crosses, one, about=self.kills)
            self.cut_off.setdefault(one, []).append((began, time.monotonic()))

    def pid(self, what: str) -> int:
        kind, _, name = what.partition(" ")
        if kind in ("rootd", "keeper"):
            return self.rootd.pid_of(kind)
        if not name:
            return super().pid(what)
        namespace = next(one.namespace for one in self.lasting if one.name == name)
        return min(self._recorded(kind, namespace), default=0)

    def _recorded(self, kind: str, namespace: str) -> list[int]:
        """Give the processes of a kind that live in a namespace, as rootd wrote them down."""
        place = Path(self.rootd.socket).parent
        if kind == "relay":
            found = [path for path in place.glob(f"relays/{namespace}/*") if not path.suffix]
        else:
            found = [place / ("vpn" if kind == "charon" else "namespaces") / namespace]
            found = [found[0] / "daemon"] if kind == "charon" else found
        pids = [int(path.read_text().split()[0]) for path in found if path.exists()]
        return [pid for pid in pids if is_alive(pid)]

    # --- visitors -----------------------------------------------------------------------------

    async def cross_for_ever(self) -> None:
        """Have visitors come for what is behind the tunnels that stay."""
        trust = trusting(self.edge.state / "ca/root.pem")
        async with asyncio.TaskGroup() as group:
            for number in range(1_000_000):
                name = self.lasting[number % len(self.lasting)].name
                group.create_task(self._cross(name, trust))
                await asyncio.sleep(1 / _VISITS_A_SECOND)

    async def _cross(self, name: str, trust: ssl.SSLContext) -> None:
        began = time.monotonic()
        missed = await self._tried(name, trust)
        if missed and self.patient:
            missed = await self._tried(name, trust)
        if missed:
            self.missed.append((began, time.monotonic(), name, missed))
        else:
            self.carried += 1

    async def _tried(self, name: str, trust: ssl.SSLContext) -> str:
        """Visit a customer, and give what came instead of its answer."""
        try:
            seen = await visit(self.edge.https, f"{name}.example", trust=trust, timeout=15.0)
        except Failed as error:
            return str(error)
        if seen.status == 200 and seen.headers.get(WHO) != name:
            self.wrong.append(f"{name}: {seen.headers}")
        return "" if seen.status == 200 else f"{seen.status} {seen.body[:200]}"

    async def crosses(self, name: str) -> bool:
        trust = trusting(self.edge.state / "ca/root.pem")
        with suppress(Failed):
            seen = await visit(self.edge.https, f"{name}.example", trust=trust, timeout=10.0)
            return seen.status == 200 and seen.headers.get(WHO) == name
        return False

    # --- changes ------------------------------------------------------------------------------

    async def change_for_ever(self) -> None:
        """Change what is declared of tunnels: of one that stays, or one that comes and goes."""
        while True:
            await asyncio.sleep(self.chance.uniform(0, self.pause))
            if self.fleeting and self.chance.random() < 0.4:
                await self.come_or_go(self.chance.choice(self.fleeting))
            else:
                await self._changed(self.chance.choice(self.lasting))

    async def come_or_go(self, one: Customer) -> None:
        if one.name in self.sites:
            self.changes.append((one.name, "deleted"))
            await self.say("DELETE", f"/v1/vpn/{one.name}")
            self.sites.discard(one.name)
        else:
            await self.declare(one, "added")
            await within(LONGEST, self.stands, one, about=self.kills)

    async def _changed(self, one: Customer) -> None:
        began, newest = time.monotonic(), one.newest()
        what = await asyncio.to_thread(one.change, self.chance)
        await self.declare(one, what)
        newer = newest if what == "secret" else 0
        await within(LONGEST, self.stands, one, newer, about=(what, self.kills))
        await within(LONGEST, self.crosses, one.name, about=self.kills)
        self.cut_off.setdefault(one.name, []).append((began, time.monotonic() + CUT_OFF))

    async def declare(self, one: Customer, what: str = "declared") -> None:
        self.changes.append((one.name, what))
        await self.say("PUT", f"/v1/vpn/{one.name}", one.declared())
        self.sites.add(one.name)

    async def stands(self, one: Customer, newer: int = 0) -> bool:
        return await asyncio.to_thread(one.is_as_declared, newer)

    # --- at the end ---------------------------------------------------------------------------

    async def abate(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        await super().abate(tasks)
        for one in (*self.lasting, *(one for one in self.fleeting if one.name in self.sites)):
            await self.declare(one)  # what was under way may not have been acknowledged
        for one in self.fleeting:
            if one.name not in self.sites:
                await self.say("DELETE", f"/v1/vpn/{one.name}")

    async def everything_is_true(self) -> None:
        await super().everything_is_true()
        customers = (*self.lasting, *self.fleeting)
        declared = [one for one in customers if one.name in self.sites]
        for one in declared:
            await asyncio.to_thread(one.end_all)  # none that is left of before is taken for it
        for one in declared:
            await within(LONGEST, self.stands, one, about=self.kills)
        for one in self.lasting:
            await within(LONGEST, self.crosses, one.name, about=self.kills)
        for one in customers:
            if one.name not in self.sites:
                await within(LONGEST, self._is_gone, one)
        said = (await self.ask("GET", "/v1/vpn")).json()["items"]
        found = {item["name"]: list(item["value"]["remote_networks"]) for item in said}
        assert found == {one.name: list(NETWORKS[: one.networks]) for one in declared}

    async def _is_gone(self, one: Customer) -> bool:
        self.still[:] = await asyncio.to_thread(self.left, one)
        return not self.still

    def left(self, one: Customer) -> list[str]:
        """Give what there is of a customer's gateway: processes, sockets, records, interfaces, rules."""
        place = Path(self.rootd.socket).parent
        found = [str(path) for path in place.glob(f"*/{one.namespace}*") if not path.is_dir()]
        found += [
            str(path) for path in place.glob(f"*/{one.namespace}*/*") if path.suffix in (".vici", ".sock")
        ]
        found += [
            f"{kind} {pid}" for kind in ("charon", "relay") for pid in self._recorded(kind, one.namespace)
        ]
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if one.namespace.encode() in path.read_bytes():
                    found.append(f"process {path.parent.name}")
        rules = subprocess.run(
            ["/usr/sbin/nft", "list", "ruleset"], capture_output=True, text=True, timeout=20
        ).stdout
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, timeout=20).stdout
        found += [line.strip() for line in rules.splitlines() if one.site.outside in line]
        found += [line for line in links.splitlines() if self._is_of(one, line)]
        return found

    def _is_of(self, one: Customer, link: str) -> bool:
        wanted = network.Network(shared=one.site.router, peers=(one.site.outside,))
        return any(cable.host in link for cable in cables.ends(one.namespace, wanted, "169.254.128.1"))

    def unexcused_misses(self) -> list[tuple[float, float, str, str]]:
        """Give who was not served through a tunnel though nothing was done to it."""
        return [
            miss for miss in self.missed
            if not any(miss[0] <= until_ + CUT_OFF and miss[1] >= since - CUT_OFF
                       for since, until_ in self.cut_off.get(miss[2], ()))
        ]  # fmt: skip

    def cost_nothing(self, orders: int, issued: int) -> None:
        print(self.carried, "carried,", len(self.missed), "missed;", self.changes, self.took)
        super().cost_nothing(orders, issued)
        assert self.patient or "was destroyed but it is pending" not in self.edge.process.output()
        assert self.wrong == []
        assert self.unexcused_misses() == []
        assert self.carried > len(self.kills)
