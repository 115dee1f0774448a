"""Everything that gets certificates, put together for the controller."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from edgeward.certificates.elsewhere import Elsewhere, PublicDns
from edgeward.certificates.issue import Issuance
from edgeward.certificates.local.authority import Authority
from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.certificates.on_demand.permission import Permission
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.planner import Planner
from edgeward.certificates.preflight.checks import Preflight
from edgeward.certificates.renewal import alarms
from edgeward.certificates.renewal.webhook import Webhook
from edgeward.controller.declared.state import State
from edgeward.database.engine import Database
from edgeward.database.leases import Lease
from edgeward.sealing import Seal


class CertificateParts:
    """``authority`` gives our own; ``dns_servers``: asked what public DNS says; none: this host's."""

    def __init__(
        self,
        database: Database,
        seal: Seal,
        state: State,
        authority: Callable[[], Authority],
        dns_servers: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        self._alarms = state.alarms
        self.issuance = Issuance(database, seal, authority, state.policy, clock, random.random)
        self.permission = permission = Permission(database, state.budgets)
        self.obtainer = Obtainer(self.issuance, permission=permission)
        self.fulfiller = Elsewhere(database, seal, clock)
        self.webhook = Webhook(seal)
        preflight = Preflight(
            PublicDns(dns_servers),
            lambda: state.listen().public,
            self.fulfiller.identities,
            lambda name: permission.confirm(name, state.policy().covering(name)),
        )
        self.planner = Planner(self.issuance, self.fulfiller, preflight.check)
        database.on(queue.TOPIC, lambda _: self.issuance.ordered.set())

    async def alarm(self, lease: Lease) -> None:
        """Tell of certificates that are late, until cancelled."""
        await alarms.run(self.issuance, self._alarms, self.webhook.tell, lease)
