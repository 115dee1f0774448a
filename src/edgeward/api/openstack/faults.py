"""Errors as OpenStack's clients know them: ``{"NeutronError": {"type", "message", "detail"}}``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgeward.access.model import Throttled, Unauthenticated
from edgeward.errors import Conflict, EdgewardError, Invalid, NotFound, Refused
from edgeward.vpn.openstack.rules import Wrong


@dataclass
class Fault(Exception):
    """An error with its HTTP status, the type that clients match, and the message that people read."""

    status: int
    type: str
    message: str

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        """Give what clients read: of a refused log-in as Keystone says it, of all else as Neutron does."""
        if self.status == 401:
            return {"error": {"code": 401, "title": "Unauthorized", "message": self.message}}
        return {"NeutronError": {"type": self.type, "message": self.message, "detail": ""}}


def bad_request(message: str) -> Fault:
    return Fault(400, "HTTPBadRequest", message)


def invalid_operation(message: str) -> Fault:
    """What cannot even be converted into the kind of value it should be."""
    return Fault(400, "InvalidInput", f"Invalid input for operation: {message}")


def invalid_attribute(name: str, reason: str) -> Fault:
    return bad_request(f"Invalid input for {name}. Reason: {reason}.")


def malformed() -> Fault:
    return Fault(400, "MalformedRequestBody", "Malformed request body: Cannot understand JSON.")


def not_found() -> Fault:
    return Fault(404, "HTTPNotFound", "The resource could not be found.")


def not_allowed(method: str) -> Fault:
    return Fault(405, "HTTPMethodNotAllowed", f"The method {method} is not allowed for this resource.")


def unauthorized(reason: str) -> Fault:
    """Say why, where clients put a token, and how to get one."""
    places = (
        "X-Auth-Token (auth type admin_token), as Authorization: Bearer, or as the password of http_basic"
    )
    how = "edgeward token create NAME --role operator --project PROJECT"
    return Fault(401, "Unauthorized", f"{reason}; send one as {places}, and get one with: {how}")


def wrong(found: Wrong) -> Fault:
    """Give the error for a rule that does not hold."""
    return Fault(found.status, found.type, found.message)


_STATUS: Final[tuple[tuple[type[EdgewardError], int, str], ...]] = (
    (Unauthenticated, 401, "Unauthorized"),
    (Throttled, 429, "OverLimit"),
    (Invalid, 400, "BadRequest"),
    (NotFound, 404, "HTTPNotFound"),
    (Conflict, 409, "Conflict"),
    (Refused, 403, "PolicyNotAuthorized"),
)


def fault_of(error: EdgewardError) -> Fault:
    """Give what OpenStack's clients hear of an error of ours."""
    for kind, status, type_ in _STATUS:
        if isinstance(error, kind):
            return Fault(status, type_, str(error))
    return Fault(503, "ServiceUnavailable", str(error))
