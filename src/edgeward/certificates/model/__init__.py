"""What may be served with which certificate, where it comes from, and how long each tier keeps it."""

from edgeward.certificates.model.certificate import (
    IMPORTED,
    ORDERED,
    Beside,
    Certificate,
    Kept,
    Order,
    Standing,
    Summary,
    Wanted,
)
from edgeward.certificates.model.domain import Domain, Withheld
from edgeward.certificates.model.installation import Alarms, Budgets, Cache
from edgeward.certificates.model.issuer import (
    UPLOADED,
    AcmeIssuer,
    ExternalAccount,
    Issuer,
    Limit,
    Limits,
    LocalIssuer,
)

__all__ = [
    "IMPORTED",
    "ORDERED",
    "UPLOADED",
    "AcmeIssuer",
    "Alarms",
    "Beside",
    "Budgets",
    "Cache",
    "Certificate",
    "Domain",
    "ExternalAccount",
    "Issuer",
    "Kept",
    "Limit",
    "Limits",
    "LocalIssuer",
    "Order",
    "Standing",
    "Summary",
    "Wanted",
    "Withheld",
]
