"""Puts the controller together, and runs it until it is told to end."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import signal
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import FastAPI

from edgeward import __version__, notify
from edgeward.access.authenticate import Authenticator
from edgeward.api import accounts as account_routes
from edgeward.api import actions as action_routes
from edgeward.api import bringing as bringing_routes
from edgeward.api import certificates as certificate_routes
from edgeward.api import challenges as challenge_routes
from edgeward.api import events as event_routes
from edgeward.api import explain as explain_routes
from edgeward.api import history as history_routes
from edgeward.api import holding as holding_routes
from edgeward.api import keys as key_routes
from edgeward.api import orders as order_routes
from edgeward.api import sites as site_routes
from edgeward.api import tunnels as tunnel_routes
from edgeward.api.app import create_app
from edgeward.api.openstack import routes as openstack_routes
from edgeward.api.openstack.app import OpenStackApp
from edgeward.api.openstack.facade import Facade
from edgeward.api.usecases import UseCases
from edgeward.certificates import eager, tickets
from edgeward.certificates.elsewhere import Elsewhere, PublicDns
from edgeward.certificates.issue import Issuance
from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.certificates.on_demand.permission import Permission
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.planner import Planner
from edgeward.certificates.preflight.checks import Preflight
from edgeward.certificates.renewal import alarms, renew
from edgeward.certificates.renewal.webhook import Webhook
from edgeward.controller import entry, starting, sweeping
from edgeward.controller.certificates.accounts import Accounts
from edgeward.controller.certificates.bringing import Bringing
from edgeward.controller.certificates.challenges import Challenges
from edgeward.controller.certificates.local_authority import Certified
from edgeward.controller.certificates.orders import Orders
from edgeward.controller.certificates.redis_tier import Tier
from edgeward.controller.certificates.usecases import Certificates
from edgeward.controller.config import Settings
from edgeward.controller.declared.file import WatchedFile
from edgeward.controller.declared.history import History
from edgeward.controller.declared.objects import Declarations
from edgeward.controller.declared.state import State
from edgeward.controller.events import Events
from edgeward.controller.explain.explaining import Explainer
from edgeward.controller.explain.gathering import Gathering
from edgeward.controller.files import write_secret
from edgeward.controller.keys.rotation import Keys
from edgeward.controller.metrics import Metrics
from edgeward.controller.nodes.actions import Actions
from edgeward.controller.nodes.fleet import Controller, Fleet
from edgeward.controller.nodes.health_events import Telling
from edgeward.controller.nodes.questions import Questions
from edgeward.controller.nodes.reading import Looks
from edgeward.controller.nodes.registry import Registry
from edgeward.controller.nodes.usecases import Nodes
from edgeward.controller.openresty.joined import OpenRestyParts
from edgeward.controller.serving import Serving, tls_context
from edgeward.controller.status import Seeing
from edgeward.controller.tokens import Tokens
from edgeward.controller.tunnels import alarms as tunnel_alarms
from edgeward.controller.tunnels import figures as tunnel_figures
from edgeward.controller.tunnels.gateways import Gateways
from edgeward.controller.tunnels.holding import Holding
from edgeward.controller.tunnels.openstack import Loopback, OpenStack
from edgeward.controller.tunnels.sites import Sites
from edgeward.controller.tunnels.states import Tunnels
from edgeward.controller.tunnels.steering import Steering
from edgeward.database.engine import Database, open_database
from edgeward.database.leases import Lease, Leases
from edgeward.errors import EdgewardError
from edgeward.gateway.model import Address
from edgeward.kinds import KINDS
from edgeward.log import logger
from edgeward.sealing import Seal
from edgeward.wrapping import Wrapping

_log = logger("edgeward.controller")


@dataclass
class Parts:
    """Everything that is put together, for whoever runs it."""

    settings: Settings
    database: Database
    state: State
    registry: Registry
    access: Authenticator
    looks: Looks
    nodes: Nodes
    gateways: Gateways
    fleet: Fleet
    questions: Questions
    leases: Leases
    keys: Keys
    tier: Tier
    certified: Certified
    issuance: Issuance
    obtainer: Obtainer
    planner: Planner
    fulfiller: Elsewhere
    alarm: Callable[[Lease], Awaitable[None]]
    tunnel_alarm: Callable[[Lease], Awaitable[None]]
    file: WatchedFile | None
    cases: UseCases
    app: FastAPI
    seeing: Seeing
    events: Events
    telling: Telling
    serving: Serving
    openresty: OpenRestyParts
    openstack: Loopback
    changed: asyncio.Event
    """Set after every change of what is declared."""


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


async def put_together(settings: Settings, database: Database, seal: Seal, wrapping: Wrapping) -> Parts:
    """Give all parts, wired and not yet started, over a migrated database."""
    clock, tls = time.time, tls_context(settings.client_ca)
    changed = asyncio.Event()
    state = State(changed.set)
    registry = Registry(clock)
    access = Authenticator(database, clock)
    certified = Certified(database, seal, settings.state_dir, tls, clock)
    await certified.load()
    issuance = Issuance(database, seal, certified.authority, state.policy, clock, random.random)
    permission = Permission(database, state.budgets)
    obtainer = Obtainer(issuance, permission=permission)
    fulfiller = Elsewhere(database, seal, clock)
    preflight = Preflight(
        PublicDns(settings.dns_servers),
        lambda: state.listen().public,
        fulfiller.identities,
        lambda name: permission.confirm(name, state.policy().covering(name)),
    )
    webhook = Webhook(seal)
    planner = Planner(issuance, fulfiller, preflight.check)
    database.on(queue.TOPIC, lambda _: issuance.ordered.set())
    declarations = Declarations(database, state, seal, clock)
    looks = Looks(database, state, seal)
    me = Controller(str(uuid.uuid4()), socket.gethostname()[:100], "", __version__, clock(), clock())
    fleet = Fleet(database, registry, access, me, clock)
    questions = Questions(database, registry)
    leases = Leases(database, me.id, clock)
    keys = Keys(database, seal, wrapping, me.id, fleet.shown, clock)
    tier = Tier(database, state, seal, settings.redis, clock)
    gateways = Gateways(database, state, registry, seal, certified.roots)
    nodes = Nodes(database, looks, registry, access, certified.roots, clock, fleet.note)
    nodes.streams.gateways = gateways
    file = None
    if settings.config is not None:
        file = WatchedFile(settings.config, settings.environment, declarations, clock)
    metrics = Metrics()
    seeing = Seeing(
        database, registry, fleet, access, obtainer, state, file, metrics, settings.state_dir, clock
    )
    events = Events(database, access)
    seeing.selecting = state.selecting
    tunnels = Tunnels(database, registry, clock)
    gathering = Gathering(database, registry, questions.ask, tunnels, state, clock)
    explainer = Explainer(database, state, questions.asked, gathering, clock)
    explainer.refusal = permission.refusal
    explainer.labels = lambda: {node.name: node.labels for node in registry}
    tunnels.known.gateways = gateways.now
    seeing.tunnels = tunnels.summary
    seeing.tunnel_figures = lambda metrics: tunnel_figures.tell(metrics, tunnels)
    nodes.streams.ready = seeing.ready
    nodes.tier_keys = tier.keys
    seeing.redis = tier.shown
    if database.shared:
        nodes.urls = lambda: [shown["url"] for shown in fleet.shown() if shown["url"]]
    listing = Certificates(database, obtainer, state.policy, certified.authority, clock)
    listing.refused = lambda name: tier.missed(name, state.revision)
    cases = UseCases(
        access=access,
        declarations=declarations,
        tokens=Tokens(database, access, registry, clock),
        nodes=nodes,
        seeing=seeing,
        certificates=listing,
        bringing=Bringing(issuance, fulfiller.revoke, changed.set),
        explain=explainer,
        history=History(database, state, file, clock),
        orders=Orders(database, state.policy, clock),
        events=events,
        actions=Actions(database, registry, questions.ask, clock),
        challenges=Challenges(database, clock),
        keys=keys,
        accounts=Accounts(database, fulfiller, state.policy, clock),
        tunnels=tunnels,
        holding=Holding(database, gateways, tunnels, registry, clock),
        steering=Steering(database, tunnels, questions.ask, clock),
        sites=Sites(declarations, gateways, tunnels),
    )
    extra = (
        account_routes.router,
        bringing_routes.router,
        action_routes.router,
        certificate_routes.router,
        challenge_routes.router,
        explain_routes.router,
        history_routes.router,
        event_routes.router,
        key_routes.router,
        order_routes.router,
        tunnel_routes.router,
        holding_routes.router,
        site_routes.router,
    )
    app = create_app(cases, KINDS, metrics.observe, extra)
    facade = Facade(OpenStack(database, state, declarations, seal))
    openstack_routes.add(app, OpenStackApp(facade, access.authenticate))
    serving = Serving(app, tls)
    seeing.serving = lambda: serving.addresses
    openresty = OpenRestyParts(database, seal, state, obtainer, clock, metrics.observe)
    seeing.openresty = lambda: openresty.shown(leases)
    return Parts(
        settings=settings,
        database=database,
        state=state,
        registry=registry,
        access=access,
        looks=looks,
        nodes=nodes,
        gateways=gateways,
        fleet=fleet,
        questions=questions,
        leases=leases,
        keys=keys,
        tier=tier,
        certified=certified,
        issuance=issuance,
        obtainer=obtainer,
        planner=planner,
        fulfiller=fulfiller,
        alarm=lambda lease: alarms.run(issuance, state.alarms, webhook.tell, lease),
        tunnel_alarm=lambda lease: tunnel_alarms.run(
            database, tunnels, state.alarms, webhook.post, clock, lease
        ),
        file=file,
        cases=cases,
        app=app,
        seeing=seeing,
        events=events,
        telling=Telling(database, registry, state, clock, me.id),
        serving=serving,
        openresty=openresty,
        openstack=Loopback(facade, state),
        changed=changed,
    )


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
            parts.obtainer.run(),
            parts.leases.work("renewal", lambda lease: renew.run(parts.issuance, lease)),
            parts.leases.work(queue.LEASE, parts.planner.run),
            parts.leases.work("alarms", parts.alarm),
            parts.leases.work("tunnel alarms", parts.tunnel_alarm),
            parts.leases.work("sweeping", lambda lease: sweeping.run(parts.database, parts.leases, lease)),
            parts.keys.run(),
            parts.leases.work("keys", parts.keys.work),
            *([] if parts.settings.redis is None else [parts.leases.work("redis", parts.tier.work)]),
            tickets.run(parts.issuance),
            parts.database.listen(),
            parts.fleet.run(),
            parts.questions.run(),
            parts.state.follow(parts.database),
            parts.events.tail.run(),
            parts.telling.run(),
            parts.gateways.run(),
            parts.certified.run(lambda: _reopen(parts)),
            parts.openresty.run(parts.leases),
            parts.openstack.run(),
            _keep_open(parts),
            _reload(parts, again),
            _watchdog(),
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
    parts.fulfiller.close()
    _log.info("controller ended")


async def _keep_open(parts: Parts) -> None:
    """Make eager certificates, and move the API, as what is declared changes."""
    wake = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(parts.leases.work("eager", lambda lease: eager.run(parts.issuance, wake, lease)))
        while True:
            await parts.changed.wait()
            parts.changed.clear()
            wake.set()
            parts.openresty.changed()
            parts.openstack.changed()
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


async def _watchdog() -> None:
    every = notify.watchdog_seconds()
    while every is not None:
        notify.watchdog()
        await asyncio.sleep(every)


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
