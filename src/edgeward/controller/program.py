"""Runs the controller until it is told to end: what it begins with, what works at once, how it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import time
from collections.abc import Sequence

from edgeward import notify
from edgeward.certificates import eager, tickets
from edgeward.certificates.orders import queue
from edgeward.certificates.renewal import renew
from edgeward.controller import entry, starting, sweeping
from edgeward.controller.assembly import Parts, put_together
from edgeward.controller.config import Settings
from edgeward.controller.files import write_secret
from edgeward.database.engine import open_database
from edgeward.errors import EdgewardError
from edgeward.gateway.model import Address
from edgeward.log import logger

_log = logger("edgeward.controller")


async def run(settings: Settings) -> None:
    """Run until SIGTERM, SIGQUIT or SIGINT; raises what keeps it from starting."""
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = open_database(settings.database)
    try:
        await starting.open_when_there(database)
        seal, wrapping = await starting.seal_of(database, settings.seal_keys, time.time())
        parts = await put_together(settings, database, seal, wrapping)
        await _begin(parts)
        await _serve(parts)
    finally:
        await database.close()


async def _begin(parts: Parts) -> None:
    """Take in what is stored and declared, and open the API."""
    async with parts.database.reading() as connection:
        await parts.state.catch_up(connection)
    await parts.nodes.load()
    await parts.fleet.load()
    await parts.leases.begin_alone()
    await parts.keys.take()
    if parts.file is not None:
        try:
            await parts.file.apply()
        except EdgewardError as error:
            if not any(s.source == parts.file.source for s in parts.state.stored.values()):
                raise
            _log.error("file refused; what was applied before stays", reason=str(error))
    token_file = parts.settings.state_dir / "admin.token"
    await entry.admin_token(parts.database, token_file, time.time)
    await _open(parts)


async def _open(parts: Parts) -> None:
    """Serve the API where it is declared now, with a certificate for that, and tell the local node."""
    addresses = _addresses(parts)
    await parts.certified.certify(addresses, parts.settings.api_names)
    await parts.serving.serve(addresses)
    url = f"https://{_reachable(addresses[0])}"
    parts.fleet.at(f"https://{_for_others(addresses, parts.settings.api_names)}")
    write_secret(parts.settings.state_dir / "api" / "address", url + "\n")  # how commands here find it
    if parts.settings.local_node is not None:
        await entry.local_identity(
            parts.settings.state_dir / "node" / "identity.json",
            parts.settings.local_node,
            url,
            parts.nodes,
            parts.access,
            parts.certified.roots(),
        )
        await parts.nodes.label_more(parts.settings.local_node, parts.settings.labels)


async def _serve(parts: Parts) -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    again = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, again.set)
    async with asyncio.TaskGroup() as group:
        works = [
            parts.certificates.obtainer.run(),
            parts.leases.work("renewal", lambda lease: renew.run(parts.certificates.issuance, lease)),
            parts.leases.work(queue.LEASE, parts.certificates.planner.run),
            parts.leases.work("alarms", parts.certificates.alarm),
            parts.leases.work("tunnel alarms", parts.tunnels.alarm),
            parts.leases.work("sweeping", lambda lease: sweeping.run(parts.database, parts.leases, lease)),
            parts.keys.run(),
            parts.leases.work("keys", parts.keys.work),
            *([] if parts.settings.redis is None else [parts.leases.work("redis", parts.tier.work)]),
            tickets.run(parts.certificates.issuance),
            parts.database.listen(),
            parts.fleet.run(),
            parts.questions.run(),
            parts.state.follow(parts.database),
            parts.events.tail.run(),
            parts.telling.run(),
            parts.tunnels.gateways.run(),
            parts.certified.run(lambda: _reopen(parts)),
            parts.openresty.run(parts.leases),
            parts.tunnels.openstack.run(),
            _keep_open(parts),
            _reload(parts, again),
            notify.stay_alive(),
        ]
        if parts.file is not None:
            works.append(parts.file.run())
        tasks = [group.create_task(work) for work in works]
        parts.seeing.started = True
        notify.ready(f"api on {', '.join(parts.serving.addresses)}")
        _log.info("controller ready", api=list(parts.serving.addresses))
        await ending.wait()
        notify.stopping()
        parts.registry.end_all()
        await parts.events.tail.end()
        await parts.serving.stop()
        await parts.fleet.leave()
        await parts.tier.close()
        for task in tasks:
            task.cancel()
    parts.certificates.fulfiller.close()
    _log.info("controller ended")


async def _keep_open(parts: Parts) -> None:
    """Make eager certificates, and move the API, as what is declared changes."""
    wake = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            parts.leases.work("eager", lambda lease: eager.run(parts.certificates.issuance, wake, lease))
        )
        while True:
            await parts.changed.wait()
            parts.changed.clear()
            wake.set()
            parts.openresty.changed()
            parts.tunnels.openstack.changed()
            if _addresses_texts(_addresses(parts)) != set(parts.serving.addresses):
                await _reopen(parts)


async def _reopen(parts: Parts) -> None:
    try:
        await _open(parts)
    except EdgewardError as error:
        _log.error("the api stays where it was", reason=str(error), api=list(parts.serving.addresses))


async def _reload(parts: Parts, again: asyncio.Event) -> None:
    while True:
        await again.wait()
        again.clear()
        notify.reloading()
        if parts.file is not None:
            await parts.file.reapply("asked to")
        await _reopen(parts)
        notify.ready()


def _addresses(parts: Parts) -> Sequence[Address]:
    declared = [Address.parse(text) for text in parts.state.listen().api]
    return parts.settings.api or declared or [Address(host="127.0.0.1", port=2443)]


def _addresses_texts(addresses: Sequence[Address]) -> set[str]:
    return {str(address) for address in addresses}


def _for_others(addresses: Sequence[Address], names: Sequence[str]) -> Address:
    """Give where other hosts reach the API: by the first name it is to have, else at the first address that
    is not of this host alone.
    """
    if names:
        return Address(host=names[0], port=addresses[0].port)
    known = [a for a in addresses if not ipaddress.ip_address(a.host).is_unspecified]
    wider = (a for a in known if not ipaddress.ip_address(a.host).is_loopback)
    return next(wider, _reachable(addresses[0]))


def _reachable(address: Address) -> Address:
    """Give where this host itself reaches an address that may stand for all."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - compared
    return Address(host=host, port=address.port)
