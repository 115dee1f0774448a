"""Additional key exchanges: those that charon says it has, by our names."""

from __future__ import annotations

from edgeward.vpn.drivers.strongswan.proposals import additional


def test_ml_kem_is_found_among_what_charon_has():
    newer = {"ke": {"ECP_384": "openssl", "ML_KEM_512": "ml", "ML_KEM_768": "ml"}}
    assert additional(newer) == {"mlkem512", "mlkem768"}
    assert additional({"dh": {"ECP_384": "openssl"}}) == frozenset()
