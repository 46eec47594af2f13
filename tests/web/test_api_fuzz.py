"""Whatever is asked, the answer is one that the document names, and never an internal error."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

import pytest
from redis.asyncio import Redis

from resqpy.web.api import v1
from resqpy.web.api.document import kinds_of
from resqpy.web.api.endpoint import ApiEndpoint, Parameter
from tests.web.asking import ApiClient
from tests.web.reference import TABLES
from tests.web.test_api_reads import fill

TRIALS = 60
TEXTS = (
    "", "0", "-1", "9" * 20, "x" * 700, "\0", "~", "~YQ", "..", "null", "é", '"', "a/b", "mail", "1900000000",
    "0" * 40, "failed", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00", "true", "a,b", "\u202e", "😀", "%", "*",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**63, 1.5, "", "x", "\0", "mail", [], {}, [[]], {"a": {"b": [1]}}, ["a"],
    "2030-01-01T00:00:00Z", 10**400,
)  # fmt: skip


def value_of(dice: random.Random, schema: Any, depth: int = 0) -> Any:
    """A value that mostly fits a schema."""
    if dice.random() < 0.15 or depth > 3:
        return dice.choice(VALUES)
    if options := schema.get("oneOf"):
        return value_of(dice, dice.choice(options), depth)
    if options := schema.get("enum"):
        return dice.choice(options)
    made: Any
    kind = schema.get("type", "string")
    match dice.choice(kind) if isinstance(kind, list) else kind:
        case "object":
            made = object_of(dice, schema, depth)
        case "array":
            items = schema.get("items", {})
            made = [value_of(dice, items, depth + 1) for _ in range(dice.randint(0, 3))]
        case "integer":
            most = min(schema.get("maximum", 100), 10**6)
            made = dice.randint(schema.get("minimum", -5), most)
        case "string":
            made = dice.choice((*TEXTS, "2030-01-01T00:00:00Z"))
        case _:
            made = dice.choice((None, True, False))
    return made


def object_of(dice: random.Random, schema: Any, depth: int) -> dict[str, Any]:
    """An object with what it needs, some of what it may have, and sometimes a misspelled name."""
    known = schema.get("properties", {})
    needed = schema.get("required", ())
    names = [name for name in known if name in needed or dice.random() < 0.4]
    made = {name: value_of(dice, known[name], depth + 1) for name in names}
    return made | ({"unknwon": 1} if dice.random() < 0.05 else {})


def text_of(dice: random.Random, parameter: Parameter) -> str:
    """The text of a parameter."""
    if dice.random() < 0.3:
        return dice.choice(TEXTS)
    value = value_of(dice, parameter.schema)
    return value if isinstance(value, str) else json.dumps(value).strip('[]"')


def request_of(dice: random.Random, endpoint: ApiEndpoint) -> tuple[str, Any, dict[str, str]]:
    """A request to an endpoint: its line, body and headers."""
    path = endpoint.path
    for each in endpoint.parameters:
        if each.where == "path":
            path = path.replace(f"{{{each.name}}}", quote(text_of(dice, each), safe=""))
    asked = [each for each in endpoint.parameters if each.where == "query" and dice.random() < 0.5]
    query = "&".join(f"{each.name}={quote(text_of(dice, each))}" for each in asked)
    if endpoint.raw_query:
        query = dice.choice(
            ("", "eq(status,new)", "eq(", "limit(1,1)", "sort(-x)", "%28", "eq(id,a)&select(id)")
        )
    headers = {
        each.name: text_of(dice, each).encode("ascii", "replace").decode().replace("\0", "")
        for each in endpoint.parameters
        if each.where == "header" and dice.random() < 0.5
    }
    body = None if not endpoint.changes else value_of(dice, endpoint.body or {"type": "object"})
    return f"{endpoint.method} {path}{'?' if query else ''}{query}", body, headers


CASES = [
    (prefix, each) for prefix, table in TABLES.items() for each in table if each.path != "/events"
]


@pytest.mark.parametrize(
    ("prefix", "endpoint"), CASES, ids=lambda each: getattr(each, "path", each)
)
async def test_any_request_has_an_answer_of_the_document(
    api: ApiClient, redis: Redis, prefix: str, endpoint: ApiEndpoint
) -> None:
    """Each kind of problem that comes is one that the endpoint names, in its own form."""
    dice = random.Random(f"{endpoint.method} {endpoint.path}")
    await fill(redis)
    api.base = prefix
    named = {kind.name for kind in kinds_of(endpoint)} | {"unknown-path", "wrong-method"}
    for _ in range(TRIALS):
        line, body, headers = request_of(dice, endpoint)
        answer = await api(line, body, scopes=["admin"], headers=headers)
        if answer.status < 400:
            continue
        assert answer.headers["content-type"] == "application/problem+json"
        kind = answer.json["type"].rpartition(":")[2]
        assert kind in named, (line, body, answer.json)
        assert kind != "internal", (line, body)


def test_each_endpoint_is_asked() -> None:
    """But the one that does not end."""
    assert len(CASES) == sum(map(len, TABLES.values())) - 1
    assert v1.TABLE
