"""The node as one running whole: what it is made of, the order it starts in, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from edgeward import notify, sealing
from edgeward.declaration import feed
from edgeward.errors import Unavailable
from edgeward.log import logger
from edgeward.node import starting
from edgeward.node.actions import Acting
from edgeward.node.backends import keeping, sites
from edgeward.node.backends.addresses import Backends
from edgeward.node.backends.relays import Relays
from edgeward.node.backends.resolver import Resolver
from edgeward.node.certificates import redis_tier
from edgeward.node.certificates.answering import Answering
from edgeward.node.certificates.listener_secrets import Lasting
from edgeward.node.certificates.redis_tier import RedisTier, Standing
from edgeward.node.certificates.secrets import Kept
from edgeward.node.certificates.tiers import Tiers
from edgeward.node.config import Config
from edgeward.node.controllers.asking import Asking
from edgeward.node.controllers.catching_up import CatchingUp
from edgeward.node.controllers.following import Following
from edgeward.node.controllers.known import Controllers
from edgeward.node.controllers.link import Link
from edgeward.node.controllers.reporting import Reporting
from edgeward.node.envoy.admin import EnvoyAdmin
from edgeward.node.envoy.publishing import Publishing
from edgeward.node.metrics import Metrics
from edgeward.node.proofs.challenges import Challenges
from edgeward.node.proofs.proving import Proving
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import State, Touched
from edgeward.node.tunnels import kept as tunnels
from edgeward.node.tunnels.agent import Agent
from edgeward.node.tunnels.claiming import Claiming
from edgeward.node.tunnels.daemons import Rootd
from edgeward.node.tunnels.holding import Holding
from edgeward.node.tunnels.peers import Peers
from edgeward.node.tunnels.root import Root
from edgeward.node.tunnels.steering import Steering
from edgeward.node.tunnels.telling import Telling
from edgeward.node.web import Web
from edgeward.redis_tier.place import Place
from edgeward.xds.server import XdsServer

log = logger(__name__)


class Node:
    """One host's node. Everything is made here, and nothing is shared beyond it."""

    def __init__(self, config: Config, seal: sealing.Seal) -> None:
        self._config = config
        self._copy = LastGood(config.node_dir / "last-good.db", seal)
        self._state = State(starting.own_name(config.identity_file))
        self._tiers = Tiers(self._copy)
        self._resolver = Resolver(config.dns_servers)
        self._backends = Backends(self._resolver, self._copy.addresses())
        self._envoy = EnvoyAdmin(config.node_dir)
        self._following = Following(self._copy, self._state, self._taken)
        self._caught_up = CatchingUp()
        self._controllers = Controllers(config.identity_file, config.controllers, time.monotonic)
        self._asking = Asking(self._controllers)
        self._link = Link(self._controllers, self._asking, self._following, self._ask, self._caught_up)
        lasting = Lasting(self._state, lambda name: self._copy.stored(name, time.time()))
        self._answering = Answering(
            self._state, self._tiers, self._asking.obtain, self._keep, self._changed, lasting
        )
        self._acting = Acting(config.rootd_socket, lambda: self._reporting.changed())
        self._relays = Relays(self._acting.asked, Path(config.rootd_socket).parent / "relays")
        self._publishing = Publishing(
            self._state,
            self._backends,
            self._answering.offer,
            lasting.hot,
            config.node_dir.absolute(),
            self._relays,
        )
        challenges = Challenges(self._asking.challenges)
        self._proving = Proving(challenges)
        self._envoy.watched = self._publishing.watched
        self._reporting = Reporting(
            self._state,
            self._copy,
            self._tiers,
            self._answering,
            self._publishing,
            self._backends,
            self._envoy,
        )
        self._agent = self._tunnels(config, seal)
        self._steering = Steering(self._agent.driver, Path(config.rootd_socket).parent)
        self._telling = Telling(self._agent.doings, self._link.tunnels)
        self._link.followed.append(self._telling.followed)
        self._link.gateways = self._agent.take
        self._agent.changed = self._tunnels_changed
        self._reporting.root_log = lambda: self._acting.head
        self._reporting.rootd = lambda: self._acting.problem if self._agent.gateways else ""
        self._metrics = Metrics(
            self._state, self._copy, self._answering, self._reporting, lambda: self._link.connected
        )
        self._metrics.caught_up = self._caught_up.total
        self._metrics.challenges = lambda: challenges.answered
        self._web = Web(self._state, self._metrics, self._answering, self._envoy)
        self._reporting.others = self._unmet
        self._redis = None if config.redis is None else self._tier_in_redis(config.redis)
        self._xds = XdsServer(config.node_dir / "xds.sock", self._answering)
        self._unmet_since: dict[str, int] = {}
        self._group: asyncio.TaskGroup | None = None

    def _tier_in_redis(self, place: Place) -> RedisTier:
        from edgeward.redis_tier.door import Door  # costs a tenth of a start

        self._redis_door = Door(place, redis_tier.TIMEOUT)
        found = RedisTier(self._redis_door, self._standing, self._asking.tier_keys, self._doubted)
        self._answering.ask_before(found.find)
        self._reporting.redis = found
        self._link.followed.append(found.want_keys)
        return found

    def _tunnels(self, config: Config, seal: sealing.Seal) -> Agent:
        root = Root(self._acting.asked)
        holding = Holding(Claiming(self._controllers).claim, config.node_dir / "active.json")
        kept = tunnels.Kept(config.node_dir / "tunnels.db", seal)
        return Agent(
            kept, root, Rootd(root, Path(config.rootd_socket).parent), holding, Peers(self._resolver)
        )

    def _standing(self) -> Standing:
        """Give how far this node is; it knows nothing for sure where its copy is not whole."""
        whole = self._state.complete and not self._copy.hidden
        return Standing(self._following.store, self._state.revision if whole else 0)

    def _doubted(self, names: set[str]) -> None:
        self._answering.touched(Touched(names=names))

    async def run(self, ended: asyncio.Event) -> None:
        """Serve until ``ended`` is set: first what the sealed copy holds, then what the controller says."""
        began = time.monotonic()
        self._following.load()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                tasks = [group.create_task(work) for work in self._work()]
                await self._xds.open()
                log.info(
                    "serving Envoy",
                    revision=self._state.revision,
                    certificates=self._copy.certificates(),
                    domains=len(self._state.domains),
                    seconds=round(time.monotonic() - began, 3),
                )
                notify.ready(f"serving revision {self._state.revision}")
                await ended.wait()
                notify.stopping()
                log.info("ending")
                await self._xds.close()
                for task in tasks:
                    task.cancel()
        finally:
            await self._close()

    def _work(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._answering.run(),
            self._publishing.run(),
            self._backends.run(),
            self._link.run(),
            self._reporting.run(self._link),
            self._web.run(self._config.node_dir / "node.sock"),
            self._proving.run(self._config.node_dir),
            keeping.run(self._backends, self._copy),
            self._acting.run(),
            self._relays.run(),
            self._agent.run(),
            self._telling.run(),
            notify.stay_alive(),
            *([] if self._redis is None else [self._redis.run()]),
        ]

    async def _close(self) -> None:
        await self._link.close()
        await self._envoy.close()
        await self._resolver.close()
        if self._redis is not None:
            await self._redis_door.close()
        await asyncio.to_thread(self._copy.close)

    # --- what one part tells the others -------------------------------------------------------

    def _taken(self, touched: Touched) -> None:
        self._metrics.changed_at = time.time()
        self._answering.touched(touched)
        if self._state.revision or self._state.domains or self._state.routes:
            self._answering.begin()
            gateway = touched.gateway or any(touched.hits(name) for name in self._state.own)
            self._publishing.changed(gateway=gateway, domains=touched.names | touched.suffixes)
        if touched.gateway:
            self._web.changed()
        self._changed()

    def _changed(self) -> None:
        self._reporting.changed()

    def _tunnels_changed(self) -> None:
        self._telling.changed()
        gateways, doings = self._agent.gateways, self._agent.doings()
        self._relays.know(sites.sites(gateways, doings), settled=sites.settled(gateways, doings))

    def _unmet(self) -> list[feed.Rejection]:
        since = {t: self._unmet_since.get(t, self._state.revision) for t in self._web.problems.values()}
        self._unmet_since = since
        return [
            feed.Rejection(object="listen/default/listen", message=text, revision=revision)
            for text, revision in since.items()
        ]

    def _keep(self, kept: Kept) -> None:
        if self._group is not None:
            self._group.create_task(self._kept(kept))

    async def _kept(self, kept: Kept) -> None:
        if not self._state.covered(kept.name) and kept.name not in self._state.domains:
            return  # by now it is not served here any more
        try:
            await self._copy.write(lambda copying: copying.keep_certificate(kept))
        except Unavailable as error:
            log.error("a certificate is not on disk yet", name=kept.name, problem=str(error))

    async def _ask(self, ask: feed.Ask | feed.Run | feed.Steer) -> None:
        if self._group is not None and isinstance(ask, feed.Run):
            self._group.create_task(self._acting.answer(ask, self._link.answer))
        elif self._group is not None and isinstance(ask, feed.Steer):
            self._group.create_task(self._steering.answer(ask, self._link.answer))
        elif self._group is not None and isinstance(ask, feed.Ask):
            self._group.create_task(self._reporting.answer(ask, time.time(), self._link.answer))
