"""Operations that are made when first asked for answer as if they had been there all along."""

import httpx
import pytest
from fastapi import FastAPI

from edgeward.api.routes import Operation, Routes


@pytest.fixture
def asked():
    """An app, its operations, and a client of it."""
    routes = Routes("/v1/things", ["things"])

    @routes.get("")
    async def listed() -> dict[str, str]:
        return {"is": "list"}

    @routes.get("/first")
    async def first() -> dict[str, str]:
        return {"is": "first"}

    @routes.get("/{name}")
    async def one(name: str) -> dict[str, str]:
        return {"is": name}

    @routes.put("/{name}/size")
    async def sized(name: str, size: int) -> dict[str, int]:
        return {name: size}

    app = FastAPI(redirect_slashes=False)
    app.router.routes += routes.operations
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")
    return routes.operations, client


def made(operations: list[Operation]) -> list[str]:
    return [operation.path for operation in operations if "made" in vars(operation)]


async def test_only_what_was_asked_for_is_made(asked):
    operations, client = asked
    assert made(operations) == []

    assert (await client.get("/v1/things/a")).json() == {"is": "a"}
    assert made(operations) == ["/v1/things/{name}"]


async def test_the_first_that_fits_answers(asked):
    _, client = asked
    assert (await client.get("/v1/things/first")).json() == {"is": "first"}
    assert (await client.get("/v1/things")).json() == {"is": "list"}


async def test_parameters_are_checked(asked):
    _, client = asked
    assert (await client.put("/v1/things/a/size", params={"size": 3})).json() == {"a": 3}
    assert (await client.put("/v1/things/a/size", params={"size": "x"})).status_code == 422


async def test_another_method_is_refused_with_those_there_are(asked):
    operations, client = asked
    answer = await client.get("/v1/things/a/size")
    assert (answer.status_code, answer.headers["allow"]) == (405, "PUT")
    assert made(operations) == ["/v1/things/{name}/size"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/thingsa", "/v1/things/", "/v1/things/a/size/b"])
async def test_another_path_is_not_found(asked, path):
    operations, client = asked
    assert (await client.get(path)).status_code == 404
    assert made(operations) == []
