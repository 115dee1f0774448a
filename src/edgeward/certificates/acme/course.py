"""The course of one order (RFC 8555, 7.4), from wherever an earlier attempt left it to the certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edgeward.certificates.acme.answers import Authorization, Challenge, Order, Problem, read
from edgeward.certificates.acme.authority import PASSING
from edgeward.certificates.acme.chains import Chain, ends_in, read_chain, write_chain
from edgeward.certificates.acme.keys import base64url
from edgeward.certificates.acme.pace import obeying, pauses
from edgeward.certificates.acme.problems import meaning
from edgeward.certificates.acme.proofs import Proof, Proofs, choose
from edgeward.certificates.acme.speaking import Speaker
from edgeward.certificates.acme.wire import Answer, Fault, Lost
from edgeward.certificates.local.rsa_keys import new_rsa_key
from edgeward.certificates.orders.fulfilment import Fulfilled, Job, Rejected, Save, Saved, Unproven
from edgeward.certificates.x509 import LeafKey, key_pem
from edgeward.errors import EdgewardError, Unavailable
from edgeward.log import logger
from edgeward.secret import Secret

_PATIENCE: Final = 300.0
"""Seconds for an authority to look at all proofs, and as many to issue."""
_LOOK_AGAIN: Final = (1.0, 3.0)
_TELL_AFTER: Final = 1.0
_MOST_FINALIZED: Final = 3
_MOST_CHAINS: Final = 5
_log = logger("edgeward.certificates.acme")


class Course:
    """One order; ``run`` it once."""

    def __init__(self, job: Job, speaker: Speaker, proofs: Proofs, save: Save) -> None:
        self._job = job
        self._names = frozenset(job.names)
        self._speaker = speaker
        self._proofs = proofs
        self._save = save
        self._url = ""
        self._retry_after: float | None = None

    async def run(self, saved: Saved) -> Fulfilled:
        """Raises Fault and Lost, and what ``Fulfiller`` says."""
        key, text = await self._key(saved)
        saved, order = await self._order(replace(saved, key=text))
        order = await self._proven(saved, order)
        order = await self._issued(saved, order, key)
        if order.status != "valid" or order.certificate is None:
            raise Unavailable(f"the authority leaves the order {order.status}")
        return Fulfilled(write_chain(await self._chain(order.certificate, key)), text)

    async def _key(self, saved: Saved) -> tuple[LeafKey, Secret[str]]:
        if saved.key is not None:
            return _read_key(saved.key), saved.key
        if self._speaker.acme.key == "rsa":
            made: LeafKey = await asyncio.to_thread(new_rsa_key)
        else:
            made = ec.generate_private_key(ec.SECP256R1())
        return made, Secret(key_pem(made))

    # --- the order ---------------------------------------------------------------------------------

    async def _order(self, saved: Saved) -> tuple[Saved, Order]:
        """Go on with the order there is, else make one."""
        found = await self._known(saved.url) if saved.url else None
        if found is None:
            cut_short = saved.step == "order" and saved.url is None
            saved = replace(saved, step="order", url=None)
            await self._save(saved)
            found = await self._made(look_first=cut_short)
        self._url, order = found
        if self._url != saved.url:
            saved = replace(saved, step="proof", url=self._url)
            await self._save(saved)
        return saved, order

    async def _known(self, url: str) -> tuple[str, Order] | None:
        """Give the order an earlier attempt made, unless it came to nothing, or the authority lost it."""
        try:
            order = read(Order, (await self._speaker.reading(url)).body)
        except Fault as fault:
            if fault.status in (400, 401, 403, 404, 410):
                return None
            raise
        return None if order.status == "invalid" else (url, order)

    async def _made(self, look_first: bool) -> tuple[str, Order]:
        """Make an order, never a second one where the authority can tell that there is a first."""
        if look_first and (found := await self._forgotten()):
            return found
        try:
            return await self._asked_for()
        except (Lost, Fault) as error:
            if not _left_open(error):
                raise
            try:
                found = await self._speaker.forgotten_order(self._names)
            except NotImplementedError:
                raise error from None
        return found or await self._asked_for()

    async def _forgotten(self) -> tuple[str, Order] | None:
        try:
            return await self._speaker.forgotten_order(self._names)
        except NotImplementedError:
            return None

    async def _asked_for(self) -> tuple[str, Order]:
        directory = await self._speaker.directory()
        asked: dict[str, Any] = {"identifiers": [{"type": "dns", "value": n} for n in self._job.names]}
        if (profile := self._speaker.acme.profile) is not None:
            _check_profile(profile, directory.meta.profiles)
            asked["profile"] = profile
        if self._job.replaces is not None and directory.renewal_info is not None:
            asked["replaces"] = self._job.replaces
        answer = await self._new_order(directory.new_order, asked)
        if answer.location is None or not answer.location.startswith("https://"):
            raise Unavailable("the authority did not say where the order is")
        self._speaker.seen(answer.location, self._names)
        return answer.location, read(Order, answer.body)

    async def _new_order(self, url: str, asked: dict[str, Any]) -> Answer:
        try:
            return await self._speaker.post(url, asked, again=False)
        except Fault as fault:
            if "replaces" not in asked or fault.status >= 500 or fault.status == 429:
                raise
            _log.info(
                "the authority takes no order in that place", name=self._job.names[0], reason=str(fault)
            )
        del asked["replaces"]  # replaced before, or not known any more (RFC 9773, 5): it still may have one
        return await self._speaker.post(url, asked, again=False)

    # --- proving -----------------------------------------------------------------------------------

    async def _proven(self, saved: Saved, order: Order) -> Order:
        if order.status != "pending":
            return order
        asked = await self._authorizations(order)
        thumbprint = self._speaker.account.thumbprint
        proofs = [self._proof(one) for one in asked if one.status == "pending"]
        async with self._proofs.shown(self._speaker.acme, proofs):
            for proof in proofs:
                if proof.challenge.status == "pending":
                    await self._answered(proof)
            order = await self._past("pending", saved.at("validation"))
        if order.status == "invalid" and self._speaker.account.thumbprint != thumbprint:
            raise Unavailable("the account's key was changed while the authority looked; order again")
        if order.status == "invalid":
            raise self._why(order, await self._authorizations(order))
        return order

    async def _answered(self, proof: Proof) -> None:
        """Have the authority look. One that did, saw nothing and leaves it at that is asked again: some
        leave trying again to us (RFC 8555, 8.2).
        """
        for pause in (*_LOOK_AGAIN, None):
            found = read(Challenge, (await self._speaker.post(proof.challenge.url, {})).body)
            if found.error is None or found.status != "pending":
                return
            if pause is None:
                raise _failed(proof.name, found)
            await asyncio.sleep(pause)

    async def _authorizations(self, order: Order) -> list[Authorization]:
        answers = await asyncio.gather(*(self._speaker.reading(url) for url in order.authorizations))
        found = [read(Authorization, answer.body) for answer in answers]
        strangers = {one.name for one in found} - self._names
        if strangers:
            raise Unavailable(
                f"the authority asks about {', '.join(sorted(strangers))}, which is not ordered"
            )
        return found

    def _proof(self, asked: Authorization) -> Proof:
        challenge = choose(self._speaker.acme, asked)
        assert challenge.token is not None
        return Proof(asked.name, challenge, self._speaker.account.authorization(challenge.token))

    def _why(self, order: Order, asked: Sequence[Authorization]) -> EdgewardError:
        """Give the reason for which an order is invalid: the first challenge that failed, with its name."""
        for one in asked:
            for challenge in one.challenges:
                if challenge.error is not None:
                    return _failed(one.name, challenge)
        return meaning(order.error or Problem(detail="the order is invalid"))

    # --- issuing -----------------------------------------------------------------------------------

    async def _issued(self, saved: Saved, order: Order, key: LeafKey) -> Order:
        for _ in range(_MOST_FINALIZED):
            if order.status == "ready":
                await self._save(saved.at("finalize"))
                order = await self._finalized(order, key)
            if order.status in ("ready", "processing"):
                order = await self._past(order.status)
        if order.status == "invalid":
            raise meaning(order.error or Problem(detail="the order is invalid"))
        return order

    async def _finalized(self, order: Order, key: LeafKey) -> Order:
        csr = base64url(_request(self._job.names, key))
        try:
            return self._heard(await self._speaker.post(order.finalize, {"csr": csr}))
        except Fault as fault:
            if fault.problem.code != "orderNotReady":  # so it is where the first answer was lost
                raise
        return self._heard(await self._speaker.reading(self._url))

    async def _past(self, status: str, saved: Saved | None = None) -> Order:
        """Ask until the order is no longer in ``status``; ``saved`` is kept where that takes longer."""
        waited = 0.0
        for pause in pauses(_PATIENCE):
            pause = obeying(pause, self._retry_after)
            await asyncio.sleep(pause)
            waited += pause
            order = self._heard(await self._speaker.reading(self._url))
            if order.status != status:
                return order
            if saved is not None and waited > _TELL_AFTER:
                await self._save(saved)
                saved = None
            if waited > _PATIENCE:
                break
        raise Unavailable(f"the authority leaves the order {status} for {_PATIENCE:.0f} s")

    def _heard(self, answer: Answer) -> Order:
        self._retry_after = answer.retry_after()
        return read(Order, answer.body)

    # --- the certificate ---------------------------------------------------------------------------

    async def _chain(self, url: str, key: LeafKey) -> Chain:
        answer = await self._speaker.reading(url)
        chain = read_chain(answer.body, self._names, key.public_key())
        wanted = self._speaker.acme.preferred_chain
        if wanted is None or ends_in(chain, wanted):
            return chain
        for other in answer.links("alternate")[:_MOST_CHAINS]:
            alternate = read_chain((await self._speaker.reading(other)).body, self._names, key.public_key())
            if ends_in(alternate, wanted):
                return alternate
        _log.warning("the authority has no chain as preferred", name=self._job.names[0], preferred=wanted)
        return chain


def _failed(name: str, challenge: Challenge) -> EdgewardError:
    assert challenge.error is not None
    said = Problem(detail=f"{name}, {challenge.type}: {challenge.error}", type=challenge.error.type)
    found = meaning(said)
    return found if isinstance(found, Unavailable) else Unproven(str(found))


def _left_open(error: Lost | Fault) -> bool:
    """Whether it may have been carried out."""
    return error.sent if isinstance(error, Lost) else error.status in PASSING


def _check_profile(profile: str, offered: dict[str, str] | None) -> None:
    if profile not in (offered or {}):
        has = f"it has {', '.join(sorted(offered))}" if offered else "it has none"
        raise Rejected(f"the authority has no profile '{profile}': {has}; change the issuer's acme.profile")


def _request(names: Sequence[str], key: LeafKey) -> bytes:
    """Give the DER of a request for a certificate; its subject is empty, as names longer than 64 want it."""
    subject = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    made = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(subject, critical=False)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _read_key(text: Secret[str]) -> LeafKey:
    key = serialization.load_pem_private_key(text.reveal().encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Unavailable("the key of the order is neither ECDSA nor RSA")
    return key
