"""What the daemon that somebody chose for a service cannot do, known before it is tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgeward.vpn.desired import Connection
from edgeward.vpn.openstack.rules import Wrong
from edgeward.vpn.openstack.services import SiteConnection
from edgeward.vpn.openstack.translate import asked, beside
from edgeward.vpn.openstack.view import View
from edgeward.vpn.validation import REFUSALS


def of_driver(view: View, connection: SiteConnection) -> Wrong | None:
    """Say what the daemon does not take; where nobody chose one, what Neutron takes is taken."""
    found = asked(view, connection)
    if found is None:
        return None
    driver, made = found
    refused = next((reason for field, reason in REFUSALS[driver](made) if field != "secret"), None)
    if refused is None and driver == "libreswan" and connection.admin_state_up:
        refused = next(_taken_for_it(made, beside(view, connection)), None)
    if refused is None:
        return None
    return Wrong(
        "IpsecValidationFailure", f"IPSec does not support this with {driver}: {refused}", "vpnservice"
    )


def _taken_for_it(made: Connection, others: Iterable[Connection]) -> Iterator[str]:
    """Yield why those between the same peers stand in the way whose offers pluto takes for its own."""
    for other in others:
        if _ends(other) == _ends(made) and other.ipsec != made.ipsec:
            name = other.name.partition("/")[2]
            yield (
                f"ipsec_site_connection '{name}' has the same router, peer and ids and another IPsec policy,"
                " and Libreswan takes one's offers for the other's; give both the same policy, or other ids"
            )


def _ends(one: Connection) -> tuple[str, ...]:
    return one.local_address, one.peer_address, one.local_id, one.peer_id
