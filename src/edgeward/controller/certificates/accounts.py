"""The use cases on accounts at ACME authorities: who may see them and change their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.certificates.acme import accounts
from edgeward.certificates.elsewhere import Elsewhere
from edgeward.certificates.policy import Policy
from edgeward.database.engine import Database
from edgeward.declaration import audit
from edgeward.declaration.model import Key
from edgeward.domain_name import printable
from edgeward.errors import NotFound


class Accounts:
    """What ``api.accounts`` calls."""

    def __init__(
        self,
        database: Database,
        fulfiller: Elsewhere,
        policy: Callable[[], Policy],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._fulfiller = fulfiller
        self._policy = policy
        self._clock = clock

    async def listed(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        require(who, Right.GOVERN)
        async with self._database.reading() as connection:
            found = await accounts.listed(connection)
        return [{**row, "created": datetime.fromtimestamp(row["created"], UTC).isoformat()} for row in found]

    async def changed(self, who: Principal, project: str, issuer: str) -> None:
        """Written down before it is asked for, as every change that cannot be undone."""
        require(who, Right.GOVERN)
        declared = self._policy().issuer(project, issuer)
        if declared is None or declared.acme is None:
            raise NotFound(f"there is no issuer '{printable(issuer)}' of this project that speaks ACME")
        entry = audit.Entry(who.name, "api", "change key", Key("accounts", project, issuer))
        async with self._database.writing() as writing:
            await audit.record(writing, [entry], self._clock())
        await self._fulfiller.change_account_key(declared)
