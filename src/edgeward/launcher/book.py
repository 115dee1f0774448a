"""What the launcher says of itself in ``envoy.json``, for the node, the command and the next launcher."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgeward.launcher import files
from edgeward.launcher.generation import Generation
from edgeward.launcher.lines import say

State = Literal["starting", "serving", "draining", "down"]
Outcome = Literal["hot", "cold", "failed"]


@dataclass
class Book:
    """Change it, then ``write()``. ``asked`` and ``answered`` count restarts that were asked for."""

    path: Path
    number: int = 0
    """Of the newest generation."""
    state: State = "down"
    since: float = field(default_factory=time.time)
    serving: Generation | None = None
    starting: Generation | None = None
    draining: list[Generation] = field(default_factory=list)
    """Those that others have taken over from, oldest first."""
    restarts: int = 0
    """After deaths."""
    hot_restarts: int = 0
    last_exit: str | None = None
    asked: int = 0
    answered: int = 0
    phase: str = ""
    last_restart: dict[str, Any] | None = None

    @classmethod
    def open(cls, path: Path) -> Book:
        """Begin a new one that counts on where the one before ended."""
        number = files.read_json(path).get("generation")
        return cls(path, number=number if isinstance(number, int) and number >= 0 else 0)

    def turn(self, state: State) -> None:
        self.state, self.since = state, time.time()
        self.write()

    def at(self, phase: str) -> None:
        """Say how far a restart is."""
        self.phase = phase
        self.write()

    def answer(self, upto: int, outcome: Outcome, text: str, seconds: float) -> None:
        """Say how the restarts asked for up to here came out."""
        self.answered, self.phase = upto, ""
        self.hot_restarts += outcome == "hot"
        self.last_restart = {
            "at": time.time(),
            "outcome": outcome,
            "text": text,
            "seconds": round(seconds, 3),
        }
        self.write()
        say(
            "error" if outcome == "failed" else "info", text,
            outcome=outcome, generation=self.number, seconds=round(seconds, 3),
        )  # fmt: skip

    def write(self) -> None:
        serving = self.serving
        record = {
            "pid": serving.child.pid if serving else None,
            "state": self.state,
            "since": serving.child.since if serving and self.state == "serving" else self.since,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "launcher": os.getpid(),
            "generation": self.number,
            "epoch": serving.epoch if serving else None,
            "base": serving.lineage.base if serving else None,
            "has_admin": serving.has_admin if serving else False,
            "starting": self.starting.record() if self.starting else None,
            "draining": [one.record() for one in self.draining],
            "hot_restarts": self.hot_restarts,
            "asked": self.asked,
            "answered": self.answered,
            "phase": self.phase,
            "last_restart": self.last_restart,
        }
        try:
            files.write_json(self.path, record)
        except OSError as error:  # a full disk must not end Envoy
            say("error", f"{self.path}: {error.strerror}; free some space", state=self.state)
