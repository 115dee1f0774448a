"""What the daemon that somebody chose for a service cannot do, known before it is tried."""

from __future__ import annotations

from edgeward.vpn.openstack.rules import Wrong
from edgeward.vpn.openstack.services import SiteConnection
from edgeward.vpn.openstack.translate import asked
from edgeward.vpn.openstack.view import View
from edgeward.vpn.validation import REFUSALS


def of_driver(view: View, connection: SiteConnection) -> Wrong | None:
    """Say what the daemon does not take; where nobody chose one, what Neutron takes is taken."""
    found = asked(view, connection)
    if found is None:
        return None
    driver, made = found
    refused = next((reason for field, reason in REFUSALS[driver](made) if field != "secret"), None)
    if refused is None:
        return None
    return Wrong(
        "IpsecValidationFailure", f"IPSec does not support this with {driver}: {refused}", "vpnservice"
    )
