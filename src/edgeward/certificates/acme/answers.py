"""What authorities answer (RFC 8555, 7.1; RFC 9773, 4.2), read at the door: only what is used."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from edgeward.certificates.problem import one_line
from edgeward.errors import Unavailable

Url = Annotated[str, StringConstraints(pattern=r"^https://[^\s/]+(/[^\s]*)?$", max_length=2000)]
_PREFIX = "urn:ietf:params:acme:error:"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Identifier(_Answer):
    type: str = "dns"
    value: str


class Problem(_Answer):
    """Why not (RFC 7807)."""

    type: str = "about:blank"
    title: str | None = None
    detail: str | None = None
    identifier: Identifier | None = None
    subproblems: list[Problem] = []

    @property
    def code(self) -> str:
        """Its type without the prefix of ACME."""
        return self.type.removeprefix(_PREFIX)

    def __str__(self) -> str:
        """One line, fit for people."""
        about = f"{self.identifier.value}: " if self.identifier else ""
        said = about + (self.detail or self.title or self.code)
        parts = [said, *(str(inner) for inner in self.subproblems)]
        return one_line("; ".join(parts))


class Meta(_Answer):
    profiles: dict[str, str] | None = None
    external_account_required: bool = Field(default=False, alias="externalAccountRequired")
    caa_identities: tuple[str, ...] = Field(default=(), alias="caaIdentities")


class Directory(_Answer):
    new_nonce: Url = Field(alias="newNonce")
    new_account: Url = Field(alias="newAccount")
    new_order: Url = Field(alias="newOrder")
    revoke: Url | None = Field(default=None, alias="revokeCert")
    key_change: Url | None = Field(default=None, alias="keyChange")
    renewal_info: Url | None = Field(default=None, alias="renewalInfo")
    meta: Meta = Meta()


class Account(_Answer):
    status: str = "valid"
    orders: Url | None = None


class Orders(_Answer):
    orders: list[Url] = []


class Order(_Answer):
    status: str
    identifiers: list[Identifier] = []
    authorizations: list[Url] = []
    finalize: Url
    certificate: Url | None = None
    error: Problem | None = None


class Challenge(_Answer):
    type: str
    url: Url
    status: str = "pending"
    token: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,200}$")] | None = None
    """Becomes part of a path and of a record's name: nothing but base64url (RFC 8555, 8.1)."""
    error: Problem | None = None


class Authorization(_Answer):
    status: str
    identifier: Identifier
    challenges: list[Challenge] = []
    wildcard: bool = False

    @property
    def name(self) -> str:
        """As a domain is declared: ``*.suffix`` for a wildcard."""
        return f"*.{self.identifier.value}" if self.wildcard else self.identifier.value


class Window(_Answer):
    start: AwareDatetime
    end: AwareDatetime


class RenewalInfo(_Answer):
    window: Window = Field(alias="suggestedWindow")


A = TypeVar("A", bound=_Answer)


def read(model: type[A], body: bytes) -> A:
    """Give the value; raises Unavailable where the answer is not what the protocol says."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise Unavailable(f"the authority's answer is not {_a(model)}: {_first(error)}") from error


def read_problem(body: bytes, status: int) -> Problem:
    """Give what an answer says went wrong; an answer that says nothing stands for its status."""
    try:
        found = Problem.model_validate_json(body)
    except ValidationError:
        return Problem(detail=f"HTTP {status}")
    untold = found.code == "about:blank" and not (found.detail or found.title)
    return found.model_copy(update={"detail": f"HTTP {status}"}) if untold else found


def _a(model: type[Any]) -> str:
    name = model.__name__.lower()
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(step) for step in detail['loc']) or 'all of it'}: {detail['msg']}"
