"""Tunnels in the hands of people: what they ask for reaches the node that carries it, and is remembered."""

from __future__ import annotations

import pytest

from edgeward.declaration.feed import Answer
from tests.unit.controller.tunnels.test_states import OFFICE, node, of_gateway, tell  # noqa: F401 - a fixture
from tests.unit.vpn.tunnels import state

URL = f"/v1/vpn/{OFFICE.id}"


@pytest.fixture
def asked(here):
    """What the node was asked; it answers with what stands in ``asked[0]``."""
    found = [{"outcome": "done", "state": state().model_dump(mode="json"), "commands": ["look"]}]

    async def ask(name, question, _patience):
        found.append((name, question))
        return None if found[0] is None else Answer(id="1", tier="none", run=found[0])

    here.parts.cases.steering._ask = ask
    return found


@pytest.mark.parametrize(("path", "what"), [("initiate", "initiate"), ("debug?level=3", "verbosity")])
async def test_what_is_asked_for_is_done_by_the_node_that_carries_it(here, admin, node, asked, path, what):  # noqa: F811
    await tell(here, node, of_gateway(state(1, "down")))

    came = (await here.http.post(f"{URL}/{path}", headers=admin)).json()

    name, steer = asked[1]
    assert (name, steer.what, steer.by) == ("n1", what, "boss")
    assert (steer.namespace, steer.driver) == (f"vpn-{steer.gateway}", "strongswan")
    assert came["commands"] == ["look"] and came["tunnel"]["id"] == OFFICE.id
    assert came["tunnel"]["phase"] == "active", "as its node just said, not as it was before"


async def test_whoever_debugs_is_given_the_commands_of_the_daemon_that_carries_it(here, admin, node, asked):  # noqa: F811
    await tell(
        here, node, of_gateway(state(1, driver="libreswan"))
    )  # strongSwan, which is declared, could not

    await here.http.post(f"{URL}/debug?level=3", headers=admin)

    assert asked[1][1].driver == "libreswan"


async def test_why_it_did_not_come_about_is_said(here, admin, node, asked):  # noqa: F811
    nobody = await here.http.post(f"{URL}/initiate", headers=admin)
    assert nobody.status_code == 503 and "waits for a node" in nobody.text

    await tell(here, node, of_gateway(state(1, "down")))
    asked[0] = {"outcome": "failed", "reason": "pre-shared keys differ"}
    failed = await here.http.post(f"{URL}/initiate", headers=admin)
    assert failed.status_code == 503 and "pre-shared keys differ" in failed.text
    asked[0] = None
    assert "did not answer" in (await here.http.post(f"{URL}/terminate", headers=admin)).text


async def test_a_viewer_looks_and_does_nothing(here, node, asked):  # noqa: F811
    viewer = await here.token("eve", "viewer")
    await tell(here, node, of_gateway(state(1, "down")))

    assert (await here.http.post(f"{URL}/terminate", headers=viewer)).status_code == 403
    found = (await here.http.get(f"{URL}/status?fresh=true", headers=viewer)).json()
    assert found["phase"] == "active", "its node was asked"
    found = (await here.http.get(f"{URL}/status", headers=viewer)).json()
    assert found["phase"] == "down"
    asked[0] = None
    found = (await here.http.get(f"{URL}/status?fresh=true", headers=viewer)).json()
    assert found["phase"] == "down", "as told last, where its node is silent"


async def test_what_happened_to_it_is_remembered_in_its_order(here, admin, node, asked):  # noqa: F811
    await tell(here, node, of_gateway(state(1, "connecting"), state(2)))
    await tell(here, node, of_gateway(state(1), whole=False))
    await here.http.post(f"{URL}/terminate", headers=admin)
    await tell(here, node, of_gateway(state(1, "down", reason="it was ended here"), whole=False))

    items = (await here.http.get(f"{URL}/log", headers=admin)).json()["items"]

    assert [(i["what"], i.get("phase") or i["who"]) for i in items] == [
        ("phase", "connecting"),
        ("phase", "active"),
        ("terminate", "boss"),
        ("phase", "down"),
    ]
    assert len((await here.http.get(f"{URL}/log?last=1", headers=admin)).json()["items"]) == 1


async def test_what_its_daemon_wrote_is_among_it(here, admin, node, asked):  # noqa: F811
    await tell(here, node, of_gateway(state(1)))
    asked[0] = {"outcome": "done", "lines": [[1.0, "[IKE] initiating"], [9e9, "[IKE] established"]]}

    found = (await here.http.get(f"{URL}/log?last=7", headers=admin)).json()

    assert asked[1][1].what == "look" and asked[1][1].lines == 7
    assert [item["what"] for item in found["items"]] == ["daemon", "phase", "daemon"] and not found["without"]
    assert found["items"][0] == {
        "at": 1.0,
        "what": "daemon",
        "driver": "strongswan",
        "line": "[IKE] initiating",
    }
    later = (await here.http.get(f"{URL}/log?since=8e9", headers=admin)).json()
    assert [item["line"] for item in later["items"]] == ["[IKE] established"]


@pytest.mark.parametrize(
    ("came", "why"),
    [
        (None, "node n1 did not answer"),
        ({"outcome": "failed", "reason": "the daemon does not run"}, "the daemon does not run"),
        ({"outcome": "done", "state": None}, "another version"),
    ],
)
async def test_why_what_its_daemon_wrote_is_missing_is_said(here, admin, node, asked, came, why):  # noqa: F811
    await tell(here, node, of_gateway(state(1)))
    asked[0] = came

    found = (await here.http.get(f"{URL}/log", headers=admin)).json()

    assert why in found["without"] and [item["what"] for item in found["items"]] == ["phase"]
