"""Commands on the keys that records are sealed with: show them, rotate them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from edgeward.cli.connect import Api, connect
from edgeward.cli.options import StateDir, group
from edgeward.cli.printing import show
from edgeward.errors import Unavailable

_LOOK_EVERY: Final = 0.5


def register(app: typer.Typer) -> None:
    about = "The keys that private keys and secrets are sealed with in the database."
    group(app, "keys", about, {"show": shown, "rotate": rotate})


def shown(output: show.Output = show.Format.table, api: Api = None, state_dir: StateDir = None) -> None:
    """List the keys by their ids, what wraps them, and how many records are sealed with older ones."""
    with connect(api, state_dir) as client:
        found = client.get("/v1/keys")
    if output is not show.Format.table:
        show.data(found, output)
        return
    now = time.time()
    rows = (
        [key["id"], _state(key), show.moment(key["created"], now), key["wrapped_by"]] for key in found["keys"]
    )
    show.table(["KEY", "STATE", "MADE", "WRAPPED BY"], rows)
    show.line(f"the present wrapping key is {found['wrapped_by']}, from {found['where']}")
    show.line(_left(found))


def rotate(
    wait: Annotated[bool, typer.Option("--wait", help="Return when all records are sealed anew.")] = False,
    timeout: Annotated[float, typer.Option(min=0, max=86400, help="Longest --wait, in seconds.")] = 600.0,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Make a new key, wrap all keys with the present wrapping key, and seal every record anew meanwhile."""
    with connect(api, state_dir) as client:
        key = client.post("/v1/keys/rotate")["id"]
        show.line(f"rotating to key {key}; edgeward keys show tells how far it is")
        until = time.monotonic() + timeout
        while wait:
            asked = time.monotonic()
            found = client.get("/v1/keys", timeout=60)
            sealing = any(k["id"] == key and k["active"] is not None for k in found["keys"])
            if sealing and not found["older_records"]:
                show.line("every record is sealed with it")
                return
            if time.monotonic() > until:
                raise Unavailable(f"{_left(found)}; it goes on by itself")
            time.sleep(
                max(_LOOK_EVERY, 4 * (time.monotonic() - asked))
            )  # counting takes long where there are many


def _state(key: Mapping[str, Any]) -> str:
    if key["active"] is None:
        return "waits"
    return "seals" if key["retired"] is None else "opens"


def _left(found: Mapping[str, Any]) -> str:
    if found["waits_for"]:
        return f"the new key waits until it is held by {', '.join(found['waits_for'])}"
    count = found["older_records"]
    return f"{count} records are to be sealed anew" if count else "every record is sealed with the newest key"
