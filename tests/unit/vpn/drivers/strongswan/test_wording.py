from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.vpn.desired import Dpd, Ike, Ipsec, Proposal, Psk
from edgeward.vpn.drivers.strongswan import wording
from edgeward.vpn.drivers.strongswan.refusals import refusals
from tests.integration.vpn_drivers import changed, connection

KEYS = {
    "version", "aggressive", "local_addrs", "remote_addrs", "proposals", "rekey_time", "over_time", "keyingtries",
    "mobike", "unique", "dpd_delay", "dpd_timeout", "local", "remote", "children",
}  # fmt: skip
CHILD_KEYS = {
    "esp_proposals", "ah_proposals", "mode", "life_time", "rekey_time", "start_action", "close_action", "dpd_action",
    "local_ts", "remote_ts",
}  # fmt: skip
GCM = Proposal(encryption="aes-256-gcm-16", integrity="sha384", groups=("group20", "mlkem768"))


def told(*connections, traps=None):
    ((name, words),) = wording.spoken(connections, traps).items()
    return name, words


def test_a_connection_is_told_as_charon_spells_it():
    one = connection(
        ike=Ike(proposals=(GCM,), lifetime=1000),
        ipsec=Ipsec(proposals=(GCM,), lifetime=600),
        dpd=Dpd(action="restart", interval=5),
    )
    name, words = told(one)

    assert name == wording.peers(one)
    assert words["proposals"] == ["aes256gcm16-prfsha384-ecp384-ke1_mlkem768"]
    assert (words["version"], words["rekey_time"], words["over_time"]) == ("2", "900", "100")
    assert (words["dpd_delay"], "dpd_timeout" in words) == ("5", False)
    assert words["local"] == {"auth": "psk", "id": "fqdn:here-1.example"}
    (child,) = words["children"].values()
    assert child["esp_proposals"] == ["aes256gcm16-ecp384-ke1_mlkem768"]
    assert (child["life_time"], child["rekey_time"], child["dpd_action"]) == ("600", "540", "restart")
    assert child["start_action"] == child["close_action"] == "none"


def test_ikev1_has_a_child_for_each_pair_of_networks_and_a_time_to_give_up():
    one = connection(
        ike=Ike(version=1, aggressive=True, proposals=(Proposal(encryption="3des", integrity="sha1", groups=("group2",)),)),
        peer_networks=("10.2.0.0/24", "10.3.0.0/24"),
    )  # fmt: skip
    _, words = told(one)

    assert (words["version"], words["aggressive"], words["dpd_timeout"]) == ("1", "yes", "120")
    assert [child["remote_ts"] for child in words["children"].values()] == [["10.2.0.0/24"], ["10.3.0.0/24"]]
    assert {wording.connection_of(child) for child in words["children"]} == {one.id}
    assert tuple(words["children"]) == wording.children(one)


@pytest.mark.parametrize(
    ("action", "initiator", "traps", "wanted"),
    [
        ("hold", True, {"any"}, "trap"),
        ("hold", True, None, "restart"),
        ("hold", False, None, "none"),
        ("restart", True, None, "restart"),
        ("restart-by-peer", True, {"any"}, "restart"),
        ("clear", True, None, "none"),
        ("restart", False, {"any"}, "none"),
    ],
)
def test_who_only_answers_never_begins_and_a_trap_is_set_only_where_there_are_some(
    action, initiator, traps, wanted
):
    one = connection(dpd=Dpd(action=action), initiator=initiator)
    (child,) = told(one, traps=traps)[1]["children"].values()

    assert child["dpd_action"] == wanted
    assert child["start_action"] == "none"
    (child,) = told(one, traps={one.id})[1]["children"].values()
    assert child["start_action"] == ("trap" if initiator else "none")


def test_nobody_is_looked_after_where_that_is_disabled():
    for dpd in (Dpd(action="disabled"), Dpd(interval=0)):
        assert told(connection(dpd=dpd))[1]["dpd_delay"] == "0"


def test_those_between_the_same_peers_are_children_of_one_and_others_are_not():
    one = connection(1)
    same = changed(connection(2), local_id=one.local_id, peer_id=one.peer_id)
    other = connection(3)

    assert wording.peers(one) == wording.peers(same) != wording.peers(other)
    assert set(told(one, same)[1]["children"]) == {one.id, same.id}


ANY = st.text(st.characters(exclude_characters="*\0"), max_size=28)


@given(local=ANY, peer=ANY, name=ANY, secret=st.text(min_size=1, max_size=40))
def test_no_id_name_or_secret_becomes_a_key_or_another_value(local, peer, name, secret):
    secret = f"Geheim~{secret}"
    one = connection(local_id=local, peer_id=peer, name=name, auth=Psk(secret=secret))
    assert refusals(one) == ()
    of_peers, words = told(one)

    assert set(words) <= KEYS
    (child,) = words["children"].values()
    assert set(child) <= CHILD_KEYS
    assert of_peers.isalnum()
    shared = wording.shared(one, Psk(secret=secret))
    assert shared["data"] == secret.encode(errors="surrogatepass")
    assert shared["owners"] == [words["local"]["id"], words["remote"]["id"]]
    assert shared["id"] == of_peers
    assert "Geheim~" not in str(words)


def test_certificates_stand_in_the_connection_itself():
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    assert wording.pems(pem + "\n" + pem) == (pem, pem)
    assert wording.pems("") == ()


@pytest.mark.parametrize(
    ("what", "field"),
    [
        ({"local_id": "x" * 300}, "local_id"),
        ({"peer_id": "é" * 100}, "peer_id"),
        ({"auth": Psk(secret="")}, "secret"),
        ({"auth": Psk(secret="x" * 5000)}, "secret"),
        ({"peer_address": "%any"}, "peer_address"),
        ({"peer_address": "203.0.113.9,203.0.113.10"}, "peer_address"),
        ({"ike": Ike(version=1, proposals=(GCM,))}, "ike.encryption"),
        ({"ipsec": Ipsec(mode="transport", proposals=(GCM,))}, "ipsec.mode"),
    ],
)
def test_what_charon_does_not_take_is_refused_by_its_field(what, field):
    assert field in [name for name, _ in refusals(connection(**what))]
