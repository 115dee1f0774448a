"""`apply --wait`: how far each node is with a revision, until all that can be said of it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgeward.cli.printing import show

if TYPE_CHECKING:
    from edgeward.cli.client import Client

_PART: Final = 25.0
_GRACE: Final = 5.0
"""How long nodes that are not connected get to come back: a restarted one is away for a moment."""
_GRACE_OF_ALL: Final = 15.0
"""As long, where none is connected."""
_MOST_SHOWN: Final = 30

State = Literal["serves", "waits", "refuses", "away"]
Node = Mapping[str, Any]


@dataclass
class Waiting:
    """What was heard of the nodes so far; ``take`` is given an answer of ``/v1/wait`` and when it came.

    ``about`` are the objects that were applied: an older refusal of one of them counts, others do not.
    """

    revision: int
    about: Collection[str] = ()
    nodes: dict[str, Node] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)

    def take(self, nodes: Sequence[Node], at: float) -> list[str]:
        """Give the names of the nodes that got there, or refused, since."""
        self.nodes = {str(node["name"]): node for node in nodes}
        before, self.states = self.states, {name: self._state(node) for name, node in self.nodes.items()}
        fresh = [n for n, s in self.states.items() if s in ("serves", "refuses") and before.get(n) != s]
        self.took = {n: t for n, t in self.took.items() if self.states.get(n) == before.get(n)}
        self.took |= dict.fromkeys(fresh, at)
        return sorted(fresh)

    def over(self, at: float) -> bool:
        """Whether waiting on tells nothing new: nodes that are not connected are not waited for."""
        if not self.all_heard:
            return False
        away = list(self.states.values()).count("away")
        return at >= (_GRACE_OF_ALL if away == len(self.states) else _GRACE if away else 0.0)

    @property
    def all_heard(self) -> bool:
        """Whether only nodes that are not connected are left to be heard of."""
        return bool(self.states) and "waits" not in self.states.values()

    @property
    def done(self) -> bool:
        """Whether every node there is serves it."""
        return bool(self.states) and all(state == "serves" for state in self.states.values())

    def refusals(self, name: str) -> list[Mapping[str, Any]]:
        node = self.nodes[name]
        # an older controller gives all of them, and says of none that it is old
        own = [r for r in node.get("rejections", ()) if self._counts(r)]
        if node.get("revision", 0) < self.revision:
            return own  # what it says of before may be about what is replaced now
        return own + [r for r in node.get("older", ()) if r.get("object") in self.about]

    def _counts(self, rejection: Mapping[str, Any]) -> bool:
        fresh = rejection.get("revision", self.revision) >= self.revision
        return bool(fresh or rejection.get("object") in self.about)

    def _state(self, node: Node) -> State:
        refused = self.refusals(str(node["name"]))
        if node.get("revision", 0) >= self.revision and not refused:
            return "serves"
        if not node.get("connected"):
            return "away"
        return "refuses" if refused else "waits"


def wait(client: Client, revision: int, about: Collection[str], timeout: float) -> None:
    """Wait until every connected node serves the revision; exit 1 unless every node there is does."""
    waiting = Waiting(revision, about)
    began = time.monotonic()
    state = "none"
    with _shown(waiting) as tell:
        while True:
            left = began + timeout - time.monotonic()
            part = max(0.0, min(left, 1.0 if waiting.all_heard else _PART))
            asked: dict[str, str | int | float] = {
                "revision": revision,
                "timeout": round(part, 3),
                "unlike": state or "none",
            }
            answer = client.get("/v1/wait", asked, timeout=part + 10.0)
            state = answer.get("state")
            at = time.monotonic() - began
            tell(waiting.take(answer["nodes"], at))
            if waiting.over(at) or at >= timeout:
                break
    _conclude(waiting)
    if not waiting.done:
        raise typer.Exit(1)


@contextmanager
def _shown(waiting: Waiting) -> Iterator[Callable[[list[str]], None]]:
    """Show a table that lives where there is a terminal, else a line for each node that gets there."""
    if not sys.stdout.isatty():
        yield lambda names: _lines(waiting, names)
        return
    with Live(_table(waiting), console=show.console(), refresh_per_second=8) as live:
        yield lambda _names: live.update(_table(waiting), refresh=True)


def _lines(waiting: Waiting, names: Sequence[str]) -> None:
    for name in names:
        if waiting.states[name] == "serves":
            revision = waiting.nodes[name]["revision"]
            show.line(f"{show.shown(name)} serves revision {revision} after {waiting.took[name]:.2f} s")


def _table(waiting: Waiting) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("NODE", "CONNECTED", "REVISION", "TOOK", ""):
        table.add_column(column, header_style="dim")
    # those still on their way first: there may be more nodes than lines
    names = sorted(waiting.nodes, key=lambda n: (waiting.states[n] == "serves", n))
    for name in names[:_MOST_SHOWN]:
        table.add_row(*_row(waiting, name))
    if len(names) > _MOST_SHOWN:
        table.add_row(Text(f"and {len(names) - _MOST_SHOWN} more"))
    return table


def _row(waiting: Waiting, name: str) -> list[Text]:
    node, state = waiting.nodes[name], waiting.states[name]
    what = {
        "serves": show.good("serves it"),
        "waits": Text("on its way", style="yellow"),
        "refuses": show.bad("refuses it"),
        "away": show.bad("not connected"),
    }[state]
    took = waiting.took.get(name)
    return [
        Text(show.shown(name)),
        show.good("yes") if node.get("connected") else show.bad("no"),
        Text(str(node.get("revision", 0))),
        Text("" if took is None else f"{took:.2f} s"),
        what,
    ]


def _conclude(waiting: Waiting) -> None:
    """Say of each node that does not serve it why, and of the others what stands in nobody's way."""
    if not waiting.nodes:
        show.line("no node has joined yet")
    for name, node in waiting.nodes.items():
        shown, state, has = show.shown(name), waiting.states[name], node.get("revision", 0)
        for refused in waiting.refusals(name) if state == "refuses" else ():
            _say(f"{shown} refuses {show.shown(refused['object'])}: {show.shown(refused['message'])}")
        if state == "away":
            _say(
                f"{shown} is not connected; it serves revision {has}, and catches up when it is back."
                f" Is it gone for good? edgeward delete nodes {shown}"
            )
        elif state == "waits":
            _say(f"{shown} still serves revision {has}")
        older = len(node.get("older", ()))
        if older and state == "serves":
            show.line(f"note: {shown} refuses {older} of earlier changes; see edgeward status")


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, markup=False, emoji=False).print(Text(text), soft_wrap=True)
