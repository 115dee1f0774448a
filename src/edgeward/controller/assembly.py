"""Puts the controller together: every part, wired to the others and not yet started."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from dataclasses import dataclass

from fastapi import FastAPI

from edgeward import __version__
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
from edgeward.api.usecases import UseCases
from edgeward.controller.certificates.accounts import Accounts
from edgeward.controller.certificates.bringing import Bringing
from edgeward.controller.certificates.challenges import Challenges
from edgeward.controller.certificates.joined import CertificateParts
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
from edgeward.controller.tunnels.joined import TunnelParts
from edgeward.database.engine import Database
from edgeward.database.leases import Leases
from edgeward.kinds import KINDS
from edgeward.sealing import Seal
from edgeward.wrapping import Wrapping

_ROUTES = (
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
    fleet: Fleet
    questions: Questions
    leases: Leases
    keys: Keys
    tier: Tier
    certified: Certified
    certificates: CertificateParts
    tunnels: TunnelParts
    file: WatchedFile | None
    cases: UseCases
    app: FastAPI
    seeing: Seeing
    events: Events
    telling: Telling
    serving: Serving
    openresty: OpenRestyParts
    changed: asyncio.Event
    """Set after every change of what is declared."""


async def put_together(settings: Settings, database: Database, seal: Seal, wrapping: Wrapping) -> Parts:
    """Give all parts, wired and not yet started, over a migrated database."""
    clock, tls = time.time, tls_context(settings.client_ca)
    changed = asyncio.Event()
    state = State(changed.set)
    registry = Registry(clock)
    access = Authenticator(database, clock)
    certified = Certified(database, seal, settings.state_dir, tls, clock)
    await certified.load()
    certificates = CertificateParts(database, seal, state, certified.authority, settings.dns_servers, clock)
    obtainer = certificates.obtainer
    declarations = Declarations(database, state, seal, clock)
    looks = Looks(database, state, seal)
    me = Controller(str(uuid.uuid4()), socket.gethostname()[:100], "", __version__, clock(), clock())
    fleet = Fleet(database, registry, access, me, clock)
    questions = Questions(database, registry)
    leases = Leases(database, me.id, clock)
    keys = Keys(database, seal, wrapping, me.id, fleet.shown, clock)
    tier = Tier(database, state, seal, settings.redis, clock)
    tunnels = TunnelParts(
        database, seal, state, declarations, registry, certified.roots, questions.ask,
        certificates.webhook.post, clock,
    )  # fmt: skip
    nodes = Nodes(database, looks, registry, access, certified.roots, clock, fleet.note)
    nodes.streams.gateways = tunnels.gateways
    file = None
    if settings.config is not None:
        file = WatchedFile(settings.config, settings.environment, declarations, clock)
    metrics = Metrics()
    seeing = Seeing(
        database, registry, fleet, access, obtainer, state, file, metrics, settings.state_dir, clock
    )
    events = Events(database, access)
    seeing.selecting = state.selecting
    gathering = Gathering(database, registry, questions.ask, tunnels.states, state, clock)
    explainer = Explainer(database, state, questions.asked, gathering, clock)
    explainer.refusal = certificates.permission.refusal
    explainer.labels = lambda: {node.name: node.labels for node in registry}
    seeing.tunnels = tunnels.states.summary
    seeing.tunnel_figures = tunnels.figures
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
        bringing=Bringing(certificates.issuance, certificates.fulfiller.revoke, changed.set),
        explain=explainer,
        history=History(database, state, file, clock),
        orders=Orders(database, state.policy, clock),
        events=events,
        actions=Actions(database, registry, questions.ask, clock),
        challenges=Challenges(database, clock),
        keys=keys,
        accounts=Accounts(database, certificates.fulfiller, state.policy, clock),
        tunnels=tunnels.states,
        holding=tunnels.holding,
        steering=tunnels.steering,
        sites=tunnels.sites,
    )
    app = create_app(cases, KINDS, metrics.observe, _ROUTES)
    openstack_routes.add(app, OpenStackApp(tunnels.facade, access.authenticate))
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
        fleet=fleet,
        questions=questions,
        leases=leases,
        keys=keys,
        tier=tier,
        certified=certified,
        certificates=certificates,
        tunnels=tunnels,
        file=file,
        cases=cases,
        app=app,
        seeing=seeing,
        events=events,
        telling=Telling(database, registry, state, clock, me.id),
        serving=serving,
        openresty=openresty,
        changed=changed,
    )
