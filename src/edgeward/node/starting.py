"""What a start needs: the directory for this node alone, and who it is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from edgeward.errors import Conflict, EdgewardError, Invalid, Unavailable
from edgeward.launcher.files import take_lock
from edgeward.log import logger
from edgeward.node.config import Config, Joining
from edgeward.node.controllers import identity as identities

log = logger(__name__)
_IDENTITY_SECONDS = 30.0


def lock(directory: Path) -> int:
    """Hold the directory for this process, until it ends; raises Conflict where another node has it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        held = take_lock(directory / "node.lock")
    except OSError as error:
        raise Unavailable(f"{directory}: {error.strerror}; make it writable for this user") from error
    if held is None:
        raise Conflict(f"another node runs on {directory}; end it first")
    return held


async def become(config: Config) -> None:
    """See to it that this node has an identity: join with a token, or wait for the controller to write it.

    A node that has joined before does not wait for anything: it serves what it knows. One whose identity was
    taken away joins again where it can.
    """
    serves = (config.node_dir / "last-good.db").exists()
    if (serves and config.identity_file.exists()) or identities.load(config.identity_file) is not None:
        return
    if config.joining is not None:
        try:
            await _join(config, config.joining)
        except EdgewardError as error:
            if not serves:
                raise
            log.error("this node cannot join; it serves what it knows", problem=str(error))
        return
    if serves:
        return
    until = time.monotonic() + _IDENTITY_SECONDS
    while identities.load(config.identity_file) is None:
        if time.monotonic() > until:
            raise Invalid(
                f"{config.identity_file} is not there: join with --controller URL --join TOKEN"
                " --ca-sha256 HEX, or start the controller of this host with --local-node"
            )
        await asyncio.sleep(0.1)


async def _join(config: Config, how: Joining) -> None:
    identity = await identities.join(how.controllers, how.token.reveal(), how.ca_sha256, how.name)
    identities.save(config.identity_file, identity)
    log.info("joined", controller=identity.controller, name=identity.name)


def own_name(file: Path) -> str:
    """Give this node's name, blank where its identity cannot be read: it serves what it knows."""
    try:
        identity = identities.load(file)
    except (Invalid, Unavailable) as error:
        log.error("who this node is cannot be read", problem=str(error))
        return ""
    return "" if identity is None else identity.name
