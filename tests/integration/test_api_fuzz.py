"""Every route fed with what its schema allows and what it does not: never a 500, never a broken answer."""

from __future__ import annotations

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.integration.controller_setup import Controller

_ENDLESS = {"/v1/nodes/{name}/watch"}


def broken(context, response, case):
    """Nothing but 503 says that something is not there now: a node to run an action, an authority."""
    return True if response.status_code == 503 else not_a_server_error(context, response, case)


_CHECKS = [broken, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    controller = Controller(tmp_path_factory.mktemp("fuzz") / "state")
    controller.state_dir.mkdir(mode=0o700)
    controller.declare()
    with controller.start() as process:
        yield controller
        assert process.alive()


modes = pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda m: m.value)


@modes
@pytest.mark.timeout(600)
def test_no_request_of_any_shape_breaks_the_api(controller, mode):
    fuzzed(controller, mode, examples=4)


@pytest.mark.slow
@modes
@pytest.mark.timeout(3600)
def test_nor_do_many_of_each_shape(controller, mode):
    fuzzed(controller, mode, examples=40)


def fuzzed(controller, mode, examples):
    with controller.client() as client:
        document = client.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    with requests.Session() as session:
        session.trust_env = False
        ca = str(controller.state_dir / "ca" / "root.pem")
        session.headers["authorization"] = (
            f"Bearer {(controller.state_dir / 'admin.token').read_text().strip()}"
        )
        seen = [
            _fuzz(found.ok(), mode, examples, controller.url, session, ca)
            for found in schema.get_all_operations()
        ]
    assert sum(seen) > 40
    with controller.client() as client:
        assert client.get("/v1/status").status_code == 200


def _fuzz(operation, mode, examples: int, url: str, session: requests.Session, ca: str) -> bool:
    """Try one operation; False where nothing can be generated for it in this mode."""
    if operation.path in _ENDLESS:
        return False

    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def probe(case):
        if operation.path == "/v1/wait":
            case.query["timeout"] = "0"
        if operation.path == "/v1/events":
            case.query["follow"] = "false"
        case.call_and_validate(base_url=url, session=session, checks=_CHECKS, timeout=30, verify=ca)

    try:
        probe()
    except hypothesis.errors.Unsatisfiable:
        return False
    return True
