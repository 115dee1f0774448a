"""What a delta stream tells the program around it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """Envoy wants the secret of this name; ``held`` is the version it has already, or empty."""

    name: str
    held: str = ""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Envoy no longer holds or waits for the secret of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Envoy will not take this version of a resource; it is not sent again until it changes."""

    type_url: str
    name: str
    version: str
    owner: str
    message: str


Event = Ask | Dropped | Refused
