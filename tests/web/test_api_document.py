"""The table of endpoints, the OpenAPI document and the reference are one."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.web.api import v1
from resqpy.web.api.document import kinds_of
from resqpy.web.api.endpoint import ApiEndpoint
from resqpy.web.api.problems import KINDS
from tests.web.asking import ApiClient
from tests.web.reference import DOC, TABLES, in_document


def test_the_reference_is_that_of_the_table() -> None:
    """If not: `python -m tests.web.reference`."""
    assert in_document(DOC.read_text()) == DOC.read_text()


async def test_every_route_is_in_the_document_and_the_reverse(api: ApiClient) -> None:
    """With its parameters, and a response for each status that it may answer with."""
    found = (await api("GET /openapi.json", scopes=())).json

    routes = {(each.method.lower(), each.path): each for each in v1.TABLE}
    shown = {
        (method, path): op for path, ops in found["paths"].items() for method, op in ops.items()
    }
    assert shown.keys() == routes.keys()
    assert found["openapi"].startswith("3.1")
    assert len({op["operationId"] for op in shown.values()}) == len(routes)
    for key, op in shown.items():
        expected = {str(kind.status) for kind in kinds_of(routes[key])} | {str(routes[key].status)}
        assert op["responses"].keys() == expected
        names = {each["name"] for each in op["parameters"] if each["in"] == "path"}
        assert names == {part[1:-1] for part in key[1].split("/") if part.startswith("{")}
    for method, path, required in (
        ("post", "/queues/{queue}/pause", False),
        ("post", "/jobs", True),
        ("post", "/bulk", True),
    ):
        assert shown[method, path]["requestBody"]["required"] is required, path
    assert (await api("POST /queues/x/pause")).status == 200


@pytest.mark.parametrize("endpoint", v1.TABLE, ids=lambda each: f"{each.method} {each.path}")
def test_an_endpoint_is_declared_rightly(endpoint: ApiEndpoint) -> None:
    """Its problems are known, each number has limits, each text ends somewhere."""
    assert [name for name in endpoint.problems if name not in KINDS] == []
    assert endpoint.summary.endswith(".")
    for each in endpoint.parameters:
        assert each.summary.endswith(".")
        assert _has_limits(each.schema) or each.where == "path", each.name


def _has_limits(schema: Any) -> bool:
    match schema["type"]:
        case "integer":
            return "minimum" in schema and "maximum" in schema
        case "string":
            return "maxLength" in schema or "enum" in schema
        case "array":
            return "maxItems" in schema
    return True


@pytest.mark.parametrize("prefix", TABLES)
@pytest.mark.parametrize("who", ["nobody", "wrong token", "other scope"])
async def test_who_may_not_is_told_so(api: ApiClient, prefix: str, who: str) -> None:
    """Each endpoint with a scope refuses who has none, a wrong token, and another scope."""
    status = {"nobody": 401, "wrong token": 401, "other scope": 403}[who]
    api.base = prefix
    headers = {"authorization": "Bearer rsq_x"} if who == "wrong token" else {}
    scopes = ["enqueue:Nothing"] if who == "other scope" else []
    for each in TABLES[prefix]:
        body: Any = {} if each.changes else None
        path = each.path.replace("{second}", "1").replace("{id}", "0" * 40)
        answer = await api(f"{each.method} {path}", body, scopes=scopes, headers=headers)
        if each.scopes or who == "wrong token":
            # where the scope depends on the body, that is looked at first
            expected = {status} | (
                {400} if who == "other scope" and "{" in each.scopes[0] else set()
            )
            assert answer.status in expected, each.path
            assert answer.headers["content-type"] == "application/problem+json"
