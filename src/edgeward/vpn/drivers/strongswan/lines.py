"""What charon wrote lately, by the peers it is about: its log goes where only root reads it.

Empty exchanges, by which peers see that the other is there, are left out: they would drive out all else.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from itertools import islice
from typing import Final

from edgeward.vpn.driver import Line

_EACH: Final = 300
_MOST: Final = 20_000
_MOST_SAS: Final = 10_000
_LONGEST: Final = 500
_PACKET: Final = re.compile(r"^(?:received packet: from|sending packet: from \S+ to) (\S+?)\[\d+\]")
_EMPTY: Final = re.compile(r"^(generating|parsed) INFORMATIONAL (?:request|response) \d+ \[ \]")
_ALIVE: Final = re.compile(r"^sending (?:DPD request|keep alive)")


class Lines:
    """``known`` tells whether a name or an address is that of somebody declared: of strangers nothing is
    kept."""

    def __init__(self, known: Callable[[str], bool]) -> None:
        self._known = known
        self._of: OrderedDict[str, deque[Line]] = OrderedDict()
        """By charon's name of some peers, or by their address while it cannot name them; who was written of
        last comes last."""
        self._peers: OrderedDict[str, str] = OrderedDict()
        """Addresses, by the numbers of IKE_SAs."""
        self._empty: set[str] = set()
        """IKE_SAs whose following packet is an empty one."""
        self._count = 0

    def add(self, number: str, name: str, group: str, text: str, now: float) -> None:
        """Take a line as log events say it: ``number`` and ``name`` of its IKE_SA, ``group`` and ``text``."""
        if not number:
            return
        packet = _PACKET.match(text)
        if packet is not None:
            self._peers[number] = packet[1]
            if len(self._peers) > _MOST_SAS:
                self._peers.popitem(last=False)
        named = name not in ("", "(unnamed)")
        who = name if named else self._peers.get(number, "")
        if who and self._known(who) and not self._passed_over(number, who, text, packet is not None):
            self._keep(who, (now, f"[{group}] {text}"[:_LONGEST]))

    def newest(self, who: Iterable[str], last: int) -> Sequence[Line]:
        """Give the newest of some, the oldest first."""
        found = merge(*(reversed(self._of.get(one, ())) for one in who), key=lambda line: -line[0])
        return tuple(islice(found, last))[::-1]

    def _passed_over(self, number: str, who: str, text: str, is_packet: bool) -> bool:
        if is_packet and text.startswith("sending") and number in self._empty:
            self._empty.discard(number)
            return True
        empty = _EMPTY.match(text)
        if empty is None:
            return bool(_ALIVE.match(text))
        if empty[1] == "generating":
            self._empty.add(number)
        elif (kept := self._of.get(who)) and kept[-1][1].startswith("[NET] received packet"):
            kept.pop()
            self._count -= 1
        return True

    def _keep(self, who: str, line: Line) -> None:
        kept = self._of.setdefault(who, deque(maxlen=_EACH))
        self._count += len(kept) < _EACH
        kept.append(line)
        self._of.move_to_end(who)
        while self._count > _MOST and len(self._of) > 1:
            self._count -= len(self._of.popitem(last=False)[1])
